import { L1_CACHE_BYTES, NUMA_NO_NODE, __GFP_ACCOUNT, __GFP_DMA, __GFP_MEMALLOC, __GFP_NOMEMALLOC, __GFP_NOWARN, __GFP_RECLAIMABLE, type KmemCache, type SlabAllocator, type SlabObject } from "@netmem/mm/api";
import { SKB_SHARED_INFO_BYTES, skbDataAlign } from "@netmem/xdp/api";
import { SKB_SMALL_HEAD_CACHE_SIZE } from "./api/index.ts";

/** Requests that only a kmalloc bucket of their own kind can serve. @kernel KMALLOC_NOT_NORMAL_BITS (include/linux/slab.h) */
const NOT_NORMAL: number = __GFP_DMA | __GFP_RECLAIMABLE | __GFP_ACCOUNT;

/** Memory for heads that are no page fragments. @kernel kmalloc_reserve (net/core/skbuff.c) */
export class SkbHeads {
  readonly #slab: SlabAllocator;
  /** Null before 6.3. @kernel net_hotdata.skb_small_head_cache */
  readonly #small: KmemCache | null;

  constructor(slab: SlabAllocator, smallHeads: boolean) {
    this.#slab = slab;
    this.#small = smallHeads ? slab.createCache("skbuff_small_head", SKB_SMALL_HEAD_CACHE_SIZE, L1_CACHE_BYTES) : null;
  }

  /**
   * Room for `sizeBytes` and the shared info behind them, the caller's; all of the object is the head's. From the reserves only
   * when nothing else is left, and only for those who may. Null without memory.
   */
  reserve(sizeBytes: number, gfp: number, node: number = NUMA_NO_NODE): SlabObject | null {
    const bytes = skbDataAlign(sizeBytes) + SKB_SHARED_INFO_BYTES;
    const object = this.#alloc(bytes, gfp | __GFP_NOMEMALLOC | __GFP_NOWARN, node);
    if (object !== null || (gfp & __GFP_MEMALLOC) === 0 || (gfp & __GFP_NOMEMALLOC) !== 0) return object;
    return this.#alloc(bytes, gfp, node);
  }

  /** What no skb has got. Consumes. */
  free(object: SlabObject): void {
    this.#slab.kfree(object);
  }

  #alloc(bytes: number, gfp: number, node: number): SlabObject | null {
    if (this.#small !== null && bytes <= SKB_SMALL_HEAD_CACHE_SIZE && (gfp & NOT_NORMAL) === 0) return this.#slab.cacheAlloc(this.#small, gfp, node);
    return this.#slab.kmallocNode(bytes, gfp, node);
  }
}
