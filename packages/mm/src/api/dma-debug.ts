/**
 * What CONFIG_DMA_API_DEBUG finds, as kinds of report. `object` is the device and address, `owner` the device, and the
 * message has both sides of what does not match.
 * @kernel kernel/dma/debug.c
 */
export const DMA_DEBUG_KINDS = [
  /** Unmap of what never was an address: the result of a failed mapping. */
  "dma-debug-invalid-address",
  /** Unmap or free of an address without a mapping; the second of two unmaps too. */
  "dma-debug-not-allocated",
  "dma-debug-size",
  /** Mapped by one of page, sg and coherent, and unmapped by another. */
  "dma-debug-function",
  /** Coherent memory freed with another CPU address. */
  "dma-debug-cpu-address",
  /** A list unmapped or synced with another number of entries. */
  "dma-debug-sg-count",
  "dma-debug-direction",
  /** Unmapped without ever having been tested with `mappingError`. */
  "dma-debug-error-unchecked",
  /** Memory that no driver should map: a stack, vmalloc space, text or read-only data, or no memory of the kernel's at all. */
  "dma-debug-stack",
  "dma-debug-vmalloc",
  "dma-debug-rodata",
  "dma-debug-invalid-area",
  /** Two live mappings that the device may write begin in one cache line. */
  "dma-debug-overlap",
  /** More than seven of them in one line: mappings are being leaked. */
  "dma-debug-overlap-limit",
  /** A list entry longer than the device takes, or across its boundary. */
  "dma-debug-sg-segment",
  "dma-debug-sg-boundary",
  /** No mapping holds the whole range. */
  "dma-debug-sync-not-allocated",
  "dma-debug-sync-direction",
  /** Synced for the CPU, though the device only reads it. */
  "dma-debug-sync-read-only",
  /** Synced for the device, though the device only writes it. */
  "dma-debug-sync-write-only",
  /** A driver was unbound while it had mappings. */
  "dma-leak",
] as const;

export type DmaDebugKind = (typeof DMA_DEBUG_KINDS)[number];
