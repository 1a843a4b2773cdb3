import { describe, expect, test } from "vitest";
import { CONTEXT_HARDIRQ, CONTEXT_SOFTIRQ, PF_MEMALLOC } from "@netmem/kernel/api";
import {
  __GFP_COMP, __GFP_HIGH, __GFP_MEMALLOC, __GFP_NOMEMALLOC, __GFP_NORETRY, __GFP_NOWARN, GFP_ATOMIC, GFP_DMA, GFP_DMA32, GFP_KERNEL, GFP_NOWAIT, MIGRATE_HIGHATOMIC, NUMA_NO_NODE,
  pageIsPfmemalloc,
} from "../../src/api/index.ts";
import { defaultMinFreePages } from "../../src/page-alloc/watermark.ts";
import { audit } from "./audit.ts";
import { allocator, takeAll, type Allocator } from "./rig.ts";

/** 1000 pages, min 80, low 100, high 120; nothing is kept per CPU. */
function marked(): Allocator {
  return allocator({ nrPages: 1000, minFreePages: 80, pcp: { batch: 1, high: 0 } });
}

function left(gfp: number, rig = marked()): number {
  takeAll(rig.pages, gfp | __GFP_NOWARN, 0, NUMA_NO_NODE);
  return rig.pages.freePages();
}

describe("marks", () => {
  test("the low mark is a quarter above min, the high mark two", () => {
    expect(marked().pages.zones[0]).toMatchObject({ watermarkMin: 80, watermarkLow: 100, watermarkHigh: 120 });
  });

  test.each([[4096, 128], [65_536, 512], [262_144, 1024]])("a machine of %i pages keeps %i: √(16 × KiB) KiB", (pages, kept) => {
    expect(defaultMinFreePages(pages)).toBe(kept);
  });

  test("a small machine keeps a quarter at most, where the kernel would keep 128 KiB", () => {
    expect([defaultMinFreePages(1), defaultMinFreePages(32), defaultMinFreePages(64)]).toEqual([0, 8, 16]);
  });

  test("a request that may wait stops at min, and one that may not wait and has no privilege too", () => {
    expect([left(GFP_KERNEL | __GFP_NORETRY), left(GFP_NOWAIT)]).toEqual([80, 80]);
  });

  test("skb-mm row 14: GFP_ATOMIC finds nothing once no zone is above 3/8 of min, and nobody slept", () => {
    const rig = marked();
    expect(left(GFP_ATOMIC, rig)).toBe(30);
    expect(rig.pages.allocPages(GFP_ATOMIC, 0, NUMA_NO_NODE)).toBeNull();
    expect([rig.pages.stats.directReclaims, rig.reports.total]).toEqual([0, 0]);
  });

  test("skb-mm row 14: of several zones each keeps its 3/8 of min, the lower one its lowmem_reserve on top", () => {
    const rig = allocator({ nodes: [{ zones: [{ name: "DMA32", pages: 2000 }, { name: "Normal", pages: 6000 }] }], minFreePages: 400, pcp: { batch: 1, high: 0 } });
    takeAll(rig.pages, GFP_ATOMIC | __GFP_NOWARN, 0, NUMA_NO_NODE);
    // 3/8 of 100 and 300, each half rounded as the kernel rounds it; and a 256th of Normal.
    expect(rig.pages.zones.map(({ freePages }) => freePages)).toEqual([38 + Math.floor(6000 / 256), 113]);
    expect(rig.pages.zones[0]!.lowmemReserve).toEqual([0, 0, 23]);
    expect([rig.pages.stats.directReclaims, rig.reports.total]).toEqual([0, 0]);
  });

  test("__GFP_HIGH of a request that may wait opens half of min only", () => {
    expect(left(GFP_KERNEL | __GFP_HIGH | __GFP_NORETRY)).toBe(40);
  });

  test("skb-mm row 13: __GFP_MEMALLOC with __GFP_NOMEMALLOC never ignores the marks nor tags a page, and __GFP_HIGH still halves min", () => {
    const rig = marked();
    const pages = takeAll(rig.pages, GFP_ATOMIC | __GFP_MEMALLOC | __GFP_NOMEMALLOC | __GFP_NOWARN, 0, NUMA_NO_NODE);
    expect([rig.pages.freePages(), pages.filter((page) => pageIsPfmemalloc(page))]).toEqual([40, []]);
  });

  test("skb-mm row 12: a page is tagged only if its allocation went below the marks, even where it was allowed to", () => {
    const rig = marked();
    const pages = takeAll(rig.pages, GFP_ATOMIC | __GFP_MEMALLOC | __GFP_NOWARN, 0, NUMA_NO_NODE);
    expect([pages.length, rig.pages.freePages()]).toEqual([1000, 0]);
    // The first 970 were served by the marks of GFP_ATOMIC.
    expect(pages.map((page) => pageIsPfmemalloc(page)).indexOf(true)).toBe(970);
    expect(pages.slice(970).every((page) => pageIsPfmemalloc(page))).toBe(true);
  });

  test("a page from the reserves loses the tag when it is freed", () => {
    const rig = marked();
    const pages = takeAll(rig.pages, GFP_ATOMIC | __GFP_MEMALLOC | __GFP_NOWARN, 0, NUMA_NO_NODE);
    const tagged = pages.at(-1)!;
    for (const page of pages) rig.pages.putPage(page);
    expect([tagged.ppMagic, audit(rig.pages), rig.reports.total]).toEqual([0, [], 0]);
  });

  test.each([["task", 0, 0], ["softirq", CONTEXT_SOFTIRQ, 0], ["hardirq", CONTEXT_HARDIRQ, 30]])("a task with PF_MEMALLOC may use all of memory in %s context, or not", (_name, level, expected) => {
    const rig = marked();
    rig.kernel.context.taskFlags = PF_MEMALLOC;
    rig.kernel.context.level = level;
    expect(left(GFP_ATOMIC, rig)).toBe(expected);
  });

  test("each request that meets the low mark is counted as a wake of kswapd", () => {
    const rig = marked();
    takeAll(rig.pages, GFP_ATOMIC | __GFP_NOWARN, 0, NUMA_NO_NODE);
    // From 100 free pages down to 30, and the one that failed.
    expect(rig.pages.stats).toMatchObject({ kswapdWakes: 71, failures: 1, warnings: 0 });
  });

  test("a failure is counted as a warning unless it was asked not to be", () => {
    const rig = marked();
    left(GFP_ATOMIC, rig);
    rig.pages.allocPages(GFP_ATOMIC, 0, NUMA_NO_NODE);
    rig.pages.allocPages(GFP_ATOMIC | __GFP_NOWARN, 0, NUMA_NO_NODE);
    expect(rig.pages.stats).toMatchObject({ failures: 3, warnings: 1 });
  });
});

