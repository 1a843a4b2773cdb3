import type { Netmem } from "@netmem/mm/api";
import { unmapFromDevice } from "./dma.ts";
import type { Pool } from "./pool.ts";

/**
 * The netmem leaves for good: unmapped, counted as released, mark cleared, reference put. The pool may be freed by the
 * very count, so nothing of it is used afterwards.
 * @kernel page_pool_return_netmem (net/core/page_pool.c)
 */
export function returnNetmem(pool: Pool, netmem: Netmem): void {
  const { pages } = pool;
  if (leavePool(pool, netmem) && !netmem.isNetIov) pages.putPage(netmem);
}

/** All of it but the put; answers whether a put is due. */
export function leavePool(pool: Pool, netmem: Netmem): boolean {
  unmapFromDevice(pool, netmem);
  const putDue = pool.mp === null || pool.mp.releaseNetmem(pool, netmem);
  pool.releaseCnt = (pool.releaseCnt + 1) | 0;
  if (pool.probe !== null) pool.probe.stateRelease(pool, netmem, pool.releaseCnt >>> 0);
  if (!netmem.isNetIov) pool.words.release(netmem, pool.pageView);
  if (pool.rules.ownSignatureWord) netmem.signature = 0;
  else netmem.ppMagic = 0;
  netmem.ppDmaIndex = 0;
  netmem.dmaAddr = 0;
  netmem.pp = null;
  netmem.memType = 0;
  netmem.memId = 0;
  netmem.ppRefCount = 0;
  return putDue;
}
