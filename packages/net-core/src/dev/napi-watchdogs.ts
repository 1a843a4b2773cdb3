import type { Kernel, Timer } from "@netmem/kernel/api";
import { NAPIF_STATE_DISABLE, NAPIF_STATE_PREFER_BUSY_POLL, NAPIF_STATE_SCHED, type NapiStruct } from "@netmem/xdp/api";
import type { NapiInstance } from "./napi-instance.ts";

/** Polls again where no interrupt will, on the CPU that polled last: each instance has one timer, which moves. @kernel napi_watchdog, napi_struct.timer (net/core/dev.c) */
export class NapiWatchdogs {
  private readonly kernel: Pick<Kernel, "timers" | "context">;
  private readonly enqueue: (napi: NapiStruct) => void;

  constructor(kernel: Pick<Kernel, "timers" | "context">, enqueue: (napi: NapiStruct) => void) {
    this.kernel = kernel;
    this.enqueue = enqueue;
  }

  arm(instance: NapiInstance, timeoutNs: number): void {
    const { timers, context } = this.kernel;
    const { cpu } = context;
    for (let other = 0; other < instance.watchdogs.length; other++) if (other !== cpu) this.cancelOn(instance, other);
    while (instance.watchdogs.length <= cpu) instance.watchdogs.push(null);
    timers.modTimer((instance.watchdogs[cpu] ??= this.create(instance, cpu)), timeoutNs);
  }

  cancel(instance: NapiInstance): void {
    for (let cpu = 0; cpu < instance.watchdogs.length; cpu++) this.cancelOn(instance, cpu);
  }

  private cancelOn({ watchdogs }: NapiInstance, cpu: number): void {
    const timer = watchdogs[cpu] ?? null;
    if (timer !== null) this.kernel.timers.timerDelete(timer);
  }

  private create({ napi }: NapiInstance, cpu: number): Timer {
    return this.kernel.timers.timerSetup(() => {
      if ((napi.state & (NAPIF_STATE_DISABLE | NAPIF_STATE_SCHED)) !== 0) return;
      napi.state = (napi.state & ~NAPIF_STATE_PREFER_BUSY_POLL) | NAPIF_STATE_SCHED;
      this.enqueue(napi);
    }, cpu);
  }
}
