import { EFAULT, callForeign } from "@netmem/kernel/api";
import { netmemName, type Netmem } from "@netmem/mm/api";
import type { MemoryProviderInfo } from "@netmem/xdp/api";
import type { MemoryProvider } from "./api/index.ts";
import { describe } from "./misuse.ts";
import type { Pool } from "./pool.ts";

/** A provider is somebody's plugin: what it throws is reported, under its name, and the pool goes on as if it had given nothing. */
function threw(pool: Pool, provider: MemoryProvider, member: string, reason: string, consequence: string): void {
  pool.kernel.reports.report("mp-threw", "warn", `page_pool ${pool.id}`, provider.name ?? "memory provider", `${member} threw ${reason}: ${consequence}; ${describe(pool)}`);
}

/** -EFAULT if it throws. */
export function callInit(pool: Pool, provider: MemoryProvider): number {
  return callForeign(() => provider.init(pool), (reason) => {
    threw(pool, provider, "init", reason, "the pool is not made");
    return -EFAULT;
  });
}

/** Null if it throws. */
export function callAllocNetmems(pool: Pool, provider: MemoryProvider, gfp: number): Netmem | null {
  return callForeign(() => provider.allocNetmems(pool, gfp), (reason) => {
    threw(pool, provider, "allocNetmems", reason, "taken as no memory");
    return null;
  });
}

/** False, for it has the buffer whatever it did with it, if it throws. */
export function callReleaseNetmem(pool: Pool, provider: MemoryProvider, netmem: Netmem): boolean {
  return callForeign(() => provider.releaseNetmem(pool, netmem), (reason) => {
    threw(pool, provider, "releaseNetmem", reason, `${netmemName(netmem)} is its own again`);
    return false;
  });
}

export function callDestroy(pool: Pool, provider: MemoryProvider): void {
  callForeign(() => provider.destroy(pool), (reason) => threw(pool, provider, "destroy", reason, "the pool is gone all the same"));
}

/** Nothing if it throws. */
export function callNlFill(pool: Pool, provider: MemoryProvider): MemoryProviderInfo {
  return callForeign(() => provider.nlFill(null), (reason) => {
    threw(pool, provider, "nlFill", reason, "not shown");
    return {};
  });
}
