import type { SkBuff } from "./skbuff.ts";

/** What `skbTryCoalesce` did. */
export interface Coalesced {
  /** `from`'s head is a frag of `to` now: what is left of it is its struct. */
  stolen: boolean;
  /** What `to.truesize` grew by. */
  deltaTruesize: number;
}

/** What a device can do with a packet of several segments. @kernel NETIF_F_* (include/linux/netdev_features.h) */
export interface SegmentFeatures {
  /** It gathers a packet from several pieces. @kernel NETIF_F_SG, with checksums */
  readonly sg: boolean;
  /** It takes such packets itself, but no frag lists: these become packets of several segments each. @kernel net_gso_ok */
  readonly gso: boolean;
}

/** Packets that become one, or several. The bytes stay in their buffers as far as that can be. */
export interface SkbMerge {
  /**
   * `from`'s bytes at the end of `to`: true, and the caller disposes of `from` by `kfreeSkbPartial`; `result` says how. False: both are as they were. In this order
   * it refuses a `to` whose data is shared; different recycle bits; from 5.18 to 6.7 shared data of a recycling `from`, at first only if `to` recycles, too; one of them unreadable; (copies, if the bytes fit behind `to`'s tail); a frag list; somebody
   * else's memory; more frags than fit; a head that cannot become a frag.
   * Of those the owners count one more holder each since 6.8. Consumes what `from` gives up.
   * @kernel skb_try_coalesce (net/core/skbuff.c)
   */
  readonly skbTryCoalesce: (to: SkBuff, from: SkBuff, result: Coalesced) => boolean;
  /** What is behind `len` bytes goes to the empty `skb1`, whose tailroom must hold what of it lies in the head. Both stay the caller's. @kernel skb_split */
  readonly skbSplit: (skb: SkBuff, skb1: SkBuff, len: number) => void;
  /** The first `bytes` of `skb` move to the end of `tgt`: so many, or 0 and nothing has moved. Neither may have them in its head. Both stay the caller's. @kernel skb_shift */
  readonly skbShift: (tgt: SkBuff, skb: SkBuff, bytes: number) => number;
  /**
   * A packet of several segments, its data behind its headers, as those: packets of `gsoSize` bytes, or a member of its frag list each, with the headers in front of each,
   * chained through `next`; the caller's. The original stays the caller's, its headers pushed. -EINVAL (no MAC header, or more frags than fit), -ENOMEM: none. What the kernel BUGs on, crashes at or goes round in for ever is report `skb-segment-member`, `skb-segment-size` (`gsoSize` 0), or `skb-segment-headers` (behind the data), BUGs. Softirq. @kernel skb_segment
   */
  readonly skbSegment: (skb: SkBuff, features: SegmentFeatures) => SkBuff | number;
  /**
   * The payload of `skb`, behind `gro.dataOffset`, to the held packet `p`: its frags; or its head as a frag; or itself, in the frag list. 0: consumes, and what
   * is left `napiSkbFinishMerged` frees, unless it is in the list (`gro.free` 0). -ETOOMANYREFS (recycle bits; shared data, which is report `skb-gro-shared`), -E2BIG (too large, or not to be merged): it stays the caller's. A `p` that is not held is
   * report `skb-gro-not-held`, a BUG.
   * In the poll. @kernel skb_gro_receive (net/core/gro.c)
   */
  readonly skbGroReceive: (p: SkBuff, skb: SkBuff) => number;
  /** What GRO knows of a packet that has come in: nothing, but that its first `dataOffset` bytes are headers. It stays the caller's. @kernel dev_gro_receive, skb_gro_reset_offset (net/core/gro.c) */
  readonly groStart: (skb: SkBuff, dataOffset: number) => void;
  /** The packet that others are to be merged with, after `groStart`; until it is passed on, GRO has it. Keeps. @kernel dev_gro_receive, where it holds a packet */
  readonly groHold: (skb: SkBuff) => void;
}
