import { expect, test } from "vitest";
import { NET_RX_SOFTIRQ } from "../src/api/index.ts";
import type { KernelOptions } from "../src/index.ts";
import { kernelWith, once, runAll, usageErrorOf } from "./helpers.ts";

test.each<[keyof KernelOptions, number]>([
  ["nrCpus", 0], ["nrCpus", 65], ["nrCpus", 1.5], ["seed", -1], ["seed", 2 ** 32], ["hz", 0], ["hz", 10_001], ["hz", 1.5],
])("%s = %d is refused by a message that names package, option and value", (option, value) => {
  const error = usageErrorOf(() => kernelWith({ [option]: value }));
  expect(error).toMatchObject({ name: "UsageError", package: "kernel", option, value });
  expect(error.message).toContain(`@netmem/kernel: ${option} = ${value}: `);
});

test("the limits themselves are accepted: 1 and 64 CPUs, seeds 0 and 2^32 − 1, 1 and 10000 ticks", () => {
  expect(kernelWith({ nrCpus: 1, seed: 0, hz: 1 })).toMatchObject({ nrCpus: 1, hz: 1 });
  expect(kernelWith({ nrCpus: 64, seed: 0xffffffff, hz: 10_000 })).toMatchObject({ nrCpus: 64, hz: 10_000 });
});

test("unless said otherwise there are 1000 ticks a second", () => {
  expect(kernelWith().hz).toBe(1000);
});

test("all 64 CPUs of the largest machine run", () => {
  const kernel = kernelWith({ nrCpus: 64 });
  const cpus = new Set<number>();
  kernel.softirqs.openSoftirq(NET_RX_SOFTIRQ, () => cpus.add(kernel.context.cpu));
  for (let cpu = 0; cpu < 64; cpu++) kernel.softirqs.raiseSoftirq(cpu, NET_RX_SOFTIRQ);
  runAll(kernel);
  expect(cpus.size).toBe(64);
});

test("two kernels share nothing: time, context, reports, trace and work of one are not the other's", () => {
  const a = kernelWith({ traceEntries: 4 });
  const b = kernelWith({ traceEntries: 4 });
  a.softirqs.openSoftirq(NET_RX_SOFTIRQ, () => expect(b.context.level).toBe(0));
  b.softirqs.openSoftirq(NET_RX_SOFTIRQ, () => expect.unreachable());
  a.softirqs.raiseSoftirq(0, NET_RX_SOFTIRQ);
  a.timers.modTimer(a.timers.timerSetup(() => a.trace!.record(a.trace!.define("e", []).id, 0, 0, 0, 0, 0), 0), 10);
  a.reports.report("kind", "warn", "object", "owner", "message");
  expect(b.scheduler.step()).toBe(false);
  runAll(a);
  expect([a.clock.nowNs, a.reports.total, a.trace!.length()]).toEqual([10, 1, 1]);
  expect([b.clock.nowNs, b.reports.total, b.trace!.length()]).toEqual([0, 0, 0]);
});

test("two kernels of one seed draw the same numbers, however their draws interleave", () => {
  const a = kernelWith({ seed: 9 });
  const b = kernelWith({ seed: 9 });
  const fromA = Array.from({ length: 4 }, () => a.random.u32());
  expect(Array.from({ length: 4 }, () => b.random.u32())).toEqual(fromA);
});

test("a kernel created inside another's step is a machine of its own", () => {
  const outer = kernelWith();
  outer.scheduler.spawn(once(0, () => {
    const inner = kernelWith();
    inner.scheduler.runFor(100);
    expect([inner.clock.nowNs, outer.clock.nowNs]).toEqual([100, 0]);
  }));
  runAll(outer);
  expect.assertions(1);
});
