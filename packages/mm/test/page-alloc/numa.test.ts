import { describe, expect, test } from "vitest";
import { __GFP_COMP, __GFP_MOVABLE, __GFP_NOWARN, __GFP_THISNODE, GFP_ATOMIC, GFP_KERNEL, NUMA_NO_NODE, type NodeOptions } from "../../src/api/index.ts";
import { audit } from "./audit.ts";
import { allocator, onCpu, takeAll, type Allocator } from "./rig.ts";

function node(pages: number, distances: readonly number[]): NodeOptions {
  return { zones: pages === 0 ? [] : [{ name: "Normal", pages }], distances };
}

/** Two nodes of 64 pages, a CPU each. */
function two(options: Partial<Parameters<typeof allocator>[0]> = {}): Allocator {
  return allocator({ nodes: [node(64, [10, 20]), node(64, [20, 10])], minFreePages: 0, pcp: { batch: 1, high: 0 }, ...options }, { cpuNodes: [0, 1] });
}

/** Nodes in the order in which a request for `nid` empties them. */
function order({ pages }: Allocator, nid: number): number[] {
  return [...new Set(takeAll(pages, GFP_ATOMIC | __GFP_NOWARN, 0, nid).map((page) => page.nid))];
}

describe("where a request goes", () => {
  test("NUMA_NO_NODE is the executing CPU's node", () => {
    const rig = two();
    expect(onCpu(rig.kernel, 1, () => rig.pages.allocPages(GFP_ATOMIC, 0, NUMA_NO_NODE))!.nid).toBe(1);
    expect(rig.pages.allocPages(GFP_ATOMIC, 0, NUMA_NO_NODE)!.nid).toBe(0);
  });

  test("a full node falls back to the others by distance", () => {
    const distances = [[10, 40, 20], [40, 10, 30], [20, 30, 10]];
    const rig = (): Allocator => allocator({ nodes: distances.map((row) => node(8, row)), minFreePages: 0, pcp: { batch: 1, high: 0 } });
    expect([order(rig(), 0), order(rig(), 1), order(rig(), 2)]).toEqual([[0, 2, 1], [1, 2, 0], [2, 0, 1]]);
  });

  test("at one distance a node without CPUs is tried before one with", () => {
    const rig = allocator({ nodes: [node(8, [10, 20, 20]), node(8, [20, 10, 20]), node(8, [20, 20, 10])], minFreePages: 0, pcp: { batch: 1, high: 0 } }, { cpuNodes: [0, 1] });
    expect(order(rig, 0)).toEqual([0, 2, 1]);
  });

  test("at one distance the next node comes before those behind, so that not all lean on node 0", () => {
    const row = (nid: number): number[] => [0, 1, 2, 3].map((other) => (other === nid ? 10 : 20));
    const rig = (): Allocator => allocator({ nodes: [0, 1, 2, 3].map((nid) => node(8, row(nid))), minFreePages: 0, pcp: { batch: 1, high: 0 } }, { cpuNodes: [0, 1, 2, 3] });
    expect([order(rig(), 0)[1], order(rig(), 1)[1], order(rig(), 2)[1]]).toEqual([1, 2, 3]);
  });

  test("at one distance the node that others already lean on comes last", () => {
    const distances = [[10, 15, 20, 20], [20, 10, 20, 20], [20, 20, 10, 20], [20, 20, 20, 10]];
    const rig = allocator({ nodes: distances.map((row) => node(8, row)), minFreePages: 0, pcp: { batch: 1, high: 0 } }, { cpuNodes: [0, 1, 2, 3] });
    // Node 0 put its load on 1 and 2, the first of each of its distances.
    expect(order(rig, 1)).toEqual([1, 3, 2, 0]);
  });

  test("__GFP_THISNODE has no fallback", () => {
    const rig = two();
    expect(takeAll(rig.pages, GFP_ATOMIC | __GFP_THISNODE | __GFP_NOWARN, 0, 1)).toHaveLength(64);
    expect(rig.pages.allocPages(GFP_ATOMIC, 0, 1)!.nid).toBe(0);
  });

  test("a node without memory is served by the nearest", () => {
    const rig = allocator({ nodes: [node(0, [10, 30, 20]), node(8, [30, 10, 40]), node(8, [20, 40, 10])], minFreePages: 0, pcp: { batch: 1, high: 0 } });
    expect(rig.pages.allocPages(GFP_ATOMIC, 0, NUMA_NO_NODE)!.nid).toBe(2);
    expect(rig.pages.allocPages(GFP_ATOMIC | __GFP_THISNODE, 0, 0)).toBeNull();
  });

  test("a page knows its node for ever", () => {
    const rig = two();
    const page = rig.pages.allocPages(GFP_ATOMIC, 0, 1)!;
    onCpu(rig.kernel, 0, () => rig.pages.putPage(page));
    expect([page.nid, audit(rig.pages)]).toEqual([1, []]);
  });

  test("a CPU on a node that the machine does not have is refused by name", () => {
    expect(() => allocator({ nrPages: 8 }, { cpuNodes: [0, 1] })).toThrow(expect.objectContaining({ package: "mm", option: "nodes" }));
  });
});

describe("counters", () => {
  test("a request served where it was asked for is a hit there, and local or other by the CPU's node", () => {
    const rig = two();
    onCpu(rig.kernel, 1, () => rig.pages.allocPages(GFP_ATOMIC, 0, 0));
    rig.pages.allocPages(GFP_ATOMIC, 0, 0);
    expect(rig.pages.zones[0]).toMatchObject({ numaHit: 2, numaLocal: 1, numaOther: 1, numaMiss: 0 });
  });

  test("a request served elsewhere is a miss there, and foreign where it was asked for", () => {
    const rig = two();
    takeAll(rig.pages, GFP_ATOMIC | __GFP_THISNODE | __GFP_NOWARN, 0, 0);
    rig.pages.allocPages(GFP_ATOMIC, 0, 0);
    expect([rig.pages.zones[0], rig.pages.zones[1]]).toMatchObject([{ numaHit: 64, numaForeign: 1 }, { numaMiss: 1, numaOther: 1 }]);
  });
});

describe("fragmentation", () => {
  test("crossing to another node is worse than mixing types at home: the local movable block is taken", () => {
    const nodes = [
      { zones: [{ name: "DMA32" as const, pages: 512 }, { name: "Normal" as const, pages: 2048 }] },
      { zones: [{ name: "DMA32" as const, pages: 512 }, { name: "Normal" as const, pages: 2048 }] },
    ];
    const rig = allocator({ nodes, minFreePages: 0, pcp: { batch: 1, high: 0 } }, { cpuNodes: [0, 1] });
    // Movable memory is free in half pageblocks only, on this node.
    const taken = takeAll(rig.pages, GFP_KERNEL | __GFP_THISNODE | __GFP_NOWARN | __GFP_MOVABLE | __GFP_COMP, 8, 0);
    for (const [i, page] of taken.entries()) if (i % 2 === 0) rig.pages.putPage(page);
    expect(rig.pages.allocPages(GFP_ATOMIC, 0, 0)!.nid).toBe(0);
    expect(audit(rig.pages)).toEqual([]);
  });
});
