/**
 * Lost events, as they are told in three ways: a mark in `trace_pipe`, the numbers in the heading of `trace`, and the statistics of each CPU. All speak of the same events, so
 * the largest counts. @kernel print_trace_line, print_event_info, tracing_stats_read (kernel/trace/trace.c)
 */
export class LossCount {
  #marked = 0;
  #headings = 0;
  #statistics = 0;

  total(): number {
    return Math.max(this.#marked, this.#headings, this.#statistics);
  }

  /** Events lost here; null: the line is no mark. One without a number stands for one at least. */
  mark(line: string): number | null {
    const match = /^CPU:\d+ \[(?:LOST (?:(\d+) )?EVENTS|(\d+) EVENTS DROPPED)\]$/.exec(line) ?? /\bPERF_RECORD_LOST lost (\d+)$/.exec(line);
    if (match === null) return null;
    const lost = Number(match[1] ?? match[2] ?? 1);
    this.#marked += lost;
    return lost;
  }

  /** Null: the heading says nothing of losses. */
  heading(line: string): number | null {
    const match = /^# entries-in-buffer\/entries-written: (\d+)\/(\d+)/.exec(line);
    if (match === null) return null;
    const lost = Math.max(0, Number(match[2]) - Number(match[1]));
    this.#headings += lost;
    return lost;
  }

  statistics(line: string): boolean {
    const match = /^(entries|overrun|commit overrun|bytes|oldest event ts|now ts|dropped events|read events): +([\d.]+)$/.exec(line);
    if (match === null) return false;
    if (match[1] === "overrun" || match[1] === "dropped events") this.#statistics += Number(match[2]);
    return true;
  }
}
