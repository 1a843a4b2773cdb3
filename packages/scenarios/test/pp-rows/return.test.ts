import { expect } from "vitest";
import { NSEC_PER_SEC } from "@netmem/kernel/api";
import { DMA_BIDIRECTIONAL, GFP_ATOMIC, PAGE_PFMEMALLOC_BIT, netmemPfnTrace, type DmaDevice, type Netmem, type Page } from "@netmem/mm/api";
import { PoolBench, refs } from "./pool-bench.ts";
import { BEFORE_6_18, FRAG_COUNT, NO_FRAGMENTS, row } from "./row.ts";

row(17, "direct into a cache of 127: cached; once more: cache_full and ring", (bench) => {
  const pool = bench.create();
  const pages = bench.take(pool, 192);
  bench.putDirect(pool, ...pages.slice(0, 127));
  bench.putDirect(pool, pages[127]!);
  expect(pool.recycleStats).toMatchObject({ cached: 128, cacheFull: 0, ring: 0 });
  bench.putDirect(pool, pages[128]!);
  expect(pool.recycleStats).toMatchObject({ cached: 128, cacheFull: 1, ring: 1 });
});

row(18, "a second page reference: released_refcnt, unmapped, reference 1 left", (bench) => {
  const pool = bench.create();
  const page = bench.take(pool, 1)[0]!;
  bench.machine.mm.pages.getPage(page);
  bench.putDirect(pool, page);
  expect([pool.recycleStats.releasedRefcnt, bench.dma.stats.unmaps, page.refcount, page.pp, page.ppMagic, page.signature]).toEqual([1, 1, 1, null, 0, 0]);
});

row(19, "from the reserves, reference 1: released_refcnt, and freed", (bench) => {
  const pool = bench.create();
  const page = bench.take(pool, 1)[0]!;
  page.ppMagic |= PAGE_PFMEMALLOC_BIT;
  const free = bench.freePages();
  bench.putDirect(pool, page);
  expect([pool.recycleStats.releasedRefcnt, bench.freePages() - free, page.refcount]).toEqual([1, 1, 0]);
});

row(20, "ring full and not direct: ring_full, released, freed", (bench) => {
  const pool = bench.create({ poolSize: 1 });
  const [first, second] = bench.take(pool, 2);
  pool.putFullNetmem(first!, false);
  pool.putFullNetmem(second!, false);
  expect([pool.recycleStats, pool.releaseCnt, second!.refcount]).toMatchObject([{ ring: 1, ringFull: 1 }, 1, 0]);
});

row(21, "not told direct, but in softirq on the pool's CPU: cached", (bench) => {
  const pool = bench.create({ napi: null }, 1);
  const [page, other] = bench.take(pool, 2);
  bench.softirq(1, () => pool.putFullNetmem(page!, false));
  expect(pool.recycleStats).toMatchObject({ cached: 1, ring: 0 });
  bench.softirq(0, () => pool.putFullNetmem(other!, false));
  expect(pool.recycleStats).toMatchObject({ cached: 1, ring: 1 });
}, {
  presets: BEFORE_6_18, why: "no pool has a CPU before 6.9", body: (bench) => {
    const pool = bench.create({ napi: null }, 1);
    const page = bench.take(pool, 1)[0]!;
    bench.softirq(1, () => pool.putFullNetmem(page, false));
    expect(pool.recycleStats).toMatchObject({ cached: 0, ring: 1 });
  },
});

row(22, "the same on PREEMPT_RT, or in process context: ring; and whoever says that it is the consumer is still believed", (bench, preset) => {
  const pool = bench.create({ napi: null }, 0);
  pool.putFullNetmem(bench.take(pool, 1)[0]!, false);
  expect(pool.recycleStats).toMatchObject({ cached: 0, ring: 1 });
  const rt = new PoolBench(preset, { preemptRt: true });
  const rtPool = rt.create({ napi: null }, 0);
  const [page, told] = rt.take(rtPool, 2);
  rt.softirq(0, () => rtPool.putFullNetmem(page!, false));
  expect(rtPool.recycleStats).toMatchObject({ cached: 0, ring: 1 });
  rt.putDirect(rtPool, told!);
  expect(rtPool.recycleStats).toMatchObject({ cached: 1, ring: 1 });
  const usual = new PoolBench(preset);
  const usualPool = usual.create({ napi: null }, 0);
  usual.softirq(0, () => usualPool.putFullNetmem(usualPool.allocPages(GFP_ATOMIC)!, false));
  expect(usualPool.recycleStats.cached).toBe(preset === "6.18" ? 1 : 0);
});

/** Puts while the pool's NAPI is on a CPU's list: as anybody, and as skb frees do. */
function napiOn(bench: PoolBench, owner: number, cpu: number): { readonly plain: number; readonly freed: number } {
  const pool = bench.create();
  const [a, b] = bench.take(pool, 2);
  bench.napi.listOwner = owner;
  bench.softirq(cpu, () => pool.putFullNetmem(a!, false));
  const plain = pool.recycleStats.cached;
  bench.softirq(cpu, () => pool.returnSkbNetmem(b!, false));
  bench.napi.listOwner = -1;
  return { plain, freed: pool.recycleStats.cached - plain };
}

