import { GFP_ATOMIC, __GFP_HIGHMEM, __GFP_NOWARN, type NetIov, type Netmem, type Page } from "@netmem/mm/api";
import type { NapiStruct } from "@netmem/xdp/api";
import { PoolAlloc } from "./alloc.ts";
import { PP_ALLOC_CACHE_REFILL, type PagePool, type PagePoolFrag, type PagePoolStats, type ProviderPool } from "./api/index.ts";
import { destroyPool, dropUser } from "./destroy.ts";
import { disableDirectRecycling, enableDirectRecycling, foundBySkbFree } from "./direct.ts";
import { storeDmaAddr, syncForCpu, syncForDevice } from "./dma.ts";
import { allocFragNetmem, allocNetmem } from "./frag.ts";
import { inflight } from "./inflight.ts";
import { asPage, refusePut, warn } from "./misuse.ts";
import { updateNid } from "./nid.ts";
import { countForPool, placeInCache } from "./provider-pool.ts";
import { putNetmemBulk } from "./put-bulk.ts";
import { fragmentNetmem, unrefNetmem } from "./refs.ts";
import { releaseToSkb } from "./release-to-skb.ts";
import { getStats } from "./stats.ts";

/**
 * A pool as its callers have it. One class in parts, one idea a file: fields (`state.ts`), marks (`marks.ts`), puts (`put.ts`),
 * allocations (`alloc.ts`) are its superclasses, since a method costs the hot path less than an imported function (decision 8); the
 * rest are functions of a pool: fragments, bulks, DMA, direct recycling, teardown, …
 */
export class Pool extends PoolAlloc implements PagePool, ProviderPool {
  allocPages(gfp: number): Page | null {
    const netmem = this.allocNetmems(gfp);
    return this.memoryProvider === null ? (netmem as Page | null) : asPage(this, netmem);
  }

  devAllocNetmems(): Netmem | null {
    return this.allocNetmems(GFP_ATOMIC | __GFP_NOWARN);
  }

  devAllocPages(): Page | null {
    return this.allocPages(GFP_ATOMIC | __GFP_NOWARN);
  }

  allocFragNetmem(frag: PagePoolFrag, sizeBytes: number, gfp: number): Netmem | null {
    return allocFragNetmem(this, frag, sizeBytes, gfp);
  }

  allocFrag(frag: PagePoolFrag, sizeBytes: number, gfp: number): Page | null {
    return asPage(this, allocFragNetmem(this, frag, sizeBytes, gfp));
  }

  allocNetmem(frag: PagePoolFrag, gfp: number): Netmem | null {
    return allocNetmem(this, frag, gfp);
  }

  alloc(frag: PagePoolFrag, gfp: number): Page | null {
    return asPage(this, allocNetmem(this, frag, gfp));
  }

  allocVa(frag: PagePoolFrag, gfp: number): Page | null {
    return asPage(this, allocNetmem(this, frag, gfp & ~__GFP_HIGHMEM));
  }

  updateNid(nid: number): void {
    updateNid(this, nid);
  }

  nidChanged(nid: number): void {
    if (this.nid !== nid) updateNid(this, nid);
  }

  putFullNetmem(netmem: Netmem, allowDirect: boolean): void {
    this.putNetmem(netmem, -1, allowDirect);
  }

  recycleDirect(netmem: Netmem): void {
    this.putNetmem(netmem, -1, true);
  }

  freeVa(page: Page, allowDirect: boolean): void {
    this.putNetmem(page.head, -1, allowDirect);
  }

  putNetmemBulk(netmems: (Netmem | null)[], count: number): void {
    putNetmemBulk(this, netmems, count);
  }

  refNetmem(netmem: Netmem): void {
    if (!this.hasOut(netmem)) refusePut(this, netmem, "given a further holder");
    // Designs that count no pool-aware holders know page references only.
    else if (this.countsPoolRefs || netmem.isNetIov) netmem.ppRefCount++;
    else this.pages.getPage(netmem);
  }

  unrefNetmem(netmem: Netmem, n: number): number {
    if (this.hasOut(netmem)) return unrefNetmem(this, netmem, n);
    refusePut(this, netmem, "relieved of a holder");
    return 1;
  }

  fragmentNetmem(netmem: Netmem, n: number): void {
    if (this.hasOut(netmem)) fragmentNetmem(netmem, n);
    else refusePut(this, netmem, "cut into fragments");
  }

  dmaSyncForCpu(page: Page, offset: number, sizeBytes: number): void {
    syncForCpu(this, page, offset, sizeBytes);
  }

  dmaSyncNetmemForCpu(netmem: Netmem, offset: number, sizeBytes: number): void {
    if (this.dmaSyncCpu) syncForCpu(this, netmem, offset, sizeBytes);
  }

  inflight(): number {
    return inflight(this, false);
  }

  destroy(): void {
    destroyPool(this);
  }

  enableDirectRecycling(napi: NapiStruct): void {
    enableDirectRecycling(this, napi);
  }

  disableDirectRecycling(): void {
    disableDirectRecycling(this);
  }

  getStats(stats: PagePoolStats): PagePoolStats {
    return getStats(this, stats);
  }

  // A memory model of xdp's.

  returnNetmem(netmem: Netmem, napiDirect: boolean): void {
    this.putNetmem(netmem, -1, napiDirect);
  }

  refSkbNetmem(netmem: Netmem): void {
    this.refNetmem(netmem);
  }

  returnSkbNetmem(netmem: Netmem, napiSafe: boolean): void {
    this.putNetmem(netmem, -1, this.skbFreeFindsLocal === true && foundBySkbFree(this, napiSafe));
  }

  returnNetmemBulk(netmems: (Netmem | null)[], count: number): void {
    putNetmemBulk(this, netmems, count);
  }

  releaseNetmem(netmem: Netmem): void {
    releaseToSkb(this, netmem);
  }

  useXdpMem(memId: number, disconnect: () => void): void {
    if (this.dead) {
      warn(this, "pp-use-after-destroy", `registered with XDP under mem id ${memId} after it was freed`);
      disconnect();
      return;
    }
    this.userCnt++;
    this.memId = memId;
    this.disconnect = disconnect;
  }

  unuseXdpMem(): void {
    dropUser(this);
  }

  // What a memory provider may do.

  niovSetPagePool(niov: NetIov): void {
    countForPool(this, niov);
  }

  niovClearPagePool(niov: NetIov): void {
    this.clearMark(niov);
  }

  niovSetDmaAddr(niov: NetIov, dmaAddr: number): boolean {
    return storeDmaAddr(this, niov, dmaAddr);
  }

  cacheRoom(): number {
    return PP_ALLOC_CACHE_REFILL - this.cacheCount;
  }

  netmemPlaceInCache(netmem: Netmem): boolean {
    return placeInCache(this, netmem);
  }

  hasOut(netmem: Netmem): boolean {
    return netmem.poolState === this.outState;
  }

  dmaSyncForDevice(netmem: Netmem, sizeBytes: number): void {
    syncForDevice(this, netmem, sizeBytes);
  }

  // For tools.

  get ringSize(): number {
    return this.ring.size;
  }

  ringCount(): number {
    return this.ring.count();
  }

  cacheItems(): Netmem[] {
    return this.cache.slice(0, this.cacheCount) as Netmem[];
  }

  ringItems(): Netmem[] {
    return this.ring.items();
  }

  dmaMapped(): number {
    return this.dmaIndex === null ? 0 : this.dmaIndex.count;
  }
}
