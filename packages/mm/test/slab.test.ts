import * as fc from "fast-check";
import { expect, test } from "vitest";
import {
  __GFP_MEMALLOC, __GFP_NOMEMALLOC, GFP_ATOMIC, GFP_KERNEL, NUMA_NO_NODE, PAGE_SIZE, PAGE_SLAB, PAGE_VIEW_SLAB, type SlabObject,
} from "../src/api/index.ts";
import { createKernel } from "@netmem/kernel";
import { CONTEXT_PROCESS, CONTEXT_SOFTIRQ } from "@netmem/kernel/api";
import { createMm } from "../src/index.ts";
import { slabOrder } from "../src/slab/object-cache.ts";
import { onCpu } from "./page-alloc/rig.ts";
import { kinds, memory, usageErrorOf, type Memory } from "./helpers.ts";

function kmalloc(mm: Memory, bytes: number): SlabObject {
  const object = mm.slab.kmalloc(bytes, GFP_ATOMIC);
  expect(object).not.toBeNull();
  return object!;
}

test.each([
  [1, 8], [8, 8], [9, 16], [33, 64], [65, 96], [97, 128], [129, 192], [193, 256], [257, 512], [513, 1024], [1025, 2048], [2049, 4096], [4097, 8192],
  [8192, 8192], [8193, 16_384], [16_385, 32_768],
])("a request of %i bytes gets an object of %i", (bytes, usable) => {
  const mm = memory();
  expect(mm.slab.sizeRoundup(bytes)).toBe(usable);
  expect(kmalloc(mm, bytes).sizeBytes).toBe(usable);
});

test("property: what kmalloc gives is what sizeRoundup says, at least the request, and rounded up once only", () => {
  const mm = memory({ nrPages: 1024 });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 70_000 }), (bytes) => {
      const usable = mm.slab.sizeRoundup(bytes);
      expect(usable).toBeGreaterThanOrEqual(bytes);
      expect(mm.slab.sizeRoundup(usable)).toBe(usable);
      const object = kmalloc(mm, bytes);
      expect(object.sizeBytes).toBe(usable);
      mm.slab.kfree(object);
    }),
  );
});

test("the object freed last is the first to be used again", () => {
  const mm = memory();
  const [a, b] = [kmalloc(mm, 512), kmalloc(mm, 512)];
  mm.slab.kfree(a);
  mm.slab.kfree(b);
  expect(kmalloc(mm, 512)).toBe(b);
  expect(kmalloc(mm, 512)).toBe(a);
});

test("a fresh slab is used from its lowest address upwards", () => {
  const mm = memory();
  const bases = [kmalloc(mm, 1024), kmalloc(mm, 1024), kmalloc(mm, 1024)].map((object) => object.base);
  expect(bases).toEqual([0, 1024, 2048]);
});

test.each([64, 96, 192, 512, 8192])("objects of %i bytes lie side by side, each within its slab", (bytes) => {
  const mm = memory({ nrPages: 256 });
  const objects = Array.from({ length: 100 }, () => kmalloc(mm, bytes)).sort((a, b) => a.base - b.base);
  for (const [i, { base, slab }] of objects.entries()) {
    expect(base + bytes).toBeLessThanOrEqual(Math.min(slab.base + (PAGE_SIZE << slab.order), objects[i + 1]?.base ?? Infinity));
  }
});

test("an object lies in a page that is marked as slab", () => {
  expect(kmalloc(memory(), 100).slab.state).toBe(PAGE_SLAB);
});

test.each([100, 20_000])("an object of %i bytes freed twice is a report, and is not in use less than once", (bytes) => {
  const mm = memory();
  const object = kmalloc(mm, bytes);
  mm.slab.kfree(object);
  const free = mm.pages.freePages();
  mm.slab.kfree(object);
  expect(kinds(mm.reports)).toEqual(["slab-double-free"]);
  expect([mm.slab.objectsInUse(), mm.pages.freePages()]).toEqual([0, free]);
});

