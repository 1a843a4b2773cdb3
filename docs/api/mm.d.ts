// api/constants.d.ts
export declare const PAGE_SHIFT = 12;
export declare const PAGE_SIZE = 4096;
export declare const MAX_PAGE_ORDER = 10;
export declare const NUMA_NO_NODE = -1;
export declare const SMP_CACHE_BYTES = 64;
export declare const __GFP_HIGH: number;
export declare const __GFP_KSWAPD_RECLAIM: number;
export declare const __GFP_DIRECT_RECLAIM: number;
export declare const __GFP_NOWARN: number;
export declare const __GFP_COMP: number;
export declare const __GFP_ZERO: number;
export declare const GFP_ATOMIC: number;
export declare const GFP_KERNEL: number;
export declare const PP_SIGNATURE = 64;
export declare const PP_SIGNATURE_V3 = 539034371;
export declare const PP_MAGIC_MASK: number;
export declare const POISON_POINTER_DELTA_HIGH = 3735879680;
export declare const PP_DMA_INDEX_SHIFT = 7;
export declare const PAGE_PFMEMALLOC_BIT = 2;

// api/dma.d.ts
import type { Page } from "./page.ts";
import type { NetIov } from "./net-iov.ts";
import type { PayloadRegion } from "./payload.ts";
export declare const DMA_BIDIRECTIONAL = 0;
export declare const DMA_TO_DEVICE = 1;
export declare const DMA_FROM_DEVICE = 2;
export declare const DMA_NONE = 3;
export declare const DMA_MAPPING_ERROR = -1;
export declare const DMA_ATTR_SKIP_CPU_SYNC: number;
export declare const DMA_ATTR_WEAK_ORDERING: number;
export interface DmaStats {
    maps: number;
    unmaps: number;
    syncs: number;
    faults: number;
}
export interface CoherentMemory {
    readonly region: PayloadRegion;
    readonly base: number;
    readonly dmaAddr: number;
    readonly sizeBytes: number;
}
export interface DmaDevice {
    readonly name: string;
    readonly stats: DmaStats;
    readonly needSync: boolean;
    readonly mapPage: (page: Page, offset: number, sizeBytes: number, direction: number, attrs: number) => number;
    readonly mapNetIov: (niov: NetIov, sizeBytes: number, direction: number) => number;
    readonly unmapPage: (dmaAddr: number, sizeBytes: number, direction: number, attrs: number) => void;
    readonly syncForCpu: (dmaAddr: number, offset: number, sizeBytes: number, direction: number) => void;
    readonly syncForDevice: (dmaAddr: number, offset: number, sizeBytes: number, direction: number) => void;
    readonly allocCoherent: (sizeBytes: number) => CoherentMemory | null;
    readonly freeCoherent: (memory: CoherentMemory) => void;
    readonly liveMappings: () => number;
    readonly unbind: () => void;
}
export interface DeviceBus {
    readonly write: (dmaAddr: number, source: PayloadRegion, sourceOffset: number, lengthBytes: number) => boolean;
    readonly read: (dmaAddr: number, target: PayloadRegion, targetOffset: number, lengthBytes: number) => boolean;
    readonly read32: (dmaAddr: number) => number;
    readonly write32: (dmaAddr: number, value: number) => boolean;
}
export interface DmaDeviceOptions {
    readonly name: string;
    readonly coherent: boolean;
    readonly aperturePages: number;
}
export interface DmaProbe {
    readonly map: (device: string, dmaAddr: number, pfn: number, direction: number) => void;
    readonly unmap: (device: string, dmaAddr: number, pfn: number, direction: number) => void;
}

// api/index.d.ts
export * from "./constants.ts";
export * from "./dma.ts";
export * from "./mm.ts";
export * from "./net-iov.ts";
export * from "./netmem.ts";
export * from "./netmem-owner.ts";
export * from "./page.ts";
export * from "./page-allocator.ts";
export * from "./payload.ts";
export * from "./slab.ts";

// api/mm.d.ts
import type { DeviceBus, DmaDevice, DmaDeviceOptions } from "./dma.ts";
import type { NetIovArea } from "./net-iov.ts";
import type { PageAllocator } from "./page-allocator.ts";
import type { PayloadMemory } from "./payload.ts";
import type { SlabAllocator } from "./slab.ts";
export interface Mm {
    readonly pages: PageAllocator;
    readonly slab: SlabAllocator;
    readonly payload: PayloadMemory;
    readonly attachDevice: (options: DmaDeviceOptions) => {
        readonly dma: DmaDevice;
        readonly bus: DeviceBus;
    };
    readonly createNetIovArea: (name: string, type: number, count: number, cpuReadable: boolean) => NetIovArea;
}

// api/net-iov.d.ts
import type { NetmemOwner } from "./netmem-owner.ts";
import type { PayloadRegion } from "./payload.ts";
export declare const NET_IOV_DMABUF = 0;
export declare const NET_IOV_IOURING = 1;
export declare class NetIovArea {
    private readonly nominal;
    readonly region: PayloadRegion;
    readonly niovs: NetIov[];
    constructor(region: PayloadRegion);
}
export declare class NetIov {
    private readonly nominal;
    readonly isNetIov: true;
    readonly type: number;
    readonly area: NetIovArea;
    readonly index: number;
    readonly region: PayloadRegion;
    readonly base: number;
    ppMagic: number;
    signature: number;
    ppDmaIndex: number;
    pp: NetmemOwner | null;
    dmaAddr: number;
    ppRefCount: number;
    memType: number;
    memId: number;
    constructor(type: number, area: NetIovArea, index: number, base: number);
}

