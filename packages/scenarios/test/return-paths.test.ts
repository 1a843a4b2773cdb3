import fc from "fast-check";
import { expect, test } from "vitest";
import { FREE_ORDERS, PRESETS, SHARED_RELEASES } from "@netmem/machine";
import { DESIGNS, frames, traffic, type TrafficOptions } from "./traffic.ts";

/** All that a run leaves behind, but for how its pages found their way. */
function outcome(lengths: readonly number[], options: TrafficOptions) {
  const { run, pool, machine, device, received } = traffic(frames(lengths), { traceEntries: 100_000, ...options });
  run();
  machine.shutdown();
  const { cached, ring, ringFull, releasedRefcnt } = pool.recycleStats;
  return {
    lookups: machine.xdp.registry.stats.lookups,
    recycled: cached + ring,
    rest: {
      stats: { alloc: { ...pool.allocStats }, recycle: { cached, ring, ringFull, releasedRefcnt } },
      counters: [pool.holdCnt, pool.releaseCnt, pool.dead],
      dma: { ...device.dma.stats },
      reports: machine.kernel.reports.counts(),
      free: machine.mm.pages.freePages(),
      trace: machine.kernel.trace!.lines(),
      bytes: Buffer.from(received()).toString("latin1"),
    },
  };
}

test.each(DESIGNS)("property [%s]: through the registry or by the pointer, the same events in the same order; only the look-ups differ", (preset) => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 14, max: 9000 }), { minLength: 1, maxLength: 40, size: "max" }),
      fc.constantFrom(...SHARED_RELEASES),
      fc.record({ seed: fc.integer({ min: 0, max: 2 ** 32 - 1 }), lag: fc.nat(20), tap: fc.boolean(), expand: fc.boolean(), freeOrder: fc.constantFrom(...FREE_ORDERS), readerCpu: fc.nat(1), earlyDrop: fc.boolean() }),
      (lengths, sharedRelease, rest) => {
        const [byRegistry, byPointer] = (["mem-info", "pool-pointer"] as const).map((returnPath) => outcome(lengths, { preset, sharedRelease, returnPath, ...rest }));
        expect(byRegistry!.rest).toEqual(byPointer!.rest);
        expect([byPointer!.lookups, byRegistry!.lookups > 0]).toEqual([0, PRESETS[preset].recyclesSkbPages]);
      },
    ),
    { numRuns: 12, seed: 20_210_507 },
  );
});

test("each page that an skb gives back costs one look-up by mem_info, and none by the pointer", () => {
  const lookups = (["mem-info", "pool-pointer"] as const).map((returnPath) => outcome(Array.from({ length: 400 }, () => 64), { rxRingSize: 512, preset: "6.18", returnPath, tap: true, expand: true, freeOrder: "alternate" }).lookups);
  expect(lookups).toEqual([400, 0]);
});
