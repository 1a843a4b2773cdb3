import type { FrameReceiver, NetDevice } from "@netmem/xdp/api";
import type { SkbDropReasons } from "./drop-reason.ts";
import type { SkbEdit } from "./edit.ts";
import type { PacketHolder } from "./holders.ts";
import type { Inet } from "./inet.ts";
import type { SkbLifetime, SkbRecycle } from "./lifetime.ts";
import type { SkbMerge } from "./merge.ts";
import type { NapiScheduler } from "./napi.ts";
import type { NetReceive, Sockets } from "./receive.ts";
import type { SkBuff } from "./skbuff.ts";
import type { NetTransmit } from "./transmit.ts";
import type { GenericXdp, XdpAttachment, XdpSkbs } from "./xdp.ts";
import type { SkbZerocopy } from "./zerocopy.ts";

export interface SkbProbe {
  /** The last user of a packet let go. @kernel trace_kfree_skb, trace_consume_skb */
  readonly freed: (skb: SkBuff, reason: number) => void;
}

/** The layer's services, by role. */
export interface NetCore {
  readonly lifetime: SkbLifetime;
  readonly recycle: SkbRecycle;
  readonly edit: SkbEdit;
  readonly merge: SkbMerge;
  readonly zerocopy: SkbZerocopy;
  readonly dropReasons: SkbDropReasons;
  readonly napi: NapiScheduler;
  readonly receive: NetReceive;
  readonly sockets: Sockets;
  readonly inet: Inet;
  readonly transmit: NetTransmit;
  readonly xdpSkbs: XdpSkbs;
  readonly genericXdp: GenericXdp;
  readonly xdpAttachment: XdpAttachment;
  /** What the XDP layer hands frames to; whoever has some may, too. */
  readonly frameReceiver: FrameReceiver;
  /** Everybody who holds packets just now, in no order that means anything. For inspection: it makes lists. */
  readonly holders: () => readonly PacketHolder[];
  /** A device of this machine; `rxQueueCount` queues. Process context. @kernel alloc_netdev_mqs, register_netdev */
  readonly registerNetdev: (name: string, rxQueueCount: number) => NetDevice;
  /** The device is gone: memory providers of its queues are uninstalled and everyone is told. Again: report `netdev-unregistered`. Process context. @kernel unregister_netdev, dev_memory_provider_uninstall (net/core/dev.c) */
  readonly unregisterNetdev: (dev: NetDevice) => void;
  /** The device of ifindex 1, which inherits pools whose own is gone. @kernel net.loopback_dev */
  readonly loopback: NetDevice;
}
