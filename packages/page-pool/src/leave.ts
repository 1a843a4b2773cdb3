import { netmemName, netmemPfnTrace, type Netmem } from "@netmem/mm/api";
import { unmapFromDevice } from "./dma.ts";
import { describe, refusePut } from "./misuse.ts";
import type { Pool } from "./pool.ts";

/**
 * The netmem leaves for good: unmapped or given back to its provider, counted as released, mark cleared, reference put. The pool may
 * be freed by the very count, so nothing of it is used afterwards.
 * @kernel page_pool_return_netmem (net/core/page_pool.c)
 */
export function returnNetmem(pool: Pool, netmem: Netmem): void {
  const { pages } = pool;
  if (leavePool(pool, netmem) && !netmem.isNetIov) pages.putPage(netmem);
}

/** All of it but the put; answers whether a put is due. */
function leavePool(pool: Pool, netmem: Netmem): boolean {
  const provider = pool.memoryProvider;
  let putDue = true;
  if (provider !== null) putDue = provider.releaseNetmem(pool, netmem);
  else if (!netmem.isNetIov) unmapFromDevice(pool, netmem);
  pool.releaseCnt = (pool.releaseCnt + 1) | 0;
  if (pool.probe !== null) pool.probe.stateRelease(pool, netmem, pool.releaseCnt >>> 0, netmemPfnTrace(netmem));
  if (putDue) clearPpInfo(pool, netmem);
  else if (netmem.poolState >> 1 === pool.id) {
    pool.kernel.reports.report("mp-mark-left", "warn", netmemName(netmem), `page_pool ${pool.id}`, `its memory provider took it back without niovClearPagePool; ${describe(pool)}`);
    clearPpInfo(pool, netmem);
  }
  return putDue;
}

/** @kernel page_pool_clear_pp_info, net_mp_niov_clear_page_pool */
export function clearPpInfo(pool: Pool, netmem: Netmem): void {
  if (!netmem.isNetIov) {
    pool.words.release(netmem, pool.pageView);
    netmem.dmaAddr = 0;
    netmem.ppDmaIndex = 0;
  }
  if (pool.rules.ownSignatureWord) netmem.signature = 0;
  else netmem.ppMagic = 0;
  netmem.pp = null;
  netmem.memType = 0;
  netmem.memId = 0;
  netmem.ppRefCount = 0;
  netmem.poolState = 0;
}

/** Without the put: the page goes on as an ordinary one. @kernel page_pool_release_page, up to 6.5 */
export function releaseNetmem(pool: Pool, netmem: Netmem): void {
  if (netmem.poolState !== pool.outState) refusePut(pool, netmem, "released from the pool");
  else if (netmem.isNetIov) {
    pool.kernel.reports.report("netmem-not-a-page", "warn", netmemName(netmem), `page_pool ${pool.id}`, `released to live on as an ordinary page, which it is not: it stays the pool's; ${describe(pool)}`);
  } else leavePool(pool, netmem);
}