test("an object freed twice is not handed to two owners", () => {
  const mm = memory();
  const object = kmalloc(mm, 64);
  mm.slab.kfree(object);
  mm.slab.kfree(object);
  expect(kmalloc(mm, 64)).not.toBe(kmalloc(mm, 64));
});

test("above 8192 bytes an object is a block of pages of its own, given back when freed", () => {
  const mm = memory();
  const object = kmalloc(mm, 8193);
  expect([object.base % PAGE_SIZE, mm.pages.freePages()]).toEqual([0, 60]);
  mm.slab.kfree(object);
  expect(mm.pages.freePages()).toBe(64);
});

test("shrink gives back every slab without live objects, and only those", () => {
  const mm = memory();
  const keep = kmalloc(mm, 4096);
  const rest = Array.from({ length: 20 }, () => kmalloc(mm, 4096));
  for (const object of rest) mm.slab.kfree(object);
  const before = mm.pages.freePages();
  expect(mm.slab.shrink()).toBe(mm.pages.freePages() - before);
  expect(mm.pages.freePages()).toBe(64 - 8);
  mm.slab.kfree(keep);
  expect(mm.slab.shrink()).toBe(8);
  expect([mm.pages.freePages(), mm.slab.shrink()]).toEqual([64, 0]);
});

test("after a shrink kmalloc hands out no object of a slab that is gone", () => {
  const mm = memory();
  const old = kmalloc(mm, 64);
  mm.slab.kfree(old);
  mm.slab.shrink();
  expect(kmalloc(mm, 64)).not.toBe(old);
});

test("without memory kmalloc answers null, and works again once there is some", () => {
  const mm = memory({ nrPages: 2 });
  const objects = [kmalloc(mm, 256), kmalloc(mm, 200), kmalloc(mm, 100)];
  expect(mm.slab.kmalloc(512, GFP_ATOMIC)).toBeNull();
  expect(mm.slab.objectsInUse()).toBe(3);
  for (const object of objects) mm.slab.kfree(object);
  mm.slab.shrink();
  kmalloc(mm, 512);
});

test.each([5_000_000, 2 ** 31, 2 ** 40])("a request of %d bytes, more than the largest block, answers null", (bytes) => {
  const mm = memory();
  expect(mm.slab.kmalloc(bytes, GFP_ATOMIC)).toBeNull();
  expect(mm.slab.objectsInUse()).toBe(0);
});

test.each([0, -1, Number.NaN])("a request of %d bytes is refused", (bytes) => {
  expect(usageErrorOf(() => memory().slab.kmalloc(bytes, GFP_ATOMIC))).toMatchObject({ package: "mm", option: "kmalloc bytes", value: bytes });
});

test("property: live objects never overlap, and once all are freed a shrink brings every page home", () => {
  const step = fc.record({ bytes: fc.oneof(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 1, max: 20_000 })), free: fc.boolean(), at: fc.nat() });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 100, size: "max" }), (steps) => {
      const mm = memory({ nrPages: 256 });
      const live: { readonly object: SlabObject; readonly tag: number }[] = [];
      const release = (at: number): void => {
        const { object, tag } = live.splice(at, 1)[0]!;
        // Nobody else has written into it.
        expect(object.region.bytes.subarray(object.base, object.base + object.sizeBytes).every((byte) => byte === tag)).toBe(true);
        mm.slab.kfree(object);
      };
      for (const [i, { bytes, free, at }] of steps.entries()) {
        if (free && live.length > 0) release(at % live.length);
        else {
          const object = mm.slab.kmalloc(bytes, GFP_ATOMIC);
          if (object === null) continue;
          object.region.bytes.fill(i + 1, object.base, object.base + object.sizeBytes);
          live.push({ object, tag: i + 1 });
        }
        expect(mm.slab.objectsInUse()).toBe(live.length);
      }
      while (live.length > 0) release(0);
      mm.slab.shrink();
      expect([mm.pages.freePages(), mm.reports.total]).toEqual([256, 0]);
    }),
  );
});

