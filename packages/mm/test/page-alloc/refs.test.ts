import { describe, expect, test } from "vitest";
import { __GFP_COMP, GFP_ATOMIC, GFP_KERNEL, NUMA_NO_NODE, pageName } from "../../src/api/index.ts";
import { kinds, memory } from "../helpers.ts";
import { audit, freeBlocks } from "./audit.ts";
import { allocator } from "./rig.ts";

const OPTIONS = { nrPages: 64, minFreePages: 0, pcp: { batch: 1, high: 0 } };

describe("references by number", () => {
  test("page_ref_add and page_ref_sub act on the head and free nothing", () => {
    const { pages } = allocator(OPTIONS);
    const head = pages.allocPages(GFP_ATOMIC | __GFP_COMP, 2, NUMA_NO_NODE)!;
    pages.pageRefAdd(pages.pages[2]!, 10);
    pages.pageRefSub(pages.pages[3]!, 11);
    expect([head.refcount, pages.freePages()]).toEqual([0, 60]);
    pages.freeFrozenPages(head, 2);
    expect(pages.freePages()).toBe(64);
  });

  test("page_ref_sub_and_test is true for the last reference only", () => {
    const { pages } = allocator(OPTIONS);
    const page = pages.allocPages(GFP_ATOMIC, 0, NUMA_NO_NODE)!;
    pages.pageRefAdd(page, 3);
    expect([pages.pageRefSubAndTest(page, 3), pages.pageRefSubAndTest(page, 1)]).toEqual([false, true]);
  });

  test("taking more away than there is, is a report, and nothing changes", () => {
    const { pages, reports } = allocator(OPTIONS);
    const page = pages.allocPages(GFP_ATOMIC, 0, NUMA_NO_NODE)!;
    pages.pageRefSub(page, 2);
    expect([pages.pageRefSubAndTest(page, 5), page.refcount]).toEqual([false, 1]);
    expect(reports.reports.map(({ kind, object, message }) => [kind, object, message])).toEqual([
      ["page-ref-underflow", "page pfn 0x400", "page_ref_sub of 2 on a page with 1 references"],
      ["page-ref-underflow", "page pfn 0x400", "page_ref_sub_and_test of 5 on a page with 1 references"],
    ]);
  });

  test("get_page_unless_zero answers whether it could", () => {
    const { pages } = allocator(OPTIONS);
    const page = pages.allocPages(GFP_ATOMIC, 0, NUMA_NO_NODE)!;
    expect([pages.getPageUnlessZero(page), page.refcount]).toEqual([true, 2]);
    pages.putPage(page);
    pages.putPage(page);
    expect([pages.getPageUnlessZero(page), page.refcount]).toEqual([false, 0]);
  });

  test("set_page_count stores only where nobody else can hold a reference", () => {
    const { pages, reports } = allocator(OPTIONS);
    const page = pages.allocPages(GFP_ATOMIC, 0, NUMA_NO_NODE)!;
    pages.setPageCount(page, 5);
    expect([page.refcount, kinds(reports)]).toEqual([1, ["page-ref-store"]]);
    pages.pageRefSub(page, 1);
    pages.setPageCount(page, 5);
    expect(page.refcount).toBe(5);
  });

  test("a block freed while it has references is reported and withheld", () => {
    const { pages, reports } = allocator(OPTIONS);
    pages.freeFrozenPages(pages.allocPages(GFP_ATOMIC, 0, NUMA_NO_NODE)!, 0);
    expect([kinds(reports), pages.freePages()]).toEqual([["bad-page"], 63]);
  });
});

