import type { DmaDevice, Netmem } from "@netmem/mm/api";
import type { NapiStruct, NetDevice } from "@netmem/xdp/api";

/** Pages a pool keeps for its consumer without any lock. @kernel PP_ALLOC_CACHE_SIZE (include/net/page_pool/types.h) */
export const PP_ALLOC_CACHE_SIZE = 128;
/**
 * Half the cache: a refill leaves room for as many direct returns before the ring is needed.
 * @kernel PP_ALLOC_CACHE_REFILL
 */
export const PP_ALLOC_CACHE_REFILL = 64;
export const PP_DEFAULT_RING_SIZE = 1024;
/** Larger requests are clamped. @kernel page_pool_init (net/core/page_pool.c) */
export const PP_MAX_RING_SIZE = 16_384;
/** Larger requests failed with -E2BIG before clamping came. */
export const PP_MAX_RING_SIZE_OLD = 32_768;
/** Bytes of pages that a CPU's system pool may keep in its ring. @kernel SYSTEM_PERCPU_PAGE_POOL_SIZE (net/core/dev.c) */
export const SYSTEM_PERCPU_PAGE_POOL_BYTES: number = 1 << 20;

/** Map each netmem once, for as long as the pool owns it. @kernel PP_FLAG_DMA_MAP (include/net/page_pool/types.h) */
export const PP_FLAG_DMA_MAP: number = 1 << 0;
/** Sync for the device whatever comes back and is kept. @kernel PP_FLAG_DMA_SYNC_DEV */
export const PP_FLAG_DMA_SYNC_DEV: number = 1 << 1;
/** A pool of the stack's own, one a CPU; from 6.9. @kernel PP_FLAG_SYSTEM_POOL */
export const PP_FLAG_SYSTEM_POOL: number = 1 << 2;
/** Take the memory provider that is bound to queue `queueIdx` of `netdev`, if there is one. @kernel PP_FLAG_ALLOW_UNREADABLE_NETMEM */
export const PP_FLAG_ALLOW_UNREADABLE_NETMEM: number = 1 << 3;
/** @kernel PP_FLAG_ALL */
export const PP_FLAG_ALL: number = PP_FLAG_DMA_MAP | PP_FLAG_DMA_SYNC_DEV | PP_FLAG_SYSTEM_POOL | PP_FLAG_ALLOW_UNREADABLE_NETMEM;

/** First retry of a pool that could not be freed, and each after it. @kernel DEFER_TIME (net/core/page_pool.c) */
export const DEFER_TIME_NS = 1_000_000_000;
/** @kernel DEFER_WARN_INTERVAL */
export const DEFER_WARN_INTERVAL_NS = 60_000_000_000;

/**
 * - `leave-pool`: a put that finds another page reference takes the page out of the pool (5.14)
 * - `last-reference`: such a put only drops one; the last holder recycles (the seed's proposal)
 * - `pp-ref-count`: pool-aware holders are counted apart; at their last put, `leave-pool` applies (6.8)
 */
export type SharedRelease = "leave-pool" | "last-reference" | "pp-ref-count";

/** @kernel struct page_pool_params (include/net/page_pool/types.h) */
export interface PagePoolParams {
  /** Bits of `PP_FLAG_*`. */
  readonly flags: number;
  /** Pages are blocks of 2^order. */
  readonly order: number;
  /** Ring entries; 0 for the default. */
  readonly poolSize: number;
  /** Preferred memory node, or NUMA_NO_NODE. `updateNid` changes the pool's. */
  readonly nid: number;
  /** The device that pages are mapped for; null without DMA_MAP. */
  readonly dev: DmaDevice | null;
  /** Whose poll may recycle directly; null for none. */
  readonly napi: NapiStruct | null;
  /** DMA_FROM_DEVICE or DMA_BIDIRECTIONAL. */
  readonly dmaDir: number;
  /** Bytes to sync for the device, from `offset`. */
  readonly maxLen: number;
  /** Where the device starts to write, bytes into the page. */
  readonly offset: number;
  /** Makes the pool visible to users by this device; null for none. */
  readonly netdev: NetDevice | null;
  /** The queue of `netdev` whose memory provider this pool may use; default 0. */
  readonly queueIdx?: number;
  /** Called with each netmem the pool takes from its backing allocator, once; it stays the pool's. For tests. */
  readonly initCallback?: (netmem: Netmem) => void;
}
