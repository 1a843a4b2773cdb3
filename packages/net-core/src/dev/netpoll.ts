import { ENETDOWN, ENOTSUPP, type Kernel } from "@netmem/kernel/api";
import { NAPIF_STATE_NPSVC, type NapiStruct, type NetDevice } from "@netmem/xdp/api";
import type { Netpoll, SkbProbe } from "../api/index.ts";
import type { CompletionQueue } from "../completion.ts";
import { reportNapi, type NapiInstance } from "./napi-instance.ts";

export interface NetpollParts {
  readonly kernel: Kernel;
  readonly instancesOf: (dev: NetDevice) => readonly NapiInstance[];
  readonly completions: CompletionQueue;
  readonly probe: SkbProbe | null;
}

/** Polls of nobody's budget. @kernel net/core/netpoll.c */
export class BudgetlessPolls implements Netpoll {
  readonly #parts: NetpollParts;

  constructor(parts: NetpollParts) {
    this.#parts = parts;
  }

  netpollPollDev(dev: NetDevice): number {
    const { kernel, instancesOf, completions } = this.#parts;
    if (dev.disableNetpoll) return -ENOTSUPP;
    if (!dev.up) return -ENETDOWN;
    kernel.irqs.withIrqsOff(() => {
      // The last that was added is the head of the device's list.
      for (const { napi, polling } of instancesOf(dev).toReversed()) if (!polling) this.#pollOne(napi);
      completions.zap();
    });
    return 0;
  }

  /** Nobody disables it meanwhile, and `napiCompleteDone` answers false. @kernel poll_one_napi */
  #pollOne(napi: NapiStruct): void {
    const { kernel, probe } = this.#parts;
    if ((napi.state & NAPIF_STATE_NPSVC) !== 0) return;
    napi.state |= NAPIF_STATE_NPSVC;
    const work = napi.poller.poll(napi, 0);
    if (work !== 0) reportNapi(kernel.reports, "napi-netpoll-work", "warn", napi, `poll returned ${work}, and its budget was 0: it may take back what was sent, and nothing else`);
    if (probe !== null) probe.polled(napi, work, 0);
    napi.state &= ~NAPIF_STATE_NPSVC;
  }
}
