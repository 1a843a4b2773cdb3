import type { FrameReceiver, NapiStruct, NetDevice } from "@netmem/xdp/api";
import type { SkbDropReasons } from "./drop-reason.ts";
import type { SkbEdit } from "./edit.ts";
import type { PacketHolder } from "./holders.ts";
import type { Inet } from "./inet.ts";
import type { SkbLifetime, SkbRecycle } from "./lifetime.ts";
import type { SkbMerge } from "./merge.ts";
import type { NapiScheduler, Netpoll } from "./napi.ts";
import type { NetReceive, Sockets } from "./receive.ts";
import type { SkBuff } from "./skbuff.ts";
import type { NetTransmit } from "./transmit.ts";
import type { GenericXdp, XdpAttachment, XdpSkbs } from "./xdp.ts";
import type { SkbZerocopy } from "./zerocopy.ts";

/** How a packet ends: by whoever says so; by the CPU that built it, after another read it; where the kernel has no tracepoint: by its reader on the CPU that built it, or as another's bytes. */
export const SKB_FREED = 0;
export const SKB_FREED_DEFERRED = 1;
export const SKB_FREED_UNTRACED = 2;

export interface SkbProbe {
  /** The last user of a packet let go; `how` is one of `SKB_FREED…`. @kernel trace_kfree_skb, trace_consume_skb */
  readonly freed: (skb: SkBuff, reason: number, how: number) => void;
  /** A driver hands a packet up, before it may be merged. @kernel trace_napi_gro_receive_entry (include/trace/events/net.h) */
  readonly groReceiveEntry: (skb: SkBuff) => void;
  /** A packet, as it comes to taps and protocols. @kernel trace_netif_receive_skb */
  readonly received: (skb: SkBuff) => void;
  /** An instance was polled: packets that it had, of those it might. @kernel trace_napi_poll (include/trace/events/napi.h) */
  readonly polled: (napi: NapiStruct, work: number, budget: number) => void;
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
  readonly netpoll: Netpoll;
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
  /** 0; -EINVAL below `minMtu` or above `maxMtu`, which a veth lowers as its peer gets a program; -EBUSY where rings were made for another and the device is up; or what its driver has against it, as one whose program takes no longer packets. Process context. @kernel dev_set_mtu, dev_validate_mtu, ndo_change_mtu (net/core/dev.c) */
  readonly devSetMtu: (dev: NetDevice, mtu: number) => number;
  /** The device of ifindex 1, which inherits pools whose own is gone. @kernel net.loopback_dev */
  readonly loopback: NetDevice;
}
