import { expect, test } from "vitest";
import { GFP_ATOMIC, NUMA_NO_NODE, PAGE_PFMEMALLOC_BIT, __GFP_MEMALLOC, PP_MAGIC_MASK, PP_SIGNATURE, type Page } from "@netmem/mm/api";
import { PP_FLAG_DMA_MAP } from "../src/api/index.ts";
import { PoolRig, refs } from "./rig.ts";

test("pp-xdp row 7: the first allocation of a new pool takes 64 pages and leaves 63 in the cache; the next 63 are fast", () => {
  const rig = new PoolRig();
  const pool = rig.create();
  const page = rig.take(pool, 1)[0]!;
  expect(pool.stats).toMatchObject({ empty: 1, slow: 1, fast: 0 });
  expect([pool.holdCnt, pool.cacheCount]).toEqual([64, 63]);
  rig.take(pool, 63);
  expect(pool.stats).toMatchObject({ empty: 1, slow: 1, fast: 63 });
  expect([refs(page), page.pp, page.ppMagic & PP_MAGIC_MASK]).toEqual(["1/1", pool, PP_SIGNATURE]);
  expect(rig.events.slice(0, 64)).toEqual(Array.from({ length: 64 }, (_, i) => `hold ${i + 1}`));
});

test("pp-xdp row 8: a bulk of 10 of which 3 cannot be mapped holds 7, leaves 6 in the cache, and puts the 3", () => {
  const rig = new PoolRig({}, { aperturePages: 10 });
  rig.bulkLimit = 10;
  // I/O page 0 is never used and one of ten is kept for blocks: 8 single pages, one of them taken already.
  const other = rig.mm.pages.allocPages(GFP_ATOMIC, 0, -1)!;
  rig.dma.mapPage(other, 0, 4096, 2, 0);
  const free = rig.mm.pages.freePages();
  const pool = rig.create();
  expect(rig.take(pool, 1)[0]).not.toBeNull();
  expect([pool.holdCnt, pool.stats.slow, pool.cacheCount]).toEqual([7, 1, 6]);
  expect(free - rig.mm.pages.freePages()).toBe(7);
});

test("pp-xdp row 9: when no page can be mapped there is none; nothing is counted and nothing is in flight", () => {
  const rig = new PoolRig({}, { aperturePages: 2 });
  // Another user has the only I/O page there is: page 0 is never used.
  rig.dma.mapPage(rig.mm.pages.allocPages(GFP_ATOMIC, 0, -1)!, 0, 4096, 2, 0);
  const pool = rig.create();
  const free = rig.mm.pages.freePages();
  expect(pool.allocPages(GFP_ATOMIC)).toBeNull();
  expect([pool.holdCnt, pool.stats.slow, pool.inflight(), rig.mm.pages.freePages()]).toEqual([0, 0, 0, free]);
});

test("pp-xdp row 10: order 2 counts slow_high_order, not slow, and one hold for each call", () => {
  const rig = new PoolRig();
  const pool = rig.create({ order: 2 });
  const page = rig.take(pool, 1)[0]!;
  rig.take(pool, 1);
  expect(pool.stats).toMatchObject({ slowHighOrder: 2, slow: 0 });
  expect([pool.holdCnt, page.order, page.head]).toEqual([2, 2, page]);
});

/** A pool with an empty cache and `n` pages in its ring, first put first. */
function withRing(n: number) {
  const rig = new PoolRig();
  const pool = rig.create();
  const pages = rig.take(pool, Math.ceil(n / 64) * 64);
  for (const page of pages.slice(0, n)) pool.putFullNetmem(page, false);
  return { rig, pool, pages };
}

test("pp-xdp row 11: a refill from a ring of 100 serves one, leaves 63 in the cache and 36 in the ring", () => {
  const { rig, pool } = withRing(100);
  rig.take(pool, 1);
  expect([pool.stats.refill, pool.cacheCount, pool.ringCount()]).toEqual([1, 63, 36]);
});

test("pp-xdp row 12: of a refill the 64th page consumed is handed out, not the first", () => {
  const { rig, pool, pages } = withRing(100);
  expect(rig.take(pool, 1)[0]).toBe(pages[63]);
});

/** The same page as if it lay on another memory node. */
function moveToNode(page: Page, nid: number): void {
  (page as { nid: number }).nid = nid;
}

test("pp-xdp row 13: a foreign first page in the ring is waived and released, and the slow path serves", () => {
  const { rig, pool, pages } = withRing(1);
  moveToNode(pages[0]!, 1);
  const slow = pool.stats.slow;
  rig.take(pool, 1);
  expect(pool.stats).toMatchObject({ waive: 1, refill: 0, slow: slow + 1 });
  expect(pool.releaseCnt).toBe(1);
});

test("pp-xdp row 14: three local pages, then a foreign one: waived, refilled, two left in the cache", () => {
  const { rig, pool, pages } = withRing(5);
  moveToNode(pages[3]!, 1);
  expect(rig.take(pool, 1)[0]).toBe(pages[2]);
  expect([pool.stats.waive, pool.stats.refill, pool.cacheCount, pool.ringCount()]).toEqual([1, 1, 2, 1]);
});

test("pp-xdp row 16: a page whose pfmemalloc bit is set before stamping is still the pool's", () => {
  const rig = new PoolRig({}, { minFreePages: 64 });
  const pool = rig.create();
  rig.mm.ballast.leaveFree(20, NUMA_NO_NODE);
  const page = pool.allocPages(GFP_ATOMIC | __GFP_MEMALLOC)!;
  expect(page.ppMagic).toBe(PP_SIGNATURE | PAGE_PFMEMALLOC_BIT);
  expect(page.ppMagic & PP_MAGIC_MASK).toBe(PP_SIGNATURE);
});

test("a pool without DMA_MAP maps nothing", () => {
  const rig = new PoolRig();
  const pool = rig.create({ flags: 0, dev: null });
  expect(rig.take(pool, 1)[0]!.dmaAddr).toBe(0);
  expect(rig.dma.stats.maps).toBe(0);
});

test("mapping a page syncs max_len for the device, unless the device needs no syncs", () => {
  for (const coherent of [false, true]) {
    const rig = new PoolRig({}, { coherent });
    rig.take(rig.create({ maxLen: 2000 }), 1);
    expect([rig.dma.stats.maps, rig.dma.stats.syncs]).toEqual([64, coherent ? 0 : 64]);
  }
  const unsynced = new PoolRig();
  unsynced.take(unsynced.create({ flags: PP_FLAG_DMA_MAP }), 1);
  expect(unsynced.dma.stats.syncs).toBe(0);
});

test("no memory at all: null, nothing counted as slow", () => {
  const rig = new PoolRig();
  rig.bulkLimit = 0;
  const pool = rig.create();
  expect(pool.allocPages(GFP_ATOMIC)).toBeNull();
  expect([pool.stats.slow, pool.stats.empty, pool.inflight()]).toEqual([0, 1, 0]);
});
