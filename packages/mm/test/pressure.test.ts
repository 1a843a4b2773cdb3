import { describe, expect, test } from "vitest";
import { CONTEXT_SOFTIRQ } from "@netmem/kernel/api";
import {
  __GFP_COMP, __GFP_NORETRY, __GFP_NOWARN, __GFP_RETRY_MAYFAIL, __GFP_THISNODE, __GFP_ZERO, DMA_FROM_DEVICE, DMA_MAPPING_ERROR, GFP_ATOMIC, GFP_KERNEL, NUMA_NO_NODE, PAGE_SIZE, type Page,
} from "../src/api/index.ts";
import { allocator, onCpu, takeAll } from "./page-alloc/rig.ts";
import { device, kinds, memory, usageErrorOf, type Memory } from "./helpers.ts";

describe("ballast", () => {
  test("it leaves as many pages free as one says, more or fewer, and gives all back", () => {
    const mm = memory({ nrPages: 256 });
    expect([mm.ballast.leaveFree(10, NUMA_NO_NODE), mm.pages.freePages(), mm.ballast.heldPages()]).toEqual([10, 10, 246]);
    expect([mm.ballast.leaveFree(100, NUMA_NO_NODE), mm.pages.freePages()]).toEqual([100, 100]);
    expect(mm.ballast.leaveFree(0, NUMA_NO_NODE)).toBe(0);
    expect(mm.pages.allocPages(GFP_ATOMIC, 0, NUMA_NO_NODE)).toBeNull();
    mm.ballast.release();
    expect([mm.pages.freePages(), mm.ballast.heldPages(), mm.pages.allocPages(GFP_ATOMIC, 8, NUMA_NO_NODE)]).toMatchObject([256, 0, {}]);
  });

  test("it takes what per-CPU lists hold, and goes below the marks", () => {
    const mm = memory({ nrPages: 1024, minFreePages: 200, pcp: { batch: 16, high: 64 } });
    mm.pages.putPage(mm.pages.allocPages(GFP_ATOMIC, 0, NUMA_NO_NODE)!);
    expect([mm.ballast.leaveFree(3, NUMA_NO_NODE), mm.pages.zones[0]!.pcps[0]!.count]).toEqual([3, 0]);
  });

  test("pages that others hold are not its business: it stops when nothing is left", () => {
    const mm = memory();
    const page = mm.pages.allocPages(GFP_ATOMIC, 5, NUMA_NO_NODE)!;
    expect([mm.ballast.leaveFree(0, NUMA_NO_NODE), mm.ballast.heldPages(), mm.ballast.leaveFree(64, NUMA_NO_NODE)]).toEqual([0, 32, 32]);
    mm.pages.freePagesOrder(page, 5);
    expect(mm.reports.total).toBe(0);
  });

  test("one node can be filled and the other left alone", () => {
    const zones = [{ name: "Normal" as const, pages: 64 }];
    const mm = memory({ nrPages: undefined as never, nodes: [{ zones }, { zones }] });
    mm.ballast.leaveFree(0, 1);
    expect(mm.pages.zones.map((zone) => zone.freePages)).toEqual([64, 0]);
    expect(mm.pages.allocPages(GFP_ATOMIC | __GFP_THISNODE, 0, 1)).toBeNull();
  });

  test.each([[-1, NUMA_NO_NODE, "ballast freePages"], [1.5, NUMA_NO_NODE, "ballast freePages"], [1, 7, "ballast nid"]])("%d pages of node %i is refused by name", (pages, nid, option) => {
    expect(usageErrorOf(() => memory().ballast.leaveFree(pages, nid)).option).toBe(option);
  });
});

