import { NSEC_PER_SEC, type Clock } from "./api/index.ts";

export class SimulatedClock implements Clock {
  nowNs: number;
  readonly #hz: number;

  constructor(hz: number) {
    this.nowNs = 0;
    this.#hz = hz;
  }

  get jiffies(): number {
    return Math.floor((this.nowNs * this.#hz) / NSEC_PER_SEC);
  }
}
