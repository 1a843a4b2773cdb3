import type { PageCount } from "../api/index.ts";

/** Of different names that are counted; what comes later is counted as one. */
const MOST_NAMES = 256;
const REST = "others";

/** How often each of many is met. */
export class Tally {
  #counts: Map<string, number> | null = null;

  add(who: string, n: number = 1): void {
    this.#counts ??= new Map();
    const name = this.#counts.size < MOST_NAMES || this.#counts.has(who) ? who : REST;
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + n);
  }

  total(): number {
    let sum = 0;
    for (const count of this.#counts?.values() ?? []) sum += count;
    return sum;
  }

  of(who: string): number {
    return this.#counts?.get(who) ?? 0;
  }

  /** The most often met first; of equals the one met first. */
  top(most: number): PageCount[] {
    return [...(this.#counts ?? [])].map(([who, pages]) => ({ who, pages })).toSorted((a, b) => b.pages - a.pages).slice(0, most);
  }
}
