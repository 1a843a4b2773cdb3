import { netmemName, type Netmem } from "@netmem/mm/api";
import { describe } from "./misuse.ts";
import type { Pool } from "./pool.ts";

/**
 * Drops `n` holders and answers how many are left. For the last one the count is back at 1: a netmem starts each trip with
 * one holder. @kernel page_pool_unref_netmem (include/net/page_pool/helpers.h)
 */
export function unrefNetmem(pool: Pool, netmem: Netmem, n: number): number {
  const left = netmem.ppRefCount - n;
  if (left === 0) {
    netmem.ppRefCount = 1;
    return 0;
  }
  netmem.ppRefCount = left;
  if (left < 0) pool.kernel.reports.report("pp-ref-underflow", "warn", netmemName(netmem), `page_pool ${pool.id}`, `pp_ref_count ${left} after ${n} holders let go; ${describe(pool)}`);
  return left;
}
