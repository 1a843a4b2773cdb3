import { describe, expect, test } from "vitest";
import {
  CONTEXT_HARDIRQ, CONTEXT_PROCESS, CONTEXT_SOFTIRQ, NET_RX_SOFTIRQ, NET_TX_SOFTIRQ, TASK_AGAIN, TASK_SLEEP,
  inHardirq, inSoftirq, type IrqLine, type Kernel,
} from "../src/api/index.ts";
import { kernelWith, once, runAll, usageErrorOf } from "./helpers.ts";

/** What runs, in order, when every kind of work waits on CPU 0, raised lowest first. */
function startEverything(kernel: Kernel, log: string[]): void {
  const note = (what: string): void => {
    log.push(`${what} level ${kernel.context.level}`);
  };
  kernel.scheduler.spawn(once(0, () => note("task")));
  const work = kernel.workqueue.initDelayedWork(() => note("work"));
  kernel.workqueue.queueDelayedWork(work, 0);
  kernel.softirqs.openSoftirq(NET_RX_SOFTIRQ, () => note("softirq"));
  kernel.softirqs.raiseSoftirq(0, NET_RX_SOFTIRQ);
  kernel.irqs.raise(kernel.irqs.requestIrq("line", 0, () => note("hardirq")));
}

test("on a CPU hardirqs go before softirqs, softirqs before work, and work before tasks, each at its level", () => {
  const kernel = kernelWith();
  const log: string[] = [];
  startEverything(kernel, log);
  runAll(kernel);
  expect(log).toEqual([
    `hardirq level ${CONTEXT_HARDIRQ}`, `softirq level ${CONTEXT_SOFTIRQ}`, `work level ${CONTEXT_PROCESS}`, `task level ${CONTEXT_PROCESS}`,
  ]);
});

test("a hardirq raised by a softirq goes before the next softirq", () => {
  const kernel = kernelWith();
  const log: string[] = [];
  const line = kernel.irqs.requestIrq("line", 0, () => log.push("hardirq"));
  kernel.softirqs.openSoftirq(NET_TX_SOFTIRQ, () => {
    log.push("tx");
    kernel.irqs.raise(line);
  });
  kernel.softirqs.openSoftirq(NET_RX_SOFTIRQ, () => log.push("rx"));
  kernel.softirqs.raiseSoftirq(0, NET_RX_SOFTIRQ);
  kernel.softirqs.raiseSoftirq(0, NET_TX_SOFTIRQ);
  runAll(kernel);
  expect(log).toEqual(["tx", "hardirq", "rx"]);
});

test("a handler sees its CPU and its level, and between steps the context is CPU 0, process", () => {
  const kernel = kernelWith({ nrCpus: 4 });
  const { context } = kernel;
  const seen: unknown[] = [];
  kernel.softirqs.openSoftirq(NET_RX_SOFTIRQ, () => seen.push([context.cpu, inSoftirq(context), inHardirq(context)]));
  kernel.softirqs.raiseSoftirq(3, NET_RX_SOFTIRQ);
  runAll(kernel);
  kernel.irqs.raise(kernel.irqs.requestIrq("line", 2, () => seen.push([context.cpu, inSoftirq(context), inHardirq(context)])));
  runAll(kernel);
  expect(seen).toEqual([[3, true, false], [2, false, true]]);
  expect([context.cpu, context.level]).toEqual([0, CONTEXT_PROCESS]);
});

test("a softirq raised twice before it runs runs once", () => {
  const kernel = kernelWith();
  let runs = 0;
  kernel.softirqs.openSoftirq(NET_RX_SOFTIRQ, () => runs++);
  kernel.softirqs.raiseSoftirq(0, NET_RX_SOFTIRQ);
  kernel.softirqs.raiseSoftirq(0, NET_RX_SOFTIRQ);
  runAll(kernel);
  expect(runs).toBe(1);
});

test("an interrupt line raised twice before its handler runs runs it once", () => {
  const kernel = kernelWith();
  let runs = 0;
  const line = kernel.irqs.requestIrq("line", 0, () => runs++);
  kernel.irqs.raise(line);
  kernel.irqs.raise(line);
  runAll(kernel);
  expect(runs).toBe(1);
});