describe("a wrong order or count is refused, and no other page is touched", () => {
  test.each([-1, 0.5, 11, Number.NaN])("order %d", (order) => {
    const rig = allocator({ nrPages: 64, minFreePages: 0 });
    const page = rig.pages.allocPages(GFP_ATOMIC, 0, NUMA_NO_NODE)!;
    for (const call of [(): void => rig.pages.freePagesOrder(page, order), (): void => rig.pages.splitPage(page, order), (): void => rig.pages.freeFrozenPages(page, order)]) expect(call).toThrow(/order = .*give a whole number from 0 to 10/);
    rig.pages.putPage(page);
    expect([rig.pages.freePages(), audit(rig.pages), rig.reports.total]).toEqual([64, [], 0]);
  });

  test("a page split, or freed by one of two holders, as if it were a block", () => {
    const rig = allocator({ nrPages: 64, minFreePages: 0, pcp: { batch: 1, high: 0 } });
    const page = rig.pages.allocPages(GFP_ATOMIC, 0, NUMA_NO_NODE)!;
    rig.pages.getPage(page);
    rig.pages.splitPage(page, 2);
    rig.pages.splitPage(page, 10);
    rig.pages.freePagesOrder(page, 3);
    rig.pages.freePagesOrder(page, 10);
    expect([rig.reports.reports.map(({ kind }) => kind), page.refcount, audit(rig.pages)]).toEqual([["page-split", "page-split", "bad-page", "bad-page"], 2, []]);
    rig.pages.putPage(page);
    rig.pages.putPage(page);
    expect([rig.pages.freePages(), audit(rig.pages)]).toEqual([64, []]);
  });

  test("a block that begins where none can is withheld", () => {
    const rig = allocator({ nrPages: 64, minFreePages: 0, pcp: { batch: 1, high: 0 } });
    const block = rig.pages.allocPages(GFP_ATOMIC, 2, NUMA_NO_NODE)!;
    rig.pages.setPageCount(block, 1);
    const second = rig.pages.pages[(block.base >> 12) + 1]!;
    rig.pages.freeFrozenPages(second, 1);
    expect(rig.reports.reports.map(({ kind, message }) => [kind, message]).at(-1)).toEqual(["bad-page", "freed with order 1, but no block of that order begins there; block withheld"]);
  });

  test.each([Number.NaN, 0.5, -1])("%d references", (n) => {
    const rig = allocator({ nrPages: 64, minFreePages: 0 });
    const page = rig.pages.allocPages(GFP_ATOMIC, 0, NUMA_NO_NODE)!;
    rig.pages.pageRefAdd(page, n);
    rig.pages.pageRefSub(page, n);
    rig.pages.setPageCount(page, n);
    expect([page.refcount, rig.reports.total]).toEqual([1, 3]);
  });

  test("a free page gets none", () => {
    const rig = allocator({ nrPages: 64, minFreePages: 0 });
    const page = rig.pages.pages[9]!;
    rig.pages.pageRefAdd(page, 1);
    rig.pages.setPageCount(page, 1);
    expect([rig.reports.reports.map(({ kind }) => kind), audit(rig.pages)]).toEqual([["page-ref-zero", "page-ref-store"], []]);
  });

  test("a tail that was written while free keeps its block from being handed out, and the page is named", () => {
    const rig = allocator({ nrPages: 64, minFreePages: 0, pcp: { batch: 1, high: 0 } });
    rig.pages.pages[5]!.refcount = 1;
    const block = rig.pages.allocPages(GFP_ATOMIC, 3, NUMA_NO_NODE)!;
    expect([block.base >> 12, rig.reports.reports.map(({ kind, object }) => [kind, object])]).toEqual([8, [["bad-page", pageName(rig.pages.pages[5]!)]]]);
  });

  test.each([[Number.NaN, 0], [1.5, 0], [2 ** 33, 0], [GFP_ATOMIC, 0.5]])("flags %d, node %d", (gfp, nid) => {
    const rig = allocator({ nrPages: 64, minFreePages: 0 });
    expect(() => rig.pages.allocPages(gfp, 0, nid)).toThrow(/gfp = |nid = /);
  });
});

describe("split_page", () => {
  test("each page of a plain block gets a reference of its own, and is freed on its own", () => {
    const { pages } = allocator(OPTIONS);
    const fresh = freeBlocks(pages);
    const block = pages.allocPages(GFP_ATOMIC, 3, NUMA_NO_NODE)!;
    pages.splitPage(block, 3);
    const parts = pages.pages.slice(0, 8);
    expect(parts.map((page) => page.refcount)).toEqual(Array.from({ length: 8 }, () => 1));
    for (const page of parts.toReversed()) pages.putPage(page);
    expect([freeBlocks(pages), audit(pages)]).toEqual([fresh, []]);
  });

  test("a compound block is not split: report, and it stays one", () => {
    const { pages, reports } = allocator(OPTIONS);
    const block = pages.allocPages(GFP_ATOMIC | __GFP_COMP, 3, NUMA_NO_NODE)!;
    pages.splitPage(block, 3);
    expect([kinds(reports), pages.pages[1]!.refcount]).toEqual([["page-split"], 0]);
    pages.putPage(block);
    expect(pages.freePages()).toBe(64);
  });

  test("a page of a split block that is freed as the block is reported and withheld", () => {
    const { pages, reports } = allocator(OPTIONS);
    const block = pages.allocPages(GFP_ATOMIC, 1, NUMA_NO_NODE)!;
    pages.splitPage(block, 1);
    pages.freePagesOrder(block, 1);
    expect([kinds(reports), pages.pages[1]!.refcount]).toEqual([["bad-page"], 1]);
  });
});

describe("slab pages", () => {
  test("from 6.14 on a slab page has no references: get_page is a report, put_page is nothing", () => {
    const mm = memory();
    const { slab } = mm.slab.kmalloc(100, GFP_KERNEL)!;
    mm.pages.getPage(slab);
    mm.pages.putPage(slab);
    expect([kinds(mm.reports), slab.refcount]).toEqual([["page-ref-slab"], 1]);
  });

  test("6.1 and 6.12 count them like any other", () => {
    const mm = memory({ rules: { slabHasNoRefs: false } });
    const { slab } = mm.slab.kmalloc(100, GFP_KERNEL)!;
    mm.pages.getPage(slab);
    expect([kinds(mm.reports), slab.refcount]).toEqual([[], 2]);
    mm.pages.putPage(slab);
    expect(slab.refcount).toBe(1);
  });
});