describe("zones", () => {
  /** 64 pages of DMA, 192 of DMA32, 2048 of Normal. */
  function zoned(minFreePages = 0): Allocator {
    return allocator({ nodes: [{ zones: [{ name: "DMA", pages: 64 }, { name: "DMA32", pages: 192 }, { name: "Normal", pages: 2048 }] }], minFreePages, pcp: { batch: 1, high: 0 } });
  }

  test("a request starts in the highest zone it may use and goes down from there", () => {
    const { pages } = zoned();
    const zone = (gfp: number): string => pages.zones[pages.allocPages(gfp, 0, NUMA_NO_NODE)!.zone]!.name;
    expect([zone(GFP_ATOMIC), zone(GFP_ATOMIC | GFP_DMA32), zone(GFP_ATOMIC | GFP_DMA)]).toEqual(["Normal", "DMA32", "DMA"]);
    takeAll(pages, GFP_ATOMIC | __GFP_NOWARN, 6, NUMA_NO_NODE);
    const order = takeAll(pages, GFP_ATOMIC | __GFP_NOWARN, 0, NUMA_NO_NODE).map((page) => pages.zones[page.zone]!.name);
    expect(order.join()).toMatch(/^(Normal,?)+(DMA32,?)+(DMA,?)+$/);
  });

  test("a request for a low zone never comes from a higher one", () => {
    const { pages } = zoned();
    expect(takeAll(pages, GFP_ATOMIC | GFP_DMA | __GFP_NOWARN, 0, NUMA_NO_NODE)).toHaveLength(64);
  });

  test("a lower zone keeps a part of what lies above it from requests that could have gone there", () => {
    const { pages } = zoned();
    // 2240 / 256 and 2048 / 256 pages for those that could have used Normal; 192 / 256 for those that could have used DMA32.
    expect(pages.zones.map((zone) => zone.lowmemReserve)).toEqual([[0, 0, 8], [0, 0, 8], [0, 0, 0]]);
    takeAll(pages, GFP_ATOMIC | __GFP_NOWARN, 0, NUMA_NO_NODE);
    expect(pages.zones.map((zone) => zone.freePages)).toEqual([8, 8, 0]);
    expect(takeAll(pages, GFP_ATOMIC | GFP_DMA | __GFP_NOWARN, 0, NUMA_NO_NODE)).toHaveLength(8);
  });

  test("min is shared out among zones by their size", () => {
    expect(zoned(288).pages.zones.map((zone) => zone.watermarkMin)).toEqual([8, 24, 256]);
  });

  test("blocks do not merge over the border of a zone", () => {
    const { pages } = allocator({ nodes: [{ zones: [{ name: "DMA32", pages: 4 }, { name: "Normal", pages: 4 }] }], minFreePages: 0, pcp: { batch: 1, high: 0 } });
    expect(pages.zones.map((zone) => zone.freeBlocks(2, -1))).toEqual([1, 1]);
    const taken = takeAll(pages, GFP_ATOMIC | __GFP_MEMALLOC, 0, NUMA_NO_NODE);
    for (const page of taken) pages.putPage(page);
    expect([pages.zones.map((zone) => zone.freeBlocks(2, -1)), audit(pages)]).toEqual([[1, 1], []]);
  });

  test.each([
    [{ nodes: [{ zones: [{ name: "Normal" as const, pages: 8 }, { name: "DMA" as const, pages: 8 }] }] }, "zone of node 0"],
    [{ nodes: [{ zones: [{ name: "HighMem" as "Normal", pages: 8 }] }] }, "zone of node 0"],
    [{ nodes: [{ zones: [{ name: "Normal" as const, pages: 0 }] }] }, "pages of zone Normal of node 0"],
    [{ nodes: [{ zones: [{ name: "Normal" as const, pages: 8 }] }], nrPages: 8 }, "nrPages"],
    [{ nrPages: 8, minFreePages: 8 }, "minFreePages"],
    [{ nrPages: 8, pcp: { batch: 0, high: 4 } }, "pcp batch and high"],
    [{ nodes: [{ zones: [{ name: "Normal" as const, pages: 8 }], distances: [10, 20] }] }, "distances of node 0"],
  ])("a layout that cannot be is refused by name: %j", (options, option) => {
    expect(() => allocator(options)).toThrow(expect.objectContaining({ package: "mm", option }));
  });
});

