/** Simulated nanoseconds since boot, an integer below 2^53. */
export interface Clock {
  readonly nowNs: number;
  /** Ticks since boot, `nowNs` × HZ ÷ 10⁹, rounded down. @kernel jiffies */
  readonly jiffies: number;
  /**
   * What to write on something that has to wait, so that it can be told since when it does: `nowNs`, or how often `countMoment` was called,
   * if it was. @kernel net_timestamp_set (net/core/dev.c), whose clock is the real one
   */
  readonly stamp: number;
  /** Counts something, a frame of traffic that takes no time, say. From the first call on, and for good, `stamp` is that count instead of the time. */
  readonly countMoment: () => void;
}

/** @kernel struct timer_list (include/linux/timer_types.h) */
export class Timer {
  declare private readonly nominal: "Timer";
  readonly callback: () => void;
  readonly cpu: number;
  expiresNs: number;
  pending: boolean;
  /** Arming order; breaks ties between timers of the same nanosecond. */
  sequence: number;

  constructor(callback: () => void, cpu: number) {
    this.callback = callback;
    this.cpu = cpu;
    this.expiresNs = 0;
    this.pending = false;
    this.sequence = 0;
  }
}

export interface Timers {
  /**
   * A timer that is not armed yet. Its callback runs in softirq context on `cpu`, once that is free; with −1 it is a
   * device's own clock, which waits for no CPU. @kernel timer_setup
   */
  readonly timerSetup: (callback: () => void, cpu: number) => Timer;
  /** Arms or re-arms; `delayNs` from now, a whole number ≥ 0. @kernel mod_timer (kernel/time/timer.c) */
  readonly modTimer: (timer: Timer, delayNs: number) => void;
  /** Disarms; true if it was pending. @kernel timer_delete */
  readonly timerDelete: (timer: Timer) => boolean;
}

/** @kernel struct delayed_work (include/linux/workqueue_types.h) */
export class DelayedWork {
  declare private readonly nominal: "DelayedWork";
  readonly work: () => void;
  readonly timer: Timer;
  /** Its delay is over and it waits for its CPU; still pending. */
  queued: boolean;

  constructor(work: () => void, timer: Timer) {
    this.work = work;
    this.timer = timer;
    this.queued = false;
  }
}

export interface Workqueue {
  /** The work runs in process context, on the CPU that set it up. @kernel INIT_DELAYED_WORK */
  readonly initDelayedWork: (work: () => void) => DelayedWork;
  /** Does nothing while it is pending, which it is until it begins to run. @kernel queue_delayed_work (kernel/workqueue.c) */
  readonly queueDelayedWork: (work: DelayedWork, delayNs: number) => void;
  /** True if it was pending; it does not run then. @kernel cancel_delayed_work */
  readonly cancelDelayedWork: (work: DelayedWork) => boolean;
}
