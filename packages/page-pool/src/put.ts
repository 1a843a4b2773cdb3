import { inHardirq } from "@netmem/kernel/api";
import { netmemIsPfmemalloc, type Netmem } from "@netmem/mm/api";
import { mayRecycleDirect } from "./direct.ts";
import { syncForDevice } from "./dma.ts";
import { returnNetmem } from "./leave.ts";
import { refusePut, warn } from "./misuse.ts";
import type { Pool } from "./pool.ts";
import { unrefNetmem } from "./refs.ts";

/** @kernel page_pool_put_netmem (include/net/page_pool/helpers.h) */
export function putNetmem(pool: Pool, netmem: Netmem, syncSizeBytes: number, allowDirect: boolean): void {
  if (netmem.poolState !== pool.outState) {
    refusePut(pool, netmem, "put into the pool");
    return;
  }
  if (netmem.ppRefCount !== 1 && unrefNetmem(pool, netmem, 1) !== 0) return;
  recycle(pool, netmem, syncSizeBytes, allowDirect);
}

/** @kernel page_pool_put_unrefed_netmem (net/core/page_pool.c) */
export function putUnrefedNetmem(pool: Pool, netmem: Netmem, syncSizeBytes: number, allowDirect: boolean): void {
  if (netmem.poolState !== pool.outState) {
    refusePut(pool, netmem, "put into the pool");
    return;
  }
  recycle(pool, netmem, syncSizeBytes, allowDirect);
}

function recycle(pool: Pool, netmem: Netmem, syncSizeBytes: number, allowDirect: boolean): void {
  if (!keepOrRelease(pool, netmem, syncSizeBytes, mayRecycleDirect(pool, allowDirect))) return;
  if (produce(pool, netmem)) {
    pool.recycleStats.ring++;
    return;
  }
  pool.recycleStats.ringFull++;
  returnNetmem(pool, netmem);
}

/** Into the ring, where it lies idle; false when that is full. */
export function produce(pool: Pool, netmem: Netmem): boolean {
  if (!pool.ring.produce(netmem)) return false;
  netmem.poolState = pool.outState + 1;
  return true;
}

/**
 * The last holder's put, up to the ring. True: a candidate for that, synced. False: it is in the cache, or has left the pool because
 * somebody else has a page reference or it came from the reserves. @kernel __page_pool_put_page (net/core/page_pool.c)
 */
export function keepOrRelease(pool: Pool, netmem: Netmem, syncSizeBytes: number, direct: boolean): boolean {
  if (inHardirq(pool.context)) warn(pool, "pp-put-in-hardirq", "put in hardirq context: the ring's lock is not taken there");
  if (pool.waitsForLastReference && stepsBack(netmem)) return false;
  if (!isRecyclable(netmem)) {
    pool.recycleStats.releasedRefcnt++;
    returnNetmem(pool, netmem);
    return false;
  }
  if (pool.dmaSync) syncForDevice(pool, netmem, syncSizeBytes);
  return !(direct && intoCache(pool, netmem));
}

/** @kernel __page_pool_page_can_be_recycled */
export function isRecyclable(netmem: Netmem): boolean {
  return netmem.isNetIov || (netmem.refcount === 1 && !netmemIsPfmemalloc(netmem));
}

/** @kernel page_pool_recycle_in_cache */
function intoCache(pool: Pool, netmem: Netmem): boolean {
  const count = pool.cacheCount;
  if (count < pool.cacheLimit) {
    pool.cache[count] = netmem;
    pool.cacheCount = count + 1;
    netmem.poolState = pool.outState + 1;
    pool.recycleStats.cached++;
    return true;
  }
  // The cache was emptied for good: what came in now would never leave, and the pool never be freed.
  if (pool.destroyCnt > 0) warn(pool, "pp-direct-after-destroy", "a direct put into a pool under teardown: to the ring instead");
  else pool.recycleStats.cacheFull++;
  return false;
}

/** The seed's proposal: a holder that is not the last drops its page reference, and the last one recycles. */
export function stepsBack(netmem: Netmem): boolean {
  if (netmem.isNetIov || netmem.refcount === 1) return false;
  netmem.refcount--;
  return true;
}
