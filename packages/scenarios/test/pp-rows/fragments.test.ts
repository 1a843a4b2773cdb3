import { expect } from "vitest";
import { GFP_ATOMIC, PAGE_SIZE, type Page } from "@netmem/mm/api";
import { BIAS_MAX, ppRefCountWord, type PagePool } from "@netmem/page-pool/api";
import type { PoolBench } from "./pool-bench.ts";
import { NO_FRAGMENTS, row, type Otherwise } from "./row.ts";

/** One fragment: the page, and where in it. */
function cut(bench: PoolBench, pool: PagePool, sizeBytes: number): { readonly page: Page; readonly offset: number } {
  const frag = bench.pagePools.createFrag();
  const page = bench.softirq(0, () => pool.allocFrag(frag, sizeBytes, GFP_ATOMIC));
  if (page === null) throw new Error("no fragment");
  return { page, offset: frag.offset };
}

const none: Otherwise = {
  presets: NO_FRAGMENTS, why: "fragments came with 5.15: none is given, and it is said", body: (bench) => {
    const pool = bench.create();
    expect(bench.softirq(0, () => pool.allocFrag(bench.pagePools.createFrag(), 1000, GFP_ATOMIC))).toBeNull();
    expect([bench.pagePools.hasFragments, bench.kinds(), pool.holdCnt, pool.fragPage]).toEqual([false, ["pp-no-fragments"], 0, null]);
  },
};

row(33, "size 1000, cache lines of 64: offsets 0, 1024, 2048, 3072, then a new page at 0", (bench) => {
  const pool = bench.create();
  const frags = Array.from({ length: 5 }, () => cut(bench, pool, 1000));
  expect(frags.map(({ offset }) => offset)).toEqual([0, 1024, 2048, 3072, 0]);
  expect(frags.map(({ page }) => page === frags[0]!.page)).toEqual([true, true, true, true, false]);
}, none);

row(34, "after the first fragment pp_ref_count is BIAS_MAX; after the drain, with n users left, n", (bench) => {
  const pool = bench.create();
  const { page } = cut(bench, pool, 1024);
  expect([ppRefCountWord(page), BIAS_MAX]).toEqual([4_611_686_018_427_387_903n, 4_611_686_018_427_387_903n]);
  for (let i = 0; i < 3; i++) cut(bench, pool, 1024);
  pool.putFullNetmem(page, false);
  expect([ppRefCountWord(page), pool.fragUsers]).toEqual([BIAS_MAX - 1n, 4]);
  cut(bench, pool, 1024);
  expect([ppRefCountWord(page), pool.fragUsers]).toEqual([3n, 1]);
}, none);

/** A full page of fragments, all of them freed, and then one more asked for. */
function freedBeforeDrain(bench: PoolBench, references: number) {
  const pool = bench.create();
  const frags = Array.from({ length: 4 }, () => cut(bench, pool, 1024));
  const { page } = frags[0]!;
  for (const frag of frags) pool.putFullNetmem(frag.page, false);
  for (let i = 1; i < references; i++) bench.machine.mm.pages.getPage(page);
  const before = { alloc: { ...pool.allocStats }, recycle: { ...pool.recycleStats }, released: pool.releaseCnt, syncs: bench.dma.stats.syncs };
  const next = cut(bench, pool, 1024);
  return { pool, page, next, before };
}

row(35, "all fragments freed before the drain, reference 1: the page is used again in place; cached and fast", (bench) => {
  const { pool, page, next, before } = freedBeforeDrain(bench, 1);
  expect([next.page === page, next.offset, ppRefCountWord(page)]).toEqual([true, 0, BIAS_MAX]);
  expect([pool.allocStats.fast - before.alloc.fast, pool.recycleStats.cached - before.recycle.cached, bench.dma.stats.syncs - before.syncs]).toEqual([1, 1, 1]);
}, none, {
  presets: ["6.1", "6.8"], why: "up to 6.12 only fast is counted, and for each further fragment of a page as well", body: (bench) => {
    const { pool, page, next, before } = freedBeforeDrain(bench, 1);
    expect([next.page === page, before.alloc.fast, pool.allocStats.fast, pool.recycleStats.cached]).toEqual([true, 3, 4, 0]);
  },
});

