import { NSEC_PER_SEC, type ExecutionContext, type Rcu, type Softirqs, type Timer, type Timers } from "./api/index.ts";

interface RcuParts {
  readonly nrCpus: number;
  readonly hz: number;
  readonly context: ExecutionContext;
  readonly timers: Timers;
  readonly softirqs: Pick<Softirqs, "sleepForSoftirq">;
}

/** Callbacks by CPU, each with the timer of its grace period. @kernel struct rcu_data, its cblist (kernel/rcu/tree.h) */
export class GracePeriods implements Rcu {
  readonly #parts: RcuParts;
  readonly #gracePeriodNs: number;
  readonly #waiting: Set<Timer>[] = [];

  constructor(parts: RcuParts) {
    this.#parts = parts;
    this.#gracePeriodNs = Math.ceil(NSEC_PER_SEC / parts.hz);
    for (let cpu = 0; cpu < parts.nrCpus; cpu++) this.#waiting.push(new Set());
  }

  callRcu(func: () => void): void {
    const { context, timers } = this.#parts;
    const waiting = this.#waiting[context.cpu]!;
    const timer = timers.timerSetup(() => {
      waiting.delete(timer);
      func();
    }, context.cpu);
    waiting.add(timer);
    timers.modTimer(timer, this.#gracePeriodNs);
  }

  rcuBarrier(): void {
    const { softirqs, timers } = this.#parts;
    const run = (waiting: Set<Timer>): void => {
      for (const timer of waiting) {
        timers.timerDelete(timer);
        timer.callback();
      }
    };
    while (this.#waiting.some(({ size }) => size > 0)) {
      for (const [cpu, waiting] of this.#waiting.entries()) if (waiting.size > 0) softirqs.sleepForSoftirq(cpu, () => run(waiting));
    }
  }
}
