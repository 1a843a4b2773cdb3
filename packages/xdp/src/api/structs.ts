import type { XdpBuff } from "./buff.ts";
import type { MemInfo } from "./mem-info.ts";
import type { NapiPoller, NapiStruct, NetDevice } from "./net-device.ts";
import type { XdpFrameBulk } from "./return.ts";
import type { XdpRxqInfo } from "./rxq.ts";
import type { XdpDesc } from "./xsk.ts";

/** Makes this layer's structs; nobody else says `new`. Process context. */
export interface XdpStructs {
  /** A device with `rxQueueCount` ≥ 1 unregistered queues. @kernel alloc_netdev_mqs (net/core/dev.c) */
  readonly createNetDevice: (name: string, ifindex: number, rxQueueCount: number) => NetDevice;
  readonly createNapi: (dev: NetDevice, poller: NapiPoller, weight: number) => NapiStruct;
  /** @kernel xdp_init_buff */
  readonly createXdpBuff: (rxq: XdpRxqInfo) => XdpBuff;
  /** Type 0, id 0. */
  readonly createMemInfo: () => MemInfo;
  /** A queue that is no device's, for who looks at packets of others' queues: not registered. */
  readonly createXdpRxqInfo: () => XdpRxqInfo;
  /** @kernel xdp_frame_bulk_init */
  readonly createFrameBulk: () => XdpFrameBulk;
  /** For drivers that peek at what is to be sent, once each. */
  readonly createXdpDesc: () => XdpDesc;
}
