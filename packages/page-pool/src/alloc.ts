import { __GFP_COMP, __GFP_NOWARN, GFP_ATOMIC, NUMA_NO_NODE, type Netmem } from "@netmem/mm/api";
import { PP_ALLOC_CACHE_REFILL } from "./api/index.ts";
import { mapForDevice } from "./dma.ts";
import { returnNetmem } from "./leave.ts";
import type { Pool } from "./pool.ts";

/** Cache, then ring, then the backing allocator. @kernel page_pool_alloc_netmems (net/core/page_pool.c) */
export function allocNetmems(pool: Pool, gfp: number): Netmem | null {
  const count = pool.cacheCount;
  if (count > 0) {
    pool.stats.fast++;
    pool.cacheCount = count - 1;
    return pool.cache[count - 1]!;
  }
  if (pool.dead) {
    pool.warn("pp-use-after-destroy", "allocation from a pool that was freed");
    return null;
  }
  const refilled = refillAllocCache(pool);
  if (refilled !== null) return refilled;
  if (pool.mp !== null) return allocFromProvider(pool, gfp);
  return pool.params.order > 0 ? allocHighOrder(pool, gfp) : allocBulk(pool, gfp);
}

/**
 * Moves up to 64 from ring to cache and hands out the last. One page of another node ends it: it is given up, so that
 * a pool that moved nodes sheds its old pages one refill at a time.
 * @kernel page_pool_refill_alloc_cache
 */
function refillAllocCache(pool: Pool): Netmem | null {
  const { ring, stats, cache } = pool;
  if (ring.isEmpty()) {
    stats.empty++;
    return null;
  }
  const preferred = pool.params.nid === NUMA_NO_NODE ? pool.context.node : pool.params.nid;
  while (pool.cacheCount < PP_ALLOC_CACHE_REFILL) {
    const netmem = ring.consume();
    if (netmem === null) break;
    if (!netmem.isNetIov && netmem.nid !== preferred) {
      returnNetmem(pool, netmem);
      stats.waive++;
      break;
    }
    cache[pool.cacheCount++] = netmem;
  }
  if (pool.cacheCount === 0) return null;
  stats.refill++;
  return cache[--pool.cacheCount]!;
}

/** One large page, no bulk. @kernel __page_pool_alloc_page_order */
function allocHighOrder(pool: Pool, gfp: number): Netmem | null {
  const page = pool.pages.allocPages(gfp | __GFP_COMP, pool.params.order, pool.params.nid);
  if (page === null) return null;
  if (pool.dmaMap && !mapForDevice(pool, page)) {
    pool.pages.putPage(page);
    return null;
  }
  pool.stats.slowHighOrder++;
  take(pool, page);
  return page;
}

/** @kernel __page_pool_alloc_netmems_slow */
function allocBulk(pool: Pool, gfp: number): Netmem | null {
  const { bulk, cache } = pool;
  const flags = (gfp & GFP_ATOMIC) === GFP_ATOMIC ? gfp | __GFP_NOWARN : gfp;
  const got = pool.pages.allocPagesBulk(flags, pool.params.nid, PP_ALLOC_CACHE_REFILL, bulk);
  for (let i = 0; i < got; i++) {
    const page = bulk[i]!;
    bulk[i] = null;
    if (pool.dmaMap && !mapForDevice(pool, page)) {
      pool.pages.putPage(page);
      continue;
    }
    take(pool, page);
    cache[pool.cacheCount++] = page;
  }
  if (pool.cacheCount === 0) return null;
  pool.stats.slow++;
  return cache[--pool.cacheCount]!;
}

function allocFromProvider(pool: Pool, gfp: number): Netmem | null {
  const netmem = pool.mp!.allocNetmem(pool, gfp);
  if (netmem === null) return null;
  if (pool.dmaMap && !mapForDevice(pool, netmem)) {
    if (pool.mp!.releaseNetmem(pool, netmem) && !netmem.isNetIov) pool.pages.putPage(netmem);
    return null;
  }
  take(pool, netmem);
  return netmem;
}

/** Marks it as this pool's and counts it. @kernel page_pool_set_pp_info */
function take(pool: Pool, netmem: Netmem): void {
  if (!netmem.isNetIov) pool.words.claim(netmem, pool.pageView);
  if (pool.rules.ownSignatureWord) netmem.signature = pool.rules.signature;
  else netmem.ppMagic |= pool.rules.signature;
  if (pool.rules.stampsOwnerAtAlloc) netmem.pp = pool;
  netmem.ppRefCount = 1;
  pool.holdCnt = (pool.holdCnt + 1) | 0;
  if (pool.probe !== null) pool.probe.stateHold(pool, netmem, pool.holdCnt >>> 0);
}
