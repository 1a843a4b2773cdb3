import { DMA_ATTR_SKIP_CPU_SYNC, DMA_MAPPING_ERROR, type Page, type PayloadRegion, type Scatterlist } from "../api/index.ts";

/** How one device's addresses come about and what moves bytes: with an IOMMU or without. Ranges and directions are checked before. */
export interface DmaOps {
  /** Device address, or `DMA_MAPPING_ERROR`. */
  readonly map: (region: PayloadRegion, offset: number, sizeBytes: number, direction: number, attrs: number) => number;
  readonly unmap: (dmaAddr: number, sizeBytes: number, direction: number, attrs: number) => void;
  readonly syncForCpu: (dmaAddr: number, sizeBytes: number, direction: number) => void;
  readonly syncForDevice: (dmaAddr: number, sizeBytes: number, direction: number) => void;
  /** The device's limit has changed; `isIdle`: while nothing is mapped. */
  readonly limitChanged: (isIdle: boolean) => void;
  /** Whether a device with so many address lines can be served at all. @kernel dma_supported */
  readonly supports: (limit: number) => boolean;
  /** Whether a sync of this address may have anything to do, once the device is known to need some. @kernel __dma_need_sync (kernel/dma/mapping.c) */
  readonly needsSync: (dmaAddr: number) => boolean;
  /** Whether all of the range is there to sync; asked where mappings are not recorded. */
  readonly isMapped: (dmaAddr: number, sizeBytes: number) => boolean;
  /** Whether it is one mapping, as far as can be told without a record. */
  readonly isWhole: (dmaAddr: number, sizeBytes: number) => boolean;
  /** Writes addresses into the entries; how many, 0 on failure, and then nothing is mapped. */
  readonly mapSg: (list: readonly Scatterlist[], nents: number, direction: number, attrs: number) => number;
  readonly mapCoherent: (page: Page, order: number) => number;
  readonly unmapCoherent: (dmaAddr: number, order: number) => void;
}

/** A list entry by entry; what was mapped before one fails is undone. */
export function mapEach(ops: Pick<DmaOps, "map" | "unmap">, list: readonly Scatterlist[], nents: number, direction: number, attrs: number): number {
  for (let i = 0; i < nents; i++) {
    const entry = list[i]!;
    const dmaAddr = ops.map(entry.page!.region, entry.page!.base + entry.offset, entry.lengthBytes, direction, attrs);
    if (dmaAddr === DMA_MAPPING_ERROR) {
      for (let done = 0; done < i; done++) ops.unmap(list[done]!.dmaAddress, list[done]!.dmaLengthBytes, direction, attrs | DMA_ATTR_SKIP_CPU_SYNC);
      return 0;
    }
    entry.dmaAddress = dmaAddr;
    entry.dmaLengthBytes = entry.lengthBytes;
  }
  return nents;
}