row(23, "its NAPI on another CPU's list: ring; on this one's: cached", (bench) => {
  expect(napiOn(bench, 1, 0)).toEqual({ plain: 0, freed: 0 });
  expect(napiOn(bench, 1, 1)).toEqual({ plain: 1, freed: 1 });
}, {
  presets: ["6.8"], why: "from 6.4 to 6.9 only the pages of a freed skb are asked about", body: (bench) => {
    expect(napiOn(bench, 1, 0)).toEqual({ plain: 0, freed: 0 });
    expect(napiOn(bench, 1, 1)).toEqual({ plain: 0, freed: 1 });
  },
}, {
  presets: ["stock", "v3-2021", "5.14", "6.1"], why: "before 6.4 nobody asks", body: (bench) => {
    expect(napiOn(bench, 1, 1)).toEqual({ plain: 0, freed: 0 });
  },
});

row(24, "with pp_ref_count 3 two puts only count; the third recycles, and the count reads 1", (bench) => {
  const pool = bench.create();
  const page = bench.take(pool, 1)[0]!;
  pool.refNetmem(page);
  pool.refNetmem(page);
  expect(refs(page)).toBe("1/3");
  const before = { ...pool.recycleStats };
  pool.putFullNetmem(page, false);
  pool.putFullNetmem(page, false);
  expect([refs(page), pool.recycleStats]).toEqual(["1/1", before]);
  pool.putFullNetmem(page, false);
  expect([refs(page), pool.recycleStats.ring]).toEqual(["1/1", 1]);
}, {
  presets: FRAG_COUNT, why: "holders are counted for fragments alone, and a further one is a page reference", body: (bench) => {
    const pool = bench.create();
    const [page, shared] = bench.take(pool, 2);
    pool.fragmentNetmem(page!, 3);
    for (let i = 0; i < 3; i++) pool.putFullNetmem(page!, false);
    expect([refs(page!), pool.recycleStats.ring]).toEqual(["1/1", 1]);
    pool.refNetmem(shared!);
    expect(refs(shared!)).toBe("2/1");
  },
}, {
  presets: NO_FRAGMENTS, why: "there is no such count: a further holder is a page reference, and the first put releases", body: (bench) => {
    const pool = bench.create();
    const page = bench.take(pool, 1)[0]!;
    pool.refNetmem(page);
    expect(refs(page)).toBe("2/1");
    pool.putFullNetmem(page, false);
    expect([pool.recycleStats.releasedRefcnt, page.refcount]).toEqual([1, 1]);
  },
});

row(25, "an over-put below zero is reported: a fragment put twice, when its page is drained", (bench) => {
  const pool = bench.create();
  const frag = bench.pagePools.createFrag();
  const page = bench.softirq(0, () => pool.allocFrag(frag, 3000, 0)!);
  pool.putFullNetmem(page, false);
  pool.putFullNetmem(page, false);
  expect(bench.kinds()).toEqual([]);
  bench.softirq(0, () => pool.allocFrag(frag, 3000, 0));
  expect([bench.kinds(), page.ppRefCount]).toEqual([["pp-ref-underflow"], -1]);
}, {
  presets: NO_FRAGMENTS, why: "there is no count to go below zero: a second put is seen by the pool", body: (bench) => {
    const pool = bench.create();
    const page = bench.take(pool, 1)[0]!;
    pool.putFullNetmem(page, false);
    pool.putFullNetmem(page, false);
    expect([bench.kinds(), pool.ringCount()]).toEqual([["pp-double-put"], 1]);
  },
});

row(26, "a bulk of 16 into a ring with 5 free: ring 5, ring_full 1, released 11", (bench) => {
  const pool = bench.create({ poolSize: 16 });
  const pages = bench.take(pool, 27);
  for (const page of pages.slice(0, 11)) pool.putFullNetmem(page, false);
  const before = { ...pool.recycleStats };
  const free = bench.freePages();
  pool.putNetmemBulk(pages.slice(11), 16);
  expect([pool.recycleStats.ring - before.ring, pool.recycleStats.ringFull, pool.releaseCnt, bench.freePages() - free]).toEqual([5, 1, 11, 11]);
});

/** By number: whole pages are too much to compare, or to print. */
const pfns = (netmems: readonly Netmem[]): number[] => netmems.map(netmemPfnTrace);