test("an interrupt line raised while its handler runs runs it again", () => {
  const kernel = kernelWith();
  let runs = 0;
  const line = kernel.irqs.requestIrq("line", 0, () => {
    if (++runs === 1) kernel.irqs.raise(line);
  });
  kernel.irqs.raise(line);
  runAll(kernel);
  expect(runs).toBe(2);
});

test("a freed interrupt line does not run its handler, pending or raised later", () => {
  const kernel = kernelWith();
  const line = kernel.irqs.requestIrq("line", 0, () => expect.unreachable());
  kernel.irqs.raise(line);
  kernel.irqs.freeIrq(line);
  kernel.irqs.raise(line);
  runAll(kernel);
});

test.each([
  [0, "b c d"], [1, "a c d"], [2, "a b d"],
] as const)("of three interrupts that are raised, one that is freed (%i) is not handled, and the others and one raised later are, in order", (freed, handled) => {
  const kernel = kernelWith({ nrCpus: 1 });
  const log: string[] = [];
  const [a, b, c, d] = ["a", "b", "c", "d"].map((name) => kernel.irqs.requestIrq(name, 0, () => log.push(name))) as [IrqLine, IrqLine, IrqLine, IrqLine];
  for (const line of [a, b, c]) kernel.irqs.raise(line);
  kernel.irqs.freeIrq([a, b, c][freed]!);
  kernel.irqs.raise(d);
  runAll(kernel);
  expect(log.join(" ")).toBe(handled);
});

test("the tasks of a CPU take turns", () => {
  const kernel = kernelWith();
  const log: string[] = [];
  for (const name of ["a", "b", "c"]) {
    let left = 2;
    kernel.scheduler.spawn({ name, cpu: 0, run: () => (log.push(name), --left > 0 ? TASK_AGAIN : TASK_SLEEP) });
  }
  runAll(kernel);
  expect(log).toEqual(["a", "b", "c", "a", "b", "c"]);
});

test("a task that removes itself costs no other task its turn", () => {
  const kernel = kernelWith();
  const log: string[] = [];
  const a = kernel.scheduler.spawn(once(0, () => {
    log.push("a");
    kernel.scheduler.remove(a);
  }));
  for (const name of ["b", "c"]) kernel.scheduler.spawn(once(0, () => log.push(name)));
  runAll(kernel);
  expect(log).toEqual(["a", "b", "c"]);
});

test("a task that sleeps runs again when woken, also when it is woken while it runs", () => {
  const kernel = kernelWith();
  let runs = 0;
  const task = kernel.scheduler.spawn(once(0, () => {
    if (++runs === 2) kernel.scheduler.wake(task);
  }));
  runAll(kernel);
  expect(runs).toBe(1);
  kernel.scheduler.wake(task);
  runAll(kernel);
  expect(runs).toBe(3);
});

test("waking a ready task does nothing", () => {
  const kernel = kernelWith();
  let runs = 0;
  const task = kernel.scheduler.spawn(once(0, () => runs++));
  kernel.scheduler.wake(task);
  runAll(kernel);
  expect(runs).toBe(1);
});

test("waking a removed task or actor does nothing", () => {
  const kernel = kernelWith();
  for (const gone of [kernel.scheduler.spawn(once(0, () => expect.unreachable())), kernel.scheduler.addActor(once(0, () => expect.unreachable()))]) {
    expect(kernel.scheduler.remove(gone)).toBe(true);
    kernel.scheduler.wake(gone);
    expect(kernel.scheduler.remove(gone)).toBe(false);
  }
  expect(kernel.scheduler.step()).toBe(false);
});

test("a task that removes itself and has more to do is not run again", () => {
  const kernel = kernelWith();
  let runs = 0;
  const task = kernel.scheduler.spawn({ name: "t", cpu: 0, run: () => (runs++, kernel.scheduler.remove(task), TASK_AGAIN) });
  runAll(kernel);
  expect(runs).toBe(1);
});

