import { describe, expect, test } from "vitest";
import { __GFP_COMP, GFP_ATOMIC, NUMA_NO_NODE, PAGEBLOCK_ORDER, PAGE_PCP, type Page } from "../../src/api/index.ts";
import { zoneBatchsize, zoneHighsize } from "../../src/page-alloc/pcp.ts";
import { audit, freeBlocks } from "./audit.ts";
import { allocator, onCpu, type Allocator } from "./rig.ts";

const PCP = { batch: 8, high: 32 };

function alloc({ pages }: Allocator, order = 0, flags = 0): Page {
  const page = pages.allocPages(GFP_ATOMIC | flags, order, NUMA_NO_NODE);
  expect(page).not.toBeNull();
  return page!;
}

function offsets(taken: readonly Page[]): number[] {
  return taken.map((page) => page.base >> 12);
}

describe("taking", () => {
  test("the first request takes a batch from the zone and hands it out in the order it was taken", () => {
    const rig = allocator({ nrPages: 256, minFreePages: 0, pcp: PCP });
    const first = alloc(rig);
    const [zone] = rig.pages.zones;
    expect([zone!.freePages, zone!.pcps[0]!.count]).toEqual([256 - 8, 7]);
    expect(offsets([first, alloc(rig), alloc(rig), alloc(rig)])).toEqual([0, 1, 2, 3]);
    expect(audit(rig.pages)).toEqual([]);
  });

  test("pages on a per-CPU list are in the list's state, and free for everybody's count but not for the zone's", () => {
    const rig = allocator({ nrPages: 256, minFreePages: 0, pcp: PCP });
    alloc(rig);
    expect(rig.pages.pages.filter((page) => page.state === PAGE_PCP)).toHaveLength(7);
    expect([rig.pages.freePages(), rig.pages.zones[0]!.freePages]).toEqual([255, 248]);
  });

  test("refills of order 0 double while nothing is freed, up to what the high mark leaves room for", () => {
    const rig = allocator({ nrPages: 2048, minFreePages: 0, pcp: { batch: 4, high: 64 } });
    const [zone] = rig.pages.zones;
    const taken: number[] = [];
    for (let i = 0; i < 4 + 8 + 16 + 32; i++) {
      const before = zone!.freePages;
      alloc(rig);
      if (zone!.freePages !== before) taken.push(before - zone!.freePages);
    }
    expect(taken).toEqual([4, 8, 16, 32]);
  });

  test("a free halves how far it has grown: after 4, 8 and 16 the next refill is 8 instead of 32", () => {
    const rig = allocator({ nrPages: 2048, minFreePages: 0, pcp: { batch: 4, high: 64 } });
    const [zone] = rig.pages.zones;
    for (let i = 0; i < 12; i++) alloc(rig);
    rig.pages.putPage(alloc(rig));
    const held = zone!.pcps[0]!.count;
    for (let i = 0; i < held; i++) alloc(rig);
    const before = zone!.freePages;
    alloc(rig);
    expect(before - zone!.freePages).toBe(8);
  });

  test("6.1 takes the same batch each time", () => {
    const rig = allocator({ nrPages: 2048, minFreePages: 0, pcp: { batch: 4, high: 64 } }, { rules: { pcpAutoTunes: false } });
    const [zone] = rig.pages.zones;
    for (let i = 0; i < 40; i++) alloc(rig);
    expect([2048 - zone!.freePages, zone!.pcps[0]!.count]).toEqual([40, 0]);
  });

  test.each([[1, 4], [2, 2], [3, 2]])("a refill of order %i takes %i blocks: the batch by the block's size, two at least", (order, blocks) => {
    const rig = allocator({ nrPages: 1024, minFreePages: 0, pcp: PCP });
    alloc(rig, order);
    expect(rig.pages.zones[0]!.pcps[0]!.count).toBe((blocks - 1) << order);
  });

  test("a batch of 1 takes one block of any order", () => {
    const rig = allocator({ nrPages: 1024, minFreePages: 0, pcp: { batch: 1, high: 16 } });
    alloc(rig, 3);
    expect(rig.pages.zones[0]!.pcps[0]!.count).toBe(0);
  });

  test.each([4, 5, 8, 10])("a block of order %i passes the per-CPU lists by", (order) => {
    const rig = allocator({ nrPages: 2048, minFreePages: 0, pcp: PCP });
    const page = alloc(rig, order);
    rig.pages.freePagesOrder(page, order);
    expect([rig.pages.zones[0]!.pcps[0]!.count, rig.pages.zones[0]!.freePages]).toEqual([0, 2048]);
  });

  test("a block of huge page size goes through them", () => {
    const rig = allocator({ nrPages: 4096, minFreePages: 0, pcp: { batch: 63, high: 2048 } });
    const page = alloc(rig, PAGEBLOCK_ORDER, __GFP_COMP);
    rig.pages.putPage(page);
    expect(rig.pages.zones[0]!.pcps[0]!.count).toBeGreaterThanOrEqual(512);
    expect(alloc(rig, PAGEBLOCK_ORDER)).toBe(page);
  });
});