describe("reclaim", () => {
  test("a request that may wait gets what the slab gives back", () => {
    const mm = memory();
    const objects = Array.from({ length: 32 }, () => mm.slab.kmalloc(4096, GFP_ATOMIC)!);
    mm.ballast.leaveFree(0, NUMA_NO_NODE);
    for (const object of objects) mm.slab.kfree(object);
    expect(mm.pages.allocPages(GFP_ATOMIC, 3, NUMA_NO_NODE)).toBeNull();
    expect(mm.pages.allocPages(GFP_KERNEL, 3, NUMA_NO_NODE)).not.toBeNull();
    expect(mm.pages.stats.directReclaims).toBe(1);
  });

  test("pages on another CPU's list are out of reach, until a request that may wait has them drained", () => {
    const rig = allocator({ nrPages: 64, minFreePages: 0, pcp: { batch: 16, high: 64 } }, { cpuNodes: [0, 0] });
    onCpu(rig.kernel, 1, () => rig.pages.putPage(rig.pages.allocPages(GFP_ATOMIC, 0, NUMA_NO_NODE)!));
    takeAll(rig.pages, GFP_ATOMIC | __GFP_NOWARN, 4, NUMA_NO_NODE);
    expect([rig.pages.zones[0]!.freePages, rig.pages.zones[0]!.pcps[1]!.count]).toEqual([0, 16]);
    expect(rig.pages.allocPages(GFP_ATOMIC, 0, NUMA_NO_NODE)).toBeNull();
    expect(rig.pages.allocPages(GFP_KERNEL, 0, NUMA_NO_NODE)).not.toBeNull();
    expect(rig.pages.zones[0]!.pcps[1]!.count).toBe(0);
  });

  test("shrinkers are asked in turn, as a task that may use the reserves, and the request is tried again as long as they give", () => {
    const mm = memory();
    const log: string[] = [];
    const held = Array.from({ length: 64 }, () => mm.pages.allocPages(GFP_ATOMIC, 0, NUMA_NO_NODE)!);
    const giver = (name: string, pages: Page[]) => ({
      name,
      shrink: (): number => {
        log.push(`${name} ${mm.kernel.context.taskFlags}`);
        const page = pages.pop();
        if (page === undefined) return 0;
        mm.pages.putPage(page);
        return 1;
      },
    });
    // The buddy of order 1 comes together after the second page only.
    mm.reclaim.registerShrinker(giver("a", [held[0]!]));
    mm.reclaim.registerShrinker(giver("b", [held[1]!]));
    expect(mm.pages.allocPages(GFP_KERNEL, 1, NUMA_NO_NODE)).not.toBeNull();
    expect(log).toEqual(["a 2048", "b 2048"]);
  });

  test("with nothing to reclaim, asked for twice, and nobody to kill a request fails", () => {
    const mm = memory();
    mm.ballast.leaveFree(0, NUMA_NO_NODE);
    expect(mm.pages.allocPages(GFP_KERNEL, 0, NUMA_NO_NODE)).toBeNull();
    expect(mm.pages.stats).toMatchObject({ failures: 1, warnings: 1, directReclaims: 2 });
  });

  test("the OOM handler is asked last, once, and what it frees is used", () => {
    const mm = memory();
    let asked = 0;
    mm.ballast.leaveFree(0, NUMA_NO_NODE);
    mm.reclaim.setOomHandler(() => {
      asked++;
      mm.ballast.leaveFree(4, NUMA_NO_NODE);
      return true;
    });
    expect([mm.pages.allocPages(GFP_KERNEL, 0, NUMA_NO_NODE) !== null, asked]).toEqual([true, 1]);
  });

  test.each([["__GFP_NORETRY", __GFP_NORETRY, 0], ["__GFP_RETRY_MAYFAIL", __GFP_RETRY_MAYFAIL, 0], ["__GFP_THISNODE", __GFP_THISNODE, 0], ["a costly order", __GFP_COMP, 4]])("%s never gets as far as the OOM handler", (_name, flags, order) => {
    const mm = memory();
    mm.ballast.leaveFree(0, NUMA_NO_NODE);
    mm.reclaim.setOomHandler(() => {
      throw new Error("asked");
    });
    expect(mm.pages.allocPages(GFP_KERNEL | flags, order, NUMA_NO_NODE)).toBeNull();
  });

  test("a request that may sleep, made in softirq, is reported with context and flags, and served all the same", () => {
    const mm = memory();
    mm.kernel.context.level = CONTEXT_SOFTIRQ;
    expect(mm.pages.allocPages(GFP_KERNEL, 0, NUMA_NO_NODE)).not.toBeNull();
    expect(mm.pages.allocPagesBulk(GFP_KERNEL, NUMA_NO_NODE, 4, [])).toBe(4);
    expect(mm.reports.reports).toMatchObject([{ kind: "sleep-in-atomic", object: "request of order 0", message: expect.stringContaining("GFP_KERNEL may sleep, and softirq context may not") }, { kind: "sleep-in-atomic" }]);
  });
});

