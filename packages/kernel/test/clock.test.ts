import * as fc from "fast-check";
import { expect, test } from "vitest";
import { NSEC_PER_MSEC } from "../src/api/index.ts";
import { SimulatedClock } from "../src/clock.ts";
import { kernelWith } from "./helpers.ts";

test("jiffies count whole ticks: at HZ 250 the first begins at 4 ms", () => {
  const kernel = kernelWith({ hz: 250 });
  kernel.scheduler.runFor(4 * NSEC_PER_MSEC - 1);
  expect(kernel.clock.jiffies).toBe(0);
  kernel.scheduler.runFor(1);
  expect(kernel.clock.jiffies).toBe(1);
});

test("stamps are the time, until moments are counted, and then those, whatever the time", () => {
  const { clock, scheduler } = kernelWith({});
  scheduler.runFor(700);
  expect(clock.stamp).toBe(700);
  clock.countMoment();
  expect(clock.stamp).toBe(1);
  scheduler.runFor(5);
  clock.countMoment();
  expect([clock.stamp, clock.nowNs]).toEqual([2, 705]);
});

test("property: jiffies are nowNs × HZ ÷ 10⁹ rounded down, exactly, for every time below 2^53", () => {
  const tick = fc.integer({ min: 1, max: 90_000_000_000 });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 10_000 }), tick, fc.constantFrom(-1, 0, 1), (hz, ticks, beside) => {
      const nowNs = Math.floor((ticks * 1e9) / hz) + beside;
      fc.pre(nowNs >= 0 && nowNs <= Number.MAX_SAFE_INTEGER);
      const clock = new SimulatedClock(hz);
      clock.moveTo(nowNs);
      expect(BigInt(clock.jiffies)).toBe((BigInt(nowNs) * BigInt(hz)) / 1_000_000_000n);
    }),
    { numRuns: 1000 },
  );
});
