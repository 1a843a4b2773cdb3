/** @kernel struct page_pool_alloc_stats (include/net/page_pool/types.h) */
export class PagePoolAllocStats {
  declare private readonly nominal: "PagePoolAllocStats";
  /** Served from the cache, and a fragment page used again in place; up to 6.12 also each further fragment of a page. */
  fast: number;
  /** Served by the page allocator, order 0; a bulk of 64 counts once. */
  slow: number;
  slowHighOrder: number;
  /** Refills that found the ring empty. */
  empty: number;
  /** Served after a refill from the ring. */
  refill: number;
  /** Pages of another memory node, given up at a refill. */
  waive: number;

  constructor() {
    this.fast = 0;
    this.slow = 0;
    this.slowHighOrder = 0;
    this.empty = 0;
    this.refill = 0;
    this.waive = 0;
  }
}

/**
 * The kernel keeps these per CPU, one set a pool, and one set for all system pools together; only sums leave it, so this
 * is the sum.
 * @kernel struct page_pool_recycle_stats
 */
export class PagePoolRecycleStats {
  declare private readonly nominal: "PagePoolRecycleStats";
  /** Put into the cache, and, from 6.13, a fragment page used again in place. */
  cached: number;
  /** Direct, but the cache was full; counted beside what then happened at the ring. */
  cacheFull: number;
  ring: number;
  /** Refused by a full ring, and so released; a bulk counts once, whatever it loses. */
  ringFull: number;
  /** Not recycled because someone else held a reference, or from the reserves. */
  releasedRefcnt: number;

  constructor() {
    this.cached = 0;
    this.cacheFull = 0;
    this.ring = 0;
    this.ringFull = 0;
    this.releasedRefcnt = 0;
  }
}

/** Both, for `getStats` to add to. @kernel struct page_pool_stats */
export class PagePoolStats {
  declare private readonly nominal: "PagePoolStats";
  readonly allocStats: PagePoolAllocStats;
  readonly recycleStats: PagePoolRecycleStats;

  constructor() {
    this.allocStats = new PagePoolAllocStats();
    this.recycleStats = new PagePoolRecycleStats();
  }
}

/** Names of the eleven in ethtool's order. @kernel pp_stats, page_pool_ethtool_stats_get_strings (net/core/page_pool.c) */
export const PAGE_POOL_ETHTOOL_STRINGS: readonly string[] = [
  "rx_pp_alloc_fast", "rx_pp_alloc_slow", "rx_pp_alloc_slow_ho", "rx_pp_alloc_empty", "rx_pp_alloc_refill", "rx_pp_alloc_waive",
  "rx_pp_recycle_cached", "rx_pp_recycle_cache_full", "rx_pp_recycle_ring", "rx_pp_recycle_ring_full", "rx_pp_recycle_released_ref",
];

/** The values that go with those names. @kernel page_pool_ethtool_stats_get */
export function pagePoolEthtoolStats({ allocStats, recycleStats }: PagePoolStats): number[] {
  return [
    allocStats.fast, allocStats.slow, allocStats.slowHighOrder, allocStats.empty, allocStats.refill, allocStats.waive,
    recycleStats.cached, recycleStats.cacheFull, recycleStats.ring, recycleStats.ringFull, recycleStats.releasedRefcnt,
  ];
}
