import type { Netmem, Page, SlabObject } from "@netmem/mm/api";
import type { MemInfo, NetDevice } from "@netmem/xdp/api";
import type { SkBuff } from "./skbuff.ts";

export interface SkbStats {
  /** Structs handed out and not freed. */
  readonly live: number;
  readonly allocs: number;
  readonly clones: number;
  /** Times that several structs went back at once. */
  readonly bulkFrees: number;
}

/**
 * New packets. Softirq or process context unless said otherwise; atomic as far as `gfp` is. None of them recycles until it is marked.
 * `truesize` is charged for the whole buffer that the head lies in, and for the two structs.
 */
export interface SkbAlloc {
  readonly stats: SkbStats;
  /**
   * An skb whose head is `page` from byte `offset` (default 0), `fragSizeBytes` with room for the shared info at its end. Keeps the
   * page; null (no struct) leaves it the caller's. Softirq. @kernel napi_build_skb (net/core/skbuff.c)
   */
  readonly napiBuildSkb: (page: Page, fragSizeBytes: number, offset?: number) => SkBuff | null;
  /** The same in any context. Keeps the page; null leaves it the caller's. @kernel build_skb */
  readonly buildSkb: (page: Page, fragSizeBytes: number, offset?: number) => SkBuff | null;
  /** The same with a struct of the caller's, from `napiSkbCacheGetBulk`. Keeps the page and the struct. @kernel build_skb_around */
  readonly buildSkbAround: (skb: SkBuff, page: Page, fragSizeBytes: number, offset?: number) => SkBuff;
  /** `n` structs without data into `out`; how many there were. They are the caller's. Softirq. @kernel napi_skb_cache_get_bulk */
  readonly napiSkbCacheGetBulk: (out: (SkBuff | null)[], n: number) => number;
  /** The same over kmalloc'ed memory. Keeps the object; null leaves it the caller's. @kernel slab_build_skb */
  readonly slabBuildSkb: (object: SlabObject) => SkBuff | null;
  /** An skb with a slab head of `sizeBytes`. Null without memory. @kernel alloc_skb */
  readonly allocSkb: (sizeBytes: number, gfp: number) => SkBuff | null;
  /** The same, of a pair: its first clone costs no allocation. @kernel alloc_skb_fclone */
  readonly allocSkbFclone: (sizeBytes: number, gfp: number) => SkBuff | null;
  /** The same; `flags` of `SKB_ALLOC_*`, `node` for the head. @kernel __alloc_skb */
  readonly allocSkbOnNode: (sizeBytes: number, gfp: number, flags: number, node: number) => SkBuff | null;
  /** For a driver: `NET_SKB_PAD` bytes of headroom; small and very large heads from a slab, others cut from a page. Any context, hardirq included. Null without memory. @kernel __netdev_alloc_skb */
  readonly netdevAllocSkb: (dev: NetDevice | null, sizeBytes: number, gfp: number) => SkBuff | null;
  /** The same in a NAPI poll of `dev`. @kernel napi_alloc_skb */
  readonly napiAllocSkb: (dev: NetDevice, sizeBytes: number) => SkBuff | null;
  /**
   * A head of `headerBytes`, and frags for `dataBytes` in blocks of at most 2^`maxOrder` pages; `len` and `dataLen` stay 0, for the caller to set.
   * -EMSGSIZE: more than 17 such blocks hold; -ENOBUFS: no memory, and nothing is left. @kernel alloc_skb_with_frags
   */
  readonly allocSkbWithFrags: (headerBytes: number, dataBytes: number, maxOrder: number, gfp: number) => SkBuff | number;
  /** A socket that the system swaps through: while there is one, received packets may come from the reserves. @kernel sk_set_memalloc (net/core/sock.c) */
  readonly skSetMemalloc: () => void;
  /** @kernel sk_clear_memalloc */
  readonly skClearMemalloc: () => void;
}

/** The end of packets. `users` is dropped, and the last one frees. Not in hardirq unless said otherwise. */
export interface SkbFree {
  /** Dropped, for `reason`. Consumes. @kernel kfree_skb_reason */
  readonly kfreeSkb: (skb: SkBuff, reason: number) => void;
  /** Whoever is charged for it is told now that it is gone, and is its owner no more. It stays the caller's. @kernel skb_orphan */
  readonly skbOrphan: (skb: SkBuff) => void;
  /** Delivered. Consumes. @kernel consume_skb */
  readonly consumeSkb: (skb: SkBuff) => void;
  /** Those chained through `next`; the structs of those that end go back sixteen at a time. Consumes. @kernel kfree_skb_list_reason */
  readonly kfreeSkbList: (first: SkBuff | null, reason: number) => void;
  /** Sent: from a driver's poll, whose CPU keeps the struct (elsewhere it is report `skb-napi-consume-context`); with `budget` 0, from anywhere. Consumes. @kernel napi_consume_skb */
  readonly napiConsumeSkb: (skb: SkBuff, budget: number) => void;
  /** Any context: in hardirq the last user's packet waits for the transmit softirq. Consumes. @kernel dev_kfree_skb_any_reason (net/core/dev.c) */
  readonly devKfreeSkbAny: (skb: SkBuff, reason: number) => void;
  /** The same of a packet that was delivered. Consumes. @kernel dev_consume_skb_any */
  readonly devConsumeSkbAny: (skb: SkBuff) => void;
  /** What `skbTryCoalesce` left: the struct alone if the head was stolen, else all. Consumes. @kernel kfree_skb_partial (net/core/skbuff.c) */
  readonly kfreeSkbPartial: (skb: SkBuff, headStolen: boolean) => void;
  /** What GRO merged: what its `gro.free` says is left. In the poll. Consumes. @kernel napi_skb_finish (net/core/gro.c) */
  readonly napiSkbFinishMerged: (skb: SkBuff) => void;
  /**
   * Lets the CPU that built the packet free it, at its next receive softirq; here and now under older kernels, on
   * that same CPU, or when too many wait. One that has its destructor still is report `skb-defer-destructor`. Consumes. @kernel skb_attempt_defer_free
   */
  readonly skbAttemptDeferFree: (skb: SkBuff) => void;
}

/** Birth, sharing and death. Softirq or process context unless said otherwise. */
export interface SkbLifetime extends SkbAlloc, SkbFree {
  /** A second struct over the same data; page counters stay. Of somebody else's memory without DONT_ORPHAN the frags are copied first. Shares. Null without memory. @kernel skb_clone */
  readonly skbClone: (skb: SkBuff, gfp: number) => SkBuff | null;
  /** `dst` becomes a clone of `src`, in its own struct, and answers it; what it had is let go of. Both stay their owners'. Shares. @kernel skb_morph */
  readonly skbMorph: (dst: SkBuff, src: SkBuff) => SkBuff;
  /** One more owner of the struct. Shares. @kernel skb_get */
  readonly skbGet: (skb: SkBuff) => SkBuff;
  /** The skb itself if nobody shares it, else a clone of it, the share dropped. Consumes. @kernel skb_share_check */
  readonly skbShareCheck: (skb: SkBuff, gfp: number) => SkBuff | null;
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
