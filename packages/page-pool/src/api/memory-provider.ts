import type { Netmem } from "@netmem/mm/api";
import type { PagePool } from "./page-pool.ts";

/**
 * Where a pool's memory comes from when it is not the page allocator: device memory, a user's area. Members are
 * function properties: an implementation that can only take pages back does not type-check.
 *
 * A first form of the kernel's ops. Here the pool maps, marks and counts what a provider gives it, where in the kernel a
 * provider does so itself, and may also switch syncs off and put buffers straight into the cache.
 * @kernel struct memory_provider_ops (include/net/page_pool/memory_provider.h)
 */
export interface MemoryProvider {
  /** 0 or a negative errno, which fails the pool's creation. Process context. */
  readonly init: (pool: PagePool) => number;
  /**
   * One buffer or null, cache and ring being empty; the pool's consumer context. The pool stamps and counts it; it
   * is the pool's afterwards.
   */
  readonly allocNetmem: (pool: PagePool, gfp: number) => Netmem | null;
  /**
   * Takes a buffer back for good; the pool counts it as released and clears its mark afterwards. True: the pool
   * should put the page as well. Any context that may put. Consumes.
   */
  readonly releaseNetmem: (pool: PagePool, netmem: Netmem) => boolean;
  /** The pool is gone, nothing is in flight. */
  readonly destroy: (pool: PagePool) => void;
}
