import * as fc from "fast-check";
import { expect, test } from "vitest";
import { PTR_RING_BATCH, type PtrRing } from "../src/api/index.ts";
import { createPtrRings } from "../src/index.ts";
import { usageErrorOf } from "./helpers.ts";

interface Item {
  readonly n: number;
}

function ringOf(size: number): PtrRing<Item> {
  return createPtrRings().create<Item>(size);
}

function fill(ring: PtrRing<Item>): void {
  for (let n = 0; n < ring.size; n++) expect(ring.produce({ n })).toBe(true);
}

/** How many items go in before the ring says no. */
function produceUntilFull(ring: PtrRing<Item>): number {
  let n = 0;
  while (ring.produce({ n })) n++;
  return n;
}

test("pp-xdp row 54: a full ring of 1024 takes nothing after 15 consumes, and sixteen items after 16", () => {
  const ring = ringOf(1024);
  fill(ring);
  for (let i = 0; i < 15; i++) ring.consume();
  expect(ring.produce({ n: -1 })).toBe(false);
  ring.consume();
  expect(produceUntilFull(ring)).toBe(PTR_RING_BATCH);
});

test.each([1, 2, 3, 16, 31, 32, 33, 1024])("a ring of %i slots holds exactly as many items", (size) => {
  expect(produceUntilFull(ringOf(size))).toBe(size);
});

test.each([1, 2, 16, 31])("a full ring of %i slots takes an item after each consume, since slots are nulled one by one", (size) => {
  const ring = ringOf(size);
  fill(ring);
  for (let i = 0; i < 3 * size; i++) {
    ring.consume();
    expect(produceUntilFull(ring)).toBe(1);
  }
});

test("a full ring of 32 slots, the smallest with groups, takes nothing until 16 are consumed", () => {
  const ring = ringOf(32);
  fill(ring);
  for (let i = 0; i < 15; i++) ring.consume();
  expect(ring.isFull()).toBe(true);
  ring.consume();
  expect(ring.isFull()).toBe(false);
});

test("reaching the end of the array nulls a group that is not complete", () => {
  const ring = ringOf(40);
  fill(ring);
  for (let i = 0; i < 39; i++) ring.consume();
  expect(produceUntilFull(ring)).toBe(32);
  ring.consume();
  expect(produceUntilFull(ring)).toBe(8);
});

test("a ring of no slots is empty and full, and takes and gives nothing", () => {
  const ring = ringOf(0);
  expect(ring.produce({ n: 1 })).toBe(false);
  expect(ring.consume()).toBeNull();
  expect([ring.isEmpty(), ring.isFull(), ring.count()]).toEqual([true, true, 0]);
});

test("an item is consumed as the very object that was produced", () => {
  const ring = ringOf(4);
  const item = { n: 7 };
  ring.produce(item);
  expect(ring.consume()).toBe(item);
});

test.each([-1, 1.5, Number.NaN])("a size of %d is refused", (size) => {
  expect(usageErrorOf(() => ringOf(size))).toMatchObject({ package: "kernel", option: "ptr_ring size", value: size });
});

/** An array, and the slots that are consumed but not nulled: what the lazy nulling comes down to. */
class ModelRing {
  readonly size: number;
  readonly queue: number[] = [];
  #consumed = 0;
  #unnulled = 0;

  constructor(size: number) {
    this.size = size;
  }

  full(): boolean {
    return this.queue.length + this.#unnulled >= this.size;
  }

  consume(): number | null {
    const item = this.queue.shift();
    if (item === undefined) return null;
    this.#consumed++;
    this.#unnulled++;
    const group = this.size < 32 ? 1 : 16;
    if (this.#unnulled === group || this.#consumed % this.size === 0) this.#unnulled = 0;
    return item;
  }
}

test("a batch stops where it is told to, or where the ring is empty, and leaves what is in front of it", () => {
  const ring = ringOf(40);
  for (let n = 0; n < 30; n++) ring.produce({ n });
  const into: ({ n: number } | null)[] = [{ n: -1 }];
  expect(ring.consumeBatched(into, 1, 21)).toBe(21);
  expect(into.map((item) => item!.n)).toEqual([-1, ...Array.from({ length: 20 }, (_, n) => n)]);
  // Sixteen slots are nulled, four not yet.
  expect(produceUntilFull(ring)).toBe(26);
  expect(ring.consumeBatched(into, 0, 64)).toBe(36);
  expect([ring.consumeBatched(into, 5, 64), ringOf(0).consumeBatched(into, 3, 9)]).toEqual([5, 3]);
});

test("property: the ring is a FIFO, full, empty and counted as the array model says, over many turns of the array", () => {
  // Positive: produce that many. Negative: consume that many, in a batch if the number is odd.
  const burst = fc.integer({ min: -50, max: 50 });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 70 }), fc.array(burst, { maxLength: 60, size: "max" }), (size, bursts) => {
      const ring = ringOf(size);
      const model = new ModelRing(size);
      let next = 0;
      for (const n of bursts) {
        if (n < 0 && n % 2 !== 0) {
          const into: ({ n: number } | null)[] = [];
          const expected = Array.from({ length: -n }, () => model.consume()).filter((item) => item !== null);
          expect([ring.consumeBatched(into, 0, -n), into.map((item) => item!.n)]).toEqual([expected.length, expected]);
          expect([ring.count(), ring.isEmpty(), ring.isFull()]).toEqual([model.queue.length, model.queue.length === 0, model.full()]);
          continue;
        }
        for (let i = 0; i < Math.abs(n); i++) {
          if (n > 0) {
            const taken = !model.full();
            expect(ring.produce({ n: next })).toBe(taken);
            if (taken) model.queue.push(next++);
          } else {
            expect(ring.consume()?.n ?? null).toBe(model.consume());
          }
          expect([ring.count(), ring.isEmpty(), ring.isFull()]).toEqual([model.queue.length, model.queue.length === 0, model.full()]);
        }
      }
    }),
  );
});
