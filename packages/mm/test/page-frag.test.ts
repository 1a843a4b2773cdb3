import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  __GFP_DIRECT_RECLAIM, __GFP_MEMALLOC, __GFP_NOWARN, GFP_ATOMIC, GFP_KERNEL, NUMA_NO_NODE, PAGE_FRAG_CACHE_MAX_SIZE, PAGE_SIZE, pageIsPfmemalloc, type Page, type PageFragCache,
} from "../src/api/index.ts";
import { memory, usageErrorOf, type Memory } from "./helpers.ts";

const BIAS = PAGE_FRAG_CACHE_MAX_SIZE + 1;
/** Up to 6.12 fragments are cut from the end of their block downwards. */
const FORMS = [["6.13+", true], ["6.12", false]] as const;

interface Frag {
  readonly page: Page;
  readonly offset: number;
  readonly bytes: number;
}

function cut(mm: Memory, cache: PageFragCache, bytes: number, align = 1, gfp = GFP_ATOMIC): Frag {
  const offset = mm.frags.pageFragAllocAlign(cache, bytes, gfp, align);
  expect(offset).toBeGreaterThanOrEqual(0);
  return { page: cache.page!, offset, bytes };
}

function rig(fragsAscend: boolean, nrPages = 64): { readonly mm: Memory; readonly cache: PageFragCache } {
  const mm = memory({ nrPages, rules: { fragsAscend } });
  return { mm, cache: mm.frags.createCache() };
}

describe.each(FORMS)("page_frag_cache as in %s", (_name, ascends) => {
  test("skb-mm row 15: a new block has 32769 references and a bias of 32769; after k fragments the difference is k", () => {
    const { mm, cache } = rig(ascends);
    const { page } = cut(mm, cache, 100);
    expect([page.refcount, cache.pagecntBias, cache.order]).toEqual([BIAS, BIAS - 1, 3]);
    for (let k = 2; k < 20; k++) {
      cut(mm, cache, 100);
      expect(page.refcount - cache.pagecntBias).toBe(k);
    }
  });

  test("fragments lie side by side, in the order of this form", () => {
    const { mm, cache } = rig(ascends);
    const offsets = [cut(mm, cache, 1000), cut(mm, cache, 24), cut(mm, cache, 500)].map(({ offset }) => offset);
    expect(offsets).toEqual(ascends ? [0, 1000, 1024] : [31_768, 31_744, 31_244]);
  });

  test.each([1, 64, 4096])("a fragment is aligned to %i bytes", (align) => {
    const { mm, cache } = rig(ascends);
    for (let i = 0; i < 6; i++) expect(cut(mm, cache, 33 + i, align).offset % align).toBe(0);
  });

  test("skb-mm row 16: all fragments back before the block is used up: the same block again, from its start, or end", () => {
    const { mm, cache } = rig(ascends);
    const first = Array.from({ length: 32 }, () => cut(mm, cache, 1024));
    for (const { page } of first) mm.frags.pageFragFree(page);
    const again = cut(mm, cache, 1024);
    expect([again.page, again.offset]).toEqual([first[0]!.page, ascends ? 0 : 31_744]);
    expect([again.page.refcount, cache.pagecntBias]).toEqual([BIAS, BIAS - 1]);
    expect(mm.pages.stats.allocs).toBe(1);
  });

  test("skb-mm row 17: the same with a block from the reserves: it is freed, and another one taken", () => {
    const mm = memory({ nrPages: 64, minFreePages: 60, rules: { fragsAscend: ascends } });
    const cache = mm.frags.createCache();
    mm.ballast.leaveFree(10, NUMA_NO_NODE);
    const gfp = GFP_ATOMIC | __GFP_MEMALLOC;
    const first = cut(mm, cache, PAGE_SIZE, 1, gfp);
    // The large block was asked for without the reserves, so a single page came.
    expect([pageIsPfmemalloc(first.page), cache.pfmemalloc, cache.order]).toEqual([true, true, 0]);
    mm.frags.pageFragFree(first.page);
    const free = mm.pages.freePages();
    cut(mm, cache, PAGE_SIZE, 1, gfp);
    expect([mm.pages.stats.frees, mm.pages.freePages()]).toEqual([1, free]);
  });

  test("skb-mm row 18: one fragment alive when the block is used up: a new block, and the old one goes with that fragment", () => {
    const { mm, cache } = rig(ascends);
    const frags = Array.from({ length: 32 }, () => cut(mm, cache, 1024));
    const [kept, ...rest] = frags;
    for (const { page } of rest) mm.frags.pageFragFree(page);
    const next = cut(mm, cache, 1024);
    expect(next.page).not.toBe(kept!.page);
    expect([kept!.page.refcount, mm.pages.freePages()]).toEqual([1, 48]);
    mm.frags.pageFragFree(kept!.page);
    expect(mm.pages.freePages()).toBe(56);
  });

  test("skb-mm row 20: drained with k fragments out the block has k references, and goes with the last", () => {
    const { mm, cache } = rig(ascends);
    const frags = [cut(mm, cache, 10), cut(mm, cache, 10), cut(mm, cache, 10)];
    mm.frags.pageFragCacheDrain(cache);
    expect([frags[0]!.page.refcount, cache.page]).toEqual([3, null]);
    for (const { page } of frags) mm.frags.pageFragFree(page);
    expect(mm.pages.freePages()).toBe(64);
  });

  test("a drained cache, drained again, is nothing; used again, it takes a new block", () => {
    const { mm, cache } = rig(ascends);
    mm.frags.pageFragCacheDrain(cache);
    cut(mm, cache, 10);
    mm.frags.pageFragCacheDrain(cache);
    mm.frags.pageFragCacheDrain(cache);
    expect([mm.pages.freePages() + 8, mm.reports.total]).toEqual([64, 0]);
    expect(cut(mm, cache, 10).page.refcount).toBe(BIAS);
  });

  test("without a large block a single page serves, and without any page nothing does", () => {
    const { mm, cache } = rig(ascends);
    const pages = Array.from({ length: 64 }, () => mm.pages.allocPages(GFP_ATOMIC, 0, NUMA_NO_NODE)!);
    expect([mm.frags.pageFragAllocAlign(cache, 100, GFP_ATOMIC | __GFP_NOWARN, 1), cache.page]).toEqual([-1, null]);
    mm.pages.putPage(pages[0]!);
    expect([cut(mm, cache, 100).page, cache.order]).toEqual([pages[0], 0]);
  });

  test("a fragment is freed by any page of its block", () => {
    const { mm, cache } = rig(ascends);
    const { page } = cut(mm, cache, 9000);
    mm.frags.pageFragCacheDrain(cache);
    mm.frags.pageFragFree(mm.pages.pages[(page.base >> 12) + 2]!);
    expect(mm.pages.freePages()).toBe(64);
  });

  test.each([[0, 1], [PAGE_FRAG_CACHE_MAX_SIZE + 1, 1], [100, 3], [100, 0], [Number.NaN, 1]])("%d bytes aligned to %i are refused by name", (bytes, align) => {
    const { mm, cache } = rig(ascends);
    expect(usageErrorOf(() => mm.frags.pageFragAllocAlign(cache, bytes, GFP_ATOMIC, align))).toMatchObject({ package: "mm", option: "fragment bytes and alignment" });
  });

  test("property: references minus bias are the fragments that are out, none overlap, and all memory comes home", () => {
    const step = fc.record({ free: fc.boolean(), bytes: fc.oneof(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 1, max: 9000 })), align: fc.constantFrom(1, 8, 64, 256), at: fc.nat() });
    fc.assert(fc.property(fc.array(step, { maxLength: 150, size: "max" }), fc.integer({ min: 0, max: 40 }), (steps, held) => {
      const { mm, cache } = rig(ascends, 128);
      mm.ballast.leaveFree(128 - held, NUMA_NO_NODE);
      const out: Frag[] = [];
      for (const { free, bytes, align, at } of steps) {
        if (free && out.length > 0) mm.frags.pageFragFree(out.splice(at % out.length, 1)[0]!.page);
        else {
          const offset = mm.frags.pageFragAllocAlign(cache, bytes, GFP_ATOMIC | __GFP_NOWARN, align);
          if (offset >= 0) {
            const frag = { page: cache.page!, offset, bytes };
            expect([offset % align, offset + bytes <= PAGE_SIZE << cache.order]).toEqual([0, true]);
            for (const other of out) {
              if (other.page === frag.page) expect(frag.offset >= other.offset + other.bytes || other.offset >= frag.offset + frag.bytes).toBe(true);
            }
            out.push(frag);
          }
        }
        const blocks = new Set(out.map(({ page }) => page));
        if (cache.page !== null) blocks.add(cache.page);
        for (const page of blocks) {
          const alive = out.filter((frag) => frag.page === page).length;
          expect(page.refcount).toBe(alive + (page === cache.page ? cache.pagecntBias : 0));
        }
      }
      mm.frags.pageFragCacheDrain(cache);
      for (const { page } of out) mm.frags.pageFragFree(page);
      mm.ballast.release();
      expect([mm.pages.freePages(), mm.reports.total]).toEqual([128, 0]);
    }));
  });
});