describe("blocks", () => {
  test("pages enough, but no block of the order: null, whatever the marks say", () => {
    const rig = allocator({ nrPages: 1024, minFreePages: 0, pcp: { batch: 1, high: 0 } });
    const pages = takeAll(rig.pages, GFP_ATOMIC | __GFP_NOWARN, 0, NUMA_NO_NODE);
    for (const page of pages) if ((page.base >> 12) % 2 === 0) rig.pages.putPage(page);
    expect([rig.pages.freePages(), rig.pages.allocPages(GFP_ATOMIC | __GFP_COMP, 1, NUMA_NO_NODE)]).toEqual([512, null]);
  });

  test("a zone keeps its mark without the pages of the block itself", () => {
    const rig = marked();
    takeAll(rig.pages, GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN, 3, NUMA_NO_NODE);
    // 88 are free: without 7 of the block 81 would be above 80; at 80 no more.
    expect(rig.pages.freePages()).toBe(80);
  });

  /** So large that a hundredth of it holds a pageblock. */
  function large(): Allocator {
    return allocator({ nrPages: 60_000, minFreePages: 2000, pcp: { batch: 1, high: 0 } });
  }

  test("an atomic block taken below the low mark reserves its pageblock for others of its kind, a hundredth of the zone at most", () => {
    const rig = large();
    takeAll(rig.pages, GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN, 0, NUMA_NO_NODE);
    for (let i = 0; i < 300; i++) rig.pages.putPage(rig.pages.pages[20_480 + i]!);
    expect(rig.pages.allocPages(GFP_ATOMIC, 2, NUMA_NO_NODE)).not.toBeNull();
    expect(rig.pages.zones[0]).toMatchObject({ reservedHighatomic: 512 });
    expect([rig.pages.zones[0]!.freeHighatomic > 0, audit(rig.pages)]).toEqual([true, []]);
    let reserved = 0;
    for (let order = 0; order <= 10; order++) reserved += rig.pages.zones[0]!.freeBlocks(order, MIGRATE_HIGHATOMIC) << order;
    expect(reserved).toBe(rig.pages.zones[0]!.freeHighatomic);
  });

  test("what is reserved counts as free only for those that may use it, and an atomic page takes it as its last resort", () => {
    const rig = large();
    takeAll(rig.pages, GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN, 0, NUMA_NO_NODE);
    for (let i = 0; i < 300; i++) rig.pages.putPage(rig.pages.pages[20_480 + i]!);
    rig.pages.allocPages(GFP_ATOMIC, 2, NUMA_NO_NODE);
    const { freeHighatomic } = rig.pages.zones[0]!;
    takeAll(rig.pages, GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN, 0, NUMA_NO_NODE);
    expect(rig.pages.zones[0]!.freeHighatomic).toBe(freeHighatomic);
    takeAll(rig.pages, GFP_ATOMIC | __GFP_MEMALLOC | __GFP_NOWARN, 0, NUMA_NO_NODE);
    takeAll(rig.pages, GFP_ATOMIC | __GFP_NOWARN, 0, NUMA_NO_NODE);
    expect(rig.pages.zones[0]!.freeHighatomic).toBe(freeHighatomic);
    expect(audit(rig.pages)).toEqual([]);
  });

  test("an atomic block of two pageblocks reserves both, and pages of the second go back to the reserve", () => {
    const rig = allocator({ nrPages: 61_440, minFreePages: 2048, pcp: { batch: 1, high: 0 } });
    takeAll(rig.pages, GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN, 10, NUMA_NO_NODE);
    rig.pages.freePagesOrder(rig.pages.allocPages(GFP_ATOMIC | __GFP_COMP, 10, NUMA_NO_NODE)!, 10);
    expect([rig.pages.zones[0]!.reservedHighatomic, audit(rig.pages)]).toEqual([1024, []]);
    const blocks = takeAll(rig.pages, GFP_ATOMIC | __GFP_COMP | __GFP_NOWARN, 3, NUMA_NO_NODE);
    for (const block of blocks.toReversed()) rig.pages.putPage(block);
    expect([audit(rig.pages), rig.reports.total]).toEqual([[], 0]);
    // One block again, it is given up as one; though that is not enough for a request that may not go below min.
    expect([rig.pages.zones[0]!.freeBlocks(10, MIGRATE_HIGHATOMIC), rig.pages.allocPages(GFP_KERNEL, 0, NUMA_NO_NODE)]).toEqual([1, null]);
    expect([rig.pages.zones[0]!.reservedHighatomic, audit(rig.pages), rig.reports.total]).toEqual([0, [], 0]);
  });

  test("the last pageblock of the reserve is given up when reclaim has been tried in vain, and only then", () => {
    const rig = large();
    takeAll(rig.pages, GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN, 0, NUMA_NO_NODE);
    for (let i = 0; i < 300; i++) rig.pages.putPage(rig.pages.pages[20_480 + i]!);
    rig.pages.allocPages(GFP_ATOMIC, 2, NUMA_NO_NODE);
    takeAll(rig.pages, GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN, 0, NUMA_NO_NODE);
    const { directReclaims } = rig.pages.stats;
    expect(rig.pages.zones[0]!.reservedHighatomic).toBe(512);
    expect(rig.pages.allocPages(GFP_KERNEL, 0, NUMA_NO_NODE)).not.toBeNull();
    expect([rig.pages.stats.directReclaims - directReclaims, rig.pages.zones[0]!.reservedHighatomic, audit(rig.pages)]).toEqual([2, 0, []]);
  });

  test("a small machine reserves no pageblock: a hundredth of it is less than one", () => {
    const rig = marked();
    left(GFP_KERNEL | __GFP_NORETRY, rig);
    rig.pages.allocPages(GFP_ATOMIC, 1, NUMA_NO_NODE);
    expect(rig.pages.zones[0]!.reservedHighatomic).toBe(0);
  });
});
