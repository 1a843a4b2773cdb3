import type { PageLife, PageLives } from "../api/index.ts";

/** Ended lives that are kept for a picture, and for the median. */
const MOST_SAMPLED = 256;
const MOST_MEASURED = 4096;
/** Pages out of one pool at a time that are told apart. */
const MOST_HELD: number = 1 << 20;

export interface HeldPage {
  readonly fromUs: number;
  /** Who allocated it. */
  readonly who: string;
  /** Of the packet that was last seen in it. */
  skb: number | null;
}

/** The pages in a pool's account: since when, and for how long those were that left. */
export class Pages {
  readonly held: Map<number, HeldPage> = new Map();
  #ended: PageLife[] | null = null;
  #lengths: number[] = [];
  #count = 0;
  #every = 1;
  #longestUs = 0;

  /** False: the page is in the account already. */
  hold(pfn: number, timeUs: number, who: string): boolean {
    const fresh = !this.held.has(pfn);
    if (this.held.size < MOST_HELD) this.held.set(pfn, { fromUs: timeUs, who, skb: null });
    return fresh;
  }

  /** Null: it was not in the account. */
  release(pfn: number, timeUs: number): HeldPage | null {
    const page = this.held.get(pfn);
    if (page === undefined) return null;
    this.held.delete(pfn);
    const length = timeUs - page.fromUs;
    this.#count++;
    if (length > this.#longestUs) this.#longestUs = length;
    if (this.#count % this.#every === 0) this.#sample({ pfn, fromUs: page.fromUs, toUs: timeUs });
    if (this.#lengths.length < MOST_MEASURED) this.#lengths.push(length);
    // Later ones count as much as early ones, in an order that is the same each time.
    else this.#lengths[(this.#count * 2_654_435_761) % MOST_MEASURED] = length;
    return page;
  }

  /** Spread over all of the time, thinned out as it grows. */
  #sample(life: PageLife): void {
    this.#ended ??= [];
    if (this.#ended.length === MOST_SAMPLED) {
      this.#ended = this.#ended.filter((_life, i) => i % 2 === 0);
      this.#every *= 2;
    }
    this.#ended.push(life);
  }

  lives(nowUs: number): PageLives {
    const sorted = this.#lengths.toSorted((a, b) => a - b);
    const sampled = [...(this.#ended ?? [])];
    let oldest: number | null = null;
    let outSampled = 0;
    for (const [pfn, { fromUs }] of this.held) {
      if (oldest === null || fromUs < oldest) oldest = fromUs;
      if (outSampled++ < MOST_SAMPLED) sampled.push({ pfn, fromUs, toUs: null });
    }
    return {
      count: this.#count, medianUs: sorted[sorted.length >> 1] ?? null, longestUs: this.#count === 0 ? null : this.#longestUs, held: this.held.size,
      oldestHeldUs: oldest === null ? null : nowUs - oldest, sampled,
    };
  }
}
