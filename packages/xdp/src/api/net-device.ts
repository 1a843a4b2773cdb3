import type { XdpRxqInfo } from "./rxq.ts";

/** Packets a NAPI instance polls for at a time. @kernel NAPI_POLL_WEIGHT (include/linux/netdevice.h) */
export const NAPI_POLL_WEIGHT = 64;

/** @kernel NAPI_STATE_SCHED, NAPI_STATE_MISSED, NAPI_STATE_DISABLE (include/linux/netdevice.h) */
export const NAPIF_STATE_SCHED: number = 1 << 0;
export const NAPIF_STATE_MISSED: number = 1 << 1;
export const NAPIF_STATE_DISABLE: number = 1 << 2;

/** The driver's poll function. @kernel napi_struct.poll */
export interface NapiPoller {
  /** Handles up to `budget` packets and answers how many; below `budget` it must have completed the instance. */
  readonly poll: (napi: NapiStruct, budget: number) => number;
}

/**
 * One poll instance. net-core operates it; `listOwner` is what tells page_pool whose context this is.
 * @kernel struct napi_struct (include/linux/netdevice.h)
 */
export class NapiStruct {
  declare private readonly nominal: "NapiStruct";
  readonly dev: NetDevice;
  readonly poller: NapiPoller;
  readonly weight: number;
  /** Bits of `NAPIF_STATE_*`. */
  state: number;
  /** CPU on whose poll list it is, from schedule to complete; else −1. */
  listOwner: number;
  /** Links of that list; the instance that is being polled is off it. */
  next: NapiStruct | null;
  queued: boolean;

  constructor(dev: NetDevice, poller: NapiPoller, weight: number) {
    this.dev = dev;
    this.poller = poller;
    this.weight = weight;
    this.state = 0;
    this.listOwner = -1;
    this.next = null;
    this.queued = false;
  }
}

/** @kernel struct netdev_rx_queue (include/net/netdev_rx_queue.h) */
export class NetdevRxQueue {
  declare private readonly nominal: "NetdevRxQueue";
  readonly dev: NetDevice;
  readonly index: number;
  readonly xdpRxq: XdpRxqInfo;
  napi: NapiStruct | null;

  constructor(dev: NetDevice, index: number, xdpRxq: XdpRxqInfo) {
    this.dev = dev;
    this.index = index;
    this.xdpRxq = xdpRxq;
    this.napi = null;
  }
}

/** @kernel struct net_device (include/linux/netdevice.h), as far as receive needs it */
export class NetDevice {
  declare private readonly nominal: "NetDevice";
  readonly name: string;
  readonly ifindex: number;
  readonly rxQueues: NetdevRxQueue[];
  up: boolean;
  rxPackets: number;
  rxBytes: number;
  /** Frames the driver or the stack gave up. */
  rxDropped: number;

  constructor(name: string, ifindex: number) {
    this.name = name;
    this.ifindex = ifindex;
    this.rxQueues = [];
    this.up = false;
    this.rxPackets = 0;
    this.rxBytes = 0;
    this.rxDropped = 0;
  }
}
