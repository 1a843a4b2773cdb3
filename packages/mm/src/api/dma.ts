import type { Page } from "./page.ts";
import type { NetIov } from "./net-iov.ts";
import type { PayloadRegion } from "./payload.ts";
import type { Scatterlist } from "./scatterlist.ts";

/** @kernel enum dma_data_direction (include/linux/dma-direction.h) */
export const DMA_BIDIRECTIONAL = 0;
export const DMA_TO_DEVICE = 1;
export const DMA_FROM_DEVICE = 2;
export const DMA_NONE = 3;

/** What a failed mapping answers. @kernel DMA_MAPPING_ERROR */
export const DMA_MAPPING_ERROR = -1;

/** @kernel DMA_ATTR_WEAK_ORDERING, DMA_ATTR_SKIP_CPU_SYNC, DMA_ATTR_NO_WARN (include/linux/dma-mapping.h) */
export const DMA_ATTR_WEAK_ORDERING: number = 1 << 1;
/** No cache work and no bounce copy at map or unmap: the caller syncs just what moves. */
export const DMA_ATTR_SKIP_CPU_SYNC: number = 1 << 5;
/** A full bounce buffer is not counted as a warning. */
export const DMA_ATTR_NO_WARN: number = 1 << 8;

export interface DmaStats {
  /** Streaming mappings made and undone, each entry of a list counted; coherent memory is not counted here. */
  maps: number;
  unmaps: number;
  /** Syncs that were not skipped, in either direction. */
  syncs: number;
  /** Device accesses refused by the IOMMU, or to addresses without memory. */
  faults: number;
  /** Mappings that went through a bounce buffer, and those refused because it was full. */
  bounces: number;
  bounceFull: number;
  /** Device accesses through a mapping that was undone and not yet flushed: they reached memory that is no longer the device's. */
  staleAccesses: number;
}

/** Memory that CPU and device both see without syncs: descriptor rings. */
export interface CoherentMemory {
  readonly region: PayloadRegion;
  /** Byte offset in `region`. */
  readonly base: number;
  readonly dmaAddr: number;
  readonly sizeBytes: number;
  /**
   * One aligned 32-bit word, `offset` bytes from its start. On a weakly ordered machine a load may be satisfied early: all but
   * the first since `dmaRmb` may give what memory held at that barrier, until they are repeated. @kernel READ_ONCE
   */
  readonly read32: (offset: number) => number;
  /** On a weakly ordered machine the device sees it after `dmaWmb`. @kernel WRITE_ONCE */
  readonly write32: (offset: number, value: number) => void;
}

/**
 * The DMA API of one device, as its driver calls it. Device addresses are integers below 2^31, never 0 behind an IOMMU.
 * Mapping and syncing work in any context.
 */
export interface DmaDevice {
  readonly name: string;
  readonly stats: DmaStats;
  /**
   * False while syncs do nothing and callers may leave them out: a coherent device, until its first bounce. Ask each
   * time; it can become true. @kernel dma_dev_need_sync (include/linux/dma-mapping.h)
   */
  readonly needSync: boolean;
  /** Whether this mapping needs syncs. @kernel dma_need_sync (kernel/dma/mapping.c) */
  readonly dmaNeedSync: (dmaAddr: number) => boolean;
  /** Addresses of `bits` bits, 12 … 64, are all it can drive from now on: 0, or -EIO if that reaches no memory. @kernel dma_set_mask */
  readonly setMask: (bits: number) => number;
  /**
   * Opens `sizeBytes` at `offset` of a block to the device, in one direction. The device owns the bytes until unmap
   * or sync; the page stays the caller's, no reference is taken. `DMA_MAPPING_ERROR` when there is no room (aperture, or
   * bounce buffer), or no mask (report `dma-no-mask`); report `dma-bad-range` for a range that is empty or leaves its memory,
   * `dma-unreachable` for memory beyond the mask with nothing to bounce through. Test with `mappingError`.
   * @kernel dma_map_page_attrs (kernel/dma/mapping.c)
   */
  readonly mapPage: (page: Page, offset: number, sizeBytes: number, direction: number, attrs: number) => number;
  /** The same for memory by address: kmalloc'ed, not of a stack. @kernel dma_map_single_attrs */
  readonly mapSingle: (region: PayloadRegion, offset: number, sizeBytes: number, direction: number, attrs: number) => number;
  /** The same for memory of a provider, whose it stays. @kernel net_mp_niov_set_dma_addr's mapping step */
  readonly mapNetIov: (niov: NetIov, sizeBytes: number, direction: number, attrs: number) => number;
  /** True if the mapping failed. Asking is a duty of the driver. @kernel dma_mapping_error */
  readonly mappingError: (dmaAddr: number) => boolean;
  /**
   * Same address, size and direction as the mapping: what differs is a report of a `dma-debug-…` kind, and an address
   * without a mapping is left alone. The bytes are the CPU's again; under `DMA_ATTR_SKIP_CPU_SYNC` as they were at the last sync.
   * @kernel dma_unmap_page_attrs
   */
  readonly unmapPage: (dmaAddr: number, sizeBytes: number, direction: number, attrs: number) => void;
  /** The CPU may read what the device wrote, in this part of the mapping. @kernel dma_sync_single_range_for_cpu */
  readonly syncForCpu: (dmaAddr: number, offset: number, sizeBytes: number, direction: number) => void;
  /** The device may write, or read what the CPU wrote. @kernel dma_sync_single_range_for_device */
  readonly syncForDevice: (dmaAddr: number, offset: number, sizeBytes: number, direction: number) => void;
  /** A list of `nents` empty entries, the caller's for good. @kernel sg_alloc_table (lib/scatterlist.c) */
  readonly allocSgTable: (nents: number) => Scatterlist[];
  /** Maps the first `nents` entries, all or none: how many addresses it wrote, 0 on failure. The pages stay the caller's. @kernel dma_map_sg_attrs */
  readonly mapSg: (list: readonly Scatterlist[], nents: number, direction: number, attrs: number) => number;
  /** With the `nents` that `mapSg` was given, not the answer it gave. @kernel dma_unmap_sg_attrs */
  readonly unmapSg: (list: readonly Scatterlist[], nents: number, direction: number, attrs: number) => void;
  /** @kernel dma_sync_sg_for_cpu */
  readonly syncSgForCpu: (list: readonly Scatterlist[], nents: number, direction: number) => void;
  /** @kernel dma_sync_sg_for_device */
  readonly syncSgForDevice: (list: readonly Scatterlist[], nents: number, direction: number) => void;
  /** Zeroed, the caller's. Null without memory; with `__GFP_COMP` report `dma-alloc-comp` and null. Zone flags are ignored. @kernel dma_alloc_coherent (kernel/dma/mapping.c) */
  readonly allocCoherent: (sizeBytes: number, gfp: number) => CoherentMemory | null;
  /** Consumes; null is nothing to do. In hardirq: report `dma-free-in-irq`. @kernel dma_free_coherent */
  readonly freeCoherent: (memory: CoherentMemory | null) => void;
  /** Loads after it see what the device wrote before what loads before it saw. @kernel dma_rmb */
  readonly dmaRmb: () => void;
  /** The device sees stores before it no later than those after it. @kernel dma_wmb */
  readonly dmaWmb: () => void;
  /** Told of each fault, before it is reported: true and it is not. @kernel iommu_set_fault_handler, report_iommu_fault (drivers/iommu/iommu.c) */
  readonly setFaultHandler: (handler: ((dmaAddr: number, isWrite: boolean) => boolean) | null) => void;
  /** Live streaming mappings; at driver unbind each is a leak. */
  readonly liveMappings: () => number;
  /** The driver is gone: report `dma-leak` with the count of what it left, coherent memory included. @kernel dma_debug_device_change */
  readonly unbind: () => void;
}

