import type { PayloadRegion } from "../api/index.ts";

/** Access rights, as bits. @kernel IOMMU_READ, IOMMU_WRITE (include/linux/iommu.h) */
export const IOMMU_READ = 1;
export const IOMMU_WRITE = 2;

/** What a device address leads to. */
export interface Translation {
  /** Rises whenever an address may lead elsewhere than before, or nowhere. */
  readonly changes: number;
  /** Whether every byte of the range is reachable with these rights. */
  readonly allows: (dmaAddr: number, lengthBytes: number, prot: number) => boolean;
  /** Why it is not. */
  readonly refusal: (dmaAddr: number, lengthBytes: number) => string;
  /** The region behind an address that is reachable. */
  readonly region: (dmaAddr: number) => PayloadRegion;
  /** Byte offset in that region. */
  readonly offset: (dmaAddr: number) => number;
  /** Whether the translation is one that was undone and not flushed yet. */
  readonly isStale: (dmaAddr: number) => boolean;
}
