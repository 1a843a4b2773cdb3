import type { DelayedWork, ExecutionContext, Kernel, PtrRing } from "@netmem/kernel/api";
import {
  GFP_ATOMIC, PAGE_VIEW_PAGE_POOL, PAGE_VIEW_PAGE_POOL_V3, __GFP_HIGHMEM, __GFP_NOWARN,
  type DmaDevice, type FaultGate, type NetIov, type Netmem, type Page, type PageAllocator, type PageWords,
} from "@netmem/mm/api";
import { MEM_TYPE_PAGE_POOL, type NapiStruct, type NetDevice } from "@netmem/xdp/api";
import { allocNetmems, holdNetmem } from "./alloc.ts";
import {
  PP_ALLOC_CACHE_REFILL, PP_ALLOC_CACHE_SIZE, PP_FLAG_DMA_MAP, PP_FLAG_DMA_SYNC_DEV, PP_FLAG_SYSTEM_POOL, XDP_BULK_QUEUE_SIZE, PagePoolAllocStats, PagePoolRecycleStats,
  type MemoryProvider, type PagePool, type PagePoolFrag, type PagePoolParams, type PagePoolProbe, type PagePoolStats, type ProviderPool,
} from "./api/index.ts";
import { destroyPool, dropUser } from "./destroy.ts";
import { disableDirectRecycling, enableDirectRecycling, foundByCaller } from "./direct.ts";
import { storeDmaAddr, syncForCpu, syncForDevice } from "./dma.ts";
import { DmaIndexTable } from "./dma-index.ts";
import { allocFragNetmem, allocNetmem } from "./frag.ts";
import { inflight } from "./inflight.ts";
import { clearPpInfo, releaseNetmem } from "./leave.ts";
import { asPage, warn } from "./misuse.ts";
import { updateNid } from "./nid.ts";
import { placeInCache } from "./provider-pool.ts";
import { putNetmemBulk } from "./put-bulk.ts";
import { putNetmem, putUnrefedNetmem } from "./put.ts";
import { unrefNetmem } from "./refs.ts";
import type { PagePoolRules } from "./rules.ts";
import { getStats } from "./stats.ts";

/** What a pool is created with, beside its parameters. */
export interface PoolParts {
  readonly kernel: Kernel;
  readonly pages: PageAllocator;
  readonly words: PageWords;
  readonly probe: PagePoolProbe | null;
  readonly rules: PagePoolRules;
  /** ALLOW_ERROR_INJECTION(page_pool_alloc_netmems). */
  readonly failAlloc: FaultGate;
  readonly ringSize: number;
  readonly cpuid: number;
  /** Of the queue the pool is for, if that has one. */
  readonly memoryProvider: MemoryProvider | null;
  /** Shared by all system pools. */
  readonly systemRecycleStats: PagePoolRecycleStats;
  readonly registry: PoolRegistry;
}

/** What a pool asks of the place that created it. */
export interface PoolRegistry {
  /** The pool of this id, or null once it is freed. */
  readonly find: (id: number) => Pool | null;
  /** Its teardown had to wait. */
  readonly detached: (pool: Pool) => void;
  /** Off the lists, just before it is freed. */
  readonly unlist: (pool: Pool) => void;
  /** The first time a pool of the machine could not track a mapping. */
  readonly warnedOfTracking: () => boolean;
}

/**
 * A pool's state, and the thin class that callers hold. What it does stands one idea a file: `alloc.ts`, `frag.ts`, `put.ts`,
 * `put-bulk.ts`, `leave.ts`, `dma.ts`, `direct.ts`, `nid.ts`, `destroy.ts`.
 */
export class Pool implements PagePool, ProviderPool {
  readonly id: number;
  readonly params: PagePoolParams;
  readonly allocStats: PagePoolAllocStats;
  readonly recycleStats: PagePoolRecycleStats;
  readonly memType: number;
  memId: number;

