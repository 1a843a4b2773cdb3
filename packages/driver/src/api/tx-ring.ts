import type { SkBuff } from "@netmem/net-core/api";
import type { XdpFrame, XskBuffPool } from "@netmem/xdp/api";
import type { InRings } from "./driver.ts";

/** A ring of what is to be sent: maps, fills descriptors, and takes back what was sent. Softirq unless said otherwise. */
export interface TxRing {
  /** NETDEV_TX_OK: consumes the skb, sent or, as it could not be mapped, dropped. NETDEV_TX_BUSY: the ring is full, and it stays the caller's. */
  readonly startXmit: (skb: SkBuff) => number;
  /** `rxQueue`: of this device's own pool, which has it mapped, the receive queue's; −1: not mapped. True: keeps the frame, to be sent at the next `ring`. False: the ring is full, or nothing could be mapped, and it stays the caller's. */
  readonly submitFrame: (frame: XdpFrame, rxQueue: number) => boolean;
  /** Bytes of an AF_XDP user, whose memory `pool` has mapped: to be sent at the next `ring`, and told to `pool` when they were. False: the ring is full. */
  readonly submitXsk: (pool: XskBuffPool, dmaAddr: number, bytes: number) => boolean;
  /** Descriptors that may be filled. @kernel stmmac_tx_avail and the like */
  readonly room: () => number;
  /** The doorbell, for all that was filled since the last. */
  readonly ring: () => void;
  /**
   * Takes back what was sent, however much; frames of receive queue 0 direct, this being their pool's poll, on whose line the ring interrupts. `budget`: the poll's. With 0, netpoll's, only skbs are taken back,
   * up to the first frame, or AF_XDP user's bytes: those need a softirq. In the poll of receive queue 0.
   */
  readonly done: (budget: number) => void;
  /** Hardware is off: nothing waits any more, sent or not. Process context. */
  readonly destroy: () => void;
  /** Sent or not, and not taken back yet. For inspection. */
  readonly inRing: () => InRings;
}

/** How an skb ends that was sent. The last tells whoever listens that it was dropped, as some drivers do. */
export type SentSkbs = "napi_consume_skb" | "dev_consume_skb_any" | "dev_kfree_skb_any";

export interface TxRings {
  /** On the NIC's transmit queue, which it starts: a ring of so many descriptors, or -ENOMEM. `sentSkbs`: default `napi_consume_skb`. Process context. */
  readonly create: (entries: number, sentSkbs?: SentSkbs) => TxRing | number;
}
