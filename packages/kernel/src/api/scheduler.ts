/** What `Task.run` and `Actor.run` answer. */
export const TASK_SLEEP = 0;
export const TASK_AGAIN = 1;

/** A thread in process context. `run` does one slice; between slices others may run. */
export interface Task {
  readonly name: string;
  readonly cpu: number;
  /** `TASK_AGAIN`: has more to do. `TASK_SLEEP`: wait for `wake`. */
  readonly run: () => number;
}

/** Hardware that works beside the CPUs: a DMA engine, a wire. `run` does one slice. */
export interface Actor {
  readonly name: string;
  readonly run: () => number;
}

/** A registered task or actor; what `wake` takes. */
export interface Runnable {
  readonly name: string;
}

/** @kernel NET_TX_SOFTIRQ, NET_RX_SOFTIRQ (include/linux/interrupt.h) */
export const NET_TX_SOFTIRQ = 2;
export const NET_RX_SOFTIRQ = 3;
export const NR_SOFTIRQS = 10;

export interface Softirqs {
  /** One handler a number, for all CPUs. @kernel open_softirq (kernel/softirq.c) */
  readonly openSoftirq: (nr: number, handler: () => void) => void;
  /** Marks it pending on `cpu`. @kernel raise_softirq, and the cross-CPU kick of a remote backlog */
  readonly raiseSoftirq: (cpu: number, nr: number) => void;
  /**
   * No softirq runs on this CPU until `localBhEnable`, and what a task does meanwhile counts as softirq. Nests; a slice that ends
   * ends it. @kernel local_bh_disable (include/linux/bottom_half.h)
   */
  readonly localBhDisable: () => void;
  /** Throws without a `localBhDisable` before. @kernel local_bh_enable */
  readonly localBhEnable: () => void;
  /**
   * The calling process sleeps until `cpu` has done this in a softirq: it is done as this returns. Throws outside process context, where nobody sleeps. Of all that
   * may happen while a process sleeps nothing else does. @kernel usleep_range in a loop that waits for a softirq
   */
  readonly sleepForSoftirq: (cpu: number, work: () => void) => void;
}

/** A line wired to one CPU. */
export interface IrqLine {
  readonly name: string;
  readonly cpu: number;
}

export interface Interrupts {
  /** The handler runs in hardirq context on `cpu`. @kernel request_irq */
  readonly requestIrq: (name: string, cpu: number, handler: () => void) => IrqLine;
  /** From now on its handler does not run, pending or raised. @kernel free_irq */
  readonly freeIrq: (line: IrqLine) => void;
  /** Runs it with the interrupts of this CPU off, where what may not be done in hardirq context may not be done, either. Any context. @kernel local_irq_save, local_irq_restore (include/linux/irqflags.h) */
  readonly withIrqsOff: (work: () => void) => void;
  /** Called by hardware. A line already pending stays pending once, as an edge would be. */
  readonly raise: (line: IrqLine) => void;
}

/**
 * Orders everything that happens: hardirqs before softirqs before tasks on a CPU, and CPUs and hardware against each
 * other by the machine's seed. Time advances between steps only, when nothing is ready.
 */
export interface Scheduler {
  readonly spawn: (task: Task) => Runnable;
  readonly addActor: (actor: Actor) => Runnable;
  /** Makes a sleeping task or actor ready. Waking a ready one does nothing. */
  readonly wake: (runnable: Runnable) => void;
  /** Takes it off for good; false if it was gone already. */
  readonly remove: (runnable: Runnable) => boolean;
  /** The running step took this long; its CPU is busy until then. Default 0. */
  readonly charge: (costNs: number) => void;
  /** One step, advancing the clock first if nothing is ready. False when neither step nor timer is left. */
  readonly step: () => boolean;
  /** When the next step can happen, simulated ns: now, or as a timer expires or a CPU is free; Infinity: never. */
  readonly nextMomentNs: () => number;
  /** Steps until `done()` or until nothing is left; answers `done()`. */
  readonly runUntil: (done: () => boolean) => boolean;
  /** Steps, then idles, until the clock has moved by `durationNs`. */
  readonly runFor: (durationNs: number) => void;
}
