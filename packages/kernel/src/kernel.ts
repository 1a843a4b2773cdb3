import { ExecutionContext, UsageError, type Kernel, type ReportMode } from "./api/index.ts";
import { SimulatedClock } from "./clock.ts";
import { createPtrRings } from "./ptr-ring.ts";
import { createRandom } from "./random.ts";
import { GracePeriods } from "./rcu.ts";
import { MachineReports } from "./reports.ts";
import { StepScheduler } from "./scheduler.ts";
import { KernelWorkqueue, TimerBases } from "./timers.ts";
import { FixedTraceRing } from "./trace-ring.ts";

export interface KernelOptions {
  /** 1 … 64. */
  readonly nrCpus: number;
  /** Memory node of each CPU, 0 … 63; all on node 0 unless said otherwise. */
  readonly cpuNodes?: readonly number[];
  /** 0 … 2^32 − 1. */
  readonly seed: number;
  readonly reports: ReportMode;
  /** Ticks a second; 1000 unless said otherwise. */
  readonly hz?: number;
  /** Events the trace ring holds; 0 or absent: no tracing. */
  readonly traceEntries?: number;
}

/** One machine's kernel: its own clock, CPUs, randomness and reports, sharing nothing with another's. */
export function createKernel(options: KernelOptions): Kernel {
  const { nrCpus } = options;
  if (!Number.isInteger(nrCpus) || nrCpus < 1 || nrCpus > 64) throw new UsageError("kernel", "nrCpus", nrCpus, "give 1 to 64 CPUs");
  const hz = options.hz ?? 1000;
  if (!Number.isInteger(hz) || hz < 1 || hz > 10_000) throw new UsageError("kernel", "hz", hz, "give 1 to 10000 ticks a second");
  const cpuNodes = options.cpuNodes ?? Array.from({ length: nrCpus }, () => 0);
  if (cpuNodes.length !== nrCpus || cpuNodes.some((node) => !Number.isInteger(node) || node < 0 || node > 63)) {
    throw new UsageError("kernel", "cpuNodes", cpuNodes.join(), `give one memory node, 0 to 63, for each of the ${nrCpus} CPUs`);
  }
  const context = new ExecutionContext();
  context.node = cpuNodes[0]!;
  const clock = new SimulatedClock(hz);
  const entries = options.traceEntries ?? 0;
  const trace = entries === 0 ? null : new FixedTraceRing(entries, clock, context);
  const random = createRandom(options.seed);
  const timers = new TimerBases(nrCpus, clock);
  const scheduler = new StepScheduler(cpuNodes, context, clock, timers, random);
  return {
    nrCpus, cpuNodes, hz, context, clock, timers, random, trace, scheduler,
    workqueue: new KernelWorkqueue(timers, () => context.cpu, scheduler),
    softirqs: scheduler,
    irqs: scheduler,
    rcu: new GracePeriods({ nrCpus, hz, context, timers, softirqs: scheduler }),
    rings: createPtrRings(),
    reports: new MachineReports(options.reports, clock, context, trace),
  };
}
