import type { Report, ReportSink } from "@netmem/kernel/api";

/** What a machine finds by itself, each report once. A pool that waits for packets which somebody keeps is no fault: what is missing in the end is looked at then. */
export class FreshReports {
  readonly #sink: ReportSink;
  #seen: number;

  constructor(sink: ReportSink) {
    this.#sink = sink;
    this.#seen = sink.total;
  }

  /** Those since it was last asked. */
  take(): readonly Report[] {
    const { total, reports } = this.#sink;
    if (total === this.#seen) return [];
    const fresh = reports.slice(this.#seen);
    this.#seen = total;
    return fresh.filter(({ kind }) => kind !== "pp-stalled-shutdown");
  }
}
