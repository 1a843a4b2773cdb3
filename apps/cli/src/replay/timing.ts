/** A short capture is over before a clock says much: its runs are repeated up to this many frames, and this often. */
const TIMED_FRAMES = 30_000;
const MOST_TIMED_ROUNDS = 7;

/** Runs of so many frames whose times have a median worth telling; 1 for none. */
export function roundsFor(frames: number): number {
  return frames === 0 ? 1 : Math.min(MOST_TIMED_ROUNDS, Math.ceil(TIMED_FRAMES / frames));
}

export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1]!;
}
