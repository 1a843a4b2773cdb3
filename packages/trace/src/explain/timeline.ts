const MOST_POINTS = 2048;

/** A value over time, thinned out as it grows: what is left is spread over all of it, and the last is exact. */
export class Timeline {
  readonly #points: (readonly [number, number])[] = [];
  #every = 1;
  #seen = 0;
  #last: readonly [number, number] | null = null;

  add(time: number, value: number): void {
    this.#last = [time, value];
    if (this.#seen++ % this.#every !== 0) return;
    if (this.#points.length === MOST_POINTS) {
      for (let i = 0; i < MOST_POINTS / 2; i++) this.#points[i] = this.#points[2 * i]!;
      this.#points.length = MOST_POINTS / 2;
      this.#every *= 2;
    }
    this.#points.push(this.#last);
  }

  points(): (readonly [number, number])[] {
    const last = this.#last;
    return last === null || this.#points.at(-1) === last ? [...this.#points] : [...this.#points, last];
  }
}
