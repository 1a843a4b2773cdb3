import { describe, expect, test } from "vitest";
import { PRESET_NAMES, type PresetName } from "@netmem/machine";
import { GFP_ATOMIC } from "@netmem/mm/api";
import type { PagePool } from "@netmem/page-pool/api";
import { PoolBench } from "./pp-rows/pool-bench.ts";

/**
 * What each kernel does, as its history says; the rows of part 1 read their expectations from the presets themselves.
 * `direct`: where a page goes that the driver puts directly in process context (allow_direct and in_softirq() up to 6.9).
 * `system`: pools of the stack's own, one a CPU (2b0cfa6e4956, 6.9).
 * `bulkNode`: where a pool of node 1 gets its pages from on a CPU of node 0 (d810d367ec40, 6.0).
 */
const HISTORY: Readonly<Record<PresetName, { readonly direct: "cache" | "ring"; readonly bulkNode: 0 | 1; readonly taken: number; readonly system: number }>> = {
  stock: { direct: "ring", bulkNode: 1, taken: 1, system: 0 },
  "v3-2021": { direct: "ring", bulkNode: 1, taken: 1, system: 0 },
  "5.14": { direct: "ring", bulkNode: 0, taken: 64, system: 0 },
  "6.1": { direct: "ring", bulkNode: 1, taken: 64, system: 0 },
  "6.8": { direct: "ring", bulkNode: 1, taken: 64, system: 0 },
  "6.18": { direct: "cache", bulkNode: 1, taken: 64, system: 2 },
};

/**
 * Where a page goes that comes back in softirq, on the CPU whose poll list the pool's NAPI is on, from a caller that does not know:
 * an skb's from 6.4 on to the cache (napi_pp_put_page), an XDP frame's not before 6.10 (page_pool_put_unrefed_netmem).
 */
const FOUND_LOCAL: Readonly<Record<PresetName, { readonly skb: boolean; readonly xdp: boolean }>> = {
  stock: { skb: false, xdp: false }, "v3-2021": { skb: false, xdp: false }, "5.14": { skb: false, xdp: false }, "6.1": { skb: false, xdp: false },
  "6.8": { skb: true, xdp: false },
  "6.18": { skb: true, xdp: true },
};

describe.each(PRESET_NAMES)("%s", (preset) => {
  test("a page that comes back from an skb, and one from XDP", () => {
    const bench = new PoolBench(preset);
    const pool = bench.create();
    const memId = bench.machine.xdp.registry.registerMemModel(pool.memType, pool);
    const [fromSkb, fromXdp] = bench.take(pool, 2);
    bench.napi.listOwner = 0;
    const cached = (free: () => void): boolean => {
      const before = pool.recycleStats.cached;
      bench.softirq(0, free);
      return pool.recycleStats.cached > before;
    };
    expect({
      skb: cached(() => pool.returnSkbNetmem(fromSkb!, false)),
      xdp: cached(() => bench.machine.xdp.xdpReturn.xdpReturnNetmem(fromXdp!, pool.memType, memId, false)),
    }).toEqual(FOUND_LOCAL[preset]);
    expect([pool.ringCount() + pool.cacheCount, bench.kinds()]).toEqual([pool.holdCnt, []]);
  });

  test("a direct put in process context", () => {
    const bench = new PoolBench(preset);
    const pool = bench.create();
    const page = bench.take(pool, 1)[0]!;
    const cached = pool.cacheCount;
    pool.recycleDirect(page);
    expect([pool.cacheCount - cached, pool.ringCount()]).toEqual(HISTORY[preset].direct === "cache" ? [1, 0] : [0, 1]);
  });

  test("the stack's own pools", () => {
    expect(new PoolBench(preset).machine.systemPools.length).toBe(HISTORY[preset].system);
  });

  test("pages that a pool takes at once, and their node", () => {
    const bench = new PoolBench(preset);
    const pool = bench.create({ nid: 1 });
    const page = bench.softirq(0, () => pool.allocPages(GFP_ATOMIC))!;
    expect([pool.holdCnt, page.nid]).toEqual([HISTORY[preset].taken, HISTORY[preset].bulkNode]);
  });
});

test("the tracepoints' fields: whose, what, whether device memory, page frame, and the count with this one", () => {
  const bench = new PoolBench("6.18");
  const pool = bench.create({ order: 1, maxLen: 8192 });
  const page = bench.take(pool, 1)[0]!;
  bench.machine.mm.pages.getPage(page);
  pool.putFullNetmem(page, false);
  const ofDevice = bench.bind(bench.provider(1)) as PagePool;
  const niov = bench.takeNiov(ofDevice);
  ofDevice.putFullNetmem(niov, false);
  ofDevice.destroy();
  const pfn = `0x${page.pfn.toString(16)}`;
  expect(bench.trace("page_pool_state_hold", "page_pool_state_release").map((line) => line.replace(/netmem=\d+/, "netmem=N"))).toEqual([
    `page_pool_state_hold: page_pool=${pool.id} netmem=N is_net_iov=0 pfn=${pfn} hold=1`,
    `page_pool_state_release: page_pool=${pool.id} netmem=N is_net_iov=0 pfn=${pfn} release=1`,
    `page_pool_state_hold: page_pool=${ofDevice.id} netmem=N is_net_iov=1 pfn=0x0 hold=1`,
    `page_pool_state_release: page_pool=${ofDevice.id} netmem=N is_net_iov=1 pfn=0x0 release=1`,
  ]);
});
