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

/** Hands over the events of all sources by time; those of one source stay in order, and at the same time a source goes on before another begins, else the earlier one is first. `ended`: a source has no more, and the next event is of another. */
export async function mergeTraces(sources: readonly TraceSource[], take: (event: TraceEvent, source: number) => void, ended: (source: number) => void = () => undefined): Promise<void> {
  const cursors: Cursor[] = [];
  for (const [i, source] of sources.entries()) {
    const cursor = new Cursor(i, source[Symbol.asyncIterator]());
    if (await cursor.more()) cursors.push(cursor);
  }
  let cursor: Cursor | null = null;
  while (cursors.length > 0) {
    let first: Cursor = cursor ?? cursors[0]!;
    for (const other of cursors) if (other.timeUs < first.timeUs) first = other;
    cursor = first;
    take(cursor.event!, cursor.source);
    if (cursor.next() || (await cursor.more())) continue;
    cursors.splice(cursors.indexOf(cursor), 1);
    ended(cursor.source);
    cursor = null;
  }
}