describe("injected failures", () => {
  function outcomes(mm: Memory, n: number): string {
    return Array.from({ length: n }, () => (mm.pages.allocPages(GFP_ATOMIC | __GFP_NOWARN, 0, NUMA_NO_NODE) === null ? "x" : ".")).join("");
  }

  test("by count: only the n-th call", () => {
    const mm = memory();
    mm.faults.failPageAlloc.arm({ nth: 3 });
    expect([outcomes(mm, 6), mm.faults.failPageAlloc.eligible(), mm.faults.failPageAlloc.injected()]).toEqual(["..x...", 6, 1]);
  });

  test("by interval, and at most so many times", () => {
    const mm = memory();
    mm.faults.failPageAlloc.arm({ interval: 3, times: 2 });
    expect(outcomes(mm, 12)).toBe("..x..x......");
  });

  test("by seed: a share of the calls, the same ones for the same seed, others for another", () => {
    const run = (seed: number): string => {
      const mm = memory({ nrPages: 512 });
      mm.faults.failPageAlloc.arm({ probability: 30, seed });
      return outcomes(mm, 400);
    };
    expect(run(1)).toBe(run(1));
    expect(run(1)).not.toBe(run(2));
    const failed = run(1).split("x").length - 1;
    expect(failed).toBeGreaterThan(80);
    expect(failed).toBeLessThan(160);
  });

  test("by call site: only what a function of that name calls, directly or not", () => {
    const mm = memory();
    function refill(): Page | null {
      return mm.pages.allocPages(GFP_ATOMIC, 0, NUMA_NO_NODE);
    }
    class Driver {
      open(): Page | null {
        return [refill()][0]!;
      }
    }
    mm.faults.failPageAlloc.arm({ site: "refill" });
    expect([refill(), outcomes(mm, 2)]).toEqual([null, ".."]);
    mm.faults.failPageAlloc.arm({ site: "Driver.open" });
    expect([new Driver().open(), refill() === null]).toEqual([null, false]);
    mm.faults.failPageAlloc.arm({ site: "nobody" });
    expect(refill()).not.toBeNull();
  });

  test("by size: after so many bytes, and blocks of an order at least", () => {
    const mm = memory();
    mm.faults.failPageAlloc.arm({ space: 3 * PAGE_SIZE });
    expect(outcomes(mm, 5)).toBe("...xx");
    mm.faults.failPageAlloc.arm({ minOrder: 2 });
    expect([outcomes(mm, 2), mm.pages.allocPages(GFP_ATOMIC, 2, NUMA_NO_NODE)]).toEqual(["..", null]);
  });

  test("a bulk request fails as one", () => {
    const mm = memory();
    mm.faults.failPageAlloc.arm({ nth: 1 });
    expect([mm.pages.allocPagesBulk(GFP_ATOMIC, NUMA_NO_NODE, 4, []), mm.pages.allocPagesBulk(GFP_ATOMIC, NUMA_NO_NODE, 4, [])]).toEqual([0, 4]);
  });

  test("kmalloc, caches and mappings fail the same way, and nothing is lost", () => {
    const mm = device();
    mm.faults.failSlab.arm({ nth: 1 });
    expect([mm.slab.kmalloc(100, GFP_ATOMIC), mm.slab.kmalloc(100, GFP_ATOMIC) === null]).toEqual([null, false]);
    mm.faults.failDmaMap.arm({});
    const page = mm.pages.allocPages(GFP_ATOMIC, 0, NUMA_NO_NODE)!;
    expect([mm.dma.mapPage(page, 0, 64, DMA_FROM_DEVICE, 0), mm.dma.allocCoherent(64, GFP_KERNEL)]).toEqual([DMA_MAPPING_ERROR, null]);
    mm.faults.failDmaMap.disarm();
    expect([mm.dma.liveMappings(), mm.dma.mapPage(page, 0, 64, DMA_FROM_DEVICE, 0) === DMA_MAPPING_ERROR, kinds(mm.reports)]).toEqual([0, false, []]);
  });

  test.each([{ probability: 101 }, { interval: 0 }, { nth: 0 }, { times: -1 }, { site: "a b" }, { seed: 1.5 }])("%j is refused by name", (attr) => {
    const option = `${Object.keys(attr)[0]} of fail_page_alloc`;
    expect(usageErrorOf(() => memory().faults.failPageAlloc.arm(attr))).toMatchObject({ package: "mm", option });
  });
});

test("__GFP_ZERO clears the bytes of the whole block", () => {
  const mm = memory();
  const dirty = mm.pages.allocPages(GFP_ATOMIC, 1, NUMA_NO_NODE)!;
  dirty.region.bytes.fill(0xff, dirty.base, dirty.base + 2 * PAGE_SIZE);
  mm.pages.freePagesOrder(dirty, 1);
  const page = mm.pages.allocPages(GFP_ATOMIC | __GFP_ZERO, 1, NUMA_NO_NODE)!;
  expect(page.region.bytes.subarray(page.base, page.base + 2 * PAGE_SIZE).every((byte) => byte === 0)).toBe(true);
});
