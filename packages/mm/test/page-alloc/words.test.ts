import { describe, expect, test } from "vitest";
import {
  __GFP_COMP, GFP_ATOMIC, GFP_KERNEL, NUMA_NO_NODE, PAGE_VIEWS, PAGE_VIEW_BUDDY, PAGE_VIEW_MAPPING, PAGE_VIEW_PAGE_POOL, PAGE_VIEW_PAGE_POOL_V3, PAGE_VIEW_PCP, PAGE_VIEW_PRIVATE,
  PAGE_VIEW_SLAB, PAGE_VIEW_TAIL, PP_SIGNATURE, UNION_WORDS, type Page,
} from "../../src/api/index.ts";
import { kinds, memory, type Memory } from "../helpers.ts";
import { allocator } from "./rig.ts";

function pageOf(mm: Memory): Page {
  return mm.pages.allocPages(GFP_KERNEL, 0, NUMA_NO_NODE)!;
}

function owners(mm: Memory, page: Page): number[] {
  return Array.from({ length: UNION_WORDS }, (_, i) => mm.words.ownerOf(page, i + 1));
}

describe("the union words of struct page", () => {
  test("a free page's words are the buddy allocator's, or a per-CPU list's; a page in use has none taken", () => {
    const { pages, words } = allocator({ nrPages: 64, minFreePages: 0, pcp: { batch: 4, high: 16 } });
    const page = pages.allocPages(GFP_ATOMIC, 0, NUMA_NO_NODE)!;
    const of = (index: number): number[] => [1, 2, 3, 4, 5].map((word) => words.ownerOf(pages.pages[index]!, word));
    expect(of(0)).toEqual([0, 0, 0, 0, 0]);
    expect(of(1)).toEqual([PAGE_VIEW_PCP, PAGE_VIEW_PCP, 0, 0, 0]);
    expect(of(32)).toEqual([PAGE_VIEW_BUDDY, PAGE_VIEW_BUDDY, 0, 0, PAGE_VIEW_BUDDY]);
    pages.putPage(page);
    expect(of(0)).toEqual([PAGE_VIEW_PCP, PAGE_VIEW_PCP, 0, 0, 0]);
  });

  test("views whose words lie apart live side by side: a mapping and page_private", () => {
    const mm = memory();
    const page = pageOf(mm);
    expect([mm.words.claim(page, PAGE_VIEW_MAPPING), mm.words.claim(page, PAGE_VIEW_PRIVATE)]).toEqual([true, true]);
    expect(owners(mm, page)).toEqual([7, 7, 7, 7, 8]);
    mm.words.release(page, PAGE_VIEW_MAPPING);
    expect(owners(mm, page)).toEqual([0, 0, 0, 0, 8]);
  });

  test("the seed's idea, mem_info in private, and a pool pointer in word 2, do not bear each other's words 4 and 5", () => {
    const mm = memory();
    const page = pageOf(mm);
    mm.words.claim(page, PAGE_VIEW_PAGE_POOL_V3);
    expect(mm.words.claim(page, PAGE_VIEW_PAGE_POOL)).toBe(false);
    expect(mm.reports.reports).toMatchObject([{
      kind: "page-word-claim", object: "page pfn 0x400", owner: "page_pool v3",
      message: "word 4 is dma_addr of page_pool v3, and page_pool would write dma_addr over it",
    }]);
    expect(owners(mm, page)).toEqual([0, 0, 0, PAGE_VIEW_PAGE_POOL_V3, PAGE_VIEW_PAGE_POOL_V3]);
  });

  test.each([PAGE_VIEW_MAPPING, PAGE_VIEW_PRIVATE, PAGE_VIEW_SLAB])("a pool that takes a page under view %i is told which word is whose, and takes none", (view) => {
    const mm = memory();
    const page = pageOf(mm);
    mm.words.claim(page, view);
    const before = owners(mm, page);
    expect([mm.words.claim(page, PAGE_VIEW_PAGE_POOL), kinds(mm.reports), owners(mm, page)]).toEqual([false, ["page-word-claim"], before]);
  });

  test("a pool on a tail would overwrite compound_head: report", () => {
    const mm = memory();
    mm.pages.allocPages(GFP_KERNEL | __GFP_COMP, 2, NUMA_NO_NODE);
    expect(mm.words.claim(mm.pages.pages[1]!, PAGE_VIEW_PAGE_POOL)).toBe(false);
    expect(mm.reports.reports[0]!.message).toBe("word 1 is compound_head of a compound block's tail, and page_pool would write pp_magic over it");
  });

  test("claiming what one has already is no conflict, and releasing what one has not is nothing", () => {
    const mm = memory();
    const page = pageOf(mm);
    expect([mm.words.claim(page, PAGE_VIEW_PAGE_POOL), mm.words.claim(page, PAGE_VIEW_PAGE_POOL)]).toEqual([true, true]);
    mm.words.release(page, PAGE_VIEW_SLAB);
    expect([owners(mm, page), mm.reports.total]).toEqual([[3, 3, 0, 3, 3], 0]);
  });

  test("a page freed while a view has its words is reported with the word, and withheld", () => {
    const mm = memory();
    const page = pageOf(mm);
    mm.words.claim(page, PAGE_VIEW_MAPPING);
    mm.pages.putPage(page);
    expect(mm.reports.reports).toMatchObject([{ kind: "bad-page", message: "freed while word 1 is lru.next of a mapping; block withheld" }]);
    expect(mm.pages.freePages()).toBe(63);
  });

  test.each<[string, (page: Page) => void]>([
    ["pp_magic 0x40 in word 1", (page) => (page.ppMagic = PP_SIGNATURE)],
    ["pp in word 2 (mem type 3 id 7)", (page) => (page.pp = { memType: 3, memId: 7 })],
    ["dma_addr 0x5000 in word 4", (page) => (page.dmaAddr = 0x5000)],
    ["pp_ref_count 1 in word 5", (page) => (page.ppRefCount = 1)],
    ["_refcount 2", (page) => (page.refcount = 2)],
  ])("%s, written by somebody who still holds a page that is free, is found when it is handed out, and the page withheld", (what, write) => {
    const mm = memory();
    const stale = pageOf(mm);
    mm.pages.putPage(stale);
    write(stale);
    expect(pageOf(mm)).not.toBe(stale);
    expect(mm.reports.reports).toMatchObject([{ kind: "bad-page", message: `written while free: ${what}; block withheld` }]);
  });

  test.each<[string, (tail: Page) => void, string]>([
    ["is written like a head", (tail) => (tail.ppRefCount = 1), "was written as if it were its head"],
    ["a process maps", (tail) => (tail.mapcount = 2), "is still mapped at 2 addresses"],
  ])("a tail that %s is found when its block is freed", (_what, spoil, found) => {
    const mm = memory();
    const head = mm.pages.allocPages(GFP_KERNEL | __GFP_COMP, 2, NUMA_NO_NODE)!;
    spoil(mm.pages.pages[3]!);
    mm.pages.putPage(head);
    expect(mm.reports.reports).toMatchObject([{ kind: "bad-page", message: `page 3 of the block ${found}; block withheld` }]);
  });

  test("a tail that is freed on its own is reported and withheld", () => {
    const mm = memory();
    mm.pages.allocPages(GFP_KERNEL | __GFP_COMP, 2, NUMA_NO_NODE);
    mm.pages.freeFrozenPages(mm.pages.pages[2]!, 0);
    expect(mm.reports.reports).toMatchObject([{ kind: "bad-page", message: "a tail of the compound block at pfn 0x400 freed on its own; block withheld" }]);
  });

  test("every view has a name and its words, and tails come with bit 0 of word 1", () => {
    expect(PAGE_VIEWS.map(({ words }) => words.length)).toEqual(Array.from({ length: 10 }, () => UNION_WORDS));
    expect(PAGE_VIEWS[PAGE_VIEW_TAIL]!.words).toEqual(["compound_head", "", "", "", ""]);
  });
});
