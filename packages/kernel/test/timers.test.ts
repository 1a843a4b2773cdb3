import * as fc from "fast-check";
import { expect, test } from "vitest";
import { CONTEXT_PROCESS, CONTEXT_SOFTIRQ } from "../src/api/index.ts";
import { kernelWith, once, runAll, usageErrorOf } from "./helpers.ts";

test("timers expire in order of time, whatever order they were armed in", () => {
  const kernel = kernelWith();
  const log: string[] = [];
  for (const delay of [30, 10, 20]) kernel.timers.modTimer(kernel.timers.timerSetup(() => log.push(`${delay}@${kernel.clock.nowNs}`), 0), delay);
  runAll(kernel);
  expect(log).toEqual(["10@10", "20@20", "30@30"]);
});

test("timers of the same nanosecond expire in the order they were armed in", () => {
  const kernel = kernelWith();
  const log: string[] = [];
  const timers = ["a", "b", "c"].map((name) => kernel.timers.timerSetup(() => log.push(name), 0));
  for (const i of [2, 0, 1]) kernel.timers.modTimer(timers[i]!, 5);
  runAll(kernel);
  expect(log).toEqual(["c", "a", "b"]);
});

test("re-arming a pending timer moves its one expiry, and puts it behind others of that nanosecond", () => {
  const kernel = kernelWith();
  const log: string[] = [];
  const a = kernel.timers.timerSetup(() => log.push(`a@${kernel.clock.nowNs}`), 0);
  const b = kernel.timers.timerSetup(() => log.push(`b@${kernel.clock.nowNs}`), 0);
  kernel.timers.modTimer(a, 20);
  kernel.timers.modTimer(b, 20);
  kernel.timers.modTimer(a, 20);
  runAll(kernel);
  expect(log).toEqual(["b@20", "a@20"]);
});

test("a deleted timer does not expire, and only the first delete finds it pending", () => {
  const kernel = kernelWith();
  const timer = kernel.timers.timerSetup(() => expect.unreachable(), 0);
  kernel.timers.modTimer(timer, 10);
  expect(kernel.timers.timerDelete(timer)).toBe(true);
  expect(kernel.timers.timerDelete(timer)).toBe(false);
  runAll(kernel);
  expect(timer.pending).toBe(false);
});

test("a timer is no longer pending when its callback runs, and may arm itself again", () => {
  const kernel = kernelWith();
  const log: unknown[] = [];
  const timer = kernel.timers.timerSetup(() => {
    log.push([kernel.clock.nowNs, timer.pending]);
    if (log.length < 3) kernel.timers.modTimer(timer, 10);
  }, 0);
  kernel.timers.modTimer(timer, 10);
  runAll(kernel);
  expect(log).toEqual([[10, false], [20, false], [30, false]]);
});

test("a timer that arms itself with no delay expires once a step, so that the rest of the machine goes on", () => {
  const kernel = kernelWith();
  let expiries = 0;
  const timer = kernel.timers.timerSetup(() => {
    if (++expiries > 1000) throw new Error("the step never ends");
    kernel.timers.modTimer(timer, 0);
  }, 0);
  kernel.timers.modTimer(timer, 0);
  kernel.scheduler.step();
  expect(expiries).toBe(1);
});

test("a timer's callback runs in softirq context on the timer's CPU", () => {
  const kernel = kernelWith({ nrCpus: 4 });
  const timer = kernel.timers.timerSetup(() => expect([kernel.context.level, kernel.context.cpu]).toEqual([CONTEXT_SOFTIRQ, 3]), 3);
  kernel.timers.modTimer(timer, 1);
  runAll(kernel);
  expect.assertions(1);
});

test.each([-1, Number.NaN])("a delay of %d ns is refused", (delayNs) => {
  const kernel = kernelWith();
  const timer = kernel.timers.timerSetup(() => {}, 0);
  expect(usageErrorOf(() => kernel.timers.modTimer(timer, delayNs))).toMatchObject({ package: "kernel", option: "timer delayNs", value: delayNs });
});

test("property: after any arming, re-arming and deleting, the pending timers expire by time, then by arming order", () => {
  const arm = fc.record({ timer: fc.nat(39), delayNs: fc.nat(50), remove: fc.boolean() });
  fc.assert(
    fc.property(fc.array(arm, { maxLength: 200, size: "max" }), (arms) => {
      const kernel = kernelWith();
      const log: number[] = [];
      const timers = Array.from({ length: 40 }, (_, i) => kernel.timers.timerSetup(() => log.push(i), 0));
      const model = new Map<number, number>();
      for (const { timer, delayNs, remove } of arms) {
        // Deleting first puts a re-armed timer at the end of the map, as re-arming does.
        const wasPending = model.delete(timer);
        if (remove) expect(kernel.timers.timerDelete(timers[timer]!)).toBe(wasPending);
        else {
          kernel.timers.modTimer(timers[timer]!, delayNs);
          model.set(timer, delayNs);
        }
      }
      runAll(kernel);
      expect(log).toEqual([...model].sort((a, b) => a[1] - b[1]).map(([timer]) => timer));
    }),
  );
});

