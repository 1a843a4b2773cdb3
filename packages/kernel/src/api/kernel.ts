import type { ExecutionContext } from "./context.ts";
import type { PtrRings } from "./ptr-ring.ts";
import type { Random } from "./random.ts";
import type { Rcu } from "./rcu.ts";
import type { ReportSink } from "./report.ts";
import type { Interrupts, Scheduler, Softirqs } from "./scheduler.ts";
import type { Clock, Timers, Workqueue } from "./time.ts";
import type { TraceRing } from "./trace.ts";

/** Everything a layer may know of the machine it runs in; passed to every `create…` function. */
export interface Kernel {
  readonly nrCpus: number;
  /** Memory node of each CPU. @kernel cpu_to_node (include/linux/topology.h) */
  readonly cpuNodes: readonly number[];
  readonly hz: number;
  readonly context: ExecutionContext;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly workqueue: Workqueue;
  readonly scheduler: Scheduler;
  readonly softirqs: Softirqs;
  readonly irqs: Interrupts;
  readonly rcu: Rcu;
  readonly random: Random;
  readonly rings: PtrRings;
  readonly reports: ReportSink;
  /** Null unless the machine was created with tracing. */
  readonly trace: TraceRing | null;
}

export const NSEC_PER_SEC = 1_000_000_000;
export const NSEC_PER_MSEC = 1_000_000;
