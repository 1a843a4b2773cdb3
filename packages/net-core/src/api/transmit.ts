import type { NetDevice } from "@netmem/xdp/api";
import type { SkBuff } from "./skbuff.ts";

/** A driver's transmit function. Softirq. @kernel ndo_start_xmit (include/linux/netdevice.h) */
export interface StartXmit {
  /** NETDEV_TX_OK: consumes the skb, sent or not. NETDEV_TX_BUSY: it stays the caller's. */
  readonly startXmit: (skb: SkBuff, dev: NetDevice, queueId: number) => number;
}

export interface TransmitStats {
  sent: number;
  /** Of devices that are down, or cannot send. */
  dropped: number;
}

export interface NetTransmit {
  readonly stats: TransmitStats;
  /** How `dev` sends; null: not at all. Process context. */
  readonly setStartXmit: (dev: NetDevice, ops: StartXmit | null) => void;
  /** From the stack: cut into segments first, if it is several and `dev` sends them one at a time. What the device has no room for is dropped: there are no queueing disciplines. Consumes. @kernel dev_queue_xmit, validate_xmit_skb */
  readonly devQueueXmit: (skb: SkBuff, dev: NetDevice) => void;
  /** Past all queues: NETDEV_TX_OK and NET_XMIT_DROP consume the skb, NETDEV_TX_BUSY leaves it the caller's. @kernel __dev_direct_xmit (net/core/dev.c) */
  readonly devDirectXmit: (skb: SkBuff, dev: NetDevice, queueId: number) => number;
}
