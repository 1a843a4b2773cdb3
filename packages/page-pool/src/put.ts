import { inHardirq } from "@netmem/kernel/api";
import { type Netmem, netmemIsPfmemalloc, netmemName } from "@netmem/mm/api";
import { PP_ALLOC_CACHE_SIZE } from "./api/index.ts";
import { syncForDevice } from "./dma.ts";
import { returnNetmem } from "./leave.ts";
import { napiLocal, type Pool } from "./pool.ts";

/** @kernel page_pool_put_netmem (include/net/page_pool/helpers.h) */
export function putNetmem(pool: Pool, netmem: Netmem, syncSizeBytes: number, allowDirect: boolean): void {
  if (pool.countsPoolRefs && netmem.ppRefCount !== 1 && !unrefAndTest(pool, netmem)) return;
  putUnrefed(pool, netmem, syncSizeBytes, allowDirect);
}

/** True for the last pool-aware holder, for whom the count is back at 1. @kernel page_pool_unref_and_test */
function unrefAndTest(pool: Pool, netmem: Netmem): boolean {
  const left = --netmem.ppRefCount;
  if (left > 0) return false;
  if (left < 0) {
    pool.kernel.reports.report("pp-ref-underflow", "warn", netmemName(netmem), `page_pool ${pool.id}`, `pp_ref_count ${left} after a put`);
    return false;
  }
  netmem.ppRefCount = 1;
  return true;
}

/** The last holder's put: recycle if nobody else has a page reference. @kernel page_pool_put_unrefed_netmem */
function putUnrefed(pool: Pool, netmem: Netmem, syncSizeBytes: number, allowDirect: boolean): void {
  if (pool.dead) {
    putToDeadPool(pool, netmem);
    return;
  }
  if (pool.waitsForLastReference && stepsBack(netmem)) return;
  if (inHardirq(pool.context)) pool.warn("pp-put-in-hardirq", "put in hardirq context: the ring's lock is not taken there");
  if (!netmem.isNetIov && (netmem.refcount !== 1 || netmemIsPfmemalloc(netmem))) {
    pool.stats.releasedRefcnt++;
    returnNetmem(pool, netmem);
    return;
  }
  if (pool.dmaSync) syncForDevice(pool, netmem, syncSizeBytes);
  if (allowDirect || napiLocal(pool)) {
    if (pool.cacheCount < PP_ALLOC_CACHE_SIZE) {
      pool.cache[pool.cacheCount++] = netmem;
      pool.stats.cached++;
      return;
    }
    pool.stats.cacheFull++;
  }
  if (pool.ring.produce(netmem)) {
    pool.stats.ring++;
    return;
  }
  pool.stats.ringFull++;
  returnNetmem(pool, netmem);
}

/** The seed's proposal: a holder that is not the last drops its count, wherever that is kept, and the last one recycles. */
function stepsBack(netmem: Netmem): boolean {
  if (netmem.isNetIov) {
    if (netmem.ppRefCount === 1) return false;
    netmem.ppRefCount--;
  } else {
    if (netmem.refcount === 1) return false;
    netmem.refcount--;
  }
  return true;
}

/** Every page of a freed pool was counted back: this one came in by mistake, and the pool's ring is gone. */
function putToDeadPool(pool: Pool, netmem: Netmem): void {
  pool.kernel.reports.report("pp-use-after-destroy", "warn", netmemName(netmem), `page_pool ${pool.id}`, "put into a pool that was freed");
  if (!netmem.isNetIov) pool.pages.putPage(netmem);
}