test.each([[96, 0], [192, 0], [512, 1], [576, 1], [1024, 2], [2048, 3], [4096, 3], [8192, 3]])("on a machine of two CPUs a slab of %i-byte objects is of order %i, as /proc/slabinfo of a 6.18 has it", (bytes, order) => {
  expect(slabOrder(bytes, 2)).toBe(order);
});

function twoCpus() {
  const kernel = createKernel({ nrCpus: 2, seed: 1, reports: "collect" });
  return { kernel, mm: createMm(kernel, { nrPages: 1024, minFreePages: 0 }) };
}

test("a page under a slab belongs to it, word by word, until the slab is given back", () => {
  const mm = memory();
  const { slab } = kmalloc(mm, 100);
  expect(mm.words.ownerOf(slab, 1)).toBe(PAGE_VIEW_SLAB);
  mm.slab.shrink();
  mm.slab.kfree(kmalloc(mm, 100));
  expect([mm.words.ownerOf(slab, 5), mm.reports.total]).toEqual([PAGE_VIEW_SLAB, 0]);
});

test("each CPU allocates from a slab of its own", () => {
  const { kernel, mm } = twoCpus();
  const here = mm.slab.kmalloc(512, GFP_ATOMIC)!;
  const there = onCpu(kernel, 1, () => mm.slab.kmalloc(512, GFP_ATOMIC)!);
  expect(here.slab).not.toBe(there.slab);
});

test("an object freed on another CPU goes back to its slab, and that CPU does not hand it out", () => {
  const { kernel, mm } = twoCpus();
  const [a, b] = [mm.slab.kmalloc(512, GFP_ATOMIC)!, mm.slab.kmalloc(512, GFP_ATOMIC)!];
  onCpu(kernel, 1, () => mm.slab.kfree(a));
  expect(onCpu(kernel, 1, () => mm.slab.kmalloc(512, GFP_ATOMIC)!.slab)).not.toBe(b.slab);
  // The first CPU finds it once its own list is used up.
  const rest = Array.from({ length: 15 }, () => mm.slab.kmalloc(512, GFP_ATOMIC)!);
  expect(rest.indexOf(a)).toBe(14);
});

test("a full slab that another CPU frees into is that CPU's next one", () => {
  const { kernel, mm } = twoCpus();
  const objects = Array.from({ length: 40 }, () => mm.slab.kmalloc(512, GFP_ATOMIC)!);
  const full = objects.filter(({ slab }) => slab === objects[0]!.slab);
  expect(full).toHaveLength(16);
  onCpu(kernel, 1, () => {
    mm.slab.kfree(full[3]!);
    expect(mm.slab.kmalloc(512, GFP_ATOMIC)).toBe(full[3]);
  });
});

test("empty slabs are kept for the next burst, a handful of them, and the rest given back at once", () => {
  const { mm } = twoCpus();
  const objects = Array.from({ length: 600 }, () => mm.slab.kmalloc(1024, GFP_ATOMIC)!);
  const used = 1024 - mm.pages.freePages();
  for (const object of objects) mm.slab.kfree(object);
  const kept = 1024 - mm.pages.freePages();
  expect(kept).toBeLessThan(used / 3);
  expect(kept).toBeGreaterThan(0);
  mm.slab.shrink();
  expect(mm.pages.freePages()).toBe(1024);
});

test("short of memory a slab of the wanted order gives way to a small one", () => {
  const mm = memory({ nrPages: 8 });
  const pages = Array.from({ length: 8 }, () => mm.pages.allocPages(GFP_ATOMIC, 0, NUMA_NO_NODE)!);
  mm.pages.putPage(pages[2]!);
  expect(kmalloc(mm, 4096)).toMatchObject({ base: 2 * PAGE_SIZE, sizeBytes: 4096 });
});

