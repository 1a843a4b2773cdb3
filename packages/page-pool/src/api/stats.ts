/**
 * The eleven counters, in ethtool's order.
 * @kernel struct page_pool_alloc_stats, struct page_pool_recycle_stats (include/net/page_pool/types.h)
 */
export class PagePoolStats {
  declare private readonly nominal: "PagePoolStats";
  /** Served from the cache. */
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
  cached: number;
  cacheFull: number;
  ring: number;
  ringFull: number;
  /** Not recycled because someone else held a reference, or from the reserves. */
  releasedRefcnt: number;

  constructor() {
    this.fast = 0;
    this.slow = 0;
    this.slowHighOrder = 0;
    this.empty = 0;
    this.refill = 0;
    this.waive = 0;
    this.cached = 0;
    this.cacheFull = 0;
    this.ring = 0;
    this.ringFull = 0;
    this.releasedRefcnt = 0;
  }
}
