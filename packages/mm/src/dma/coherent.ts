import { UsageError } from "@netmem/kernel/api";
import type { CoherentMemory, Page, PayloadRegion } from "../api/index.ts";

/** A block of coherent memory; on a strongly ordered machine loads and stores are just that. */
export class CoherentBlock implements CoherentMemory {
  readonly region: PayloadRegion;
  readonly base: number;
  readonly dmaAddr: number;
  readonly sizeBytes: number;
  readonly page: Page;
  readonly order: number;
  /** Its own, and no others: an offset beyond it finds none. */
  private readonly words: Int32Array;

  constructor(page: Page, dmaAddr: number, sizeBytes: number, order: number) {
    this.region = page.region;
    this.base = page.base;
    this.dmaAddr = dmaAddr;
    this.sizeBytes = sizeBytes;
    this.page = page;
    this.order = order;
    this.words = page.region.words.subarray(page.base >> 2, (page.base + sizeBytes) >> 2);
  }

  read32(offset: number): number {
    const word = this.words[offset >> 2];
    if (word === undefined || (offset & 3) !== 0 || (offset | 0) !== offset) this.refuse(offset);
    return word;
  }

  write32(offset: number, value: number): void {
    const { words } = this;
    const word = offset >> 2;
    if (word < 0 || word >= words.length || (offset & 3) !== 0 || (offset | 0) !== offset) this.refuse(offset);
    words[word] = value;
  }

  private refuse(offset: number): never {
    throw new UsageError("mm", "offset in coherent memory", offset, `give a multiple of 4 within its ${this.sizeBytes} bytes`);
  }

  rmb(): void {
    // Loads are in order anyway.
  }

  wmb(): void {
    // So are stores.
  }
}

/**
 * The same on a machine that reorders as much as it may. Stores wait in a buffer until a write barrier. Loads may be done early: a
 * word that was not loaded since the last read barrier, other than the first that is, may be answered with what memory
 * held at that barrier. A load that is repeated sees memory, so that polling makes progress.
 * @kernel Documentation/memory-barriers.txt
 */
export class WeakCoherentBlock extends CoherentBlock {
  /** Memory as it was at the last read barrier, or at the last load of the word since. */
  readonly #seen: Int32Array;
  readonly #loaded: Uint8Array;
  readonly #stores = new Map<number, number>();
  #anyLoaded = false;

  constructor(page: Page, dmaAddr: number, sizeBytes: number, order: number) {
    super(page, dmaAddr, sizeBytes, order);
    const words = Math.ceil(sizeBytes / 4);
    this.#seen = new Int32Array(words);
    this.#loaded = new Uint8Array(words);
    this.rmb();
  }

  override read32(offset: number): number {
    const now = super.read32(offset);
    const word = offset >> 2;
    const own = this.#stores.get(word);
    if (own !== undefined) return own;
    if (!this.#anyLoaded || this.#loaded[word] !== 0) this.#seen[word] = now;
    this.#anyLoaded = true;
    this.#loaded[word] = 1;
    return this.#seen[word]!;
  }

  override write32(offset: number, value: number): void {
    super.read32(offset);
    this.#stores.set(offset >> 2, value);
  }

  override rmb(): void {
    const first = this.base >> 2;
    this.#seen.set(this.region.words.subarray(first, first + this.#seen.length));
    this.#loaded.fill(0);
    this.#anyLoaded = false;
  }

  override wmb(): void {
    for (const [word, value] of this.#stores) super.write32(word << 2, value);
    this.#stores.clear();
  }
}

/** Pages of one device, set aside for its coherent memory; a piece is a power of two of them. @kernel kernel/dma/coherent.c */
export class CarveOut {
  readonly #pages: readonly Page[];
  readonly #taken: Uint8Array;

  constructor(pages: readonly Page[]) {
    this.#pages = pages;
    this.#taken = new Uint8Array(pages.length);
  }

  /** @kernel dma_alloc_from_dev_coherent */
  take(order: number): Page | null {
    const size = 1 << order;
    for (let start = 0; start + size <= this.#taken.length; start += size) {
      if (this.#taken.subarray(start, start + size).some((taken) => taken !== 0)) continue;
      this.#taken.fill(1, start, start + size);
      return this.#pages[start]!;
    }
    return null;
  }

  /** True if it was one of its own. @kernel dma_release_from_dev_coherent */
  giveBack(page: Page, order: number): boolean {
    const start = this.#pages.indexOf(page);
    if (start < 0) return false;
    this.#taken.fill(0, start, start + (1 << order));
    return true;
  }
}
