import * as fc from "fast-check";
import { expect, test } from "vitest";
import { createRandom } from "../src/random.ts";
import { usageErrorOf } from "./helpers.ts";

const anySeed = fc.integer({ min: 0, max: 0xffffffff });

function take(seed: number, count: number): number[] {
  const random = createRandom(seed);
  return Array.from({ length: count }, () => random.u32());
}

test("property: below() stays within 0 … bound − 1, and u32() within 32 bits", () => {
  fc.assert(
    fc.property(anySeed, fc.integer({ min: 1, max: 2 ** 31 }), (seed, bound) => {
      const random = createRandom(seed);
      for (let i = 0; i < 20; i++) {
        const value = random.below(bound);
        const word = random.u32();
        expect(Number.isInteger(value) && value >= 0 && value < bound).toBe(true);
        expect(Number.isInteger(word) && word >= 0 && word <= 0xffffffff).toBe(true);
      }
    }),
  );
});

test("property: the same seed gives the same numbers", () => {
  fc.assert(
    fc.property(anySeed, (seed) => {
      expect(take(seed, 8)).toEqual(take(seed, 8));
    }),
  );
});

test("seed 1 gives these numbers in every release: a trace made from a seed can be made again", () => {
  expect(take(1, 6)).toEqual([1539631501, 442622888, 1188949312, 1809563000, 1410996550, 2312725188]);
});

test("property: two seeds give different numbers", () => {
  fc.assert(
    fc.property(anySeed, anySeed, (a, b) => {
      fc.pre(a !== b);
      expect(take(a, 8)).not.toEqual(take(b, 8));
    }),
  );
});

test.each([0, 1, 0x61c88647, 0xffffffff])("seed %i: 10000 draws below 10 hit each number 850 to 1150 times", (seed) => {
  const random = createRandom(seed);
  const hits = Array<number>(10).fill(0);
  for (let i = 0; i < 10_000; i++) hits[random.below(10)]!++;
  expect(Math.min(...hits)).toBeGreaterThan(850);
  expect(Math.max(...hits)).toBeLessThan(1150);
});

test.each([-1, 2 ** 32, 0.5, Number.NaN])("a seed of %d is refused", (seed) => {
  expect(usageErrorOf(() => createRandom(seed))).toMatchObject({ package: "kernel", option: "seed", value: seed });
});
