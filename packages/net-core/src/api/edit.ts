import type { Netmem, PayloadRegion } from "@netmem/mm/api";
import type { SkBuff } from "./skbuff.ts";

/** Moving the bounds of a packet, and its bytes. The packet stays the caller's throughout. */
export interface SkbEdit {
  /** Room in front of an empty skb, which stays the caller's. @kernel skb_reserve */
  readonly skbReserve: (skb: SkBuff, bytes: number) => void;
  /** `bytes` more at the tail of the caller's skb; beyond the end is report `skb-over-panic`, a BUG. @kernel skb_put */
  readonly skbPut: (skb: SkBuff, bytes: number) => void;
  /** `bytes` less at the front of the caller's skb; false, and nothing done, if the packet is shorter. @kernel skb_pull_inline */
  readonly skbPull: (skb: SkBuff, bytes: number) => boolean;
  /** Adds a frag; `truesizeBytes` is its buffer's size. Keeps the caller's reference. @kernel skb_add_rx_frag_netmem */
  readonly skbAddRxFrag: (skb: SkBuff, netmem: Netmem, offset: number, sizeBytes: number, truesizeBytes: number) => void;
  /** Sets `macHeader` and `protocol` of the caller's skb, and pulls the Ethernet header. @kernel eth_type_trans (net/ethernet/eth.c) */
  readonly ethTypeTrans: (skb: SkBuff) => number;
  /**
   * A private head with `nhead` and `ntail` more bytes of room; the skb stays the caller's. 0 or -ENOMEM, the skb then unchanged. An skb with
   * several users is a BUG. @kernel pskb_expand_head (net/core/skbuff.c)
   */
  readonly pskbExpandHead: (skb: SkBuff, nhead: number, ntail: number, gfp: number) => number;
  /** All of the packet in its head, its fragments freed; the skb stays the caller's. 0, -ENOMEM or -EFAULT, the skb then unchanged. @kernel skb_linearize, __pskb_pull_tail */
  readonly skbLinearize: (skb: SkBuff) => number;
  /** Gives up the header part of the data: clones may then write it. The skb stays the caller's. @kernel __skb_header_release */
  readonly skbHeaderRelease: (skb: SkBuff) => void;
  /**
   * Copies `bytes` from `offset` (relative to `data`, negative for headers before it) to a region; the skb stays the
   * caller's. 0, or -EFAULT when
   * out of range or in memory the CPU cannot read. @kernel skb_copy_bits
   */
  readonly skbCopyBits: (skb: SkBuff, offset: number, target: PayloadRegion, targetOffset: number, bytes: number) => number;
}
