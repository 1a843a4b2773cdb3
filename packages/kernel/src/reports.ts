import {
  KernelPanic, REPORTS_KEPT, UsageError,
  type Clock, type ExecutionContext, type Report, type ReportHistory, type ReportMode, type ReportSeverity, type ReportSink,
} from "./api/index.ts";

export class MachineReports implements ReportSink {
  readonly mode: ReportMode;
  readonly #kept: Report[] = [];
  readonly #counts = new Map<string, number>();
  readonly #clock: Clock;
  readonly #context: ExecutionContext;
  readonly #history: ReportHistory | null;
  #total = 0;

  constructor(mode: ReportMode, clock: Clock, context: ExecutionContext, history: ReportHistory | null) {
    if (mode !== "off" && mode !== "collect" && mode !== "panic") {
      throw new UsageError("kernel", "reports", mode, "choose off, collect or panic");
    }
    this.mode = mode;
    this.#clock = clock;
    this.#context = context;
    this.#history = history;
  }

  get total(): number {
    return this.#total;
  }

  get reports(): readonly Report[] {
    return this.#kept;
  }

  counts(): readonly { readonly kind: string; readonly count: number }[] {
    return [...this.#counts].map(([kind, count]) => ({ kind, count }));
  }

  report(kind: string, severity: ReportSeverity, object: string, owner: string, message: string): void {
    if (this.mode !== "off") {
      this.#total++;
      this.#counts.set(kind, (this.#counts.get(kind) ?? 0) + 1);
      if (this.#kept.length < REPORTS_KEPT) {
        const history = this.#history?.of(object) ?? [];
        this.#kept.push({ kind, severity, object, owner, message, timeNs: this.#clock.nowNs, cpu: this.#context.cpu, history });
      }
    }
    if (severity === "bug" || this.mode === "panic") throw new KernelPanic(kind, `${object} (${owner}): ${message}`);
  }
}
