import { inSoftirq } from "@netmem/kernel/api";
import { NAPIF_STATE_SCHED, type NapiStruct } from "@netmem/xdp/api";
import { warn } from "./misuse.ts";
import type { Pool } from "./pool.ts";

/** Whether a freed skb's page may go to the cache, as was asked from 6.4 to 6.9: only of a NAPI. @kernel napi_pp_put_page (net/core/skbuff.c) */
export function foundBySkbFree(pool: Pool, napiSafe: boolean): boolean {
  return (napiSafe || inSoftirq(pool.context)) && pool.napi !== null && pool.napi.listOwner === pool.context.cpu;
}

/** @kernel page_pool_enable_direct_recycling */
export function enableDirectRecycling(pool: Pool, napi: NapiStruct): void {
  if (pool.dead) {
    warn(pool, "pp-use-after-destroy", "direct recycling switched on after it was freed");
    return;
  }
  if (pool.napi === napi) return;
  if (pool.napi !== null) warn(pool, "pp-napi-attached", `direct recycling switched on for a NAPI of ${napi.dev.name}, while one of ${pool.napi.dev.name} is attached`);
  pool.napi = napi;
}

/** @kernel page_pool_disable_direct_recycling, page_pool_unlink_napi up to 6.8 */
export function disableDirectRecycling(pool: Pool): void {
  pool.cpuid = -1;
  const { napi } = pool;
  if (napi === null) return;
  // Up to 6.3 nobody goes by it, so nobody can race.
  const added = napi.napiId !== 0 && pool.rules.napiLocal !== "nobody";
  if (added && (napi.state & NAPIF_STATE_SCHED) === 0) warn(pool, "pp-napi-running", "direct recycling switched off while its NAPI is enabled: it may be polled meanwhile");
  if (added && napi.listOwner !== -1) warn(pool, "pp-napi-running", `direct recycling switched off while its NAPI is on CPU ${napi.listOwner}'s poll list`);
  pool.napi = null;
}
