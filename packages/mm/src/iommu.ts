import { PAGE_SHIFT, PAGE_SIZE, type PayloadRegion } from "./api/index.ts";

/** One in eight I/O pages is kept for blocks of more than one page. */
const MULTI_SHARE = 8;
/** Access rights, as bits. @kernel IOMMU_READ, IOMMU_WRITE (include/linux/iommu.h) */
export const IOMMU_READ = 1;
export const IOMMU_WRITE = 2;

/**
 * The I/O page table of one device, and its address allocator. Address = index of the I/O page << PAGE_SHIFT | offset.
 * Typed arrays by index: a translation is two loads.
 *
 * Freed single pages go to the end of a queue, so an address comes back as late as possible and a device that uses a
 * stale one faults.
 * @kernel drivers/iommu/dma-iommu.c, drivers/iommu/iova.c
 */
export class IommuDomain {
  /** Access rights of each I/O page, 0 where nothing is mapped. */
  readonly prot: Uint8Array;
  /** Byte offset in its region of each I/O page. */
  readonly #offset: Int32Array;
  readonly #regionIndex: Uint16Array;
  readonly #regions: PayloadRegion[] = [];
  readonly #singles: Int32Array;
  #singlesHead = 0;
  #singlesCount = 0;
  readonly #multiStart: number;
  readonly #size: number;

  constructor(aperturePages: number) {
    this.#size = aperturePages;
    this.prot = new Uint8Array(aperturePages);
    this.#offset = new Int32Array(aperturePages);
    this.#regionIndex = new Uint16Array(aperturePages);
    this.#multiStart = aperturePages - Math.floor(aperturePages / MULTI_SHARE);
    this.#singles = new Int32Array(this.#multiStart);
    // Index 0 stays unused, so that no device address is 0.
    for (let i = 1; i < this.#multiStart; i++) this.#singles[this.#singlesCount++] = i;
  }

  /** Maps `pages` I/O pages over the region from the page-aligned `offset`; the first index, or 0 when full. */
  map(region: PayloadRegion, offset: number, pages: number, prot: number): number {
    const first = pages === 1 ? this.#takeSingle() : this.#findRun(pages);
    if (first === 0) return 0;
    const regionIndex = this.#indexOf(region);
    for (let i = 0; i < pages; i++) {
      this.prot[first + i] = prot;
      this.#offset[first + i] = offset + (i << PAGE_SHIFT);
      this.#regionIndex[first + i] = regionIndex;
    }
    return first;
  }

  unmap(first: number, pages: number): void {
    for (let i = 0; i < pages; i++) this.prot[first + i] = 0;
    if (first >= this.#multiStart) return;
    const capacity = this.#singles.length;
    this.#singles[(this.#singlesHead + this.#singlesCount) % capacity] = first;
    this.#singlesCount++;
  }

  /** Whether every byte of the range is mapped with the rights asked for. */
  allows(dmaAddr: number, lengthBytes: number, prot: number): boolean {
    // Compared before any shift: that would cut an address off at 32 bits.
    if (dmaAddr < 0 || lengthBytes <= 0 || dmaAddr + lengthBytes > this.#size * PAGE_SIZE) return false;
    const last = (dmaAddr + lengthBytes - 1) >>> PAGE_SHIFT;
    for (let i = dmaAddr >>> PAGE_SHIFT; i <= last; i++) if ((this.prot[i]! & prot) !== prot) return false;
    return true;
  }

  /** The region behind a mapped address. */
  region(dmaAddr: number): PayloadRegion {
    return this.#regions[this.#regionIndex[dmaAddr >>> PAGE_SHIFT]!]!;
  }

  /** Byte offset in that region. */
  offset(dmaAddr: number): number {
    return this.#offset[dmaAddr >>> PAGE_SHIFT]! + (dmaAddr & (PAGE_SIZE - 1));
  }

  #takeSingle(): number {
    if (this.#singlesCount === 0) return 0;
    const index = this.#singles[this.#singlesHead]!;
    this.#singlesHead = this.#singlesHead + 1 === this.#singles.length ? 0 : this.#singlesHead + 1;
    this.#singlesCount--;
    return index;
  }

  #findRun(pages: number): number {
    for (let start = this.#multiStart, i = start; i < this.#size; i++) {
      if (this.prot[i] !== 0) start = i + 1;
      else if (i - start + 1 === pages) return start;
    }
    return 0;
  }

  #indexOf(region: PayloadRegion): number {
    const found = this.#regions.indexOf(region);
    return found >= 0 ? found : this.#regions.push(region) - 1;
  }
}
