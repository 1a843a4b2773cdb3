import { L1_CACHE_BYTES, PAGE_SHIFT, PayloadRegion, type CpuCache } from "../api/index.ts";

/** Memory behind one region as it is without the CPU's cache. */
class Shadow {
  readonly region: PayloadRegion;
  /** What a device without coherence reads and writes. */
  readonly memory: PayloadRegion;
  /** Each byte as the CPU last fetched it or wrote it back: a line that differs is dirty. */
  readonly fetched: Uint8Array;
  readonly fetchedWords: Int32Array;
  /** Pages that are mapped uncached, for coherent memory: both sides see `region.bytes`. */
  readonly uncached: Uint8Array;

  constructor(region: PayloadRegion, zeroed: boolean) {
    const memory = likeIn(region, zeroed);
    this.region = region;
    this.memory = new PayloadRegion(`${region.name} without the CPU's cache`, memory, new Int32Array(memory.buffer), true, -1, region.kind);
    this.fetched = likeIn(region, zeroed);
    this.fetchedWords = new Int32Array(this.fetched.buffer);
    this.uncached = new Uint8Array((region.bytes.length >> PAGE_SHIFT) + 1);
  }
}

/** Another array with the region's bytes. Zeros are not copied: the system gives them only when they are touched. */
function likeIn({ bytes }: PayloadRegion, zeroed: boolean): Uint8Array<ArrayBuffer> {
  const like = new Uint8Array(bytes.length);
  if (!zeroed) like.set(bytes);
  return like;
}

/** The kernel's cache maintenance, and what hardware does between it, on real bytes. */
export class ShadowedCache implements CpuCache {
  readonly lineBytes: number = L1_CACHE_BYTES;
  readonly #shadows: Shadow[] = [];

  /** Of regions of whole cache lines, which lie on words. `zeroed`: nothing has been written to them yet. */
  constructor(regions: readonly PayloadRegion[], zeroed: boolean) {
    for (const region of regions) this.#shadows.push(new Shadow(region, zeroed));
  }

  evict(region: PayloadRegion, offset: number, lengthBytes: number): number {
    const shadow = this.#shadowOf(region);
    return shadow === null ? 0 : this.#forDirty(shadow, offset, lengthBytes, true);
  }

  dirtyLines(region: PayloadRegion, offset: number, lengthBytes: number): number {
    const shadow = this.#shadowOf(region);
    return shadow === null ? 0 : this.#forDirty(shadow, offset, lengthBytes, false);
  }

  memoryByte(region: PayloadRegion, offset: number): number {
    return (this.#shadowOf(region)?.memory ?? region).bytes[offset]!;
  }

  /** Where a device without coherence finds these bytes. */
  deviceSide(region: PayloadRegion, offset: number): PayloadRegion {
    const shadow = this.#shadowOf(region);
    return shadow === null || shadow.uncached[offset >> PAGE_SHIFT] !== 0 ? region : shadow.memory;
  }

  /** A device without coherence has written: lines the CPU had changed are written back over it, as they may at any time. */
  deviceWrote(region: PayloadRegion, offset: number, lengthBytes: number): void {
    this.evict(region, offset, lengthBytes);
  }

  /** A coherent device has written into the CPU's side: memory has it too, and no line is left behind. */
  snoopWrote(region: PayloadRegion, offset: number, lengthBytes: number): void {
    const shadow = this.#shadowOf(region);
    if (shadow === null) return;
    const bytes = region.bytes.subarray(offset, offset + lengthBytes);
    shadow.memory.bytes.set(bytes, offset);
    shadow.fetched.set(bytes, offset);
  }

  /** Dirty lines go to memory: what the CPU wrote is there for the device. @kernel arch_sync_dma_for_device (arch/arm64/mm/dma-mapping.c): clean, for all directions */
  clean(region: PayloadRegion, offset: number, lengthBytes: number): void {
    this.evict(region, offset, lengthBytes);
  }

  /**
   * The CPU forgets its lines and sees memory. What it wrote into them is lost, except in lines that the range only touches:
   * those are written back first, with whatever the device put beside them. @kernel arch_sync_dma_for_cpu, dcache_inval_poc (arch/arm64/mm/cache.S)
   */
  invalidate(region: PayloadRegion, offset: number, lengthBytes: number): void {
    const shadow = this.#shadowOf(region);
    if (shadow === null || lengthBytes <= 0) return;
    const { lineBytes } = this;
    const end = offset + lengthBytes;
    if (offset % lineBytes !== 0) this.#forDirty(shadow, offset, 1, true);
    if (end % lineBytes !== 0) this.#forDirty(shadow, end - 1, 1, true);
    const from = offset - (offset % lineBytes);
    const to = Math.min(Math.ceil(end / lineBytes) * lineBytes, region.bytes.length);
    const memory = shadow.memory.bytes.subarray(from, to);
    region.bytes.set(memory, from);
    shadow.fetched.set(memory, from);
  }

  /** From now on, or no longer, these pages are seen by CPU and device alike. @kernel arch_dma_prep_coherent, pgprot_dmacoherent */
  setUncached(region: PayloadRegion, offset: number, lengthBytes: number, uncached: boolean): void {
    const shadow = this.#shadowOf(region);
    if (shadow === null) return;
    shadow.uncached.fill(uncached ? 1 : 0, offset >> PAGE_SHIFT, (offset + lengthBytes - 1 >> PAGE_SHIFT) + 1);
    this.snoopWrote(region, offset, lengthBytes);
  }

  /** Counts the dirty lines that the range touches, and writes them back if asked. */
  #forDirty(shadow: Shadow, offset: number, lengthBytes: number, writeBack: boolean): number {
    const { lineBytes } = this;
    const { words } = shadow.region;
    const { fetchedWords } = shadow;
    let dirty = 0;
    for (let line = offset - (offset % lineBytes); line < offset + lengthBytes; line += lineBytes) {
      const end = line + lineBytes >> 2;
      let at = line >> 2;
      while (at < end && words[at] === fetchedWords[at]) at++;
      if (at === end) continue;
      dirty++;
      if (!writeBack) continue;
      const memory = shadow.memory.words;
      for (let i = line >> 2; i < end; i++) {
        memory[i] = words[i]!;
        fetchedWords[i] = words[i]!;
      }
    }
    return dirty;
  }

  #shadowOf(region: PayloadRegion): Shadow | null {
    for (let i = 0; i < this.#shadows.length; i++) if (this.#shadows[i]!.region === region) return this.#shadows[i]!;
    return null;
  }
}
