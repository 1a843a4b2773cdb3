import { describe, expect, test } from "vitest";
import { __GFP_ACCOUNT, __GFP_MEMALLOC, __GFP_NOWARN, __GFP_THISNODE, GFP_ATOMIC, NUMA_NO_NODE, pageIsPfmemalloc, type Page } from "../../src/api/index.ts";
import { audit } from "./audit.ts";
import { allocator, takeAll, type Allocator } from "./rig.ts";

const BATCHED = { batch: 8, high: 64 };
/** Nothing waits on a list: what is free, the zone has. */
const UNBATCHED = { batch: 1, high: 0 };

function rigOf(nrPages: number, minFreePages = 0, pcp: typeof BATCHED = BATCHED): Allocator {
  return allocator({ nrPages, minFreePages, pcp });
}

function empty(n: number): (Page | null)[] {
  return Array.from({ length: n }, () => null);
}

describe("allocPagesBulk", () => {
  test("skb-mm row 10: of an array with 3 of 16 slots filled, 13 are filled, the three stay as they are, and the whole prefix is answered", () => {
    const rig = rigOf(256);
    const out = empty(16);
    const mine = [2, 7, 15].map((slot) => (out[slot] = rig.pages.allocPages(GFP_ATOMIC, 0, NUMA_NO_NODE)));
    expect(rig.pages.allocPagesBulk(GFP_ATOMIC, NUMA_NO_NODE, 16, out)).toBe(16);
    expect([out[2], out[7], out[15]]).toEqual(mine);
    expect(new Set(out).size).toBe(16);
    expect(rig.pages.stats.allocs).toBe(16);
  });

  test("skb-mm row 10: short of memory, filled slots behind the first hole that remains are not counted", () => {
    const rig = rigOf(256, 0, UNBATCHED);
    const out = empty(16);
    out[9] = rig.pages.allocPages(GFP_ATOMIC, 0, NUMA_NO_NODE);
    takeAll(rig.pages, GFP_ATOMIC | __GFP_NOWARN, 0, NUMA_NO_NODE).slice(0, 4).forEach((page) => rig.pages.putPage(page));
    // Four pages are free, and the request asks for 16 above the mark: one ordinary page.
    expect(rig.pages.allocPagesBulk(GFP_ATOMIC, NUMA_NO_NODE, 16, out)).toBe(1);
    expect(out.map((slot) => slot !== null)).toEqual(Array.from({ length: 16 }, (_, i) => i === 0 || i === 9));
  });

  test("skb-mm row 11: with the local zone short and a remote one free, exactly one page comes, by the ordinary path", () => {
    const nodes = [{ zones: [{ name: "Normal" as const, pages: 64 }] }, { zones: [{ name: "Normal" as const, pages: 256 }] }];
    const rig = allocator({ nodes, minFreePages: 0, pcp: { batch: 8, high: 64 } }, { cpuNodes: [0, 1] });
    const out = empty(32);
    takeAll(rig.pages, GFP_ATOMIC | __GFP_THISNODE | __GFP_NOWARN, 0, 0);
    expect(rig.pages.allocPagesBulk(GFP_ATOMIC, 0, 32, out)).toBe(1);
    expect([out[0]!.nid, out.slice(1).every((slot) => slot === null)]).toEqual([1, true]);
  });

  test("skb-mm row 11: short, but not empty, the local zone gives the one page", () => {
    const nodes = [{ zones: [{ name: "Normal" as const, pages: 64 }] }, { zones: [{ name: "Normal" as const, pages: 256 }] }];
    const rig = allocator({ nodes, minFreePages: 0, pcp: { batch: 1, high: 0 } }, { cpuNodes: [0, 1] });
    for (let i = 0; i < 44; i++) rig.pages.allocPages(GFP_ATOMIC, 0, 0);
    const out = empty(32);
    expect([rig.pages.allocPagesBulk(GFP_ATOMIC, 0, 32, out), out[0]!.nid, rig.pages.zones[0]!.freePages]).toEqual([1, 0, 19]);
  });

  test("skb-mm row 11: and none with nothing anywhere: the filled prefix alone", () => {
    const rig = rigOf(64);
    const out = empty(8);
    out[0] = rig.pages.allocPages(GFP_ATOMIC, 0, NUMA_NO_NODE);
    takeAll(rig.pages, GFP_ATOMIC | __GFP_MEMALLOC | __GFP_NOWARN, 0, NUMA_NO_NODE);
    rig.pages.drainAllPages();
    takeAll(rig.pages, GFP_ATOMIC | __GFP_MEMALLOC | __GFP_NOWARN, 0, NUMA_NO_NODE);
    expect([rig.pages.allocPagesBulk(GFP_ATOMIC, NUMA_NO_NODE, 8, out), rig.pages.stats.failures]).toEqual([1, 3]);
  });

  test("the zone must stay above its low mark by all the slots asked for, those that are filled already included", () => {
    // Read in mm/page_alloc.c: up to 6.16 the mark is raised by nr_pages; a tree of 2026 raises it by what is still missing.
    const rig = rigOf(100, 0, UNBATCHED);
    const out = empty(64);
    for (let i = 0; i < 60; i++) out[i] = rig.pages.allocPages(GFP_ATOMIC, 0, NUMA_NO_NODE);
    rig.pages.drainAllPages();
    expect(rig.pages.allocPagesBulk(GFP_ATOMIC, NUMA_NO_NODE, 64, out)).toBe(61);
  });

  test("a bulk request of n pages takes them from the executing CPU's list, a batch from the zone at a time", () => {
    const rig = rigOf(1024);
    const out = empty(20);
    expect(rig.pages.allocPagesBulk(GFP_ATOMIC, NUMA_NO_NODE, 20, out)).toBe(20);
    expect(out.map((page) => page!.base >> 12)).toEqual(Array.from({ length: 20 }, (_, i) => i));
    // Batches of 8 and 16.
    expect(rig.pages.zones[0]).toMatchObject({ freePages: 1024 - 24, numaHit: 20, pcps: [{ count: 4 }] });
    expect(audit(rig.pages)).toEqual([]);
  });

  test("pages of the bulk loop are never marked pfmemalloc; the one of the ordinary path may be", () => {
    const rig = rigOf(256, 64, UNBATCHED);
    const out = empty(32);
    rig.pages.allocPagesBulk(GFP_ATOMIC | __GFP_MEMALLOC, NUMA_NO_NODE, 32, out);
    expect(out.some((page) => pageIsPfmemalloc(page!))).toBe(false);
    while (rig.pages.zones[0]!.freePages > 10) rig.pages.allocPages(GFP_ATOMIC | __GFP_MEMALLOC, 0, NUMA_NO_NODE);
    rig.pages.drainAllPages();
    const more = empty(4);
    expect(rig.pages.allocPagesBulk(GFP_ATOMIC | __GFP_MEMALLOC, NUMA_NO_NODE, 4, more)).toBe(1);
    expect(pageIsPfmemalloc(more[0]!)).toBe(true);
  });

  test("memory that is charged comes one page at a time", () => {
    expect(rigOf(256).pages.allocPagesBulk(GFP_ATOMIC | __GFP_ACCOUNT, NUMA_NO_NODE, 8, empty(8))).toBe(1);
  });

  test("a request with one slot left after the prefix goes the ordinary way, which may dip below the low mark", () => {
    const rig = rigOf(256, 64);
    takeAll(rig.pages, GFP_ATOMIC | __GFP_NOWARN, 0, NUMA_NO_NODE).slice(0, 20).forEach((page) => rig.pages.putPage(page));
    rig.pages.drainAllPages();
    expect(rig.pages.allocPagesBulk(GFP_ATOMIC, NUMA_NO_NODE, 1, empty(1))).toBe(1);
  });

  test("a full array is answered as it is, and no page is taken", () => {
    const rig = rigOf(64);
    const out: (Page | null)[] = [rig.pages.allocPages(GFP_ATOMIC, 0, NUMA_NO_NODE), rig.pages.allocPages(GFP_ATOMIC, 0, NUMA_NO_NODE)];
    expect([rig.pages.allocPagesBulk(GFP_ATOMIC, NUMA_NO_NODE, 2, out), rig.pages.stats.allocs]).toEqual([2, 2]);
    expect(rig.pages.allocPagesBulk(GFP_ATOMIC, NUMA_NO_NODE, 0, [])).toBe(0);
  });
});
