import { L1_CACHE_BYTES, NUMA_NO_NODE, __GFP_ACCOUNT, __GFP_DMA, __GFP_MEMALLOC, __GFP_NOMEMALLOC, __GFP_NOWARN, __GFP_RECLAIMABLE, type KmemCache, type SlabAllocator, type SlabObject } from "@netmem/mm/api";
import { SKB_SHARED_INFO_BYTES, skbDataAlign } from "@netmem/xdp/api";
import { SKB_SMALL_HEAD_CACHE_SIZE } from "./api/index.ts";
import type { NetCoreDates } from "./rules.ts";

/** Heads of this size a kernel knows by it when they are freed, so that none may get or lose it. @kernel SKB_SMALL_HEAD_HEADROOM */
const SMALL_HEAD_END: number = SKB_SMALL_HEAD_CACHE_SIZE - SKB_SHARED_INFO_BYTES;

/** Requests that only a kmalloc bucket of their own kind can serve. @kernel KMALLOC_NOT_NORMAL_BITS (include/linux/slab.h) */
const NOT_NORMAL: number = __GFP_DMA | __GFP_RECLAIMABLE | __GFP_ACCOUNT;

/** Memory for heads that are no page fragments. @kernel kmalloc_reserve (net/core/skbuff.c) */
export class SkbHeads {
  private readonly slab: SlabAllocator;
  /** Null before 6.3. @kernel net_hotdata.skb_small_head_cache */
  private readonly small: KmemCache | null;
  private readonly freesByEnd: boolean;
  /** Where small heads end, from their start; -1 where there are none. */
  readonly smallEnd: number;
  /** The last one came of the second try, from memory that is kept for those who free some. */
  ofReserves: boolean = false;

  constructor(slab: SlabAllocator, rules: Pick<NetCoreDates, "smallHeads" | "smallHeadsByEnd">) {
    this.slab = slab;
    this.small = rules.smallHeads ? slab.createCache("skbuff_small_head", SKB_SMALL_HEAD_CACHE_SIZE, L1_CACHE_BYTES) : null;
    this.smallEnd = rules.smallHeads ? SMALL_HEAD_END : -1;
    this.freesByEnd = rules.smallHeads && rules.smallHeadsByEnd;
  }

  /**
   * Room for `sizeBytes` and the shared info behind them, the caller's; all of the object is the head's. From the reserves only
   * when nothing else is left, and only for those who may: `ofReserves` says so then. Null without memory.
   */
  reserve(sizeBytes: number, gfp: number, node: number = NUMA_NO_NODE): SlabObject | null {
    const bytes = skbDataAlign(sizeBytes) + SKB_SHARED_INFO_BYTES;
    const object = this.alloc(bytes, gfp | __GFP_NOMEMALLOC | __GFP_NOWARN, node);
    this.ofReserves = false;
    if (object !== null || (gfp & __GFP_MEMALLOC) === 0 || (gfp & __GFP_NOMEMALLOC) !== 0) return object;
    this.ofReserves = true;
    return this.alloc(bytes, gfp, node);
  }

  /** The head that ended `endOffset` bytes behind its start. Consumes. @kernel skb_kfree_head */
  free(object: SlabObject, endOffset: number): void {
    if (this.freesByEnd && endOffset === this.smallEnd) this.slab.cacheFree(this.small!, object);
    else this.slab.kfree(object);
  }

  private alloc(bytes: number, gfp: number, node: number): SlabObject | null {
    if (this.small !== null && bytes <= SKB_SMALL_HEAD_CACHE_SIZE && (gfp & NOT_NORMAL) === 0) return this.slab.cacheAlloc(this.small, gfp, node);
    return this.slab.kmallocNode(bytes, gfp, node);
  }
}
