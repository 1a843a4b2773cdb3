/**
 * One recorded event: a kind and up to eight small integers, whose names the kind knows. Fixed-size records in typed
 * arrays, so that recording allocates nothing.
 */
export interface TraceEventKind {
  readonly id: number;
  readonly name: string;
  readonly fields: readonly string[];
}

/** One event, as it was recorded. */
export interface TraceRecord {
  readonly kind: TraceEventKind;
  readonly timeNs: number;
  readonly cpu: number;
  /** One of the `CONTEXT_*` levels. */
  readonly level: number;
  /** By the kind's fields. */
  readonly args: readonly number[];
}

export interface TraceRing {
  /** Up to eight fields, those of more than five recorded by `recordWide`. Reports find an object's history by the fields `pfn`, `skb` and `page_pool`. */
  readonly define: (name: string, fields: readonly string[]) => TraceEventKind;
  readonly record: (kind: number, a: number, b: number, c: number, d: number, e: number) => void;
  readonly recordWide: (kind: number, a: number, b: number, c: number, d: number, e: number, f: number, g: number, h: number) => void;
  /** Events overwritten because the ring was full. */
  readonly overwritten: () => number;
  readonly length: () => number;
  /** Oldest first, one line an event: `[000] 12.000345: page_pool_state_hold: page_pool=1 …`. */
  readonly lines: () => string[];
  /** Oldest first. */
  readonly records: () => TraceRecord[];
  /** Lines of the events whose field `field` equals `value`, the newest `most`, oldest first. */
  readonly linesWhere: (field: string, value: number, most: number) => string[];
}
