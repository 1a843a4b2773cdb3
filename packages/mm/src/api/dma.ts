import type { Page } from "./page.ts";
import type { NetIov } from "./net-iov.ts";
import type { PayloadRegion } from "./payload.ts";

/** @kernel enum dma_data_direction (include/linux/dma-direction.h) */
export const DMA_BIDIRECTIONAL = 0;
export const DMA_TO_DEVICE = 1;
export const DMA_FROM_DEVICE = 2;
export const DMA_NONE = 3;

/** What a failed mapping answers. @kernel DMA_MAPPING_ERROR */
export const DMA_MAPPING_ERROR = -1;

/** @kernel DMA_ATTR_SKIP_CPU_SYNC, DMA_ATTR_WEAK_ORDERING (include/linux/dma-mapping.h) */
export const DMA_ATTR_SKIP_CPU_SYNC: number = 1 << 5;
export const DMA_ATTR_WEAK_ORDERING: number = 1 << 1;

export interface DmaStats {
  /** Streaming mappings made and undone; coherent memory is not counted here. */
  maps: number;
  unmaps: number;
  /** Syncs that did work, in either direction. */
  syncs: number;
  /** Device accesses refused by the IOMMU. */
  faults: number;
}

/** Memory that CPU and device both see without syncs: descriptor rings. */
export interface CoherentMemory {
  readonly region: PayloadRegion;
  /** Byte offset in `region`. */
  readonly base: number;
  readonly dmaAddr: number;
  readonly sizeBytes: number;
}

/**
 * The DMA API of one device, as its driver calls it. Device addresses are small integers: I/O page number shifted by
 * PAGE_SHIFT, plus offset; 0 is never one.
 */
export interface DmaDevice {
  readonly name: string;
  readonly stats: DmaStats;
  /** False for a coherent device: syncs do nothing, and callers may leave them out. @kernel dma_dev_need_sync */
  readonly needSync: boolean;
  /**
   * Opens `sizeBytes` at `offset` of a block to the device, in one direction. The device owns the bytes until unmap
   * or sync; the page stays the caller's, no reference is taken. `DMA_MAPPING_ERROR` when the aperture is
   * full, or the range is empty or leaves its memory. @kernel dma_map_page_attrs
   */
  readonly mapPage: (page: Page, offset: number, sizeBytes: number, direction: number, attrs: number) => number;
  /** The same for memory of a provider, whose it stays. @kernel net_mp_niov_set_dma_addr's mapping step */
  readonly mapNetIov: (niov: NetIov, sizeBytes: number, direction: number) => number;
  /**
   * Same address, size and direction as the mapping: anything else is report `dma-debug`, and an address without a
   * mapping is left alone. @kernel dma_unmap_page_attrs
   */
  readonly unmapPage: (dmaAddr: number, sizeBytes: number, direction: number, attrs: number) => void;
  /** The CPU may read what the device wrote. Range checked against the mapping. @kernel dma_sync_single_range_for_cpu */
  readonly syncForCpu: (dmaAddr: number, offset: number, sizeBytes: number, direction: number) => void;
  /** The device may write again. @kernel dma_sync_single_range_for_device */
  readonly syncForDevice: (dmaAddr: number, offset: number, sizeBytes: number, direction: number) => void;
  /** Zeroed. Null without memory. @kernel dma_alloc_coherent (kernel/dma/mapping.c) */
  readonly allocCoherent: (sizeBytes: number) => CoherentMemory | null;
  /** Consumes. @kernel dma_free_coherent */
  readonly freeCoherent: (memory: CoherentMemory) => void;
  /** Live streaming mappings; at driver unbind each is a leak. */
  readonly liveMappings: () => number;
  /** The driver is gone: report `dma-leak` with the count of live mappings. @kernel dma_debug_device_change */
  readonly unbind: () => void;
}

/**
 * The device's own view: every access goes through the IOMMU, which sees I/O pages and not bytes: what lies beside a
 * mapping in the same page is open too. A page of the range without a live mapping, or the wrong direction: report `dma-fault`, nothing is transferred, false.
 */
export interface DeviceBus {
  readonly write: (dmaAddr: number, source: PayloadRegion, sourceOffset: number, lengthBytes: number) => boolean;
  readonly read: (dmaAddr: number, target: PayloadRegion, targetOffset: number, lengthBytes: number) => boolean;
  /** One aligned 32-bit word; 0 after a fault. */
  readonly read32: (dmaAddr: number) => number;
  readonly write32: (dmaAddr: number, value: number) => boolean;
}

export interface DmaDeviceOptions {
  readonly name: string;
  /** A non-coherent device needs syncs around each hand-over. */
  readonly coherent: boolean;
  /** I/O pages it can have mapped at once, 2 … 2^19 − 1. */
  readonly aperturePages: number;
}

export interface DmaProbe {
  readonly map: (device: string, dmaAddr: number, pfn: number, direction: number) => void;
  readonly unmap: (device: string, dmaAddr: number, pfn: number, direction: number) => void;
}
