import { CONTEXT_HARDIRQ, CONTEXT_SOFTIRQ } from "@netmem/kernel/api";
import { PAGE_PFMEMALLOC_BIT, netmemName, type Netmem } from "@netmem/mm/api";
import { syncForDevice } from "./dma.ts";
import { PoolMarks } from "./marks.ts";
import { refusePut, warn } from "./misuse.ts";
import type { Pool } from "./pool.ts";
import { unrefNetmem } from "./refs.ts";

/** How a netmem comes home: to the cache, to the ring, or out of the pool. */
export class PoolPut extends PoolMarks {
  /** @kernel page_pool_put_netmem (include/net/page_pool/helpers.h) */
  putNetmem(this: Pool, netmem: Netmem, dmaSyncSizeBytes: number, allowDirect: boolean): void {
    if (netmem.poolState !== this.outState) {
      refusePut(this, netmem, "put into the pool");
      return;
    }
    // First of all: a page's further holders are counted in its references, and its fragments apart from them.
    if (this.waitsForLastReference === true && this.stepsBack(netmem) === true) return;
    if (netmem.ppRefCount !== 1 && unrefNetmem(this, netmem, 1) !== 0) return;
    this.recycle(netmem, dmaSyncSizeBytes, allowDirect);
  }

  /** @kernel page_pool_put_unrefed_netmem (net/core/page_pool.c) */
  putUnrefedNetmem(this: Pool, netmem: Netmem, dmaSyncSizeBytes: number, allowDirect: boolean): void {
    if (netmem.poolState !== this.outState) refusePut(this, netmem, "put into the pool");
    else if (netmem.ppRefCount !== 1) warn(this, "pp-holders-left", `${netmemName(netmem)} put as if its last holder had let go, but it has ${netmem.ppRefCount}: it stays out`);
    else if (this.waitsForLastReference === false || this.stepsBack(netmem) === false) this.recycle(netmem, dmaSyncSizeBytes, allowDirect);
  }

  private recycle(this: Pool, netmem: Netmem, dmaSyncSizeBytes: number, allowDirect: boolean): void {
    const direct = allowDirect === true ? this.isBelieved() : this.isLocal();
    if (this.keepOrRelease(netmem, dmaSyncSizeBytes, direct) === false) return;
    if (this.produce(netmem) === true) this.recycleStats.ring++;
    else this.releaseAsRingIsFull(netmem);
  }

  private releaseAsRingIsFull(this: Pool, netmem: Netmem): void {
    this.recycleStats.ringFull++;
    this.giveBack(netmem);
  }

  /** Whether a caller's word that it is the consumer counts. */
  private isBelieved(): boolean {
    return this.directNeedsSoftirq === false || this.context.level === CONTEXT_SOFTIRQ;
  }

  /** Whether this very context is found to be the pool's consumer, so that its cache may be used without a lock. @kernel page_pool_napi_local */
  isLocal(): boolean {
    const { context } = this;
    if (this.findsLocalPuts === false || context.level !== CONTEXT_SOFTIRQ) return false;
    if (this.cpuid === context.cpu) return true;
    return this.napi !== null && this.napi.listOwner === context.cpu;
  }

  /**
   * The last holder's put, up to the ring. True: a candidate for that, synced. False: it is in the cache, or has left the pool because
   * somebody else has a page reference or it came from the reserves. @kernel __page_pool_put_page
   */
  keepOrRelease(this: Pool, netmem: Netmem, dmaSyncSizeBytes: number, direct: boolean): boolean {
    if (this.context.level === CONTEXT_HARDIRQ) warnHardirq(this);
    if (this.isRecyclable(netmem) === false) return this.releaseAsShared(netmem);
    if (this.dmaSyncFlag === true && this.dmaSync === true) syncForDevice(this, netmem, dmaSyncSizeBytes);
    return direct === false || this.intoCache(netmem) === false;
  }

  private releaseAsShared(this: Pool, netmem: Netmem): false {
    this.recycleStats.releasedRefcnt++;
    this.giveBack(netmem);
    return false;
  }

  /** @kernel __page_pool_page_can_be_recycled */
  isRecyclable(netmem: Netmem): boolean {
    return netmem.refcount === 1 && (netmem.ppMagic & PAGE_PFMEMALLOC_BIT) === 0;
  }

  /** The seed's proposal: a holder that is not the last drops its page reference, and the last one recycles. */
  stepsBack(netmem: Netmem): boolean {
    if (netmem.refcount === 1 || netmem.isNetIov === true) return false;
    netmem.refcount--;
    return true;
  }

  /** @kernel page_pool_recycle_in_cache */
  private intoCache(this: Pool, netmem: Netmem): boolean {
    const count = this.cacheCount;
    if (count < this.cacheLimit) {
      this.cache[count] = netmem;
      this.cacheCount = count + 1;
      netmem.poolState = this.outState + 1;
      this.recycleStats.cached++;
      return true;
    }
    // The cache was emptied for good: what came in now would never leave, and the pool never be freed.
    if (this.destroyCnt > 0) warn(this, "pp-direct-after-destroy", "a direct put into a pool under teardown: to the ring instead");
    else this.recycleStats.cacheFull++;
    return false;
  }

  /** Into the ring, where it lies idle; false when that is full. @kernel page_pool_recycle_in_ring */
  produce(netmem: Netmem): boolean {
    if (this.ring.produce(netmem) === false) return false;
    netmem.poolState = this.outState + 1;
    return true;
  }
}

function warnHardirq(pool: Pool): void {
  warn(pool, "pp-put-in-hardirq", "put in hardirq context: the ring's lock is not taken there");
}
