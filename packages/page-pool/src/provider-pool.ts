import { netmemName, type NetIov, type Netmem } from "@netmem/mm/api";
import { PP_ALLOC_CACHE_SIZE, type MemoryProvider } from "./api/index.ts";
import { describe, warn } from "./misuse.ts";
import type { Pool } from "./pool.ts";
import { callAllocNetmems } from "./provider-calls.ts";

/** What a provider hands out must be counted as this pool's; what is not goes back to it. @kernel mp_ops->alloc_netmems */
export function allocFromProvider(pool: Pool, provider: MemoryProvider, gfp: number): Netmem | null {
  const netmem = callAllocNetmems(pool, provider, gfp);
  if (netmem === null || (typeof netmem === "object" && netmem.poolState === pool.outState)) return netmem;
  if (typeof netmem !== "object" || typeof netmem.isNetIov !== "boolean") {
    pool.kernel.reports.report("mp-no-netmem", "warn", `page_pool ${pool.id}`, provider.name ?? "memory provider", `allocNetmems answers ${typeof netmem === "object" ? "an object" : String(netmem)}, which is neither a netmem nor null: taken as no memory; ${describe(pool)}`);
    return null;
  }
  pool.kernel.reports.report("mp-not-counted", "warn", netmemName(netmem), `page_pool ${pool.id}`, `handed out by the pool's memory provider without niovSetPagePool, or into the cache as well: not taken; ${describe(pool)}`);
  return null;
}

/** @kernel net_mp_netmem_place_in_cache */
export function placeInCache(pool: Pool, netmem: Netmem): boolean {
  if (pool.cacheCount === PP_ALLOC_CACHE_SIZE) {
    warn(pool, "mp-cache-full", "its memory provider put a buffer into a full cache");
    return false;
  }
  if (netmem.poolState !== pool.outState) {
    warn(pool, "mp-not-counted", `its memory provider put ${netmemName(netmem)} into the cache without niovSetPagePool, or twice`);
    return false;
  }
  netmem.poolState = pool.outState + 1;
  pool.cache[pool.cacheCount++] = netmem;
  return true;
}

/** One that some pool has is not counted once more: its owner would wait for it for ever. @kernel net_mp_niov_set_page_pool */
export function countForPool(pool: Pool, niov: NetIov): void {
  const owner = niov.poolState >> 1;
  if (owner === 0) pool.hold(niov);
  else pool.kernel.reports.report("mp-counted-twice", "warn", netmemName(niov), `page_pool ${pool.id}`, `niovSetPagePool by the pool's memory provider, while page_pool ${owner} has it: not counted; ${describe(pool)}`);
}

/** It answered that the pool must put what only it can take. */
export function reportNotTaken(pool: Pool, netmem: Netmem): void {
  pool.kernel.reports.report("mp-not-taken", "warn", netmemName(netmem), `page_pool ${pool.id}`, "its memory provider did not take it back: nobody has it now");
}

export function reportMarkLeft(pool: Pool, netmem: Netmem): void {
  pool.kernel.reports.report("mp-mark-left", "warn", netmemName(netmem), `page_pool ${pool.id}`, `its memory provider took it back without niovClearPagePool; ${describe(pool)}`);
}
