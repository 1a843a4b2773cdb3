import type { Failing } from "./case.ts";

/** Makes calls that may fail do so, by number. */
export class FailingCalls {
  #failing: Failing | null = null;
  #eligible = 0;
  /** Names of those that failed since it was armed. */
  readonly injected: string[] = [];

  arm(failing: Failing): void {
    this.#failing = failing;
    this.#eligible = 0;
    this.injected.length = 0;
  }

  /** Calls that could have failed since it was armed. */
  get eligible(): number {
    return this.#eligible;
  }

  disarm(): void {
    this.#failing = null;
  }

  /** Asked once for each call that may fail. */
  fails(name: string): boolean {
    if (this.#failing === null) return false;
    this.#eligible++;
    const { nth, times } = this.#failing;
    if (this.#eligible < nth || this.#eligible >= nth + times) return false;
    this.injected.push(name);
    return true;
  }
}
