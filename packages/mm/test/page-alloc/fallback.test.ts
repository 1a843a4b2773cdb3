import { describe, expect, test } from "vitest";
import { __GFP_COMP, __GFP_DMA32, __GFP_MOVABLE, __GFP_NORETRY, __GFP_NOWARN, __GFP_RECLAIMABLE, GFP_ATOMIC, GFP_KERNEL, GFP_NOWAIT, MIGRATE_MOVABLE, MIGRATE_RECLAIMABLE, MIGRATE_UNMOVABLE, NUMA_NO_NODE, type Page } from "../../src/api/index.ts";
import { audit, freeBlocks } from "./audit.ts";
import { allocator, takeAll, type Allocator } from "./rig.ts";

/** Eight pageblocks, all movable at boot, as on a real machine. */
function rigOf(nrPages = 4096): Allocator {
  return allocator({ nrPages, minFreePages: 0, pcp: { batch: 1, high: 0 } });
}

/** Free pages on the lists of each type. */
function byType({ pages }: Allocator): Record<"unmovable" | "movable" | "reclaimable", number> {
  const count = (type: number): number => {
    let free = 0;
    for (let order = 0; order <= 10; order++) free += pages.zones[0]!.freeBlocks(order, type) << order;
    return free;
  };
  return { unmovable: count(MIGRATE_UNMOVABLE), movable: count(MIGRATE_MOVABLE), reclaimable: count(MIGRATE_RECLAIMABLE) };
}

function blockOf(page: Page): number {
  return page.base >> 21;
}

describe("grouping by mobility", () => {
  test("all of memory is movable at boot, and a network buffer claims a whole pageblock or more of it", () => {
    const rig = rigOf();
    expect(byType(rig)).toEqual({ unmovable: 0, movable: 4096, reclaimable: 0 });
    rig.pages.allocPages(GFP_ATOMIC, 0, NUMA_NO_NODE);
    expect(byType(rig)).toEqual({ unmovable: 1023, movable: 3072, reclaimable: 0 });
    expect(audit(rig.pages)).toEqual([]);
  });

  test("requests of one type stay in their pageblocks, away from those of another", () => {
    const rig = rigOf();
    const network = Array.from({ length: 100 }, () => rig.pages.allocPages(GFP_ATOMIC, 0, NUMA_NO_NODE)!);
    const users = Array.from({ length: 100 }, () => rig.pages.allocPages(GFP_KERNEL | __GFP_MOVABLE, 0, NUMA_NO_NODE)!);
    const shared = new Set(network.map(blockOf)).size + new Set(users.map(blockOf)).size - new Set([...network, ...users].map(blockOf)).size;
    expect(shared).toBe(0);
  });

  test("a machine of less than six pageblocks for each type does not group: everything is unmovable", () => {
    const rig = rigOf(2048);
    rig.pages.allocPages(GFP_KERNEL | __GFP_MOVABLE, 0, NUMA_NO_NODE);
    expect(byType(rig)).toEqual({ unmovable: 2047, movable: 0, reclaimable: 0 });
  });

  test("a page goes back to the lists of its pageblock, whatever it was asked for as", () => {
    const rig = rigOf();
    const fresh = freeBlocks(rig.pages);
    const pages = [GFP_ATOMIC, GFP_KERNEL | __GFP_MOVABLE, GFP_KERNEL | __GFP_RECLAIMABLE].map((gfp) => rig.pages.allocPages(gfp, 0, NUMA_NO_NODE)!);
    for (const page of pages) rig.pages.putPage(page);
    expect([freeBlocks(rig.pages), audit(rig.pages)]).toEqual([fresh, []]);
  });
});

