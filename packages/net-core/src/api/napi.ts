import type { NapiPoller, NapiStruct, NetDevice } from "@netmem/xdp/api";

/** Packets that one receive softirq handles before it yields, and ticks. @kernel netdev_budget, netdev_budget_usecs (net/core/dev.c) */
export const NETDEV_BUDGET = 300;
export const NETDEV_BUDGET_JIFFIES = 2;

export interface NapiStats {
  polls: number;
  /** Softirqs that ran out of budget, or of time. */
  timeSqueeze: number;
}

export interface Netpoll {
  /**
   * Takes back what a device has sent, for whoever sends from anywhere and cannot wait for softirqs, as a console over the network does. Each of its instances is polled with a
   * budget of 0, scheduled or not, with interrupts off; nothing of who is scheduled, or owns it, changes. Those that are disabled or being polled are left out; a poll that answers more than
   * 0 is report `napi-netpoll-work`. Then packets that wait for this CPU's transmit softirq are freed, but for those whose end somebody is to be told of, or that have a list of others. A pool's pages among them are put with interrupts off, which is report `pp-put-in-hardirq`: not for devices that send what others received. 0; -ENOTSUPP from a device that is not to be polled so, -ENETDOWN from one
   * that is down. Any context. @kernel netpoll_poll_dev, poll_one_napi, zap_completion_queue (net/core/netpoll.c)
   */
  readonly netpollPollDev: (dev: NetDevice) => number;
}

export interface NapiScheduler {
  readonly stats: NapiStats;
  /** A disabled instance. Process context. @kernel netif_napi_add */
  readonly netifNapiAdd: (dev: NetDevice, poller: NapiPoller, weight: number) => NapiStruct;
  /** It is gone, with the packets that it held; enabled it is report `napi-del-enabled`, gone before `napi-del-unknown`. Consumes. Process context. @kernel netif_napi_del */
  readonly netifNapiDel: (napi: NapiStruct) => void;
  /** Of a disabled instance; of any other it is report `napi-enable-enabled`, a BUG. @kernel napi_enable */
  readonly napiEnable: (napi: NapiStruct) => void;
  /**
   * Waits for the poll that is scheduled, which receives what is there, once; nothing schedules it any more. What GRO holds otherwise stays. From its own poll it is report
   * `napi-disable-running`, twice `napi-disable-disabled`: the kernel would wait for ever. From a softirq, where the kernel cannot wait, what is scheduled is taken
   * back. Process context. @kernel napi_disable
   */
  readonly napiDisable: (napi: NapiStruct) => void;
  /** True: the caller has it, and must see to it that it is polled. False: it is disabled, or scheduled already and now noted as missed. @kernel napi_schedule_prep */
  readonly napiSchedulePrep: (napi: NapiStruct) => boolean;
  /** Puts it on this CPU's poll list, or wakes its thread: true; unless it is scheduled, and then noted as missed, or disabled: false. @kernel napi_schedule */
  readonly napiSchedule: (napi: NapiStruct) => boolean;
  /**
   * From poll, when it found less than its budget: passes on what was held. False: no interrupts yet, since it was missed and is polled again, or the device
   * would rather wait (`napiDeferHardIrqs`), or a process polls it. @kernel napi_complete_done
   */
  readonly napiCompleteDone: (napi: NapiStruct, work: number) => boolean;
  /**
   * A process polls it, `budget` packets at a time, until `loopEnd`, asked after each time; unless somebody else does, which is left to do it with interrupts
   * deferred if `preferBusyPoll`. Answers how many packets it got. Process context. @kernel napi_busy_loop
   */
  readonly napiBusyLoop: (napi: NapiStruct, loopEnd: () => boolean, preferBusyPoll: boolean, budget: number) => number;
  /** A thread for each of its instances polls them from now on, on the CPU of the caller; or the softirq again. Process context. @kernel dev_set_threaded */
  readonly devSetThreaded: (dev: NetDevice, threaded: boolean) => void;
}
