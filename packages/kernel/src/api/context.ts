/** What kind of code a CPU is running. Ordered: a higher level interrupts a lower one. */
export const CONTEXT_PROCESS = 0;
export const CONTEXT_SOFTIRQ = 1;
export const CONTEXT_HARDIRQ = 2;

/** The running task may use the memory reserves. @kernel PF_MEMALLOC (include/linux/sched.h) */
export const PF_MEMALLOC = 0x800;

/** The CPU that executes at this moment, and how. One instance a machine; only the scheduler writes it. */
export class ExecutionContext {
  declare private readonly nominal: "ExecutionContext";
  /** Index of the executing CPU, 0 … nrCpus − 1. Outside scheduler steps: 0. */
  cpu: number;
  /** One of the `CONTEXT_*` levels. */
  level: number;
  /** Memory node of the executing CPU. */
  node: number;
  /** Flags of the running task, `PF_*`; each slice of a task begins with none. @kernel current->flags */
  taskFlags: number;
  /** Another number for each stretch of code that a CPU runs without a break: an interrupt, a softirq, a task's slice. */
  epoch: number;

  constructor() {
    this.cpu = 0;
    this.level = CONTEXT_PROCESS;
    this.node = 0;
    this.taskFlags = 0;
    this.epoch = 0;
  }
}

/** @kernel in_softirq (include/linux/preempt.h) */
export function inSoftirq(context: ExecutionContext): boolean {
  return context.level === CONTEXT_SOFTIRQ;
}

/** @kernel in_hardirq (include/linux/preempt.h) */
export function inHardirq(context: ExecutionContext): boolean {
  return context.level === CONTEXT_HARDIRQ;
}