// api/netmem-owner.d.ts
export interface NetmemOwner {
    readonly memType: number;
    readonly memId: number;
}

// api/netmem.d.ts
import type { NetIov } from "./net-iov.ts";
import { type Page } from "./page.ts";
export type Netmem = Page | NetIov;
export declare function netmemRefCount(netmem: Netmem): number;
export declare function netmemCompoundHead(netmem: Netmem): Netmem;
export declare function netmemIsPfmemalloc(netmem: Netmem): boolean;
export declare function netmemPfnTrace(netmem: Netmem): number;
export declare function netmemName(netmem: Netmem): string;
export declare function ppMagicWord(netmem: Netmem): bigint;

// api/page-allocator.d.ts
import type { Page } from "./page.ts";
export interface PageAllocatorStats {
    allocs: number;
    frees: number;
    failures: number;
}
export interface PageAllocator {
    readonly nrPages: number;
    readonly freePages: () => number;
    readonly stats: PageAllocatorStats;
    readonly pages: readonly Page[];
    readonly allocPages: (gfp: number, order: number, nid: number) => Page | null;
    readonly allocPagesBulk: (gfp: number, nid: number, n: number, out: (Page | null)[]) => number;
    readonly getPage: (page: Page) => void;
    readonly putPage: (page: Page) => void;
    readonly freePagesOrder: (page: Page, order: number) => void;
}

// api/page.d.ts
import type { NetmemOwner } from "./netmem-owner.ts";
import type { PayloadRegion } from "./payload.ts";
export declare const PAGE_IN_USE = 0;
export declare const PAGE_BUDDY = 1;
export declare const PAGE_BUDDY_PART = 2;
export declare const PAGE_BAD = 3;
export declare const PAGE_SLAB = 4;
export declare class Page {
    private readonly nominal;
    readonly isNetIov: false;
    readonly pfn: number;
    readonly nid: number;
    readonly region: PayloadRegion;
    readonly base: number;
    state: number;
    refcount: number;
    head: Page;
    order: number;
    ppMagic: number;
    signature: number;
    ppDmaIndex: number;
    pp: NetmemOwner | null;
    dmaAddr: number;
    ppRefCount: number;
    memType: number;
    memId: number;
    next: Page | null;
    prev: Page | null;
    constructor(pfn: number, nid: number, region: PayloadRegion, base: number);
}
export declare function pageIsPfmemalloc(page: Page): boolean;
export declare function pageName(page: Page): string;

// api/payload.d.ts
export declare class PayloadRegion {
    private readonly nominal;
    readonly name: string;
    readonly bytes: Uint8Array;
    readonly words: Int32Array;
    readonly cpuReadable: boolean;
    readonly base: number;
    constructor(name: string, bytes: Uint8Array, words: Int32Array, cpuReadable: boolean, base: number);
}
export interface PayloadBacking {
    readonly buffer: ArrayBuffer;
    readonly copyWithin?: (target: number, source: number, lengthBytes: number) => void;
}
export interface PayloadMemory {
    readonly addRegion: (name: string, lengthBytes: number, cpuReadable: boolean) => PayloadRegion;
    readonly adoptRegion: (name: string, bytes: Uint8Array, cpuReadable: boolean) => PayloadRegion;
    readonly copy: (target: PayloadRegion, targetOffset: number, source: PayloadRegion, sourceOffset: number, lengthBytes: number) => boolean;
    readonly dmaCopy: (target: PayloadRegion, targetOffset: number, source: PayloadRegion, sourceOffset: number, lengthBytes: number) => void;
    readonly readByte: (region: PayloadRegion, offset: number) => number;
}

// api/slab.d.ts
import type { Page } from "./page.ts";
import type { PayloadRegion } from "./payload.ts";
export declare class SlabObject {
    private readonly nominal;
    readonly region: PayloadRegion;
    readonly base: number;
    readonly sizeBytes: number;
    readonly slab: Page;
    inUse: boolean;
    constructor(region: PayloadRegion, base: number, sizeBytes: number, slab: Page);
}
export interface SlabAllocator {
    readonly kmalloc: (sizeBytes: number, gfp: number) => SlabObject | null;
    readonly kfree: (object: SlabObject) => void;
    readonly sizeRoundup: (sizeBytes: number) => number;
    readonly objectsInUse: () => number;
    readonly shrink: () => number;
}

// index.d.ts
export { backingBytes, createMm, type MmOptions } from "./mm.ts";
export { createWasmBacking } from "./wasm-backing.ts";

// mm.d.ts
import { type Kernel } from "@netmem/kernel/api";
import { type DmaProbe, type Mm, type PayloadBacking } from "./api/index.ts";
export interface MmOptions {
    readonly nrPages: number;
    readonly extraBytes?: number;
    readonly backing?: PayloadBacking;
    readonly checksPoolSignature?: boolean;
    readonly dmaProbe?: DmaProbe | null;
}
export declare function backingBytes(options: Pick<MmOptions, "nrPages" | "extraBytes">): number;
export declare function createMm(kernel: Pick<Kernel, "reports">, options: MmOptions): Mm;

// wasm-backing.d.ts
import type { PayloadBacking } from "./api/index.ts";
export declare function createWasmBacking(sizeBytes: number): PayloadBacking;