row(36, "the same with reference 2: released, released_refcnt unchanged, and a new page", (bench) => {
  const { pool, page, next, before } = freedBeforeDrain(bench, 2);
  expect([next.page === page, pool.releaseCnt - before.released, pool.recycleStats, page.refcount]).toEqual([false, 1, before.recycle, 1]);
}, none);

row(37, "a fragment larger than the page is reported, and none", (bench) => {
  const pool = bench.create();
  for (const size of [4097, 0, -64, Number.NaN]) {
    expect(bench.softirq(0, () => pool.allocFrag(bench.pagePools.createFrag(), size, GFP_ATOMIC))).toBeNull();
  }
  expect([bench.kinds(), pool.holdCnt]).toEqual([["pp-frag-size", "pp-frag-size", "pp-frag-size", "pp-frag-size"], 0]);
  expect(cut(bench, bench.create({ order: 1, maxLen: 8192 }), 4097).offset).toBe(0);
}, none);

/** Page or fragment, as `page_pool_alloc` decides. */
function alloc(bench: PoolBench, pool: PagePool, sizeBytes: number): { readonly page: Page | null; readonly offset: number; readonly sizeBytes: number } {
  const frag = bench.pagePools.createFrag();
  frag.sizeBytes = sizeBytes;
  const page = bench.softirq(0, () => pool.alloc(frag, GFP_ATOMIC));
  return { page, offset: frag.offset, sizeBytes: frag.sizeBytes };
}

row(38, "alloc of 2049 of 4096: the whole page, size 4096", (bench) => {
  const pool = bench.create();
  const { page, offset, sizeBytes } = alloc(bench, pool, 2049);
  expect([offset, sizeBytes, page!.ppRefCount, pool.fragPage]).toEqual([0, 4096, 1, null]);
  const half = alloc(bench, pool, 2048);
  expect([half.page === null, half.sizeBytes]).toEqual([false, 2048]);
}, {
  presets: NO_FRAGMENTS, why: "the whole page is given as well, but no half of one", body: (bench) => {
    const pool = bench.create();
    const { page, offset, sizeBytes } = alloc(bench, pool, 2049);
    expect([offset, sizeBytes, page!.ppRefCount, alloc(bench, pool, 2048).page]).toEqual([0, 4096, 1, null]);
  },
});

row(39, "a tail too small for another: the last fragment's size covers it, and frag_offset is 4096", (bench) => {
  const pool = bench.create();
  const sizes = [1500, 1500].map((size) => alloc(bench, pool, size));
  expect(sizes.map(({ offset, sizeBytes }) => [offset, sizeBytes])).toEqual([[0, 1500], [1536, 2560]]);
  expect([pool.fragOffset, pool.fragUsers]).toEqual([PAGE_SIZE, 2]);
  expect(alloc(bench, pool, 1500).offset).toBe(0);
}, none);

row(40, "update_nid empties the cache alone; the trace shows the old node; the ring is as it was", (bench) => {
  const pool = bench.create({ nid: 0 });
  const pages = bench.take(pool, 4);
  bench.putDirect(pool, pages[0]!);
  pool.putFullNetmem(pages[1]!, false);
  const { releaseCnt, cacheCount } = pool;
  const before = { ...pool.recycleStats };
  pool.nidChanged(0);
  expect(bench.trace("page_pool_update_nid")).toEqual([]);
  pool.nidChanged(1);
  expect([pool.cacheCount, pool.ringCount(), pool.releaseCnt - releaseCnt, pool.nid, pool.recycleStats]).toEqual([0, 1, cacheCount, 1, before]);
  expect(bench.trace("page_pool_update_nid")).toEqual([`page_pool_update_nid: page_pool=${pool.id} pool_nid=0 new_nid=1`]);
});
