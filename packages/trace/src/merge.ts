import type { TraceEvent } from "./api/index.ts";

/** Events of one file, in its order, in pieces. */
export type TraceSource = AsyncIterable<readonly TraceEvent[]>;

class Cursor {
  readonly source: number;
  readonly #pieces: AsyncIterator<readonly TraceEvent[]>;
  #piece: readonly TraceEvent[] = [];
  #at = 0;
  timeUs: number = -Infinity;
  event: TraceEvent | null = null;

  constructor(source: number, pieces: AsyncIterator<readonly TraceEvent[]>) {
    this.source = source;
    this.#pieces = pieces;
  }

  /** False: there is no more at hand, and `more` has to be asked. */
  next(): boolean {
    if (this.#at >= this.#piece.length) return false;
    this.event = this.#piece[this.#at++]!;
    // What has no time belongs where it stands.
    if (this.event.timeUs !== null) this.timeUs = this.event.timeUs;
    return true;
  }

  async more(): Promise<boolean> {
    for (;;) {
      const result = await this.#pieces.next();
      if (result.done === true) {
        this.event = null;
        return false;
      }
      this.#piece = result.value;
      this.#at = 0;
      if (this.next()) return true;
    }
  }
}

/** Hands over the events of all sources by time; those of one source stay in order, and at the same time the earlier source is first. */
export async function mergeTraces(sources: readonly TraceSource[], take: (event: TraceEvent, source: number) => void): Promise<void> {
  const cursors: Cursor[] = [];
  for (const [i, source] of sources.entries()) {
    const cursor = new Cursor(i, source[Symbol.asyncIterator]());
    if (await cursor.more()) cursors.push(cursor);
  }
  while (cursors.length > 0) {
    let first = 0;
    for (let i = 1; i < cursors.length; i++) if (cursors[i]!.timeUs < cursors[first]!.timeUs) first = i;
    const cursor = cursors[first]!;
    take(cursor.event!, cursor.source);
    if (!cursor.next() && !(await cursor.more())) cursors.splice(first, 1);
  }
}
