import { EFAULT, KernelPanic, reasonOf } from "@netmem/kernel/api";
import { netmemName, type Netmem } from "@netmem/mm/api";
import type { MemoryProviderInfo } from "@netmem/xdp/api";
import type { MemoryProvider } from "./api/index.ts";
import { describe } from "./misuse.ts";
import type { Pool } from "./pool.ts";

/**
 * The calls of a provider's members. It is somebody's plugin: what it throws is reported, under its name, and the pool goes on as if it had given nothing; a machine that has stopped stays stopped.
 */
function threw(pool: Pool, provider: MemoryProvider, member: string, consequence: string, error: unknown): void {
  if (error instanceof KernelPanic) throw error;
  pool.kernel.reports.report("mp-threw", "warn", `page_pool ${pool.id}`, provider.name ?? "memory provider", `${member} threw ${reasonOf(error)}: ${consequence}; ${describe(pool)}`);
}

/** -EFAULT if it throws. */
export function callInit(pool: Pool, provider: MemoryProvider): number {
  try {
    return provider.init(pool);
  } catch (error) {
    threw(pool, provider, "init", "the pool is not made", error);
    return -EFAULT;
  }
}

/** Null if it throws. */
export function callAllocNetmems(pool: Pool, provider: MemoryProvider, gfp: number): Netmem | null {
  try {
    return provider.allocNetmems(pool, gfp);
  } catch (error) {
    threw(pool, provider, "allocNetmems", "taken as no memory", error);
    return null;
  }
}

/** False, for it has the buffer whatever it did with it, if it throws. */
export function callReleaseNetmem(pool: Pool, provider: MemoryProvider, netmem: Netmem): boolean {
  try {
    return provider.releaseNetmem(pool, netmem);
  } catch (error) {
    threw(pool, provider, "releaseNetmem", `${netmemName(netmem)} is its own again`, error);
    return false;
  }
}

export function callDestroy(pool: Pool, provider: MemoryProvider): void {
  try {
    provider.destroy(pool);
  } catch (error) {
    threw(pool, provider, "destroy", "the pool is gone all the same", error);
  }
}

/** Nothing if it throws. */
export function callNlFill(pool: Pool, provider: MemoryProvider): MemoryProviderInfo {
  try {
    return provider.nlFill(null);
  } catch (error) {
    threw(pool, provider, "nlFill", "not shown", error);
    return {};
  }
}
