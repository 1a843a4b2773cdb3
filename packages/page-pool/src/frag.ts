import { L1_CACHE_BYTES, PAGE_SIZE, type Netmem } from "@netmem/mm/api";
import { PP_FRAG_BIAS, type PagePoolFrag } from "./api/index.ts";
import { syncForDevice } from "./dma.ts";
import { warn } from "./misuse.ts";
import type { Pool } from "./pool.ts";
import { unrefNetmem } from "./refs.ts";

/**
 * Cuts pages into fragments. The open page is given more holders than it can have fragments, so that handing one out costs
 * no access to it; when it is full, the holders that were never needed let go at once.
 * @kernel page_pool_alloc_frag_netmem (net/core/page_pool.c)
 */
export function allocFragNetmem(pool: Pool, frag: PagePoolFrag, sizeBytes: number, gfp: number): Netmem | null {
  const maxBytes = PAGE_SIZE << pool.order;
  if (!(sizeBytes > 0 && sizeBytes <= maxBytes) || !pool.rules.hasFragments) {
    if (pool.rules.hasFragments) warn(pool, "pp-frag-size", `a fragment of ${sizeBytes} bytes: give 1 to ${maxBytes}`);
    else warn(pool, "pp-no-fragments", `a fragment of ${sizeBytes} bytes, but pools are cut into fragments from 5.15 on`);
    return null;
  }
  const size = (sizeBytes + L1_CACHE_BYTES - 1) & -L1_CACHE_BYTES;
  const offset = pool.fragOffset;
  let netmem = pool.fragPage;
  if (netmem !== null && offset + size <= maxBytes) {
    pool.fragUsers++;
    pool.fragOffset = offset + size;
    if (pool.rules.fragsCountAsFast) pool.allocStats.fast++;
    frag.offset = offset;
    return netmem;
  }
  if (netmem !== null) {
    netmem = drainFrag(pool, netmem);
    if (netmem !== null) {
      pool.allocStats.fast++;
      if (!pool.rules.fragsCountAsFast) pool.recycleStats.cached++;
    }
  }
  netmem ??= pool.allocNetmems(gfp);
  pool.fragPage = netmem;
  if (netmem === null) return null;
  pool.fragUsers = 1;
  pool.fragOffset = size;
  netmem.ppRefCount = PP_FRAG_BIAS;
  frag.offset = 0;
  return netmem;
}

/** The page is full: null, and whoever has its fragments has it now; or the page, to be used again. @kernel page_pool_drain_frag */
function drainFrag(pool: Pool, netmem: Netmem): Netmem | null {
  if (unrefNetmem(pool, netmem, PP_FRAG_BIAS - pool.fragUsers) !== 0) return null;
  if (pool.waitsForLastReference && pool.stepsBack(netmem)) return null;
  if (pool.isRecyclable(netmem)) {
    if (pool.dmaSync) syncForDevice(pool, netmem, -1);
    return netmem;
  }
  pool.giveBack(netmem);
  return null;
}

/** @kernel page_pool_free_frag */
export function freeFrag(pool: Pool): void {
  const netmem = pool.fragPage;
  pool.fragPage = null;
  if (netmem === null || unrefNetmem(pool, netmem, PP_FRAG_BIAS - pool.fragUsers) !== 0) return;
  if (pool.waitsForLastReference && pool.stepsBack(netmem)) return;
  pool.giveBack(netmem);
}

/** @kernel page_pool_alloc_netmem (include/net/page_pool/helpers.h) */
export function allocNetmem(pool: Pool, frag: PagePoolFrag, gfp: number): Netmem | null {
  const maxBytes = PAGE_SIZE << pool.order;
  const size = frag.sizeBytes;
  if (size * 2 > maxBytes) {
    frag.sizeBytes = maxBytes;
    frag.offset = 0;
    return pool.allocNetmems(gfp);
  }
  const netmem = allocFragNetmem(pool, frag, size, gfp);
  if (netmem !== null && pool.fragOffset + size > maxBytes) {
    frag.sizeBytes = maxBytes - frag.offset;
    pool.fragOffset = maxBytes;
  }
  return netmem;
}
