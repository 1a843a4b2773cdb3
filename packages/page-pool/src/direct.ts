import { inSoftirq } from "@netmem/kernel/api";
import { NAPIF_STATE_SCHED, type NapiStruct } from "@netmem/xdp/api";
import { warn } from "./misuse.ts";
import type { Pool } from "./pool.ts";

/** Whether a put goes to the consumer's cache: because the caller says that it is the consumer, or because it is found to be. */
export function mayRecycleDirect(pool: Pool, allowDirect: boolean): boolean {
  if (allowDirect) return !pool.directNeedsSoftirq || inSoftirq(pool.context);
  return pool.findsLocalPuts && napiLocal(pool);
}

/**
 * Whether this very context is the pool's consumer, so that its cache may be used without a lock.
 * @kernel page_pool_napi_local (net/core/page_pool.c)
 */
export function napiLocal(pool: Pool): boolean {
  const { context } = pool;
  if (!inSoftirq(context)) return false;
  if (pool.cpuid === context.cpu) return true;
  return pool.napi !== null && pool.napi.listOwner === context.cpu;
}

/** The same question as skb frees asked it from 6.4 to 6.9: only of a NAPI. @kernel napi_pp_put_page (net/core/skbuff.c) */
export function foundByCaller(pool: Pool, napiSafe: boolean): boolean {
  if (pool.rules.napiLocal !== "skb-free" || (!napiSafe && !inSoftirq(pool.context))) return false;
  return pool.napi !== null && pool.napi.listOwner === pool.context.cpu;
}

/** @kernel page_pool_enable_direct_recycling */
export function enableDirectRecycling(pool: Pool, napi: NapiStruct): void {
  if (pool.napi === napi) return;
  if (pool.napi !== null) warn(pool, "pp-napi-attached", `direct recycling switched on for a NAPI of ${napi.dev.name}, while one of ${pool.napi.dev.name} is attached`);
  pool.napi = napi;
}

/** @kernel page_pool_disable_direct_recycling */
export function disableDirectRecycling(pool: Pool): void {
  pool.cpuid = -1;
  const { napi } = pool;
  if (napi === null) return;
  // Nobody goes by it, so nobody can race.
  const added = napi.napiId !== 0 && pool.rules.napiLocal !== "nobody";
  if (added && (napi.state & NAPIF_STATE_SCHED) === 0) warn(pool, "pp-napi-running", "direct recycling switched off while its NAPI is enabled: it may be polled meanwhile");
  if (added && napi.listOwner !== -1) warn(pool, "pp-napi-running", `direct recycling switched off while its NAPI is on CPU ${napi.listOwner}'s poll list`);
  pool.napi = null;
}