/**
 * The device's own view. Behind an IOMMU every access is checked, by I/O pages and not by bytes: what lies beside a
 * mapping in the same page is open too. A page of the range without a translation, or the wrong direction: report
 * `dma-fault`, nothing is transferred, false. Without an IOMMU every address that has memory is open, mapped or not.
 */
export interface DeviceBus {
  readonly write: (dmaAddr: number, source: PayloadRegion, sourceOffset: number, lengthBytes: number) => boolean;
  readonly read: (dmaAddr: number, target: PayloadRegion, targetOffset: number, lengthBytes: number) => boolean;
  /** One aligned 32-bit word; 0 after a fault. */
  readonly read32: (dmaAddr: number) => number;
  readonly write32: (dmaAddr: number, value: number) => boolean;
  /** The CPU reads one of the device's registers: what the device wrote before is seen after. @kernel readl, which has an rmb */
  readonly registerRead: () => void;
  /** The CPU writes one: the device sees all stores before. @kernel writel, which has a wmb */
  readonly registerWrite: () => void;
}

export interface DmaDeviceOptions {
  readonly name: string;
  /** A non-coherent device needs syncs around each hand-over. With `MmOptions.cpuCache` it also shows what a forgotten one does. */
  readonly coherent: boolean;
  /**
   * `strict` (default): an unmapped address faults at once. `deferred`: it stays open until the flush queue is emptied.
   * `off`: addresses are physical ones.
   */
  readonly iommu?: "strict" | "deferred" | "off";
  /** I/O pages it can have mapped at once, 2 … 2^19 − 1; with an IOMMU only. Default: all of memory and a little more. */
  readonly aperturePages?: number;
  /** Address lines it has, 12 … 64; 0: nobody set a mask, and nothing can be mapped. Memory beyond them is bounced. Default 64. */
  readonly dmaMaskBits?: number;
  /** Every mapping is bounced. Without an IOMMU only. @kernel swiotlb=force */
  readonly forceBounce?: boolean;
  /** A device that could attack: behind an IOMMU, buffers that do not fill whole pages are bounced. @kernel pci_dev.untrusted */
  readonly untrusted?: boolean;
  /** Low address bits that a bounce buffer must keep, 2^n − 1 up to 65535. @kernel dma_set_min_align_mask */
  readonly minAlignMask?: number;
  /** Of one list entry; defaults 65536 and 2^32 − 1, the kernel's. @kernel dma_set_max_seg_size, dma_set_seg_boundary */
  readonly maxSegmentBytes?: number;
  readonly segmentBoundary?: number;
  /** Pages set aside for the device's coherent memory, tried before all other; default none. @kernel dma_declare_coherent_memory */
  readonly carveOutPages?: number;
  /** `weak`: coherent memory shows what a missing barrier can do. Default `strong`. */
  readonly ordering?: "strong" | "weak";
}

export interface DmaProbe {
  readonly map: (device: string, dmaAddr: number, pfn: number, direction: number) => void;
  readonly unmap: (device: string, dmaAddr: number, pfn: number, direction: number) => void;
}