row(27, "a bulk that mixes pools A and B: each page lands in its own, one batch each", (bench) => {
  const [a, b] = [bench.create({ poolSize: 3 }), bench.create({ poolSize: 100 })];
  const [ofA, ofB] = [bench.take(a, 8), bench.take(b, 8)];
  const mixed = ofA.flatMap((page, i) => [page, ofB[i]!]);
  b.putNetmemBulk(mixed, 16);
  expect([a.recycleStats, pfns(a.ringItems()), a.releaseCnt]).toMatchObject([{ ring: 3, ringFull: 1 }, pfns(ofA.slice(0, 3)), 5]);
  expect([b.recycleStats, pfns(b.ringItems()), b.releaseCnt]).toMatchObject([{ ring: 8, ringFull: 0 }, pfns(ofB), 0]);
  expect(bench.kinds()).toEqual([]);
}, {
  presets: BEFORE_6_18, why: "before 6.14 all entries of a bulk are one pool's: another's is reported, and stays with its holder", body: (bench) => {
    const [a, b] = [bench.create(), bench.create()];
    const [ofA, ofB] = [bench.take(a, 1)[0]!, bench.take(b, 1)[0]!];
    b.putNetmemBulk([ofA, ofB], 2);
    expect([bench.kinds(), a.ringCount(), pfns(b.ringItems()), a.inflight()]).toEqual([["pp-foreign-put"], 0, [ofB.pfn], a.holdCnt]);
    a.putFullNetmem(ofA, false);
    expect(pfns(a.ringItems())).toEqual([ofA.pfn]);
  },
});

row(28, "a bulk entry with pp_ref_count 2 is only counted down", (bench) => {
  const pool = bench.create();
  const [shared, single] = bench.take(pool, 2);
  pool.fragmentNetmem(shared!, 2);
  pool.putNetmemBulk([shared!, single!], 2);
  expect([refs(shared!), pfns(pool.ringItems())]).toEqual(["1/1", [single!.pfn]]);
  pool.putNetmemBulk([shared!], 1);
  expect(pfns(pool.ringItems())).toEqual(pfns([single!, shared!]));
}, {
  presets: NO_FRAGMENTS, why: "a second holder is a page reference: the entry is released", body: (bench) => {
    const pool = bench.create();
    const [shared, single] = bench.take(pool, 2);
    pool.refNetmem(shared!);
    pool.putNetmemBulk([shared!, single!], 2);
    expect([pool.recycleStats.releasedRefcnt, shared!.refcount, pfns(pool.ringItems())]).toEqual([1, 1, [single!.pfn]]);
  },
});

/** The device, and every sync for it: offset and bytes. */
function listening(dma: DmaDevice): { readonly dma: DmaDevice; readonly synced: number[][] } {
  const synced: number[][] = [];
  const proxy = new Proxy(dma, {
    get: (target, name: keyof DmaDevice) => {
      if (name === "syncForDevice") return (_addr: number, offset: number, bytes: number) => void synced.push([offset, bytes]);
      const member = target[name];
      return typeof member === "function" ? (member as (...args: unknown[]) => unknown).bind(target) : member;
    },
  });
  return { dma: proxy, synced };
}

row(29, "put with length 100 of max_len 2000 syncs 100 at the offset; -1 syncs 2000", (bench) => {
  const { dma, synced } = listening(bench.dma);
  const pool = bench.create({ dev: dma, maxLen: 2000, offset: 256 });
  const [a, b, c] = bench.take(pool, 3);
  synced.length = 0;
  pool.putNetmem(a!, 100, false);
  pool.putNetmem(b!, -1, false);
  pool.putNetmem(c!, 5000, false);
  expect(synced).toEqual([[256, 100], [256, 2000], [256, 2000]]);
});

row(30, "a device that needs no sync is never asked to", (_bench, preset) => {
  const bench = new PoolBench(preset, {}, true);
  const pool = bench.create();
  pool.putFullNetmem(bench.take(pool, 1)[0]!, false);
  expect(bench.dma.stats.syncs).toBe(0);
}, {
  presets: BEFORE_6_18, why: "before 6.10 the pool does not ask: the call is made, and does nothing", body: (_bench, preset) => {
    const bench = new PoolBench(preset, {}, true);
    const { dma, synced } = listening(bench.dma);
    const pool = bench.create({ dev: dma });
    pool.putFullNetmem(bench.take(pool, 1)[0]!, false);
    expect(synced).toHaveLength(pool.holdCnt + 1);
  },
});

row(31, "a released page is not synced, and unmapped exactly once", (bench) => {
  const pool = bench.create({ dmaDir: DMA_BIDIRECTIONAL });
  const page = bench.take(pool, 1)[0]!;
  const { syncs } = bench.dma.stats;
  bench.machine.mm.pages.getPage(page);
  bench.putDirect(pool, page);
  pool.destroy();
  bench.machine.kernel.scheduler.runFor(NSEC_PER_SEC);
  expect([bench.dma.stats.syncs - syncs, bench.dma.stats.unmaps - bench.dma.stats.maps, bench.dma.liveMappings()]).toEqual([0, 0, 0]);
});

row(32, "a page recycled 1000 times: one map, no unmap, hold unchanged", (bench) => {
  const pool = bench.create();
  let page: Netmem = bench.take(pool, 1)[0]!;
  const { holdCnt } = pool;
  const { maps } = bench.dma.stats;
  for (let i = 0; i < 1000; i++) {
    bench.putDirect(pool, page);
    page = bench.take(pool, 1)[0] as Page;
  }
  expect([bench.dma.stats.maps, bench.dma.stats.unmaps, pool.holdCnt, pool.recycleStats.cached]).toEqual([maps, 0, holdCnt, 1000]);
});
