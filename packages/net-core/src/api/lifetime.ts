import type { Netmem, Page, SlabObject } from "@netmem/mm/api";
import type { MemInfo } from "@netmem/xdp/api";
import type { SkBuff } from "./skbuff.ts";

export interface SkbStats {
  /** Structs handed out and not freed. */
  live: number;
  allocs: number;
  clones: number;
}

/** Birth, sharing and death. Softirq or process context unless said otherwise. */
export interface SkbLifetime {
  readonly stats: SkbStats;
  /**
   * An skb whose head is `page` from byte 0, `fragSizeBytes` with room for the shared info at its end. Keeps the
   * page; null (no struct) leaves it the caller's. NAPI context. @kernel napi_build_skb (net/core/skbuff.c)
   */
  readonly napiBuildSkb: (page: Page, fragSizeBytes: number) => SkBuff | null;
  /** The same over kmalloc'ed memory. Keeps the object. @kernel slab_build_skb */
  readonly slabBuildSkb: (object: SlabObject) => SkBuff | null;
  /** An skb with a slab head of `sizeBytes`. Null without memory. @kernel alloc_skb */
  readonly allocSkb: (sizeBytes: number, gfp: number) => SkBuff | null;
  /** A second struct over the same data; page counters stay. Shares. Null without memory. @kernel skb_clone */
  readonly skbClone: (skb: SkBuff, gfp: number) => SkBuff | null;
  /** One more owner of the struct. Shares. @kernel skb_get */
  readonly skbGet: (skb: SkBuff) => SkBuff;
  /** The skb itself if nobody shares it, else a clone of it, the share dropped. Consumes. @kernel skb_share_check */
  readonly skbShareCheck: (skb: SkBuff, gfp: number) => SkBuff | null;
  /** Dropped, for `reason`. Consumes. @kernel kfree_skb_reason */
  readonly kfreeSkb: (skb: SkBuff, reason: number) => void;
  /** Delivered. Consumes. @kernel consume_skb */
  readonly consumeSkb: (skb: SkBuff) => void;
  /**
   * Lets the CPU that built the packet free it, at its next receive softirq; here and now under older kernels, on
   * that same CPU, or when too many wait. Consumes. @kernel skb_attempt_defer_free
   */
  readonly skbAttemptDeferFree: (skb: SkBuff) => void;
}

/** What drivers say of their pages. The machine's design decides what it does. */
export interface SkbRecycle {
  /**
   * `netmem` is the head or a frag of `skb` and belongs to `mem`: recycle it when the packet is freed. Shares.
   * @kernel skb_mark_for_recycle(skb, page, mem) of the 2021 series
   */
  readonly skbMarkForRecycle: (skb: SkBuff, netmem: Netmem, mem: MemInfo) => void;
  /** The same for each further frag of a marked skb. Shares. @kernel page_pool_store_mem_info of the series */
  readonly storeMemInfo: (netmem: Netmem, mem: MemInfo) => void;
}
