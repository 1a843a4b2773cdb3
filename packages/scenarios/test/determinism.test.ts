import { expect, test } from "vitest";
import { DESIGNS, frames, traffic } from "./traffic.ts";

const LENGTHS = Array.from({ length: 200 }, (_, i) => 60 + ((i * 97) % 9000));

test.each(DESIGNS)("same seed, same trace, byte for byte, under %s", (preset) => {
  const traceOf = (seed: number): string => {
    const { machine, run } = traffic(frames(LENGTHS), { preset, seed, traceEntries: 100_000, lag: 3, tap: true });
    run();
    machine.shutdown();
    expect(machine.kernel.trace!.overwritten()).toBe(0);
    return machine.kernel.trace!.lines().join("\n");
  };
  const first = traceOf(7);
  expect(first.split("\n").length).toBeGreaterThan(500);
  expect(traceOf(7)).toBe(first);
});

test("another seed orders steps differently, and delivers the same bytes", () => {
  const runs = [1, 2].map((seed) => {
    const { machine, run, received } = traffic(frames(LENGTHS), { seed, traceEntries: 100_000 });
    run();
    return { trace: machine.kernel.trace!.lines().join("\n"), bytes: received() };
  });
  expect(runs[0]!.trace).not.toBe(runs[1]!.trace);
  expect(Buffer.compare(runs[0]!.bytes, runs[1]!.bytes)).toBe(0);
});

test("two machines in one process do not touch each other: interleaved step by step they do what each does alone", () => {
  const start = (seed: number, preset: "5.14" | "6.18") => {
    const run = traffic(frames(LENGTHS.slice(0, 80 + seed)), { seed, preset, traceEntries: 100_000 });
    run.wire.connect(run.device.nic);
    return run;
  };
  const alone = (seed: number, preset: "5.14" | "6.18"): string => {
    const { machine } = start(seed, preset);
    while (machine.kernel.scheduler.step());
    return machine.kernel.trace!.lines().join("\n");
  };
  const [a, b] = [start(1, "5.14"), start(2, "6.18")];
  for (let moreA = true, moreB = true; moreA || moreB;) {
    moreA = a.machine.kernel.scheduler.step();
    moreB = b.machine.kernel.scheduler.step();
  }
  expect(a.machine.kernel.trace!.lines().join("\n")).toBe(alone(1, "5.14"));
  expect(b.machine.kernel.trace!.lines().join("\n")).toBe(alone(2, "6.18"));
});
