import { expect, test } from "vitest";
import { GFP_ATOMIC, NET_IOV_DMABUF, PAGE_SIZE, type NetIov, type Netmem } from "@netmem/mm/api";
import { createKernel } from "@netmem/kernel";
import { createMm } from "@netmem/mm";
import { PP_FLAG_ALLOW_UNREADABLE_NETMEM, PP_FLAG_DMA_MAP, PP_FLAG_DMA_SYNC_DEV, type MemoryProvider } from "../src/api/index.ts";
import { PoolRig } from "./rig.ts";

function withProvider() {
  const rig = new PoolRig();
  const kernel = createKernel({ nrCpus: 1, seed: 1, reports: "collect" });
  const area = createMm(kernel, { nrPages: 1, extraBytes: 4 * PAGE_SIZE }).createNetIovArea("device", NET_IOV_DMABUF, 4, false);
  const free: NetIov[] = [...area.niovs];
  let destroyed = 0;
  const memoryProvider: MemoryProvider = {
    init: () => 0,
    allocNetmem: () => free.pop() ?? null,
    releaseNetmem: (_pool, netmem: Netmem) => {
      if (netmem.isNetIov) free.push(netmem);
      return false;
    },
    destroy: () => void destroyed++,
  };
  const pool = rig.create({ memoryProvider, flags: PP_FLAG_DMA_MAP | PP_FLAG_DMA_SYNC_DEV | PP_FLAG_ALLOW_UNREADABLE_NETMEM });
  return { rig, pool, free, destroyed: () => destroyed };
}

test("a provider's net_iovs are marked, mapped, counted, recycled and given back like pages", () => {
  const { pool, free, destroyed, rig } = withProvider();
  const niovs = [pool.allocNetmems(GFP_ATOMIC)!, pool.allocNetmems(GFP_ATOMIC)!];
  expect(niovs.every((niov) => niov.isNetIov && niov.pp === pool && niov.dmaAddr > 0)).toBe(true);
  expect([pool.holdCnt, free.length, pool.stats.slow]).toEqual([2, 2, 0]);
  for (const niov of niovs) pool.putFullNetmem(niov, false);
  expect([pool.stats.ring, pool.inflight()]).toEqual([2, 2]);
  pool.destroy();
  expect([pool.dead, free.length, destroyed(), rig.dma.liveMappings()]).toEqual([true, 4, 1, 0]);
});

test("pp-xdp row 15: a net_iov in the ring is never waived, whatever the node", () => {
  const { pool } = withProvider();
  const niov = pool.allocNetmems(GFP_ATOMIC)!;
  pool.putFullNetmem(niov, false);
  expect(pool.allocNetmems(GFP_ATOMIC)).toBe(niov);
  expect([pool.stats.waive, pool.stats.refill]).toEqual([0, 1]);
});

test("pp-xdp row 50: release_netmem answers false: released is counted, no page is put", () => {
  const { pool, rig, free } = withProvider();
  const niov = pool.allocNetmems(GFP_ATOMIC)!;
  const { frees } = rig.mm.pages.stats;
  pool.releaseNetmem(niov);
  expect([pool.releaseCnt, rig.mm.pages.stats.frees - frees, free.length]).toEqual([1, 0, 4]);
});

test("a provider's page that cannot be mapped is put when the provider says so", () => {
  const rig = new PoolRig({}, { aperturePages: 2 });
  rig.dma.mapPage(rig.mm.pages.allocPages(GFP_ATOMIC, 0, -1)!, 0, PAGE_SIZE, 2, 0);
  const free = rig.mm.pages.freePages();
  const memoryProvider: MemoryProvider = { init: () => 0, allocNetmem: () => rig.mm.pages.allocPages(GFP_ATOMIC, 0, -1), releaseNetmem: () => true, destroy: () => {} };
  const pool = rig.create({ memoryProvider, flags: PP_FLAG_DMA_MAP | PP_FLAG_DMA_SYNC_DEV | PP_FLAG_ALLOW_UNREADABLE_NETMEM });
  expect(pool.allocNetmems(GFP_ATOMIC)).toBeNull();
  expect([rig.mm.pages.freePages(), pool.inflight()]).toEqual([free, 0]);
});

test("an empty provider gives null; asking a device pool for a page is a report and loses nothing", () => {
  const { pool, rig } = withProvider();
  expect(pool.allocPages(GFP_ATOMIC)).toBeNull();
  expect(rig.kinds()).toEqual(["netmem-not-a-page"]);
  expect(pool.ringCount()).toBe(1);
  for (let i = 0; i < 4; i++) expect(pool.allocNetmems(GFP_ATOMIC)).not.toBeNull();
  expect(pool.allocNetmems(GFP_ATOMIC)).toBeNull();
});
