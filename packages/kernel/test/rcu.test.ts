import { expect, test } from "vitest";
import { CONTEXT_SOFTIRQ, NSEC_PER_SEC, type Kernel } from "../src/api/index.ts";
import { kernelWith, once, runAll, usageErrorOf } from "./helpers.ts";

/** In process context on `cpu`. */
function asProcess(kernel: Kernel, cpu: number, work: () => void): void {
  kernel.scheduler.wake(kernel.scheduler.spawn(once(cpu, work)));
  kernel.scheduler.runFor(0);
}

test("what waits for a grace period runs a tick later, in a softirq of the CPU that asked, in the order it came", () => {
  const kernel = kernelWith({ nrCpus: 2, hz: 250 });
  const ran: (number | string)[][] = [];
  const note = (name: string) => () => void ran.push([name, kernel.clock.nowNs, kernel.context.cpu, kernel.context.level]);
  asProcess(kernel, 1, () => {
    for (const name of ["a", "b"]) kernel.rcu.callRcu(note(name));
  });
  kernel.rcu.callRcu(note("c"));
  kernel.scheduler.runFor(NSEC_PER_SEC / 250 - 1);
  expect(ran).toEqual([]);
  runAll(kernel);
  expect(ran.toSorted()).toEqual([["a", 4_000_000, 1, CONTEXT_SOFTIRQ], ["b", 4_000_000, 1, CONTEXT_SOFTIRQ], ["c", 4_000_000, 0, CONTEXT_SOFTIRQ]]);
  expect(ran.findIndex(([name]) => name === "a")).toBeLessThan(ran.findIndex(([name]) => name === "b"));
});

test("rcu_barrier: a process sleeps until all of every CPU have run, those too that these ask for, and each runs once", () => {
  const kernel = kernelWith({ nrCpus: 2 });
  const ran: (number | string)[][] = [];
  const note = (name: string) => void ran.push([name, kernel.context.cpu, kernel.context.level]);
  for (const cpu of [1, 0]) asProcess(kernel, cpu, () => kernel.rcu.callRcu(() => {
    note(`of ${cpu}`);
    if (cpu === 1) kernel.rcu.callRcu(() => note("asked for meanwhile"));
  }));
  asProcess(kernel, 0, () => kernel.rcu.rcuBarrier());
  const all = [["of 0", 0, CONTEXT_SOFTIRQ], ["of 1", 1, CONTEXT_SOFTIRQ], ["asked for meanwhile", 1, CONTEXT_SOFTIRQ]];
  expect([ran, kernel.clock.nowNs]).toEqual([all, 0]);
  runAll(kernel);
  expect(ran).toEqual(all);
});

test("with nothing to wait for a barrier is none; with something it is a process's alone", () => {
  const kernel = kernelWith();
  kernel.rcu.rcuBarrier();
  kernel.rcu.callRcu(() => undefined);
  let refused: unknown = null;
  kernel.timers.modTimer(kernel.timers.timerSetup(() => {
    refused = usageErrorOf(() => kernel.rcu.rcuBarrier());
  }, 0), 0);
  kernel.scheduler.runFor(0);
  expect(refused).toMatchObject({ message: expect.stringContaining("only a process sleeps") });
});
