import { inSoftirq, type DelayedWork, type ExecutionContext, type Kernel, type PtrRing } from "@netmem/kernel/api";
import { PAGE_VIEW_PAGE_POOL, PAGE_VIEW_PAGE_POOL_V3, type DmaDevice, type Netmem, type Page, type PageAllocator, type PageWords } from "@netmem/mm/api";
import { MEM_TYPE_PAGE_POOL, type NapiStruct } from "@netmem/xdp/api";
import { allocNetmems } from "./alloc.ts";
import {
  PagePoolStats, PP_ALLOC_CACHE_REFILL, PP_ALLOC_CACHE_SIZE, PP_FLAG_DMA_MAP, PP_FLAG_DMA_SYNC_DEV,
  type MemoryProvider, type PagePool, type PagePoolParams, type PagePoolProbe,
} from "./api/index.ts";
import { destroyPool, disableDirectRecycling, dropUser } from "./destroy.ts";
import { inflight } from "./inflight.ts";
import { DmaIndexTable } from "./dma-index.ts";
import { leavePool } from "./leave.ts";
import { putNetmem } from "./put.ts";
import type { PagePoolRules } from "./rules.ts";

export interface PagePoolDeps {
  readonly kernel: Kernel;
  readonly pages: PageAllocator;
  readonly words: PageWords;
  readonly probe: PagePoolProbe | null;
  readonly rules: PagePoolRules;
}

/**
 * A pool's state, and the thin class that callers hold. What it does stands one idea a file: `alloc.ts`, `put.ts`,
 * `leave.ts`, `inflight.ts`, `destroy.ts`.
 */
export class Pool implements PagePool {
  readonly id: number;
  readonly params: PagePoolParams;
  readonly stats: PagePoolStats = new PagePoolStats();
  readonly memType: number = MEM_TYPE_PAGE_POOL;
  memId: number;

  /** The consumer's LIFO; entries from `cacheCount` up are stale. */
  readonly cache: (Netmem | null)[];
  cacheCount: number;
  readonly ring: PtrRing<Netmem>;
  /** Where a bulk request lands before its pages are mapped. */
  readonly bulk: (Page | null)[];
  /** Netmems ever taken from the backing allocator, and given back to it; both wrap at 2^32. */
  holdCnt: number;
  releaseCnt: number;

  readonly dev: DmaDevice | null;
  readonly dmaMap: boolean;
  /** Cleared by the first scrub: from then on the device is nobody's business. */
  dmaSync: boolean;
  readonly dmaIndex: DmaIndexTable | null;
  napi: NapiStruct | null;
  cpuid: number;
  userCnt: number;
  destroyCnt: number;
  dead: boolean;
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
  readonly mp: MemoryProvider | null;
  readonly onFreed: (pool: Pool) => void;
  readonly rules: PagePoolRules;
  /** The three policies of `sharedRelease` as two flags, since the put path asks for each on its own. */
  readonly countsPoolRefs: boolean;
  readonly waitsForLastReference: boolean;

  constructor(id: number, params: PagePoolParams, cpuid: number, ringSize: number, deps: PagePoolDeps, onFreed: (pool: Pool) => void) {
    const { rules, kernel } = deps;
    this.id = id;
    this.params = params;
    this.memId = 0;
    this.cache = [];
    for (let i = 0; i < PP_ALLOC_CACHE_SIZE; i++) this.cache.push(null);
    this.cacheCount = 0;
    this.ring = kernel.rings.create<Netmem>(ringSize);
    this.bulk = [];
    for (let i = 0; i < PP_ALLOC_CACHE_REFILL; i++) this.bulk.push(null);
    this.holdCnt = 0;
    this.releaseCnt = 0;
    this.dev = params.dev;
    this.dmaMap = (params.flags & PP_FLAG_DMA_MAP) !== 0;
    this.dmaSync = (params.flags & PP_FLAG_DMA_SYNC_DEV) !== 0 && params.dev !== null;
    this.dmaIndex = rules.tracksDma && this.dmaMap ? new DmaIndexTable() : null;
    this.napi = params.napi;
    this.cpuid = cpuid;
    this.userCnt = 1;
    this.destroyCnt = 0;
    this.dead = false;
    this.deferStartNs = 0;
    this.deferWarnNs = 0;
    this.disconnect = null;
    this.releaseWork = null;
    this.kernel = kernel;
    this.context = kernel.context;
    this.pages = deps.pages;
    this.words = deps.words;
    this.pageView = rules.ownSignatureWord ? PAGE_VIEW_PAGE_POOL_V3 : PAGE_VIEW_PAGE_POOL;
    this.probe = deps.probe;
    this.mp = params.memoryProvider ?? null;
    this.onFreed = onFreed;
    this.rules = rules;
    this.countsPoolRefs = rules.sharedRelease === "pp-ref-count";
    this.waitsForLastReference = rules.sharedRelease === "last-reference";
  }

  allocNetmems(gfp: number): Netmem | null {
    return allocNetmems(this, gfp);
  }

  allocPages(gfp: number): Page | null {
    const netmem = allocNetmems(this, gfp);
    if (netmem === null || !netmem.isNetIov) return netmem;
    this.warn("netmem-not-a-page", "page_pool_alloc_pages on a pool of device memory");
    putNetmem(this, netmem, -1, false);
    return null;
  }

  putNetmem(netmem: Netmem, dmaSyncSizeBytes: number, allowDirect: boolean): void {
    putNetmem(this, netmem, dmaSyncSizeBytes, allowDirect);
  }

  putFullNetmem(netmem: Netmem, allowDirect: boolean): void {
    putNetmem(this, netmem, -1, allowDirect);
  }

  recycleDirect(page: Page): void {
    putNetmem(this, page, -1, true);
  }

  refNetmem(netmem: Netmem): void {
    // Designs that count no pool-aware holders know page references only.
    if (this.countsPoolRefs || netmem.isNetIov) netmem.ppRefCount++;
    else this.pages.getPage(netmem);
  }

  returnNetmem(netmem: Netmem, napiDirect: boolean): void {
    putNetmem(this, netmem, -1, napiDirect);
  }

  releaseNetmem(netmem: Netmem): void {
    leavePool(this, netmem);
  }

  useXdpMem(memId: number, disconnect: () => void): void {
    if (this.memId !== 0) this.warn("pp-registered-twice", `registered under mem id ${memId} while it is under ${this.memId}, which will never be given back`);
    this.userCnt++;
    this.memId = memId;
    this.disconnect = disconnect;
  }

  unuseXdpMem(): void {
    dropUser(this);
  }

  inflight(): number {
    return inflight(this, false);
  }

  destroy(): void {
    destroyPool(this);
  }

  disableDirectRecycling(): void {
    disableDirectRecycling(this);
  }

  ringCount(): number {
    return this.ring.count();
  }

  warn(kind: string, message: string): void {
    this.kernel.reports.report(kind, "warn", `page_pool ${this.id}`, this.params.netdev?.name ?? "no netdev", message);
  }
}

/**
 * Whether this very context is the pool's consumer, so that its cache may be used without a lock.
 * @kernel page_pool_napi_local (net/core/page_pool.c)
 */
export function napiLocal(pool: Pool): boolean {
  if (!pool.rules.napiLocal || !inSoftirq(pool.context)) return false;
  const { cpu } = pool.context;
  if (pool.cpuid === cpu) return true;
  return pool.napi !== null && pool.napi.listOwner === cpu;
}