test("objects from the reserves are for those who may use them; others go without", () => {
  const mm = memory({ nrPages: 64, minFreePages: 40 });
  mm.ballast.leaveFree(8, NUMA_NO_NODE);
  const object = mm.slab.kmalloc(256, GFP_ATOMIC | __GFP_MEMALLOC)!;
  expect(object.pfmemalloc).toBe(true);
  mm.slab.kfree(object);
  expect([mm.slab.kmalloc(256, GFP_ATOMIC), mm.slab.kmalloc(256, GFP_ATOMIC | __GFP_MEMALLOC | __GFP_NOMEMALLOC)]).toEqual([null, null]);
  expect(mm.slab.kmalloc(256, GFP_ATOMIC | __GFP_MEMALLOC)!.pfmemalloc).toBe(true);
});

test("a request for a node gets an object of that node", () => {
  const kernel = createKernel({ nrCpus: 2, cpuNodes: [0, 1], seed: 1, reports: "collect" });
  const zones = [{ name: "Normal" as const, pages: 256 }];
  const mm = createMm(kernel, { nodes: [{ zones }, { zones }], minFreePages: 0 });
  const nodes = [0, 1, 0, 1, 1, 0].map((nid) => mm.slab.kmallocNode(512, GFP_ATOMIC, nid)!.slab.nid);
  expect([nodes, mm.slab.kmalloc(512, GFP_ATOMIC)!.slab.nid, mm.slab.kmallocNode(20_000, GFP_ATOMIC, 1)!.slab.nid]).toEqual([[0, 1, 0, 1, 1, 0], 0, 1]);
});

test("a cache of its own has its own objects, rounded up to its alignment", () => {
  const mm = memory({ nrPages: 256 });
  const cache = mm.slab.createCache("skbuff_small_head", 600, 64);
  const object = mm.slab.cacheAlloc(cache, GFP_KERNEL, NUMA_NO_NODE)!;
  expect([cache.name, cache.objectBytes, object.sizeBytes, object.base % 64, cache.objectsInUse(), cache.slabs()]).toEqual(["skbuff_small_head", 640, 640, 0, 1, 1]);
  mm.slab.kfree(object);
  expect([cache.objectsInUse(), mm.slab.objectsInUse()]).toEqual([0, 0]);
});

test("a bulk request is all or nothing", () => {
  const mm = memory({ nrPages: 4 });
  const cache = mm.slab.createCache("test", 2048, 8);
  const out: (SlabObject | null)[] = [];
  expect([mm.slab.cacheAllocBulk(cache, GFP_ATOMIC, 9, out), cache.objectsInUse(), out.every((slot) => slot === null)]).toEqual([0, 0, true]);
  expect([mm.slab.cacheAllocBulk(cache, GFP_ATOMIC, 8, out), new Set(out.slice(0, 8)).size]).toEqual([8, 8]);
});

test.each([[4, 8, "object bytes of cache test"], [9000, 8, "object bytes of cache test"], [64, 3, "alignment of cache test"], [64, 4, "alignment of cache test"]])("a cache of %d bytes aligned to %d is refused by name", (bytes, align, option) => {
  expect(usageErrorOf(() => memory().slab.createCache("test", bytes, align)).option).toBe(option);
});

test("property: on two CPUs, however objects are freed, none is in two hands, and a shrink brings every page home", () => {
  const step = fc.record({ cpu: fc.integer({ min: 0, max: 1 }), free: fc.boolean(), at: fc.nat(), bytes: fc.constantFrom(64, 512, 512, 2048, 8192) });
  fc.assert(fc.property(fc.array(step, { maxLength: 250, size: "max" }), (steps) => {
    const { kernel, mm } = twoCpus();
    const live = new Set<SlabObject>();
    for (const { cpu, free, at, bytes } of steps) {
      onCpu(kernel, cpu, () => {
        const object = [...live][at % Math.max(1, live.size)];
        if (free && object !== undefined) {
          live.delete(object);
          mm.slab.kfree(object);
          return;
        }
        const got = mm.slab.kmalloc(bytes, GFP_ATOMIC);
        if (got === null) return;
        expect([live.has(got), got.inUse]).toEqual([false, true]);
        live.add(got);
      });
      expect(mm.slab.objectsInUse()).toBe(live.size);
    }
    for (const object of live) mm.slab.kfree(object);
    mm.slab.shrink();
    expect([mm.pages.freePages(), kernel.reports.total]).toEqual([1024, 0]);
  }));
});

