import { __GFP_COMP, __GFP_NOWARN, GFP_ATOMIC, NUMA_NO_NODE, type Netmem } from "@netmem/mm/api";
import { PP_ALLOC_CACHE_REFILL } from "./api/index.ts";
import { mapForDevice } from "./dma.ts";
import { warn } from "./misuse.ts";
import type { Pool } from "./pool.ts";
import { allocFromProvider } from "./provider-pool.ts";
import { PoolPut } from "./put.ts";

/** Where a netmem comes from: cache, then ring, then the backing allocator. */
export class PoolAlloc extends PoolPut {
  /** @kernel page_pool_alloc_netmems, __page_pool_get_cached (net/core/page_pool.c) */
  allocNetmems(this: Pool, gfp: number): Netmem | null {
    if (this.failAlloc.armed === true && this.failAlloc.shouldFail(this.order, 0)) return null;
    const count = this.cacheCount;
    if (count > 0) {
      this.allocStats.fast++;
      this.cacheCount = count - 1;
      const netmem = this.cache[count - 1]!;
      netmem.poolState = this.outState;
      return netmem;
    }
    const netmem = this.allocPastCache(gfp);
    if (netmem !== null) netmem.poolState = this.outState;
    return netmem;
  }

  private allocPastCache(this: Pool, gfp: number): Netmem | null {
    if (this.destroyCnt > 0) {
      warn(this, "pp-use-after-destroy", this.dead ? "allocation from a pool that was freed" : "allocation from a pool under teardown");
      return null;
    }
    const refilled = this.refillAllocCache();
    if (refilled !== null) return refilled;
    if (this.memoryProvider !== null) return allocFromProvider(this, this.memoryProvider, gfp);
    const flags = this.rules.atomicNeverWarns && (gfp & GFP_ATOMIC) === GFP_ATOMIC ? gfp | __GFP_NOWARN : gfp;
    return this.order === 0 && this.rules.allocatesInBulk ? this.allocBulk(flags) : this.allocOne(flags);
  }

  /**
   * Moves up to 64 from ring to cache and hands out the last. One page of another node ends it: it is given up, so that
   * a pool that moved nodes sheds its old pages one refill at a time.
   * @kernel page_pool_refill_alloc_cache
   */
  private refillAllocCache(this: Pool): Netmem | null {
    const { ring, allocStats, cache } = this;
    if (ring.isEmpty() === true) {
      allocStats.empty++;
      return null;
    }
    const preferred = this.nid === NUMA_NO_NODE ? this.context.node : this.nid;
    let count = this.cacheCount;
    // Where all memory is of one node, no page can be of another.
    if (preferred === 0 && this.registry.nrNodes === 1) count = ring.consumeBatched(cache, count, PP_ALLOC_CACHE_REFILL);
    else while (count < PP_ALLOC_CACHE_REFILL) {
      const netmem = ring.consume();
      if (netmem === null) break;
      if (netmem.isNetIov === false && netmem.nid !== preferred) {
        this.giveBack(netmem);
        allocStats.waive++;
        break;
      }
      cache[count++] = netmem;
    }
    if (count === 0) return null;
    allocStats.refill++;
    this.cacheCount = --count;
    return cache[count]!;
  }

  /** A large page, or, before 5.13, any. @kernel __page_pool_alloc_page_order; __page_pool_alloc_pages_slow up to 5.12 */
  private allocOne(this: Pool, gfp: number): Netmem | null {
    const { order } = this;
    const page = this.pages.allocPages(order > 0 ? gfp | __GFP_COMP : gfp, order, this.nid);
    if (page === null) return null;
    if (this.dmaMap && !mapForDevice(this, page)) {
      this.pages.putPage(page);
      return null;
    }
    if (order > 0) this.allocStats.slowHighOrder++;
    else this.allocStats.slow++;
    this.hold(page);
    return page;
  }

  /** @kernel __page_pool_alloc_netmems_slow */
  private allocBulk(this: Pool, gfp: number): Netmem | null {
    const { bulk, cache, dmaMap } = this;
    const nid = this.rules.bulkOnPoolNode ? this.nid : NUMA_NO_NODE;
    const got = this.pages.allocPagesBulk(gfp, nid, PP_ALLOC_CACHE_REFILL, bulk);
    let count = 0;
    for (let i = 0; i < got; i++) {
      const page = bulk[i]!;
      bulk[i] = null;
      if (dmaMap === true && !mapForDevice(this, page)) {
        this.pages.putPage(page);
        continue;
      }
      cache[count++] = page;
      // Whoever looks at the hold sees it there.
      this.cacheCount = count;
      this.hold(page);
      page.poolState = this.outState + 1;
    }
    if (count === 0) return null;
    this.allocStats.slow++;
    this.cacheCount = --count;
    return cache[count]!;
  }
}
