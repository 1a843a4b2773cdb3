import { __GFP_COMP, __GFP_NOWARN, GFP_ATOMIC, NUMA_NO_NODE, netmemPfnTrace, type Netmem } from "@netmem/mm/api";
import { PP_ALLOC_CACHE_REFILL } from "./api/index.ts";
import { mapForDevice } from "./dma.ts";
import { returnNetmem } from "./leave.ts";
import { warn } from "./misuse.ts";
import type { Pool } from "./pool.ts";
import { allocFromProvider } from "./provider-pool.ts";

/** Cache, then ring, then the backing allocator. @kernel page_pool_alloc_netmems (net/core/page_pool.c) */
export function allocNetmems(pool: Pool, gfp: number): Netmem | null {
  if (pool.failAlloc.armed && pool.failAlloc.shouldFail(pool.params.order, 0)) return null;
  const count = pool.cacheCount;
  const netmem = count > 0 ? cached(pool, count) : allocPastCache(pool, gfp);
  if (netmem !== null) netmem.poolState = pool.outState;
  return netmem;
}

/** @kernel __page_pool_get_cached */
function cached(pool: Pool, count: number): Netmem {
  pool.allocStats.fast++;
  pool.cacheCount = count - 1;
  return pool.cache[count - 1]!;
}

function allocPastCache(pool: Pool, gfp: number): Netmem | null {
  if (pool.destroyCnt > 0) {
    warn(pool, "pp-use-after-destroy", pool.dead ? "allocation from a pool that was freed" : "allocation from a pool under teardown");
    return null;
  }
  const refilled = refillAllocCache(pool);
  if (refilled !== null) return refilled;
  if (pool.memoryProvider !== null) return allocFromProvider(pool, pool.memoryProvider, gfp);
  const flags = (gfp & GFP_ATOMIC) === GFP_ATOMIC ? gfp | __GFP_NOWARN : gfp;
  return pool.params.order === 0 && pool.rules.allocatesInBulk ? allocBulk(pool, flags) : allocOne(pool, flags);
}

/**
 * Moves up to 64 from ring to cache and hands out the last. One page of another node ends it: it is given up, so that
 * a pool that moved nodes sheds its old pages one refill at a time.
 * @kernel page_pool_refill_alloc_cache
 */
function refillAllocCache(pool: Pool): Netmem | null {
  const { ring, allocStats, cache } = pool;
  if (ring.isEmpty()) {
    allocStats.empty++;
    return null;
  }
  const preferred = pool.nid === NUMA_NO_NODE ? pool.context.node : pool.nid;
  let count = pool.cacheCount;
  while (count < PP_ALLOC_CACHE_REFILL) {
    const netmem = ring.consume();
    if (netmem === null) break;
    if (!netmem.isNetIov && netmem.nid !== preferred) {
      returnNetmem(pool, netmem);
      allocStats.waive++;
      break;
    }
    cache[count++] = netmem;
  }
  if (count === 0) return null;
  allocStats.refill++;
  pool.cacheCount = --count;
  return cache[count]!;
}

/** A large page, or, before 5.13, any. @kernel __page_pool_alloc_page_order; __page_pool_alloc_pages_slow up to 5.12 */
function allocOne(pool: Pool, gfp: number): Netmem | null {
  const { order } = pool.params;
  const page = pool.pages.allocPages(order > 0 ? gfp | __GFP_COMP : gfp, order, pool.nid);
  if (page === null) return null;
  if (pool.dmaMap && !mapForDevice(pool, page)) {
    pool.pages.putPage(page);
    return null;
  }
  if (order > 0) pool.allocStats.slowHighOrder++;
  else pool.allocStats.slow++;
  holdNetmem(pool, page);
  return page;
}

/** @kernel __page_pool_alloc_netmems_slow */
function allocBulk(pool: Pool, gfp: number): Netmem | null {
  const { bulk, cache, dmaMap } = pool;
  const nid = pool.rules.bulkOnPoolNode ? pool.nid : NUMA_NO_NODE;
  const got = pool.pages.allocPagesBulk(gfp, nid, PP_ALLOC_CACHE_REFILL, bulk);
  let count = 0;
  for (let i = 0; i < got; i++) {
    const page = bulk[i]!;
    bulk[i] = null;
    if (dmaMap && !mapForDevice(pool, page)) {
      pool.pages.putPage(page);
      continue;
    }
    holdNetmem(pool, page);
    page.poolState = pool.outState + 1;
    cache[count++] = page;
  }
  if (count === 0) return null;
  pool.allocStats.slow++;
  pool.cacheCount = --count;
  return cache[count]!;
}

/** Marks a netmem as this pool's, with one holder, and counts it. @kernel page_pool_set_pp_info, net_mp_niov_set_page_pool */
export function holdNetmem(pool: Pool, netmem: Netmem): void {
  const { rules } = pool;
  if (!netmem.isNetIov) pool.words.claim(netmem, pool.pageView);
  if (rules.stampsOwnerAtAlloc) netmem.pp = pool;
  if (rules.ownSignatureWord) netmem.signature = rules.signature;
  else netmem.ppMagic |= rules.signature;
  netmem.ppRefCount = 1;
  netmem.poolState = pool.outState;
  if (pool.params.initCallback !== undefined) pool.params.initCallback(netmem);
  pool.holdCnt = (pool.holdCnt + 1) | 0;
  if (pool.probe !== null) pool.probe.stateHold(pool, netmem, pool.holdCnt >>> 0, netmemPfnTrace(netmem));
}
