import { NSEC_PER_SEC, type Clock } from "./api/index.ts";

export class SimulatedClock implements Clock {
  nowNs: number;
  stamp: number;
  private counted: boolean;
  readonly #hz: number;

  constructor(hz: number) {
    this.nowNs = 0;
    this.stamp = 0;
    this.counted = false;
    this.#hz = hz;
  }

  /** Not into the past. */
  moveTo(nowNs: number): void {
    this.nowNs = nowNs;
    if (this.counted === false) this.stamp = nowNs;
  }

  countMoment(): void {
    if (this.counted === false) {
      this.counted = true;
      this.stamp = 0;
    }
    this.stamp++;
  }

  get jiffies(): number {
    // In two parts: the product of a long time and HZ has no room below 2^53.
    const seconds = Math.floor(this.nowNs / NSEC_PER_SEC);
    return seconds * this.#hz + Math.floor(((this.nowNs - seconds * NSEC_PER_SEC) * this.#hz) / NSEC_PER_SEC);
  }
}