describe("when one's own type is used up", () => {
  test("an unmovable request turns to reclaimable memory before movable", () => {
    const rig = rigOf();
    const reclaimable = takeAll(rig.pages, GFP_KERNEL | __GFP_RECLAIMABLE | __GFP_COMP | __GFP_NOWARN, 10, NUMA_NO_NODE);
    rig.pages.putPage(reclaimable[0]!);
    expect(byType(rig)).toEqual({ unmovable: 0, movable: 0, reclaimable: 1024 });
    rig.pages.allocPages(GFP_ATOMIC, 0, NUMA_NO_NODE);
    expect(byType(rig)).toEqual({ unmovable: 1023, movable: 0, reclaimable: 0 });
  });

  test("half a pageblock that is free is enough to claim it; so is one that movable users hold, which count as willing to leave", () => {
    const rig = rigOf();
    const taken = takeAll(rig.pages, GFP_KERNEL | __GFP_MOVABLE | __GFP_NOWARN, 0, NUMA_NO_NODE);
    rig.pages.putPage(taken.find((page) => blockOf(page) === 2)!);
    rig.pages.putPage(taken.findLast((page) => blockOf(page) === 2)!);
    rig.pages.allocPages(GFP_ATOMIC, 0, NUMA_NO_NODE);
    expect(byType(rig)).toEqual({ unmovable: 1, movable: 0, reclaimable: 0 });
    expect(audit(rig.pages)).toEqual([]);
  });

  test.each([[100, { unmovable: 99, movable: 0, reclaimable: 0 }], [300, { unmovable: 0, movable: 0, reclaimable: 299 }]])("a pageblock that other kernel users hold changes sides only if half of it is free: %i pages of 512", (free, expected) => {
    const rig = rigOf();
    const network = takeAll(rig.pages, GFP_ATOMIC | __GFP_NOWARN, 0, NUMA_NO_NODE);
    for (const page of network.filter((page) => blockOf(page) === 3).slice(0, free)) rig.pages.putPage(page);
    rig.pages.allocPages(GFP_ATOMIC | __GFP_RECLAIMABLE, 0, NUMA_NO_NODE);
    expect([byType(rig), audit(rig.pages)]).toEqual([expected, []]);
  });

  test("a movable request only borrows a small block: the pageblock stays what it was", () => {
    const rig = rigOf();
    const network = takeAll(rig.pages, GFP_ATOMIC | __GFP_NOWARN, 0, NUMA_NO_NODE);
    rig.pages.putPage(network[700]!);
    rig.pages.putPage(network[1900]!);
    expect(rig.pages.allocPages(GFP_KERNEL | __GFP_MOVABLE, 0, NUMA_NO_NODE)).not.toBeNull();
    expect(byType(rig)).toEqual({ unmovable: 1, movable: 0, reclaimable: 0 });
  });

  test("a movable request claims a block of 16 pages or more with its pageblock, if half of that is free", () => {
    const rig = rigOf();
    const network = takeAll(rig.pages, GFP_ATOMIC | __GFP_NOWARN, 0, NUMA_NO_NODE);
    for (const page of network.filter((page) => blockOf(page) === 3).slice(0, 300)) rig.pages.putPage(page);
    rig.pages.allocPages(GFP_KERNEL | __GFP_MOVABLE, 0, NUMA_NO_NODE);
    expect(byType(rig)).toEqual({ unmovable: 0, movable: 299, reclaimable: 0 });
    expect(audit(rig.pages)).toEqual([]);
  });

  test("blocks as large as a pageblock merge over types, and the other's pageblocks follow the one freed last", () => {
    const rig = rigOf();
    const movable = rig.pages.allocPages(GFP_KERNEL | __GFP_MOVABLE | __GFP_COMP, 10, NUMA_NO_NODE)!;
    const network = rig.pages.allocPages(GFP_ATOMIC | __GFP_COMP, 9, NUMA_NO_NODE)!;
    rig.pages.putPage(network);
    rig.pages.putPage(movable);
    rig.pages.drainAllPages();
    expect([rig.pages.zones[0]!.freeBlocks(10, -1), audit(rig.pages)]).toEqual([4, []]);
  });
});

test.each([[50, "Normal"], [250, "DMA32"]])("types are kept apart by going to a lower zone in the first attempt only; below the low marks they are mixed: %i pages above min, %s", (free, zone) => {
  const rig = allocator({ nodes: [{ zones: [{ name: "DMA32", pages: 4096 }, { name: "Normal", pages: 4096 }] }], minFreePages: 800, pcp: { batch: 1, high: 0 } });
  const low = Array.from({ length: 300 }, () => rig.pages.allocPages(GFP_ATOMIC | __GFP_DMA32, 0, NUMA_NO_NODE)!);
  const users = takeAll(rig.pages, GFP_KERNEL | __GFP_MOVABLE | __GFP_NORETRY | __GFP_NOWARN, 0, NUMA_NO_NODE);
  const high = users.filter((page) => page.zone === 1 && page.pfn % 2 === 0);
  for (const page of [...low.slice(0, free), ...high.slice(0, free)]) rig.pages.putPage(page);
  expect([rig.pages.zones[rig.pages.allocPages(GFP_NOWAIT, 0, NUMA_NO_NODE)!.zone]!.name, audit(rig.pages)]).toEqual([zone, []]);
});
