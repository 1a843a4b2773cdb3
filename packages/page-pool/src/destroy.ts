import { NSEC_PER_SEC } from "@netmem/kernel/api";
import { netmemName, netmemRefCount, type Netmem } from "@netmem/mm/api";
import { DEFER_TIME_NS, DEFER_WARN_INTERVAL_NS } from "./api/index.ts";
import { disableDirectRecycling } from "./direct.ts";
import { undoMapping } from "./dma.ts";
import { freeFrag } from "./frag.ts";
import { inflight } from "./inflight.ts";
import { warn } from "./misuse.ts";
import type { Pool } from "./pool.ts";
import { callDestroy } from "./provider-calls.ts";

/** @kernel page_pool_destroy (net/core/page_pool.c) */
export function destroyPool(pool: Pool): void {
  if (pool.dead) {
    warn(pool, "pp-use-after-destroy", "destroyed again after it was freed");
    return;
  }
  dropUser(pool);
}

/** Teardown starts with the last user: the creator, or the XDP registration. @kernel page_pool_put */
export function dropUser(pool: Pool): void {
  if (pool.userCnt === 0) {
    warn(pool, "pp-use-after-destroy", "destroyed more often than it has users");
    return;
  }
  if (--pool.userCnt > 0) return;
  disableDirectRecycling(pool);
  freeFrag(pool);
  if (release(pool) === 0) return;
  pool.registry.detached(pool);
  const now = pool.kernel.clock.nowNs;
  pool.deferStartNs = now;
  pool.deferWarnNs = now + DEFER_WARN_INTERVAL_NS;
  pool.releaseWork = pool.kernel.workqueue.initDelayedWork(() => releaseRetry(pool));
  pool.kernel.workqueue.queueDelayedWork(pool.releaseWork, DEFER_TIME_NS);
}

/** Empties what it can and frees the pool once nothing is out; answers the in-flight count. @kernel page_pool_release */
function release(pool: Pool): number {
  scrub(pool);
  const out = inflight(pool, true);
  if (out !== 0) return out;
  if (pool.disconnect !== null) pool.disconnect();
  pool.memId = 0;
  pool.registry.unlist(pool);
  pool.dead = true;
  if (pool.memoryProvider !== null) callDestroy(pool, pool.memoryProvider);
  return 0;
}

/** @kernel page_pool_scrub */
function scrub(pool: Pool): void {
  if (pool.destroyCnt === 0) {
    while (pool.cacheCount > 0) pool.giveBack(pool.cache[--pool.cacheCount]!);
    pool.cacheLimit = 0;
  }
  pool.destroyCnt++;
  if (pool.destroyCnt === 1 && pool.dmaIndex !== null) {
    pool.dmaSync = false;
    pool.dmaIndex.drain((page) => undoMapping(pool, page));
  }
  for (let netmem = pool.ring.consume(); netmem !== null; netmem = pool.ring.consume()) emptyRingEntry(pool, netmem);
}

/** @kernel page_pool_empty_ring */
function emptyRingEntry(pool: Pool, netmem: Netmem): void {
  const references = netmemRefCount(netmem);
  if (references !== 1) {
    pool.kernel.reports.report("pp-ring-refcnt", "warn", netmemName(netmem), `page_pool ${pool.id}`, `page_pool_empty_ring() page_pool refcnt ${references} violation`);
  }
  pool.giveBack(netmem);
}

/** Each second until the last netmem is home. @kernel page_pool_release_retry */
function releaseRetry(pool: Pool): void {
  const out = release(pool);
  if (out === 0) return;
  // It will never get better.
  if (out < 0 && pool.rules.stopsAtNegative) return;
  const now = pool.kernel.clock.nowNs;
  const visible = pool.rules.listsToUsers && pool.netdev !== null;
  if (now >= pool.deferWarnNs && !visible) {
    const seconds = Math.floor((now - pool.deferStartNs) / NSEC_PER_SEC);
    const which = pool.rules.listsToUsers ? `: id ${pool.id}, ${out}` : ` ${out}`;
    pool.kernel.reports.report("pp-stalled-shutdown", "warn", `page_pool ${pool.id}`, pool.netdev?.name ?? "no netdev", `page_pool_release_retry() stalled pool shutdown${which} inflight ${seconds} sec`);
    pool.deferWarnNs = now + DEFER_WARN_INTERVAL_NS;
  }
  pool.kernel.workqueue.queueDelayedWork(pool.releaseWork!, DEFER_TIME_NS);
}
