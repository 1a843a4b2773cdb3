import type { PayloadRegion } from "./payload.ts";

/**
 * The cache between CPUs and memory, as a device without coherence sees it. `region.bytes` is the CPU's side; memory
 * itself is a second copy, and only syncs, evictions and coherent devices carry bytes between the two.
 *
 * It is the worst that hardware may do. Every line counts as cached, since a CPU may fetch any line at any time: what a
 * device writes is not seen before the line is invalidated (H1). A line that the CPU changed is dirty, and is
 * written back whenever a device writes under it, which destroys the device's bytes (H2, H5); whole lines move, so a
 * neighbour in the same line goes with it (H3). A store of the byte that was there already cannot be seen to make a line dirty.
 */
export interface CpuCache {
  readonly lineBytes: number;
  /** Writes dirty lines of the range back to memory, as replacement does at any time; answers how many. */
  readonly evict: (region: PayloadRegion, offset: number, lengthBytes: number) => number;
  /** Lines of the range that the CPU changed since they were last fetched or written back. */
  readonly dirtyLines: (region: PayloadRegion, offset: number, lengthBytes: number) => number;
  /** A byte of memory itself, as a device would read it. */
  readonly memoryByte: (region: PayloadRegion, offset: number) => number;
}
