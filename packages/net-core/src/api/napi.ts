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
  readonly napiEnable: (napi: NapiStruct) => void;
  /** It must not be scheduled any more; report `napi-disable-running` if it is on a poll list. @kernel napi_disable */
  readonly napiDisable: (napi: NapiStruct) => void;
  /** Puts it on this CPU's poll list, unless it is on one: then it is noted as missed. @kernel napi_schedule */
  readonly napiSchedule: (napi: NapiStruct) => void;
  /** From poll, when it found less than its budget. False: it was missed and will be polled again. @kernel napi_complete_done */
  readonly napiCompleteDone: (napi: NapiStruct, work: number) => boolean;
}