test("a node that is not there, and a bulk of no whole number, are refused before anything is taken", () => {
  const mm = memory();
  const cache = mm.slab.createCache("things", 64, 64);
  mm.slab.kfree(mm.slab.cacheAlloc(cache, GFP_KERNEL, NUMA_NO_NODE)!);
  expect(usageErrorOf(() => mm.slab.kmallocNode(64, GFP_KERNEL, 7)).option).toBe("nid");
  for (const n of [-1, Number.NaN, 0.5]) expect(usageErrorOf(() => mm.slab.cacheAllocBulk(cache, GFP_KERNEL, n, [])).option).toBe("objects of a bulk request to things");
  expect(mm.slab.objectsInUse()).toBe(0);
});

test("flags are looked at even where an object is at hand: unknown ones, and sleep where nobody may", () => {
  const mm = memory();
  mm.slab.kfree(mm.slab.kmalloc(64, GFP_KERNEL)!);
  for (const gfp of [1 << 30, Number.NaN, 0.5]) expect(usageErrorOf(() => mm.slab.kmalloc(64, gfp)).option).toBe("gfp of kmalloc-64");
  mm.kernel.context.level = CONTEXT_SOFTIRQ;
  mm.slab.kfree(mm.slab.kmalloc(64, GFP_ATOMIC)!);
  expect(mm.reports.total).toBe(0);
  mm.slab.kfree(mm.slab.kmalloc(64, GFP_KERNEL)!);
  mm.kernel.context.level = CONTEXT_PROCESS;
  expect(mm.reports.reports.map(({ kind, object }) => [kind, object])).toEqual([["sleep-in-atomic", "kmalloc-64"]]);
});

test("a node without partial slabs takes one of another node that keeps more than it must, before it asks for pages", () => {
  const machine = createKernel({ nrCpus: 2, cpuNodes: [0, 1], seed: 1, reports: "panic" });
  const node = { zones: [{ name: "Normal" as const, pages: 256 }] };
  const mm = createMm(machine, { nodes: [node, node], minFreePages: 0 });
  const cache = mm.slab.createCache("pages", 4096, 64);
  /** Slabs of node 1 with one object left each, none of them with a CPU. */
  const partials = (count: number): void => onCpu(machine, 1, () => {
    const objects = Array.from({ length: count * 8 }, () => mm.slab.cacheAlloc(cache, GFP_ATOMIC, NUMA_NO_NODE)!);
    const kept = new Set<object>();
    for (const object of objects) {
      if (kept.has(object.slab)) mm.slab.kfree(object);
      kept.add(object.slab);
    }
    mm.slab.shrink();
  });
  partials(5);
  expect(mm.slab.cacheAlloc(cache, GFP_ATOMIC, NUMA_NO_NODE)!.slab.nid).toBe(0);
  for (let i = 0; i < 7; i++) expect(mm.slab.cacheAlloc(cache, GFP_ATOMIC, NUMA_NO_NODE)!.slab.nid).toBe(0);
  onCpu(machine, 1, () => {
    for (let i = 0; i < 100; i++) mm.slab.cacheAlloc(cache, GFP_ATOMIC, NUMA_NO_NODE);
  });
  partials(12);
  const slabs = cache.slabs();
  expect([mm.slab.cacheAlloc(cache, GFP_ATOMIC, NUMA_NO_NODE)!.slab.nid, mm.slab.cacheAlloc(cache, GFP_ATOMIC, 0)!.slab.nid, cache.slabs() - slabs]).toEqual([1, 0, 1]);
});
