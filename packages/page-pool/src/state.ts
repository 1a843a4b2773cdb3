import type { DelayedWork, ExecutionContext, Kernel, PtrRing } from "@netmem/kernel/api";
import { PAGE_VIEW_PAGE_POOL, PAGE_VIEW_PAGE_POOL_V3, type DmaDevice, type FaultGate, type Netmem, type Page, type PageAllocator, type PageWords } from "@netmem/mm/api";
import { MEM_TYPE_PAGE_POOL, XDP_BULK_QUEUE_SIZE, type NapiStruct, type NetDevice } from "@netmem/xdp/api";
import {
  PP_ALLOC_CACHE_REFILL, PP_ALLOC_CACHE_SIZE, PP_FLAG_DMA_MAP, PP_FLAG_DMA_SYNC_DEV, PP_FLAG_SYSTEM_POOL, PagePoolAllocStats, PagePoolRecycleStats,
  type MemoryProvider, type PagePoolParams, type PagePoolProbe,
} from "./api/index.ts";
import { DmaIndexTable } from "./dma-index.ts";
import type { Pool } from "./pool.ts";
import type { PagePoolRules } from "./rules.ts";

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
  /** Whether a pool of the machine has warned of this already; it has from now on. */
  readonly warnedOf: (kind: string) => boolean;
  /** Memory nodes of the machine. */
  readonly nrNodes: number;
}

/** The fields of a pool. What is asked on each trip of a page stands here resolved, and nothing on that path looks into `params` or `rules`. */
export class PoolState {
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

  /** The parameters of the same name; the first three change. */
  nid: number;
  napi: NapiStruct | null;
  netdev: NetDevice | null;
  readonly order: number;
  readonly dev: DmaDevice | null;
  readonly dmaDir: number;
  readonly maxLen: number;
  readonly offset: number;
  readonly dmaMap: boolean;
  /** PP_FLAG_DMA_SYNC_DEV, for good: asked before `dmaSync`, which providers and teardown clear, so that to a pool without it theirs costs nothing. */
  readonly dmaSyncFlag: boolean;
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
  /** Id of its NAPI when it was listed, 0 for none. @kernel user.napi_id, up to some kernel after 6.12 */
  listedNapiId: number;
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
  readonly initCallback: ((netmem: Netmem) => void) | null;
  readonly signature: number;
  readonly ownSignatureWord: boolean;
  readonly stampsOwnerAtAlloc: boolean;
  readonly countsPoolRefs: boolean;
  readonly waitsForLastReference: boolean;
  /** `napiLocal: "skb-free"`. */
  readonly skbFreeFindsLocal: boolean;
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
    this.order = params.order;
    this.dev = params.dev;
    this.dmaDir = params.dmaDir;
    this.maxLen = params.maxLen;
    this.offset = params.offset;
    this.dmaMap = (params.flags & PP_FLAG_DMA_MAP) !== 0;
    this.dmaSyncFlag = (params.flags & PP_FLAG_DMA_SYNC_DEV) !== 0;
    this.dmaSync = this.dmaSyncFlag;
    this.dmaSyncCpu = true;
    this.dmaIndex = rules.dmaIndexBits > 0 && this.dmaMap ? new DmaIndexTable(rules.dmaIndexBits) : null;
    this.cpuid = parts.cpuid;
    this.userCnt = 1;
    this.destroyCnt = 0;
    this.dead = false;
    this.detachTime = 0;
    this.listedNapiId = 0;
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
    this.initCallback = params.initCallback ?? null;
    this.signature = rules.signature;
    this.ownSignatureWord = rules.ownSignatureWord;
    this.stampsOwnerAtAlloc = rules.stampsOwnerAtAlloc;
    this.countsPoolRefs = rules.sharedRelease === "pp-ref-count";
    this.waitsForLastReference = rules.sharedRelease === "last-reference";
    this.skbFreeFindsLocal = rules.napiLocal === "skb-free";
    this.findsLocalPuts = rules.napiLocal === "pool" && !rules.preemptRt;
    this.directNeedsSoftirq = rules.directNeedsSoftirq;
  }
}