describe("giving back", () => {
  test("the page freed last is the first to be handed out again", () => {
    const rig = allocator({ nrPages: 256, minFreePages: 0, pcp: PCP });
    const [a, b] = [alloc(rig), alloc(rig)];
    rig.pages.putPage(a);
    rig.pages.putPage(b);
    expect([alloc(rig), alloc(rig)]).toEqual([b, a]);
  });

  test("a free or a request of order 0 to 3 neither merges nor splits a block of the zone", () => {
    const rig = allocator({ nrPages: 1024, minFreePages: 0, pcp: PCP });
    alloc(rig, 1);
    const before = freeBlocks(rig.pages);
    const page = alloc(rig, 1);
    rig.pages.freePagesOrder(page, 1);
    expect(freeBlocks(rig.pages)).toEqual(before);
  });

  test("at the high mark a batch goes back to the zone, oldest first", () => {
    const rig = allocator({ nrPages: 256, minFreePages: 0, pcp: { batch: 4, high: 16 } });
    const taken = Array.from({ length: 64 }, () => alloc(rig));
    rig.pages.drainAllPages();
    for (const page of taken.slice(0, 15)) rig.pages.putPage(page);
    const [zone] = rig.pages.zones;
    expect([zone!.freePages, zone!.pcps[0]!.count]).toEqual([256 - 64, 15]);
    rig.pages.putPage(taken[15]!);
    // The run of frees makes the batch as large as the mark lets it be.
    expect([zone!.freePages, zone!.pcps[0]!.count]).toEqual([256 - 64 + 12, 4]);
    expect(taken.slice(0, 12).every((page) => page.state !== PAGE_PCP)).toBe(true);
    expect(audit(rig.pages)).toEqual([]);
  });

  test("between its two marks the high mark grows with what is freed in a row, and no further than the upper one", () => {
    const rig = allocator({ nrPages: 8192, minFreePages: 0 });
    const { highMin, highMax } = rig.pages.zones[0]!.pcps[0]!;
    expect(highMax).toBeGreaterThan(highMin);
    const taken = Array.from({ length: 3000 }, () => alloc(rig));
    for (const page of taken) rig.pages.putPage(page);
    const { high } = rig.pages.zones[0]!.pcps[0]!;
    expect(high).toBeGreaterThan(highMin);
    expect(high).toBeLessThanOrEqual(highMax);
    expect(audit(rig.pages)).toEqual([]);
  });

  test("while a zone is below its high mark the lists shrink", () => {
    const rig = allocator({ nrPages: 8192, minFreePages: 200 });
    const [zone] = rig.pages.zones;
    const taken: Page[] = [];
    while (!zone!.belowHigh) taken.push(alloc(rig));
    const before = zone!.pcps[0]!.high;
    for (const page of taken.splice(0, 40)) rig.pages.putPage(page);
    expect(zone!.pcps[0]!.high).toBeLessThan(before);
    for (const page of taken) rig.pages.putPage(page);
    expect([zone!.belowHigh, audit(rig.pages)]).toEqual([false, []]);
  });

  describe("blocks of order 1 to 3 fragment memory, and are not kept for long", () => {
    /** Twenty blocks of order 3 out, the lists empty; a run counts from a batch and half the mark: 40 pages. */
    function blocksOut(): { readonly rig: Allocator; readonly taken: readonly Page[]; readonly count: () => number; readonly free: (page: Page) => number } {
      const rig = allocator({ nrPages: 2048, minFreePages: 0, pcp: { batch: 8, high: 64 } });
      const taken = Array.from({ length: 20 }, () => alloc(rig, 3));
      rig.pages.drainAllPages();
      const count = (): number => rig.pages.zones[0]!.pcps[0]!.count;
      return { rig, taken, count, free: (page) => {
        rig.pages.freePagesOrder(page, 3);
        return count();
      } };
    }

    test("a run of 40 pages empties the lists, and each block after it goes straight to its zone", () => {
      const { rig, taken, free } = blocksOut();
      expect(taken.slice(0, 8).map(free)).toEqual([8, 16, 24, 32, 40, 0, 0, 0]);
      expect(audit(rig.pages)).toEqual([]);
    });

    test("at most 32 batches go back at once", () => {
      const rig = allocator({ nrPages: 4096, minFreePages: 0, pcp: { batch: 1, high: 62 } });
      const single = Array.from({ length: 55 }, () => alloc(rig));
      const [a, b] = [alloc(rig, 1), alloc(rig, 1)];
      rig.pages.drainAllPages();
      for (const page of single) rig.pages.putPage(page);
      rig.pages.freePagesOrder(a, 1);
      expect(rig.pages.zones[0]!.pcps[0]!.count).toBe(57);
      rig.pages.freePagesOrder(b, 1);
      // Both blocks, which lie nearest, and 28 of the pages.
      expect(rig.pages.zones[0]!.pcps[0]!.count).toBe(59 - 32);
    });

    test.each([0, PAGEBLOCK_ORDER])("a free of order %i in between ends the run", (order) => {
      const { rig, taken, free, count } = blocksOut();
      const other = alloc(rig, order);
      rig.pages.drainAllPages();
      for (const page of taken.slice(0, 5)) free(page);
      rig.pages.freePagesOrder(other, order);
      const before = count();
      expect([before >= 40, free(taken[5]!) - before]).toEqual([true, 8]);
    });

    test("a request halves it", () => {
      const { rig, taken, free } = blocksOut();
      for (const page of taken.slice(0, 5)) free(page);
      expect([free(alloc(rig, 3)), free(taken[5]!), free(taken[6]!), free(taken[7]!)]).toEqual([40, 48, 56, 0]);
    });
  });

  test("a page that waits on the CPU's list is not handed out unasked once its zone is at the low mark", () => {
    const rig = allocator({ nrPages: 8192, minFreePages: 200 });
    const [zone] = rig.pages.zones;
    const taken: Page[] = [];
    while (zone!.freePages > zone!.watermarkLow) taken.push(alloc(rig));
    rig.pages.putPage(taken.pop()!);
    const { kswapdWakes } = rig.pages.stats;
    expect([zone!.freePages <= zone!.watermarkLow, zone!.pcps[0]!.count > 0]).toEqual([true, true]);
    alloc(rig);
    expect(rig.pages.stats.kswapdWakes).toBe(kswapdWakes + 1);
  });

  test("draining brings the blocks of all CPUs together again", () => {
    const rig = allocator({ nrPages: 512, minFreePages: 0, pcp: PCP }, { cpuNodes: [0, 0] });
    const fresh = freeBlocks(rig.pages);
    const taken = Array.from({ length: 40 }, (_, i) => onCpu(rig.kernel, i % 2, () => alloc(rig, i % 3)));
    for (const [i, page] of taken.entries()) onCpu(rig.kernel, (i >> 1) % 2, () => rig.pages.freePagesOrder(page, i % 3));
    rig.pages.drainAllPages();
    expect([freeBlocks(rig.pages), audit(rig.pages)]).toEqual([fresh, []]);
  });

  test("each CPU has its own: a page freed on one is not the next of another", () => {
    const rig = allocator({ nrPages: 256, minFreePages: 0, pcp: PCP }, { cpuNodes: [0, 0] });
    const page = alloc(rig);
    onCpu(rig.kernel, 1, () => rig.pages.putPage(page));
    expect(rig.pages.zones[0]!.pcps.map(({ count }) => count)).toEqual([7, 1]);
    expect(alloc(rig)).not.toBe(page);
    expect(onCpu(rig.kernel, 1, () => alloc(rig))).toBe(page);
  });
});

describe("sizes, as the kernel computes them", () => {
  test.each([[1024, 1], [4096, 1], [32_768, 7], [262_144, 63], [1_048_576, 63]])("a zone of %i pages has a batch of %i", (pages, batch) => {
    // 32 MiB to 4 GiB and beyond: 63 is what machines of today show in /proc/zoneinfo.
    expect(zoneBatchsize(pages)).toBe(batch);
  });

  test("the high mark is a CPU's share of the low watermark, four batches at least", () => {
    expect([zoneHighsize(4000, 63, 4), zoneHighsize(100, 63, 4), zoneHighsize(4000, 63, 0)]).toEqual([1000, 252, 4000]);
  });
});
