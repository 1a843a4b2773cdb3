import { DelayedWork, Timer, UsageError, type Timers, type Workqueue } from "./api/index.ts";
import type { SimulatedClock } from "./clock.ts";

/** Device clocks have no CPU: their timers expire at their time whatever the CPUs do. */
export const NO_CPU = -1;

/** Each CPU's pending timers, and the devices'. @kernel struct timer_base (kernel/time/timer.c) */
export class TimerBases implements Timers {
  readonly #clock: SimulatedClock;
  /** By CPU + 1: the devices' come first. */
  readonly #bases: TimerHeap[] = [];
  #sequence = 0;

  constructor(nrCpus: number, clock: SimulatedClock) {
    this.#clock = clock;
    for (let cpu = NO_CPU; cpu < nrCpus; cpu++) this.#bases.push(new TimerHeap());
  }

  timerSetup(callback: () => void, cpu: number): Timer {
    if (this.#bases[cpu + 1] === undefined) throw new UsageError("kernel", "cpu of a timer", cpu, `give -1 for a device, or a CPU from 0 to ${this.#bases.length - 2}`);
    return new Timer(callback, cpu);
  }

  modTimer(timer: Timer, delayNs: number): void {
    if (!Number.isInteger(delayNs) || delayNs < 0) throw new UsageError("kernel", "timer delayNs", delayNs, "give a whole number of nanoseconds, 0 or more");
    const base = this.#bases[timer.cpu + 1]!;
    if (timer.pending) base.remove(timer);
    timer.expiresNs = this.#clock.nowNs + delayNs;
    timer.sequence = this.#sequence++;
    base.add(timer);
  }

  timerDelete(timer: Timer): boolean {
    return timer.pending && this.#bases[timer.cpu + 1]!.remove(timer);
  }

  /** Expiry of this CPU's next timer, or Infinity. */
  nextExpiryNs(cpu: number): number {
    return this.#bases[cpu + 1]!.nextExpiryNs();
  }

  /** The `sequence` that the next armed timer gets. */
  nextSequence(): number {
    return this.#sequence;
  }

  /** Takes this CPU's next timer that is due and was armed before `sequence`, or null. */
  takeDue(cpu: number, sequence: number): Timer | null {
    return this.#bases[cpu + 1]!.takeDue(this.#clock.nowNs, sequence);
  }
}

/** Pending timers in a binary heap ordered by expiry, then by arming order, so that equal times stay deterministic. */
class TimerHeap {
  readonly #heap: Timer[] = [];

  add(timer: Timer): void {
    timer.pending = true;
    this.#heap.push(timer);
    this.#siftUp(this.#heap.length - 1);
  }

  remove(timer: Timer): boolean {
    this.#removeAt(this.#heap.indexOf(timer));
    return true;
  }

  nextExpiryNs(): number {
    return this.#heap.length === 0 ? Infinity : this.#heap[0]!.expiresNs;
  }

  takeDue(nowNs: number, sequence: number): Timer | null {
    const first = this.#heap[0];
    if (first === undefined || first.expiresNs > nowNs || first.sequence >= sequence) return null;
    this.#removeAt(0);
    return first;
  }

  #removeAt(index: number): void {
    const heap = this.#heap;
    heap[index]!.pending = false;
    const last = heap.pop()!;
    if (index === heap.length) return;
    heap[index] = last;
    this.#siftDown(index);
    this.#siftUp(index);
  }

  #before(a: Timer, b: Timer): boolean {
    return a.expiresNs < b.expiresNs || (a.expiresNs === b.expiresNs && a.sequence < b.sequence);
  }

  #siftUp(start: number): void {
    const heap = this.#heap;
    let index = start;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (!this.#before(heap[index]!, heap[parent]!)) return;
      [heap[index], heap[parent]] = [heap[parent]!, heap[index]!];
      index = parent;
    }
  }

  #siftDown(start: number): void {
    const heap = this.#heap;
    let index = start;
    for (;;) {
      let least = index;
      for (let child = 2 * index + 1; child <= 2 * index + 2 && child < heap.length; child++) {
        if (this.#before(heap[child]!, heap[least]!)) least = child;
      }
      if (least === index) return;
      [heap[index], heap[least]] = [heap[least]!, heap[index]!];
      index = least;
    }
  }
}

/** Where work waits for its CPU once its delay is over. */
export interface WorkQueues {
  readonly enqueueWork: (cpu: number, work: DelayedWork) => void;
  readonly dequeueWork: (cpu: number, work: DelayedWork) => void;
}

/** Delayed work is a timer whose expiry queues the work on a kworker of its CPU; it is pending until it begins to run. */
export class KernelWorkqueue implements Workqueue {
  readonly #timers: Timers;
  readonly #currentCpu: () => number;
  readonly #queues: WorkQueues;

  constructor(timers: Timers, currentCpu: () => number, queues: WorkQueues) {
    this.#timers = timers;
    this.#currentCpu = currentCpu;
    this.#queues = queues;
  }

  initDelayedWork(work: () => void): DelayedWork {
    const cpu = this.#currentCpu();
    const delayed: DelayedWork = new DelayedWork(work, this.#timers.timerSetup(() => this.#queues.enqueueWork(cpu, delayed), cpu));
    return delayed;
  }

  queueDelayedWork(work: DelayedWork, delayNs: number): void {
    if (!work.timer.pending && !work.queued) this.#timers.modTimer(work.timer, delayNs);
  }

  cancelDelayedWork(work: DelayedWork): boolean {
    if (!work.queued) return this.#timers.timerDelete(work.timer);
    this.#queues.dequeueWork(work.timer.cpu, work);
    return true;
  }
}
