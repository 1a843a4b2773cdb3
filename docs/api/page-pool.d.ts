// api/index.d.ts
export * from "./memory-provider.ts";
export * from "./page-pool.ts";
export * from "./params.ts";
export * from "./stats.ts";

// api/memory-provider.d.ts
import type { Netmem } from "@netmem/mm/api";
import type { PagePool } from "./page-pool.ts";
export interface MemoryProvider {
    readonly init: (pool: PagePool) => number;
    readonly allocNetmem: (pool: PagePool, gfp: number) => Netmem | null;
    readonly releaseNetmem: (pool: PagePool, netmem: Netmem) => boolean;
    readonly destroy: (pool: PagePool) => void;
}

// api/page-pool.d.ts
import type { Netmem, Page } from "@netmem/mm/api";
import type { MemModel } from "@netmem/xdp/api";
import type { PagePoolParams } from "./params.ts";
import type { PagePoolStats } from "./stats.ts";
export interface PagePoolAlloc {
    readonly allocPages: (gfp: number) => Page | null;
    readonly allocNetmems: (gfp: number) => Netmem | null;
}
export interface PagePoolPut {
    readonly putNetmem: (netmem: Netmem, dmaSyncSizeBytes: number, allowDirect: boolean) => void;
    readonly putFullNetmem: (netmem: Netmem, allowDirect: boolean) => void;
    readonly recycleDirect: (page: Page) => void;
    readonly refNetmem: (netmem: Netmem) => void;
    readonly releasePage: (netmem: Netmem) => void;
}
export interface PagePoolControl {
    readonly inflight: () => number;
    readonly destroy: () => void;
    readonly disableDirectRecycling: () => void;
}
export interface PagePoolView {
    readonly id: number;
    readonly stats: PagePoolStats;
    readonly params: PagePoolParams;
    readonly holdCnt: number;
    readonly releaseCnt: number;
    readonly cacheCount: number;
    readonly ringCount: () => number;
    readonly destroyCnt: number;
    readonly dead: boolean;
}
export interface PagePool extends PagePoolAlloc, PagePoolPut, PagePoolControl, PagePoolView, MemModel {
}
export interface PagePoolProbe {
    readonly stateHold: (pool: PagePoolView, netmem: Netmem, hold: number) => void;
    readonly stateRelease: (pool: PagePoolView, netmem: Netmem, release: number) => void;
    readonly release: (pool: PagePoolView, inflight: number, hold: number, release: number, cnt: number) => void;
}
export interface PagePools {
    readonly create: (params: PagePoolParams) => PagePool | number;
    readonly createPercpu: (params: PagePoolParams, cpuid: number) => PagePool | number;
    readonly pools: () => readonly PagePool[];
}

// api/params.d.ts
import type { DmaDevice } from "@netmem/mm/api";
import type { NapiStruct, NetDevice } from "@netmem/xdp/api";
import type { MemoryProvider } from "./memory-provider.ts";
export declare const PP_ALLOC_CACHE_SIZE = 128;
export declare const PP_ALLOC_CACHE_REFILL = 64;
export declare const PP_DEFAULT_RING_SIZE = 1024;
export declare const PP_MAX_RING_SIZE = 16384;
export declare const PP_MAX_RING_SIZE_OLD = 32768;
export declare const PP_FLAG_DMA_MAP: number;
export declare const PP_FLAG_DMA_SYNC_DEV: number;
export declare const PP_FLAG_SYSTEM_POOL: number;
export declare const PP_FLAG_ALLOW_UNREADABLE_NETMEM: number;
export declare const PP_FLAG_ALL: number;
export declare const DEFER_TIME_NS = 1000000000;
export declare const DEFER_WARN_INTERVAL_NS = 60000000000;
export interface PagePoolParams {
    readonly flags: number;
    readonly order: number;
    readonly poolSize: number;
    readonly nid: number;
    readonly dev: DmaDevice | null;
    readonly napi: NapiStruct | null;
    readonly dmaDir: number;
    readonly maxLen: number;
    readonly offset: number;
    readonly netdev: NetDevice | null;
    readonly memoryProvider?: MemoryProvider | null;
}

