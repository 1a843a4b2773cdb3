import { netmemName, type Netmem } from "@netmem/mm/api";
import { describe, refusePut } from "./misuse.ts";
import type { Pool } from "./pool.ts";

/** Without the put: the page goes on as an ordinary one. @kernel page_pool_release_page, up to 6.5 */
export function releaseToSkb(pool: Pool, netmem: Netmem): void {
  if (netmem.poolState !== pool.outState) refusePut(pool, netmem, "released from the pool");
  else if (netmem.isNetIov) {
    pool.kernel.reports.report("netmem-not-a-page", "warn", netmemName(netmem), `page_pool ${pool.id}`, `released to live on as an ordinary page, which it is not: it stays the pool's; ${describe(pool)}`);
  } else pool.leave(netmem);
}
