import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { conservationFaults } from "@netmem/testkit";
import { FREE_ORDERS, RETURN_PATHS, SHARED_RELEASES } from "@netmem/machine";
import { DESIGNS, concatenated, frames, traffic, type TrafficOptions } from "./traffic.ts";

/** Runs, checking conservation after every step, and takes the machine down; the pages must all be home. */
function runChecked(lengths: readonly number[], options: TrafficOptions): void {
  const sent = frames(lengths);
  const run = traffic(sent, options);
  const { machine, pool, device } = run;
  const check = (): void => {
    const faults = conservationFaults(machine, [pool]);
    if (faults.length > 0) throw new Error(faults.join("; "));
  };
  check();
  run.run(check);
  machine.shutdown();
  check();
  expect(machine.kernel.reports.reports).toEqual([]);
  expect({ inflight: pool.inflight(), dead: pool.dead }).toEqual({ inflight: 0, dead: true });
  expect(device.dma.stats.unmaps).toBe(device.dma.stats.maps);
  expect(machine.mm.pages.freePages()).toBe(machine.mm.pages.nrPages);
  expect(machine.net.lifetime.stats.live).toBe(0);
  if (options.earlyDrop !== true && options.timing !== "capture") expect(Buffer.compare(run.received(), concatenated(sent))).toBe(0);
}

const MIXED = Array.from({ length: 300 }, (_, i) => [60, 1514, 64, 9014, 590, 3514, 3515, 3519][i % 8]!);

describe.each(DESIGNS)("invariants at every step under %s", (preset) => {
  test("plain traffic, small to jumbo: hold − release = marked pages, one mapping each, all home at the end", () => {
    runChecked(MIXED, { preset });
  });

  test("held back by the reader, cloned to a tap, expanded, freed in turn", () => {
    runChecked(MIXED, { preset, lag: 20, tap: true, expand: true, freeOrder: "alternate" });
  });

  test("read into less memory than a packet has bytes", () => {
    runChecked(MIXED, { preset, userBytes: 1000 });
  });

  test("dropped in the driver", () => {
    runChecked(MIXED, { preset, earlyDrop: true });
  });
});

test("property: any traffic under any design and any mix of options conserves pages, mappings and bytes", () => {
  fc.assert(
    fc.property(
      // By default fast-check keeps arrays to ten or so.
      fc.array(fc.integer({ min: 1, max: 12_000 }), { maxLength: 60, size: "max" }),
      fc.constantFrom(...DESIGNS),
      fc.option(fc.constantFrom(...RETURN_PATHS), { nil: undefined }),
      fc.option(fc.constantFrom(...SHARED_RELEASES), { nil: undefined }),
      fc.record({
        seed: fc.integer({ min: 0, max: 0xffffffff }),
        lag: fc.integer({ min: 0, max: 40 }),
        tap: fc.boolean(),
        expand: fc.boolean(),
        freeOrder: fc.constantFrom(...FREE_ORDERS),
        readerCpu: fc.integer({ min: 0, max: 1 }),
        rxRingSize: fc.constantFrom(32, 64, 256),
        earlyDrop: fc.boolean(),
      }),
      (lengths, preset, returnPath, sharedRelease, rest) => {
        runChecked(lengths, { preset, ...rest, ...(returnPath === undefined ? {} : { returnPath }), ...(sharedRelease === undefined ? {} : { sharedRelease }) });
      },
    ),
    { numRuns: 60, seed: 20210507 },
  );
});

test("every frame length around a buffer's edge arrives whole: prefix, payload and checksum split everywhere", () => {
  const lengths: number[] = [];
  for (const buffers of [1, 2, 3, 17, 18]) for (let d = -8; d <= 2; d++) lengths.push(Math.min(buffers * 3520 + d, 63_354));
  runChecked(lengths, { preset: "6.18", nrPages: 8192 });
});
