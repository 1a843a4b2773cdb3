import { DMA_ATTR_SKIP_CPU_SYNC, DMA_MAPPING_ERROR, type Page, type PayloadRegion, type Scatterlist } from "../api/index.ts";

/** How one device's addresses come about and what moves bytes: with an IOMMU or without. Ranges and directions are checked before. */
export interface DmaOps {
  /** Device address, or `DMA_MAPPING_ERROR`. */
  readonly map: (region: PayloadRegion, offset: number, sizeBytes: number, direction: number, attrs: number) => number;
  readonly unmap: (dmaAddr: number, sizeBytes: number, direction: number, attrs: number) => void;
  readonly syncForCpu: (dmaAddr: number, sizeBytes: number, direction: number) => void;
  readonly syncForDevice: (dmaAddr: number, sizeBytes: number, direction: number) => void;
  readonly isBounced: (dmaAddr: number) => boolean;
  /** Whether there is anything at this address to unmap or sync. */
  readonly isMapped: (dmaAddr: number) => boolean;
  /** Writes addresses into the entries; how many, 0 on failure, and then nothing is mapped. */
  readonly mapSg: (list: readonly Scatterlist[], nents: number, direction: number, attrs: number) => number;
  /** The first `mapped` entries, which have the addresses. */
  readonly unmapSg: (list: readonly Scatterlist[], mapped: number, direction: number, attrs: number) => void;
  readonly mapCoherent: (page: Page, order: number) => number;
  readonly unmapCoherent: (dmaAddr: number, order: number) => void;
}

/** A list entry by entry; what was mapped before one fails is undone. */
export function mapEach(ops: Pick<DmaOps, "map" | "unmap">, list: readonly Scatterlist[], nents: number, direction: number, attrs: number): number {
  for (let i = 0; i < nents; i++) {
    const entry = list[i]!;
    const dmaAddr = ops.map(entry.page!.region, entry.page!.base + entry.offset, entry.lengthBytes, direction, attrs);
    if (dmaAddr === DMA_MAPPING_ERROR) {
      unmapEach(ops, list, i, direction, attrs | DMA_ATTR_SKIP_CPU_SYNC);
      return 0;
    }
    entry.dmaAddress = dmaAddr;
    entry.dmaLengthBytes = entry.lengthBytes;
  }
  return nents;
}

export function unmapEach(ops: Pick<DmaOps, "unmap">, list: readonly Scatterlist[], mapped: number, direction: number, attrs: number): void {
  for (let i = 0; i < mapped; i++) ops.unmap(list[i]!.dmaAddress, list[i]!.dmaLengthBytes, direction, attrs);
}
