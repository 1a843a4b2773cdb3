import type { PagePoolStats } from "./api/index.ts";
import type { Pool } from "./pool.ts";

/** @kernel page_pool_get_stats (net/core/page_pool.c) */
export function getStats(pool: Pool, stats: PagePoolStats): PagePoolStats {
  const { allocStats, recycleStats } = stats;
  allocStats.fast += pool.allocStats.fast;
  allocStats.slow += pool.allocStats.slow;
  allocStats.slowHighOrder += pool.allocStats.slowHighOrder;
  allocStats.empty += pool.allocStats.empty;
  allocStats.refill += pool.allocStats.refill;
  allocStats.waive += pool.allocStats.waive;
  recycleStats.cached += pool.recycleStats.cached;
  recycleStats.cacheFull += pool.recycleStats.cacheFull;
  recycleStats.ring += pool.recycleStats.ring;
  recycleStats.ringFull += pool.recycleStats.ringFull;
  recycleStats.releasedRefcnt += pool.recycleStats.releasedRefcnt;
  return stats;
}
