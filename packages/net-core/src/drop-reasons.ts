import type { ReportSink } from "@netmem/kernel/api";
import { CORE_DROP_REASONS, SKB_DROP_REASON_SUBSYS_CORE, SKB_DROP_REASON_SUBSYS_NUM, SKB_DROP_REASON_SUBSYS_SHIFT, type SkbDropReasons } from "./api/index.ts";

/** @kernel drop_reasons_by_subsys, drop_reasons_register_subsys (net/core/skbuff.c) */
export class DropReasonTable implements SkbDropReasons {
  readonly #bySubsys: (readonly string[] | null)[] = [CORE_DROP_REASONS];
  readonly #reports: ReportSink;

  constructor(reports: ReportSink) {
    this.#reports = reports;
    for (let i = 1; i < SKB_DROP_REASON_SUBSYS_NUM; i++) this.#bySubsys.push(null);
  }

  registerSubsys(subsys: number, reasons: readonly string[]): void {
    if (this.#mayBe(subsys, "registered")) this.#bySubsys[subsys] = reasons;
  }

  unregisterSubsys(subsys: number): void {
    if (this.#mayBe(subsys, "unregistered")) this.#bySubsys[subsys] = null;
  }

  reasonName(reason: number): string {
    return this.#bySubsys[reason >>> SKB_DROP_REASON_SUBSYS_SHIFT]?.[reason & 0xffff] ?? `reason ${reason}`;
  }

  /** Whether a packet may end for it. */
  isReason(reason: number): boolean {
    return reason > 0 && reason >>> SKB_DROP_REASON_SUBSYS_SHIFT < SKB_DROP_REASON_SUBSYS_NUM;
  }

  #mayBe(subsys: number, what: string): boolean {
    if (Number.isInteger(subsys) && subsys > SKB_DROP_REASON_SUBSYS_CORE && subsys < SKB_DROP_REASON_SUBSYS_NUM) return true;
    this.#reports.report("drop-reason-subsys", "warn", `drop reasons of subsystem ${subsys}`, "net-core", `${what}, but subsystems beside the core are 1 to ${SKB_DROP_REASON_SUBSYS_NUM - 1}`);
    return false;
  }
}
