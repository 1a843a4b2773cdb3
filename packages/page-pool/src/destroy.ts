import { NSEC_PER_SEC } from "@netmem/kernel/api";
import { type Netmem, netmemName, netmemRefCount } from "@netmem/mm/api";
import { DEFER_TIME_NS, DEFER_WARN_INTERVAL_NS } from "./api/index.ts";
import { undoMapping } from "./dma.ts";
import { inflight } from "./inflight.ts";
import { returnNetmem } from "./leave.ts";
import type { Pool } from "./pool.ts";

/** @kernel page_pool_destroy (net/core/page_pool.c) */
export function destroyPool(pool: Pool): void {
  if (pool.dead) {
    pool.warn("pp-use-after-destroy", "destroyed again after it was freed");
    return;
  }
  dropUser(pool);
}

/** Teardown starts with the last user: the creator, or the XDP registration. */
export function dropUser(pool: Pool): void {
  if (--pool.userCnt > 0) return;
  if (pool.userCnt < 0) {
    pool.warn("pp-use-after-destroy", "destroyed more often than it has users");
    pool.userCnt = 0;
    return;
  }
  disableDirectRecycling(pool);
  if (release(pool) === 0) return;
  const now = pool.kernel.clock.nowNs;
  pool.deferStartNs = now;
  pool.deferWarnNs = now + DEFER_WARN_INTERVAL_NS;
  pool.releaseWork = pool.kernel.workqueue.initDelayedWork(() => releaseRetry(pool));
  pool.kernel.workqueue.queueDelayedWork(pool.releaseWork, DEFER_TIME_NS);
}

/** @kernel page_pool_disable_direct_recycling */
export function disableDirectRecycling(pool: Pool): void {
  pool.cpuid = -1;
  if (pool.napi === null) return;
  if (pool.napi.listOwner !== -1) pool.warn("pp-napi-running", `direct recycling switched off while the NAPI is on CPU ${pool.napi.listOwner}'s poll list`);
  pool.napi = null;
}

/** Empties what it can and frees the pool once nothing is out; answers the in-flight count. @kernel page_pool_release */
function release(pool: Pool): number {
  scrub(pool);
  const out = inflight(pool, true);
  if (out !== 0) return out;
  if (pool.disconnect !== null) pool.disconnect();
  pool.memId = 0;
  pool.dead = true;
  if (pool.mp !== null) pool.mp.destroy(pool);
  pool.onFreed(pool);
  return 0;
}

/** @kernel page_pool_scrub */
function scrub(pool: Pool): void {
  if (pool.destroyCnt === 0) while (pool.cacheCount > 0) returnNetmem(pool, pool.cache[--pool.cacheCount]!);
  pool.destroyCnt++;
  if (pool.destroyCnt === 1 && pool.dmaIndex !== null) {
    pool.dmaSync = false;
    pool.dmaIndex.drain((netmem) => undoMapping(pool, netmem));
  }
  for (let netmem = pool.ring.consume(); netmem !== null; netmem = pool.ring.consume()) emptyRingEntry(pool, netmem);
}

/** @kernel page_pool_empty_ring */
function emptyRingEntry(pool: Pool, netmem: Netmem): void {
  const references = netmemRefCount(netmem);
  if (references !== 1) {
    pool.kernel.reports.report("pp-ring-refcnt", "warn", netmemName(netmem), `page_pool ${pool.id}`, `page_pool_empty_ring() page_pool refcnt ${references} violation`);
  }
  returnNetmem(pool, netmem);
}

/** Each second until the last page is home. A negative count never gets better: give up. @kernel page_pool_release_retry */
function releaseRetry(pool: Pool): void {
  const out = release(pool);
  if (out <= 0) return;
  const now = pool.kernel.clock.nowNs;
  const visible = pool.rules.mutesVisibleStalls && pool.params.netdev !== null;
  if (now >= pool.deferWarnNs && !visible) {
    const seconds = Math.floor((now - pool.deferStartNs) / NSEC_PER_SEC);
    pool.warn("pp-stalled-shutdown", `page_pool_release_retry() stalled pool shutdown: id ${pool.id}, ${out} inflight ${seconds} sec`);
    pool.deferWarnNs = now + DEFER_WARN_INTERVAL_NS;
  }
  pool.kernel.workqueue.queueDelayedWork(pool.releaseWork!, DEFER_TIME_NS);
}