test("charge keeps the CPU busy, so that its next step happens that much later", () => {
  const kernel = kernelWith();
  const times: number[] = [];
  for (let i = 0; i < 3; i++) {
    kernel.scheduler.spawn(once(0, () => {
      times.push(kernel.clock.nowNs);
      kernel.scheduler.charge(60);
      kernel.scheduler.charge(40);
    }));
  }
  runAll(kernel);
  expect(times).toEqual([0, 100, 200]);
});

test("charge keeps neither other CPUs nor hardware from working", () => {
  const kernel = kernelWith({ nrCpus: 2 });
  const times: number[] = [];
  kernel.scheduler.spawn(once(0, () => kernel.scheduler.charge(100)));
  kernel.scheduler.spawn(once(1, () => times.push(kernel.clock.nowNs)));
  kernel.scheduler.addActor(once(0, () => times.push(kernel.clock.nowNs)));
  runAll(kernel);
  expect(times).toEqual([0, 0]);
});

test("a hardirq waits for the step that its CPU is busy with", () => {
  const kernel = kernelWith();
  const times: number[] = [];
  const line = kernel.irqs.requestIrq("line", 0, () => times.push(kernel.clock.nowNs));
  kernel.scheduler.spawn(once(0, () => {
    kernel.scheduler.charge(100);
    kernel.irqs.raise(line);
  }));
  runAll(kernel);
  expect(times).toEqual([100]);
});

test("charge in a timer's callback keeps that CPU busy as any other step does", () => {
  const kernel = kernelWith({ nrCpus: 2 });
  const times: number[] = [];
  const task = kernel.scheduler.spawn(once(1, () => times.push(kernel.clock.nowNs)));
  const timer = kernel.timers.timerSetup(() => {
    kernel.scheduler.charge(100);
    kernel.scheduler.wake(task);
  }, 1);
  kernel.timers.modTimer(timer, 10);
  runAll(kernel);
  expect(times).toEqual([0, 110]);
});

test("time stands still while anything is ready, and then jumps to the next timer", () => {
  const kernel = kernelWith({ nrCpus: 2 });
  const times: number[] = [];
  kernel.timers.modTimer(kernel.timers.timerSetup(() => times.push(kernel.clock.nowNs), 0), 10);
  let left = 20;
  kernel.scheduler.spawn({ name: "busy", cpu: 1, run: () => (times.push(kernel.clock.nowNs), --left > 0 ? TASK_AGAIN : TASK_SLEEP) });
  runAll(kernel);
  expect(times).toEqual([...Array<number>(20).fill(0), 10]);
});

test("a step with nothing to do answers false and leaves the clock alone", () => {
  const kernel = kernelWith();
  expect(kernel.scheduler.step()).toBe(false);
  expect(kernel.clock.nowNs).toBe(0);
});

test("runFor ends with the clock moved by exactly the duration, nothing later done", () => {
  const kernel = kernelWith();
  const times: number[] = [];
  for (const delay of [10, 50, 51]) kernel.timers.modTimer(kernel.timers.timerSetup(() => times.push(kernel.clock.nowNs), 0), delay);
  kernel.scheduler.runFor(50);
  expect([kernel.clock.nowNs, times]).toEqual([50, [10, 50]]);
  kernel.scheduler.runFor(25);
  expect([kernel.clock.nowNs, times]).toEqual([75, [10, 50, 51]]);
});

test("runFor(0) does what is ready and moves no time", () => {
  const kernel = kernelWith();
  let runs = 0;
  kernel.scheduler.spawn(once(0, () => runs++));
  kernel.timers.modTimer(kernel.timers.timerSetup(() => expect.unreachable(), 0), 1);
  kernel.scheduler.runFor(0);
  expect([runs, kernel.clock.nowNs]).toEqual([1, 0]);
});

test("runFor leaves the step of a CPU that is busy beyond the end for later", () => {
  const kernel = kernelWith();
  const times: number[] = [];
  for (let i = 0; i < 2; i++) {
    kernel.scheduler.spawn(once(0, () => {
      times.push(kernel.clock.nowNs);
      kernel.scheduler.charge(100);
    }));
  }
  kernel.scheduler.runFor(99);
  expect(times).toEqual([0]);
  kernel.scheduler.runFor(1);
  expect(times).toEqual([0, 100]);
});

