import { UsageError, type ReportSeverity, type ReportSink, type Runnable, type Timer } from "@netmem/kernel/api";
import type { NapiCore, NapiStruct } from "@netmem/xdp/api";
import { GroNode } from "../gro/gro-node.ts";

/** @kernel struct napi_struct (include/linux/netdevice.h), what only the core looks at */
export class NapiInstance implements NapiCore {
  readonly napi: NapiStruct;
  readonly gro: GroNode;
  /** Polls that find nothing and still pass without an interrupt. */
  deferHardIrqsCount: number;
  /** Polls again where no interrupt will; it runs where the poll did. By CPU, made when first needed. @kernel napi_watchdog */
  readonly watchdogs: (Timer | null)[];
  /** @kernel napi_struct.thread */
  thread: Runnable | null;
  /** Where that runs. */
  threadCpu: number;
  /** On whose poll list it is, or was last. */
  listCpu: number;
  /** Its poll is under way. */
  polling: boolean;
  /** Its last poll, or somebody since, has completed it or tried to. */
  completed: boolean;
  /** Told once that it did more than it may. */
  overBudget: boolean;

  constructor(napi: NapiStruct) {
    this.napi = napi;
    this.gro = new GroNode();
    this.deferHardIrqsCount = 0;
    this.watchdogs = [];
    this.thread = null;
    this.threadCpu = -1;
    this.listCpu = -1;
    this.polling = false;
    this.completed = false;
    this.overBudget = false;
  }
}

export function instanceOf(napi: NapiStruct): NapiInstance {
  return napi.core as NapiInstance;
}

export function reportNapi(reports: ReportSink, kind: string, severity: ReportSeverity, napi: NapiStruct, message: string): void {
  reports.report(kind, severity, `napi of ${napi.dev.name}`, napi.dev.name, message);
}

/** Of work that is not within its budget: more is told, once of each instance; what is no number is refused, as it would be polled for ever. */
export function judgeWork(reports: ReportSink, napi: NapiStruct, work: number, budget: number): void {
  if (!(work > budget)) throw new UsageError("net-core", `what the poll of NAPI instance ${napi.napiId} of ${napi.dev.name} answered`, work, `answer how many packets it took, 0 to ${budget}`);
  const instance = instanceOf(napi);
  if (instance.overBudget) return;
  instance.overBudget = true;
  reportNapi(reports, "napi-over-budget", "warn", napi, `poll returned ${work}, over its budget ${budget}`);
}
