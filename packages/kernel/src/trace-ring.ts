import { NSEC_PER_SEC, UsageError, type Clock, type ExecutionContext, type ReportHistory, type TraceEventKind, type TraceRecord, type TraceRing } from "./api/index.ts";

const ARGS = 8;
/** Kinds fit into a byte each. */
const MAX_KINDS = 256;
const HISTORY_LINES = 32;
/** By how a report names an object: the field that holds its number, and the number's base. */
const OBJECT_FIELDS = { "page pfn 0x": ["pfn", 16], "sk_buff ": ["skb", 10], "page_pool ": ["page_pool", 10] } as const;

export class FixedTraceRing implements TraceRing, ReportHistory {
  readonly #clock: Clock;
  readonly #context: ExecutionContext;
  readonly #kinds: TraceEventKind[] = [];
  readonly #times: Float64Array;
  readonly #cpus: Uint8Array;
  readonly #levels: Uint8Array;
  readonly #events: Uint8Array;
  readonly #args: Int32Array;
  readonly #capacity: number;
  #next = 0;
  #recorded = 0;

  constructor(capacity: number, clock: Clock, context: ExecutionContext) {
    if (!Number.isInteger(capacity) || capacity < 1) {
      throw new UsageError("kernel", "traceEntries", capacity, "give a whole number of events, 1 or more");
    }
    this.#capacity = capacity;
    this.#clock = clock;
    this.#context = context;
    this.#times = new Float64Array(capacity);
    this.#cpus = new Uint8Array(capacity);
    this.#levels = new Uint8Array(capacity);
    this.#events = new Uint8Array(capacity);
    this.#args = new Int32Array(capacity * ARGS);
  }

  define(name: string, fields: readonly string[]): TraceEventKind {
    if (fields.length > ARGS) throw new UsageError("kernel", `trace event ${name}`, fields.join(), `at most ${ARGS} fields`);
    if (this.#kinds.length === MAX_KINDS) throw new UsageError("kernel", "trace event", name, `at most ${MAX_KINDS} kinds of events`);
    const kind = { id: this.#kinds.length, name, fields };
    this.#kinds.push(kind);
    return kind;
  }

  record(kind: number, a: number, b: number, c: number, d: number, e: number): void {
    const at = this.#next;
    this.#times[at] = this.#clock.nowNs;
    this.#cpus[at] = this.#context.cpu;
    this.#levels[at] = this.#context.level;
    this.#events[at] = kind;
    const base = at * ARGS;
    this.#args[base] = a;
    this.#args[base + 1] = b;
    this.#args[base + 2] = c;
    this.#args[base + 3] = d;
    this.#args[base + 4] = e;
    this.#next = at + 1 === this.#capacity ? 0 : at + 1;
    this.#recorded++;
  }

  recordWide(kind: number, a: number, b: number, c: number, d: number, e: number, f: number, g: number, h: number): void {
    const base = this.#next * ARGS;
    this.#args[base + 5] = f;
    this.#args[base + 6] = g;
    this.#args[base + 7] = h;
    this.record(kind, a, b, c, d, e);
  }

  overwritten(): number {
    return Math.max(0, this.#recorded - this.#capacity);
  }

  length(): number {
    return Math.min(this.#recorded, this.#capacity);
  }

  lines(): string[] {
    const lines: string[] = [];
    for (let i = 0; i < this.length(); i++) lines.push(this.#line(this.#slot(i)));
    return lines;
  }

  records(): TraceRecord[] {
    const records: TraceRecord[] = [];
    for (let i = 0; i < this.length(); i++) {
      const slot = this.#slot(i);
      const kind = this.#kinds[this.#events[slot]!]!;
      records.push({ kind, timeNs: this.#times[slot]!, cpu: this.#cpus[slot]!, level: this.#levels[slot]!, args: [...this.#args.subarray(slot * ARGS, slot * ARGS + kind.fields.length)] });
    }
    return records;
  }

  linesWhere(field: string, value: number, most: number): string[] {
    const lines: string[] = [];
    for (let i = this.length() - 1; i >= 0 && lines.length < most; i--) {
      const slot = this.#slot(i);
      const position = this.#kinds[this.#events[slot]!]!.fields.indexOf(field);
      if (position >= 0 && this.#args[slot * ARGS + position] === value) lines.push(this.#line(slot));
    }
    return lines.toReversed();
  }

  /** Reports name objects as `page pfn 0x1a`, `sk_buff 7`, `page_pool 1`: their past is every event with that number. */
  of(object: string): readonly string[] {
    const match = /^(page pfn 0x|sk_buff |page_pool )([0-9a-f]+)/.exec(object);
    if (match === null) return [];
    const [field, radix] = OBJECT_FIELDS[match[1] as keyof typeof OBJECT_FIELDS];
    return this.linesWhere(field, Number.parseInt(match[2]!, radix), HISTORY_LINES);
  }

  /** Slot of the i-th oldest event. */
  #slot(i: number): number {
    return this.#recorded <= this.#capacity ? i : (this.#next + i) % this.#capacity;
  }

  #line(slot: number): string {
    const kind = this.#kinds[this.#events[slot]!]!;
    const ns = this.#times[slot]!;
    const seconds = Math.floor(ns / NSEC_PER_SEC);
    const rest = String(ns - seconds * NSEC_PER_SEC).padStart(9, "0");
    const fields = kind.fields.map((field, i) => {
      const value = this.#args[slot * ARGS + i]!;
      return `${field}=${field === "pfn" ? `0x${value.toString(16)}` : value}`;
    });
    return `[${String(this.#cpus[slot]).padStart(3, "0")}] ${seconds}.${rest}: ${kind.name}: ${fields.join(" ")}`;
  }
}
