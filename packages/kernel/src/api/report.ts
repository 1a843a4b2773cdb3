/** `off` forgets warnings, `collect` keeps them, `panic` stops the machine at the first (panic_on_warn). */
export type ReportMode = "off" | "collect" | "panic";

/** `warn` goes on, as WARN does; `bug` stops the machine. */
export type ReportSeverity = "warn" | "bug";

/** A broken kernel rule, as seen by the layer that checks it. */
export interface Report {
  /** Stable name of the rule: tests and tools match on it. */
  readonly kind: string;
  readonly severity: ReportSeverity;
  /** What it is about, `page pfn 0x1a`. */
  readonly object: string;
  /** Who had it, as far as known, `page_pool 3`. */
  readonly owner: string;
  /** Counts and values, in a sentence. */
  readonly message: string;
  readonly timeNs: number;
  readonly cpu: number;
  /** Trace events that name the object, oldest first; empty while tracing is off. */
  readonly history: readonly string[];
}

/** Finds an object's past; the trace ring implements it. */
export interface ReportHistory {
  readonly of: (object: string) => readonly string[];
}

export interface ReportSink {
  readonly mode: ReportMode;
  /** Reports made, also those beyond the number that is kept in detail. */
  readonly total: number;
  /** The first `REPORTS_KEPT` in detail. */
  readonly reports: readonly Report[];
  /** Count of each kind, in order of first appearance. */
  readonly counts: () => readonly { readonly kind: string; readonly count: number }[];
  readonly report: (kind: string, severity: ReportSeverity, object: string, owner: string, message: string) => void;
}

/** Details kept; a fault on every packet must not fill memory. */
export const REPORTS_KEPT = 1000;
