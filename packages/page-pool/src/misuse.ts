import { netmemName, type Netmem, type Page } from "@netmem/mm/api";
import type { Pool } from "./pool.ts";

export function warn(pool: Pool, kind: string, message: string): void {
  pool.kernel.reports.report(kind, "warn", `page_pool ${pool.id}`, pool.netdev?.name ?? "no netdev", `${message}; ${describe(pool)}`);
}

/** A pool's state, as reports give it. */
export function describe(pool: Pool): string {
  const hold = pool.holdCnt >>> 0;
  const release = pool.releaseCnt >>> 0;
  const life = pool.dead ? "freed" : pool.destroyCnt > 0 ? `under teardown, attempt ${pool.destroyCnt}` : `${pool.userCnt} users`;
  return `page_pool ${pool.id}: hold ${hold}, release ${release}, in flight ${(pool.holdCnt - pool.releaseCnt) | 0}, cache ${pool.cacheCount}, ring ${pool.ring.count()}, ${life}`;
}

/**
 * Called for a netmem that this pool has not handed out. The kernel would take it and be corrupt from then on; here it is
 * reported, and nothing is changed.
 */
export function refusePut(pool: Pool, netmem: Netmem, what: string): void {
  const { kernel } = pool;
  const owner = netmem.poolState >> 1;
  let kind = "pp-unowned-put";
  let message = `${what}, but no pool has it`;
  if (owner === pool.id) {
    kind = "pp-double-put";
    message = `${what}, but it lies in the pool's cache or ring already`;
  } else if (owner !== 0) {
    const theirs = pool.registry.find(owner);
    kind = "pp-foreign-put";
    message = `${what}, but it is page_pool ${owner}'s${theirs === null ? "" : ` (${describe(theirs)})`}`;
  } else if (pool.dead) {
    kind = "pp-use-after-destroy";
    message = `${what}, which was freed`;
  }
  kernel.reports.report(kind, "warn", netmemName(netmem), `page_pool ${pool.id}`, `${message}; ${describe(pool)}`);
}

/** For callers that can only use pages: device memory goes straight back. @kernel netmem_to_page */
export function asPage(pool: Pool, netmem: Netmem | null): Page | null {
  if (netmem === null || !netmem.isNetIov) return netmem;
  warn(pool, "netmem-not-a-page", "a page was asked of a pool of device memory");
  pool.putNetmem(netmem, -1, false);
  return null;
}