test("delayed work runs in process context, on the CPU that set it up, once its delay has passed", () => {
  const kernel = kernelWith({ nrCpus: 4 });
  const seen: unknown[] = [];
  kernel.scheduler.spawn(once(2, () => {
    const work = kernel.workqueue.initDelayedWork(() => seen.push([kernel.context.level, kernel.context.cpu, kernel.clock.nowNs]));
    kernel.workqueue.queueDelayedWork(work, 50);
  }));
  runAll(kernel);
  expect(seen).toEqual([[CONTEXT_PROCESS, 2, 50]]);
});

test("queueing delayed work that is pending leaves it as it was", () => {
  const kernel = kernelWith();
  const times: number[] = [];
  const work = kernel.workqueue.initDelayedWork(() => times.push(kernel.clock.nowNs));
  kernel.workqueue.queueDelayedWork(work, 50);
  kernel.workqueue.queueDelayedWork(work, 10);
  runAll(kernel);
  expect(times).toEqual([50]);
});

test("delayed work may queue itself again", () => {
  const kernel = kernelWith();
  const times: number[] = [];
  const work = kernel.workqueue.initDelayedWork(() => {
    times.push(kernel.clock.nowNs);
    if (times.length < 3) kernel.workqueue.queueDelayedWork(work, 100);
  });
  kernel.workqueue.queueDelayedWork(work, 100);
  runAll(kernel);
  expect(times).toEqual([100, 200, 300]);
});

test("cancelled delayed work does not run, and only the first cancel finds it pending", () => {
  const kernel = kernelWith();
  const work = kernel.workqueue.initDelayedWork(() => expect.unreachable());
  kernel.workqueue.queueDelayedWork(work, 10);
  expect(kernel.workqueue.cancelDelayedWork(work)).toBe(true);
  expect(kernel.workqueue.cancelDelayedWork(work)).toBe(false);
  runAll(kernel);
});

test("work whose delay is over and that waits for its CPU is still pending: a cancel takes it off", () => {
  const kernel = kernelWith();
  const work = kernel.workqueue.initDelayedWork(() => expect.unreachable());
  kernel.workqueue.queueDelayedWork(work, 10);
  kernel.scheduler.spawn(once(0, () => kernel.scheduler.charge(100)));
  kernel.scheduler.step();
  // The timer softirq has queued the work; the work itself would be the next step.
  kernel.scheduler.step();
  expect([kernel.clock.nowNs, work.timer.pending, work.queued]).toEqual([100, false, true]);
  expect(kernel.workqueue.cancelDelayedWork(work)).toBe(true);
  runAll(kernel);
});

test("work whose delay is over and that waits for its CPU is still pending: queueing it again does not run it twice", () => {
  const kernel = kernelWith();
  const times: number[] = [];
  const work = kernel.workqueue.initDelayedWork(() => times.push(kernel.clock.nowNs));
  kernel.workqueue.queueDelayedWork(work, 10);
  kernel.scheduler.spawn(once(0, () => kernel.scheduler.charge(100)));
  kernel.scheduler.step();
  kernel.scheduler.step();
  kernel.workqueue.queueDelayedWork(work, 500);
  runAll(kernel);
  expect(times).toEqual([100]);
});

test("a hardirq goes before a timer of the same moment, and a timer waits for its busy CPU; a device's clock waits for none", () => {
  const kernel = kernelWith();
  const log: string[] = [];
  const note = (what: string) => () => log.push(`${what}@${kernel.clock.nowNs}`);
  const line = kernel.irqs.requestIrq("irq", 0, note("hardirq"));
  kernel.timers.modTimer(kernel.timers.timerSetup(note("timer"), 0), 500);
  kernel.timers.modTimer(kernel.timers.timerSetup(note("device"), -1), 500);
  kernel.scheduler.spawn(once(0, () => {
    kernel.scheduler.charge(1000);
    kernel.irqs.raise(line);
  }));
  runAll(kernel);
  expect(log).toEqual(["device@500", "hardirq@1000", "timer@1000"]);
});

test.each([0.5, Number.NaN, -1, Infinity])("a delay of %s is misuse", (delayNs) => {
  const kernel = kernelWith();
  expect(() => kernel.timers.modTimer(kernel.timers.timerSetup(() => {}, 0), delayNs)).toThrow(/timer delayNs/);
});
