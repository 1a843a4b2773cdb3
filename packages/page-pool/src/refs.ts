import { UsageError } from "@netmem/kernel/api";
import { netmemName, type Netmem } from "@netmem/mm/api";
import { PP_FRAG_BIAS } from "./api/index.ts";
import { describe } from "./misuse.ts";
import type { Pool } from "./pool.ts";

/**
 * Drops `n` holders and answers how many are left. For the last one the count is back at 1: a netmem starts each trip with
 * one holder. @kernel page_pool_unref_netmem (include/net/page_pool/helpers.h)
 */
export function unrefNetmem(pool: Pool, netmem: Netmem, n: number): number {
  if (!(n >= 1)) throw new UsageError("page-pool", "holders to drop", n, "give 1 or more");
  const left = netmem.ppRefCount - n;
  if (left === 0) {
    netmem.ppRefCount = 1;
    return 0;
  }
  netmem.ppRefCount = left;
  if (left < 0) pool.kernel.reports.report("pp-ref-underflow", "warn", netmemName(netmem), `page_pool ${pool.id}`, `pp_ref_count ${left} after ${n} holders let go; ${describe(pool)}`);
  return left;
}

/** @kernel page_pool_fragment_netmem */
export function fragmentNetmem(netmem: Netmem, n: number): void {
  if (!Number.isInteger(n) || n < 1 || n > PP_FRAG_BIAS) throw new UsageError("page-pool", "holders", n, `give 1 to ${PP_FRAG_BIAS}`);
  netmem.ppRefCount = n;
}
