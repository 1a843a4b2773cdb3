import * as fc from "fast-check";
import { expect, test } from "vitest";
import { GFP_ATOMIC, PAGE_SIZE, PAGE_SLAB, type SlabObject } from "../src/api/index.ts";
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
