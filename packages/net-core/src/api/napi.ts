import type { NapiPoller, NapiStruct, NetDevice } from "@netmem/xdp/api";

/** Packets that one receive softirq handles before it yields. @kernel netdev_budget (net/core/dev.c) */
export const NETDEV_BUDGET = 300;

export interface NapiStats {
  polls: number;
  /** Softirqs that ran out of budget. */
  timeSqueeze: number;
}

export interface NapiScheduler {
  readonly stats: NapiStats;
  /** A disabled instance. Process context. @kernel netif_napi_add */
  readonly netifNapiAdd: (dev: NetDevice, poller: NapiPoller, weight: number) => NapiStruct;
  /** Of a disabled instance; of any other it is report `napi-enable-enabled`, a BUG. @kernel napi_enable */
  readonly napiEnable: (napi: NapiStruct) => void;
  /**
   * Takes it off its poll list, which is what waiting for the poll amounts to. From its own poll it is report
   * `napi-disable-running`: the kernel would wait for ever. @kernel napi_disable
   */
  readonly napiDisable: (napi: NapiStruct) => void;
  /** Puts it on this CPU's poll list, unless it is on one: then it is noted as missed. @kernel napi_schedule */
  readonly napiSchedule: (napi: NapiStruct) => void;
  /** From poll, when it found less than its budget. False: it was missed and will be polled again. @kernel napi_complete_done */
  readonly napiCompleteDone: (napi: NapiStruct, work: number) => boolean;
}