// api/stats.d.ts
export declare class PagePoolStats {
    private readonly nominal;
    fast: number;
    slow: number;
    slowHighOrder: number;
    empty: number;
    refill: number;
    waive: number;
    cached: number;
    cacheFull: number;
    ring: number;
    ringFull: number;
    releasedRefcnt: number;
    constructor();
}

// index.d.ts
export { createPagePools } from "./page-pools.ts";
export type { PagePoolDeps } from "./pool.ts";
export type { PagePoolRules, SharedRelease } from "./rules.ts";

// page-pools.d.ts
import { type PagePool, type PagePoolParams, type PagePools } from "./api/index.ts";
import { type PagePoolDeps } from "./pool.ts";
export declare class PagePoolFactory implements PagePools {
    #private;
    constructor(deps: PagePoolDeps);
    create(params: PagePoolParams): PagePool | number;
    createPercpu(params: PagePoolParams, cpuid: number): PagePool | number;
    pools(): readonly PagePool[];
}
export declare function createPagePools(deps: PagePoolDeps): PagePools;

// pool.d.ts
import { type DelayedWork, type ExecutionContext, type Kernel, type PtrRing } from "@netmem/kernel/api";
import type { DmaDevice, Netmem, Page, PageAllocator } from "@netmem/mm/api";
import { type NapiStruct } from "@netmem/xdp/api";
import { PagePoolStats, type MemoryProvider, type PagePool, type PagePoolParams, type PagePoolProbe } from "./api/index.ts";
import { DmaIndexTable } from "./dma-index.ts";
import type { PagePoolRules } from "./rules.ts";
export interface PagePoolDeps {
    readonly kernel: Kernel;
    readonly pages: PageAllocator;
    readonly probe: PagePoolProbe | null;
    readonly rules: PagePoolRules;
}
export declare class Pool implements PagePool {
    readonly id: number;
    readonly params: PagePoolParams;
    readonly stats: PagePoolStats;
    readonly memType: number;
    memId: number;
    readonly cache: (Netmem | null)[];
    cacheCount: number;
    readonly ring: PtrRing<Netmem>;
    readonly bulk: (Page | null)[];
    holdCnt: number;
    releaseCnt: number;
    readonly dev: DmaDevice | null;
    readonly dmaMap: boolean;
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
    readonly probe: PagePoolProbe | null;
    readonly mp: MemoryProvider | null;
    readonly onFreed: (pool: Pool) => void;
    readonly rules: PagePoolRules;
    readonly countsPoolRefs: boolean;
    readonly waitsForLastReference: boolean;
    constructor(id: number, params: PagePoolParams, cpuid: number, ringSize: number, deps: PagePoolDeps, onFreed: (pool: Pool) => void);
    allocNetmems(gfp: number): Netmem | null;
    allocPages(gfp: number): Page | null;
    putNetmem(netmem: Netmem, dmaSyncSizeBytes: number, allowDirect: boolean): void;
    putFullNetmem(netmem: Netmem, allowDirect: boolean): void;
    recycleDirect(page: Page): void;
    refNetmem(netmem: Netmem): void;
    releasePage(netmem: Netmem): void;
    returnNetmem(netmem: Netmem, napiDirect: boolean): void;
    releaseNetmem(netmem: Netmem): void;
    useXdpMem(memId: number, disconnect: () => void): void;
    unuseXdpMem(): void;
    inflight(): number;
    destroy(): void;
    disableDirectRecycling(): void;
    ringCount(): number;
    warn(kind: string, message: string): void;
}
export declare function napiLocal(pool: Pool): boolean;

// rules.d.ts
export type SharedRelease = "leave-pool" | "last-reference" | "pp-ref-count";
export interface PagePoolRules {
    readonly sharedRelease: SharedRelease;
    readonly signature: number;
    readonly ownSignatureWord: boolean;
    readonly stampsOwnerAtAlloc: boolean;
    readonly napiLocal: boolean;
    readonly tracksDma: boolean;
    readonly mutesVisibleStalls: boolean;
    readonly clampsRing: boolean;
}