test("runUntil stops as soon as it is done, and makes no step when it is done at once", () => {
  const kernel = kernelWith();
  let runs = 0;
  kernel.scheduler.spawn({ name: "t", cpu: 0, run: () => (runs++, TASK_AGAIN) });
  expect(kernel.scheduler.runUntil(() => true)).toBe(true);
  expect(runs).toBe(0);
  expect(kernel.scheduler.runUntil(() => runs === 5)).toBe(true);
  expect(runs).toBe(5);
});

test("runUntil answers false when nothing is left and it is not done", () => {
  const kernel = kernelWith();
  kernel.scheduler.spawn(once(0, () => {}));
  expect(kernel.scheduler.runUntil(() => false)).toBe(false);
});

/** Order of the slices of four CPUs with a task each, and of two actors. */
function orderWithSeed(seed: number): string {
  const kernel = kernelWith({ nrCpus: 4, seed });
  const log: string[] = [];
  const start = (name: string, cpu: number): void => {
    let left = 3;
    const run = (): number => (log.push(name), --left > 0 ? TASK_AGAIN : TASK_SLEEP);
    if (cpu < 0) kernel.scheduler.addActor({ name, run });
    else kernel.scheduler.spawn({ name, cpu, run });
  };
  for (let cpu = 0; cpu < 4; cpu++) start(`cpu${cpu}`, cpu);
  start("wire", -1);
  start("engine", -1);
  runAll(kernel);
  expect(log).toHaveLength(18);
  return log.join(" ");
}

test("the same seed orders CPUs and hardware the same way", () => {
  for (let seed = 0; seed < 5; seed++) expect(orderWithSeed(seed)).toBe(orderWithSeed(seed));
});

test("other seeds order CPUs and hardware in other ways", () => {
  const orders = new Set(Array.from({ length: 8 }, (_, seed) => orderWithSeed(seed)));
  expect(orders.size).toBe(8);
});

test.each([
  ["task t", (kernel: Kernel) => kernel.scheduler.spawn({ name: "t", cpu: 2, run: () => TASK_SLEEP })],
  ["irq line", (kernel: Kernel) => kernel.irqs.requestIrq("line", 2, () => {})],
])("a %s on a CPU that the machine does not have is refused", (what, start) => {
  expect(usageErrorOf(() => start(kernelWith({ nrCpus: 2 })))).toMatchObject({ package: "kernel", option: `cpu of ${what}`, value: 2 });
});

describe("a process that sleeps for a softirq", () => {
  test("has it done on that CPU, in another stretch, and goes on where it was, in yet another one", () => {
    const { scheduler, softirqs, context } = kernelWith({ nrCpus: 2 });
    const seen: unknown[] = [];
    const here = (): unknown[] => [context.cpu, context.level, context.taskFlags];
    const epochs = new Set<number>();
    scheduler.wake(scheduler.spawn({ name: "waiter", cpu: 1, run: () => {
      context.taskFlags = 4;
      epochs.add(context.epoch);
      softirqs.sleepForSoftirq(0, () => {
        seen.push(here());
        epochs.add(context.epoch);
      });
      seen.push(here());
      epochs.add(context.epoch);
      return TASK_SLEEP;
    } }));
    scheduler.runFor(0);
    expect([seen, epochs.size]).toEqual([[[0, CONTEXT_SOFTIRQ, 0], [1, CONTEXT_PROCESS, 4]], 3]);
  });

  test("nobody else sleeps, and there is no such CPU as the third of two", () => {
    const { softirqs } = kernelWith({ nrCpus: 2 });
    softirqs.localBhDisable();
    expect(() => softirqs.sleepForSoftirq(0, () => undefined)).toThrow("sleepForSoftirq");
    softirqs.localBhEnable();
    expect(() => softirqs.sleepForSoftirq(2, () => undefined)).toThrow("this machine has CPUs 0 to 1");
  });
});