  /** What `poolState` of a netmem says that this pool has handed out; one more: that lies in its cache or ring. */
  readonly outState: number;
  /** The consumer's LIFO; entries from `cacheCount` up are stale. */
  readonly cache: (Netmem | null)[];
  cacheCount: number;
  /** 128, and 0 from the first scrub on. */
  cacheLimit: number;
  readonly ring: PtrRing<Netmem>;
  /** Where a bulk request lands before its pages are mapped. */
  readonly bulk: (Page | null)[];
  /** What a bulk put is about to produce. */
  readonly candidates: (Netmem | null)[];
  /** Netmems ever taken from the backing allocator, and given back to it; both wrap at 2^32. */
  holdCnt: number;
  releaseCnt: number;
  fragPage: Netmem | null;
  fragOffset: number;
  fragUsers: number;

  /** Mutable copies of the parameters of the same name. */
  nid: number;
  napi: NapiStruct | null;
  netdev: NetDevice | null;
  /** Its device is gone, and so is loopback: nobody will find it. @kernel NET_PTR_POISON */
  poisoned: boolean;
  readonly dev: DmaDevice | null;
  readonly dmaMap: boolean;
  /** Cleared by the first scrub: from then on the device is nobody's business. */
  dmaSync: boolean;
  dmaSyncCpu: boolean;
  readonly dmaIndex: DmaIndexTable | null;
  cpuid: number;
  readonly system: boolean;
  userCnt: number;
  destroyCnt: number;
  dead: boolean;
  detachTime: number;
  deferStartNs: number;
  deferWarnNs: number;
  disconnect: (() => void) | null;
  releaseWork: DelayedWork | null;

  readonly kernel: Kernel;
  readonly context: ExecutionContext;
  readonly pages: PageAllocator;
  readonly words: PageWords;
  /** `PAGE_VIEW_*` of the words that this pool's pages use. */
  readonly pageView: number;
  readonly probe: PagePoolProbe | null;
  readonly memoryProvider: MemoryProvider | null;
  readonly failAlloc: FaultGate;
  readonly registry: PoolRegistry;
  readonly rules: PagePoolRules;
  readonly countsPoolRefs: boolean;
  readonly waitsForLastReference: boolean;
  /** `napiLocal: "pool"`, on a machine where it can be known. */
  readonly findsLocalPuts: boolean;
  readonly directNeedsSoftirq: boolean;

  constructor(id: number, params: PagePoolParams, parts: PoolParts) {
    const { rules, kernel } = parts;
    this.id = id;
    this.params = params;
    this.allocStats = new PagePoolAllocStats();
    this.system = (params.flags & PP_FLAG_SYSTEM_POOL) !== 0;
    this.recycleStats = this.system ? parts.systemRecycleStats : new PagePoolRecycleStats();
    this.memType = MEM_TYPE_PAGE_POOL;
    this.memId = 0;
    this.outState = id * 2;
    this.cache = [];
    for (let i = 0; i < PP_ALLOC_CACHE_SIZE; i++) this.cache.push(null);
    this.cacheCount = 0;
    this.cacheLimit = PP_ALLOC_CACHE_SIZE;
    this.ring = kernel.rings.create<Netmem>(parts.ringSize);
    this.bulk = [];
    for (let i = 0; i < PP_ALLOC_CACHE_REFILL; i++) this.bulk.push(null);
    this.candidates = [];
    for (let i = 0; i < XDP_BULK_QUEUE_SIZE; i++) this.candidates.push(null);
    this.holdCnt = 0;
    this.releaseCnt = 0;
    this.fragPage = null;
    this.fragOffset = 0;
    this.fragUsers = 0;
    this.nid = params.nid;
    this.napi = params.napi;
    this.netdev = params.netdev;
    this.poisoned = false;
    this.dev = params.dev;
    this.dmaMap = (params.flags & PP_FLAG_DMA_MAP) !== 0;
    this.dmaSync = (params.flags & PP_FLAG_DMA_SYNC_DEV) !== 0;
    this.dmaSyncCpu = true;
    this.dmaIndex = rules.dmaIndexBits > 0 && this.dmaMap ? new DmaIndexTable(rules.dmaIndexBits) : null;
    this.cpuid = parts.cpuid;
    this.userCnt = 1;
    this.destroyCnt = 0;
    this.dead = false;
    this.detachTime = 0;
    this.deferStartNs = 0;
    this.deferWarnNs = 0;
    this.disconnect = null;
    this.releaseWork = null;
    this.kernel = kernel;
    this.context = kernel.context;
    this.pages = parts.pages;
    this.words = parts.words;
    this.pageView = rules.ownSignatureWord ? PAGE_VIEW_PAGE_POOL_V3 : PAGE_VIEW_PAGE_POOL;
    this.probe = parts.probe;
    this.memoryProvider = parts.memoryProvider;
    this.failAlloc = parts.failAlloc;
    this.registry = parts.registry;
    this.rules = rules;
    this.countsPoolRefs = rules.sharedRelease === "pp-ref-count";
    this.waitsForLastReference = rules.sharedRelease === "last-reference";
    this.findsLocalPuts = rules.napiLocal === "pool" && !rules.preemptRt;
    this.directNeedsSoftirq = rules.directNeedsSoftirq;
  }

