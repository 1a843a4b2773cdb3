import fc from "fast-check";
import { expect, test } from "vitest";
import { PRESET_NAMES, RETURN_PATHS, SHARED_RELEASES } from "@netmem/machine";
import { OracleRun, type Step } from "./pool-oracle.ts";

const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.record({
    op: fc.constantFrom<Step["op"]>("alloc", "alloc", "alloc", "frag", "frag", "free", "free", "free", "share", "pin", "unpin", "bulk", "nid", "napi", "create", "destroy", "time"),
    pool: fc.nat(15),
    holder: fc.nat(999),
    where: fc.nat(2),
    direct: fc.boolean(),
    sizeBytes: fc.integer({ min: 1, max: 4096 }),
  }),
  { maxLength: 250, size: "max" },
);

test.each(PRESET_NAMES)("property [%s]: whatever several pools, CPUs and holders do, every netmem is in one place, and the counters say where", (preset) => {
  fc.assert(
    fc.property(steps, fc.option(fc.constantFrom(...SHARED_RELEASES), { nil: undefined }), fc.option(fc.constantFrom(...RETURN_PATHS), { nil: undefined }), fc.boolean(), (run, sharedRelease, returnPath, preemptRt) => {
      new OracleRun(preset, { preemptRt, ...(sharedRelease === undefined ? {} : { sharedRelease }), ...(returnPath === undefined ? {} : { returnPath }) }).run(run);
    }),
    { numRuns: 150, seed: 20_181_207 },
  );
});

test("the oracle sees what a pool gets wrong: a lost count, a netmem twice in a ring, a reference too many", () => {
  const broken: readonly [string, (run: OracleRun) => void, RegExp][] = [
    ["count", (run) => void (run.bench.pagePools.pools().at(-1) as unknown as { holdCnt: number }).holdCnt++, /hold - release = 1, but 0 are its own/],
    ["reference", (run) => run.bench.machine.mm.pages.getPage(run.bench.pagePools.pools().at(-1)!.cacheItems()[0] as never), /2 references, not 0 beside the pool's/],
    ["twice", (run) => {
      const pool = run.bench.pagePools.pools().at(-1)! as unknown as { cache: unknown[] };
      pool.cache[0] = pool.cache[1];
    }, /something lies there twice/],
  ];
  for (const [what, breakIt, message] of broken) {
    const run = new OracleRun("6.18");
    const alloc: Step = { op: "alloc", pool: 1, holder: 0, where: 0, direct: false, sizeBytes: 1 };
    // Breaks it when the step is looked at first, and again when it is printed.
    let spoiled = false;
    const spoil: Step = Object.defineProperty({ ...alloc, op: "napi" as const }, "holder", { get: () => {
      if (!spoiled) breakIt(run);
      spoiled = true;
      return 0;
    } });
    expect(() => run.run(what === "count" ? [spoil] : [alloc, spoil]), what).toThrow(message);
  }
});
