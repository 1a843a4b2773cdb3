import { createKernel, type KernelOptions } from "../src/index.ts";
import { KernelPanic, TASK_SLEEP, UsageError, type Kernel } from "../src/api/index.ts";

/** One CPU, seed 1, reports collected, no tracing. */
export function kernelWith(options: Partial<KernelOptions> = {}): Kernel {
  return createKernel({ nrCpus: 1, seed: 1, reports: "collect", ...options });
}

/** A task that does `work` once and then sleeps until woken. */
export function once(cpu: number, work: () => void): { name: string; cpu: number; run: () => number } {
  return {
    name: "once",
    cpu,
    run: () => {
      work();
      return TASK_SLEEP;
    },
  };
}

/** Steps until nothing is left. */
export function runAll(kernel: Kernel): void {
  kernel.scheduler.runUntil(() => false);
}

export function usageErrorOf(call: () => unknown): UsageError {
  try {
    call();
  } catch (error) {
    if (error instanceof UsageError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

export function panicOf(call: () => unknown): KernelPanic {
  try {
    call();
  } catch (error) {
    if (error instanceof KernelPanic) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}
