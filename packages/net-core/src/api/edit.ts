import type { Netmem, PayloadRegion } from "@netmem/mm/api";
import type { SkBuff } from "./skbuff.ts";

/**
 * Moving the bounds of a packet, and its bytes. The packet stays the caller's throughout. To look at the data of one that its last user let go of is report
 * `skb-use-after-free`, here a BUG; so it is in all that looks at what a packet has, or makes others of it; `skbReserve`, `skbPut`, `skbPush` and `skbPull` move offsets and ask nothing.
 */
export interface SkbBounds {
  /** Room in front of an empty skb, which stays the caller's. @kernel skb_reserve */
  readonly skbReserve: (skb: SkBuff, bytes: number) => void;
  /** `bytes` more at the tail of the caller's skb; beyond the end is report `skb-over-panic`, a BUG. @kernel skb_put */
  readonly skbPut: (skb: SkBuff, bytes: number) => void;
  /** `bytes` more in front of the data of the caller's skb; before the head is report `skb-under-panic`, a BUG. @kernel skb_push */
  readonly skbPush: (skb: SkBuff, bytes: number) => void;
  /** `bytes` less at the front of the caller's skb; false, and nothing done, if the packet is shorter. More than its head has is report `skb-pull-past-head`, a BUG. @kernel skb_pull_inline */
  readonly skbPull: (skb: SkBuff, bytes: number) => boolean;
  /** Adds a frag; `truesizeBytes` is its buffer's size. Keeps the caller's reference. @kernel skb_add_rx_frag_netmem */
  readonly skbAddRxFrag: (skb: SkBuff, netmem: Netmem, offset: number, sizeBytes: number, truesizeBytes: number) => void;
  /** A frag more, its size and truesize not yet counted. Keeps the caller's reference. @kernel skb_fill_netmem_desc */
  readonly skbFillNetmemDesc: (skb: SkBuff, i: number, netmem: Netmem, offset: number, sizeBytes: number) => void;
  /** Sets `macHeader` and `protocol` of the caller's skb, and pulls the Ethernet header. @kernel eth_type_trans (net/ethernet/eth.c) */
  readonly ethTypeTrans: (skb: SkBuff) => number;
  /** Gives up the header part of the data: clones may then write it. Of shared data it is report `skb-header-release-shared`. The skb stays the caller's. @kernel __skb_header_release */
  readonly skbHeaderRelease: (skb: SkBuff) => void;
  /**
   * Copies `bytes` from `offset` (relative to `data`, negative for headers before it) to a region; the skb stays the
   * caller's. 0, or -EFAULT when
   * out of range or in memory the CPU cannot read. @kernel skb_copy_bits
   */
  readonly skbCopyBits: (skb: SkBuff, offset: number, target: PayloadRegion, targetOffset: number, bytes: number) => number;
  /** The other way round; whoever shares the data sees it. The skb stays the caller's. 0 or -EFAULT. @kernel skb_store_bits */
  readonly skbStoreBits: (skb: SkBuff, offset: number, source: PayloadRegion, sourceOffset: number, bytes: number) => number;
}

/** A head of one's own. The skb stays the caller's, with nothing changed, where an errno or null says that it failed. Atomic as far as `gfp` is. */
export interface SkbExpand {
  /**
   * A private head with `nhead` and `ntail` more bytes of room; the skb stays the caller's. 0 or -ENOMEM, the skb then unchanged. An skb with
   * several users is a BUG. Frags that a clone keeps, too, get a plain page reference. @kernel pskb_expand_head (net/core/skbuff.c)
   */
  readonly pskbExpandHead: (skb: SkBuff, nhead: number, ntail: number, gfp: number) => number;
  /** A private head, if the data is shared; the skb stays the caller's. 0 or -ENOMEM. @kernel skb_unclone */
  readonly skbUnclone: (skb: SkBuff, gfp: number) => number;
  /** The same, its truesize as before, and its end, unless one of the two is a small head's: report `skb-unclone-end`. The skb stays the caller's. @kernel skb_unclone_keeptruesize */
  readonly skbUncloneKeeptruesize: (skb: SkBuff, gfp: number) => number;
  /** A private head with at least `headroom` bytes in front; the skb stays the caller's. 0 or -ENOMEM. @kernel skb_cow */
  readonly skbCow: (skb: SkBuff, headroom: number) => number;
  /** The same for who writes headers only: payload-only references of others do not count. The skb stays the caller's. @kernel skb_cow_head */
  readonly skbCowHead: (skb: SkBuff, headroom: number) => number;
}

/** What is in the head, and where a packet ends. The packet stays the caller's throughout. */
export interface SkbPullTrim {
  /**
   * The first `delta` bytes behind the head move into it; frags that are used up are freed, to their owners if the skb recycles. False: unreadable,
   * or no memory. More bytes than there are, or out of a member of the frag list that the CPU cannot read: report `skb-pull-tail`, a BUG. `truesize` stays. The skb stays the caller's. @kernel __pskb_pull_tail
   */
  readonly pskbPullTail: (skb: SkBuff, delta: number) => boolean;
  /** At least `bytes` in the head, if the packet has as many. The skb stays the caller's. @kernel pskb_may_pull */
  readonly pskbMayPull: (skb: SkBuff, bytes: number) => boolean;
  /** `pskbMayPull`, then `skbPull`. The skb stays the caller's. @kernel pskb_pull */
  readonly pskbPull: (skb: SkBuff, bytes: number) => boolean;
  /** Ends the packet after `len` bytes; what lies behind is freed. 0 or -ENOMEM. The skb stays the caller's. @kernel pskb_trim */
  readonly pskbTrim: (skb: SkBuff, len: number) => number;
  /** Everything into the head, if there is room for it and nobody shares it; `truesize` is then that of the head alone. The skb stays the caller's. @kernel skb_condense */
  readonly skbCondense: (skb: SkBuff) => void;
  /** All of the packet in its head, its fragments freed; the skb stays the caller's. 0, -ENOMEM, or -EFAULT: unreadable. Its bytes are then as they were. @kernel skb_linearize */
  readonly skbLinearize: (skb: SkBuff) => number;
}

/** Copies. They are the caller's, do not recycle, and belong to no socket. Null: no memory, or the CPU cannot read the packet. Of a member of the frag list that it cannot read, a full copy is report `skb-copy-unreadable`, a BUG. */
export interface SkbCopies {
  /** All of it, in one piece. The original stays the caller's. @kernel skb_copy */
  readonly skbCopy: (skb: SkBuff, gfp: number) => SkBuff | null;
  /** The same with other room in front and behind. The original stays the caller's. @kernel skb_copy_expand */
  readonly skbCopyExpand: (skb: SkBuff, headroom: number, tailroom: number, gfp: number) => SkBuff | null;
  /** A private head with `headroom` in front, over the same frags, a page reference more each. Shares. @kernel __pskb_copy */
  readonly pskbCopy: (skb: SkBuff, headroom: number, gfp: number) => SkBuff | null;
  /** The skb itself if nobody shares its data, else a copy of it. Consumes. @kernel skb_unshare */
  readonly skbUnshare: (skb: SkBuff, gfp: number) => SkBuff | null;
}

export interface SkbEdit extends SkbBounds, SkbExpand, SkbPullTrim, SkbCopies {}