  allocNetmems(gfp: number): Netmem | null {
    return allocNetmems(this, gfp);
  }

  allocPages(gfp: number): Page | null {
    return asPage(this, allocNetmems(this, gfp));
  }

  devAllocNetmems(): Netmem | null {
    return allocNetmems(this, GFP_ATOMIC | __GFP_NOWARN);
  }

  devAllocPages(): Page | null {
    return asPage(this, allocNetmems(this, GFP_ATOMIC | __GFP_NOWARN));
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

  putNetmem(netmem: Netmem, dmaSyncSizeBytes: number, allowDirect: boolean): void {
    putNetmem(this, netmem, dmaSyncSizeBytes, allowDirect);
  }

  putFullNetmem(netmem: Netmem, allowDirect: boolean): void {
    putNetmem(this, netmem, -1, allowDirect);
  }

  recycleDirect(netmem: Netmem): void {
    putNetmem(this, netmem, -1, true);
  }

  putUnrefedNetmem(netmem: Netmem, dmaSyncSizeBytes: number, allowDirect: boolean): void {
    putUnrefedNetmem(this, netmem, dmaSyncSizeBytes, allowDirect);
  }

  freeVa(page: Page, allowDirect: boolean): void {
    putNetmem(this, page.head, -1, allowDirect);
  }

  putNetmemBulk(netmems: (Netmem | null)[], count: number): void {
    putNetmemBulk(this, netmems, count);
  }

  refNetmem(netmem: Netmem): void {
    // Designs that count no pool-aware holders know page references only.
    if (this.countsPoolRefs || netmem.isNetIov) netmem.ppRefCount++;
    else this.pages.getPage(netmem);
  }

  unrefNetmem(netmem: Netmem, n: number): number {
    return unrefNetmem(this, netmem, n);
  }

  fragmentNetmem(netmem: Netmem, n: number): void {
    netmem.ppRefCount = n;
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

  returnNetmem(netmem: Netmem, napiDirect: boolean, napiSafe: boolean): void {
    putNetmem(this, netmem, -1, napiDirect || foundByCaller(this, napiSafe));
  }

  releaseNetmem(netmem: Netmem): void {
    releaseNetmem(this, netmem);
  }

  useXdpMem(memId: number, disconnect: () => void): void {
    if (this.memId !== 0) warn(this, "pp-registered-twice", `registered under mem id ${memId} while it is under ${this.memId}, which will never be given back`);
    this.userCnt++;
    this.memId = memId;
    this.disconnect = disconnect;
  }

  unuseXdpMem(): void {
    dropUser(this);
  }

  // What a memory provider may do.

  niovSetPagePool(niov: NetIov): void {
    holdNetmem(this, niov);
  }

  niovClearPagePool(niov: NetIov): void {
    clearPpInfo(this, niov);
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