describe("more than a page", () => {
  test("skb-mm row 19: from 6.13 a fragment of more than a page that does not fit is refused, and the cache is as before", () => {
    const { mm, cache } = rig(true);
    cut(mm, cache, 30_000);
    const before = { ...cache };
    expect(mm.frags.pageFragAllocAlign(cache, PAGE_SIZE + 1, GFP_ATOMIC, 1)).toBe(-1);
    expect({ ...cache }).toEqual(before);
    expect(cut(mm, cache, 2000).offset).toBe(30_000);
  });

  test("up to 6.12 the block is given up first, and the next one serves it", () => {
    const { mm, cache } = rig(false);
    const first = cut(mm, cache, 30_000);
    expect(cut(mm, cache, PAGE_SIZE + 1).page).not.toBe(first.page);
  });

  test("up to 6.12 it is refused only where the block itself is smaller", () => {
    const { mm, cache } = rig(false);
    const pages = Array.from({ length: 64 }, () => mm.pages.allocPages(GFP_ATOMIC, 0, NUMA_NO_NODE)!);
    mm.pages.putPage(pages[9]!);
    expect(mm.frags.pageFragAllocAlign(cache, PAGE_SIZE + 1, GFP_ATOMIC | __GFP_NOWARN, 1)).toBe(-1);
    expect([cache.page, cache.pagecntBias]).toEqual([pages[9], BIAS]);
  });
});

test.each([[false, 0], [true, 1]])("a refill reclaims for its large block: %s (6.1 does, if the caller may)", (fragRefillReclaims, reclaims) => {
  const mm = memory({ rules: { fragRefillReclaims } });
  mm.ballast.leaveFree(7, NUMA_NO_NODE);
  cut(mm, mm.frags.createCache(), 100, 1, GFP_KERNEL | __GFP_DIRECT_RECLAIM);
  expect(mm.pages.stats.directReclaims).toBe(reclaims);
});
