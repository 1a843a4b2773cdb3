import type { Kernel, Timer } from "@netmem/kernel/api";
import { NSEC_PER_MSEC } from "@netmem/kernel/api";
import { PAGE_SHIFT, PAGE_SIZE, type PayloadRegion } from "../api/index.ts";
import type { Translation } from "./translation.ts";

/** One in eight I/O pages is kept for blocks of more than one page. */
const MULTI_SHARE = 8;
/** @kernel IOVA_DEFAULT_FQ_SIZE, IOVA_FQ_TIMEOUT (drivers/iommu/dma-iommu.c) */
const FQ_SIZE = 256;
const FQ_TIMEOUT_NS: number = 10 * NSEC_PER_MSEC;

/**
 * The I/O page table of one device, and its address allocator. Address = index of the I/O page << PAGE_SHIFT | offset.
 * Typed arrays by index: a translation is two loads.
 *
 * Freed single pages go to the end of a queue, so an address comes back as late as possible and a device that uses a
 * stale one faults.
 * @kernel drivers/iommu/dma-iommu.c, drivers/iommu/iova.c
 */
export class IommuDomain implements Translation {
  changes = 0;
  /** Access rights of each I/O page, 0 where nothing is mapped. */
  readonly prot: Uint8Array;
  /** I/O pages that a mapping begins with. */
  private readonly begins: Uint8Array;
  /** I/O pages that are unmapped and still in the device's translation cache. */
  private readonly stale: Uint8Array;
  /** Byte offset in its region of each I/O page. */
  private readonly offsets: Int32Array;
  private readonly regionIndex: Uint16Array;
  private readonly regions: PayloadRegion[] = [];
  private lastRegion = 0;
  private singles = new Int32Array(0);
  private singlesHead = 0;
  private singlesCount = 0;
  private multiStart = 0;
  /** I/O pages that the device reaches. */
  private most: number;
  private readonly size: number;
  private readonly sizeBytes: number;
  private readonly queue: FlushQueue | null;

  /** `kernel` for deferred invalidation, which needs a timer; null for strict. */
  constructor(aperturePages: number, kernel: Pick<Kernel, "timers"> | null) {
    this.size = aperturePages;
    this.sizeBytes = aperturePages * PAGE_SIZE;
    this.most = aperturePages;
    this.prot = new Uint8Array(aperturePages);
    this.begins = new Uint8Array(aperturePages);
    this.stale = new Uint8Array(aperturePages);
    this.offsets = new Int32Array(aperturePages);
    this.regionIndex = new Uint16Array(aperturePages);
    this.partition(aperturePages);
    this.queue = kernel === null ? null : new FlushQueue(kernel, (first, pages) => this.invalidate(first, pages));
  }

  /** The device drives addresses up to `limit`. With nothing mapped, what is below is shared out anew to single pages and blocks. */
  setLimit(limit: number, isIdle: boolean): void {
    this.most = Math.min(this.size, Math.floor((limit + 1) / PAGE_SIZE));
    if (!isIdle) return;
    this.queue?.flush();
    this.partition(this.most);
  }

  private partition(pages: number): void {
    this.multiStart = pages - Math.floor(pages / MULTI_SHARE);
    this.singles = new Int32Array(this.multiStart);
    this.singlesHead = 0;
    this.singlesCount = 0;
    // Index 0 stays unused, so that no device address is 0.
    for (let i = 1; i < this.multiStart; i++) this.singles[this.singlesCount++] = i;
  }

  /** Maps `pages` I/O pages over the region from the page-aligned `offset`; the first index, or 0 when full. */
  map(region: PayloadRegion, offset: number, pages: number, prot: number): number {
    const first = this.reserve(pages);
    if (first !== 0) this.fill(first, region, offset, pages, prot);
    return first;
  }

  /** A run of I/O pages that nothing is mapped at yet; 0 when full. @kernel iommu_dma_alloc_iova */
  reserve(pages: number): number {
    if (pages > 1) return this.findRun(pages);
    return this.most >= this.multiStart ? this.takeSingle() : this.takeSingleBelow();
  }

  /** @kernel iommu_map */
  fill(first: number, region: PayloadRegion, offset: number, pages: number, prot: number): void {
    const regionIndex = this.indexOf(region);
    this.changes++;
    this.begins[first] = 1;
    for (let i = 0; i < pages; i++) {
      this.prot[first + i] = prot;
      this.offsets[first + i] = offset + (i << PAGE_SHIFT);
      this.regionIndex[first + i] = regionIndex;
    }
  }

  /** This I/O page goes on with the mapping of the one before. */
  join(index: number): void {
    this.begins[index] = 0;
  }

  /** At once, or when the queue is flushed; until then the address is not given out again. @kernel __iommu_dma_unmap */
  unmap(first: number, pages: number): void {
    this.begins[first] = 0;
    if (this.queue === null) {
      this.invalidate(first, pages);
      return;
    }
    for (let i = 0; i < pages; i++) this.stale[first + i] = 1;
    this.queue.add(first, pages);
  }

  private invalidate(first: number, pages: number): void {
    this.changes++;
    for (let i = 0; i < pages; i++) {
      this.prot[first + i] = 0;
      this.stale[first + i] = 0;
    }
    if (first >= this.multiStart) return;
    this.putSingle(first);
  }

  allows(dmaAddr: number, lengthBytes: number, prot: number): boolean {
    // Compared before any shift: that would cut an address off at 32 bits.
    if (dmaAddr < 0 || lengthBytes <= 0 || dmaAddr + lengthBytes > this.sizeBytes) return false;
    const first = dmaAddr >>> PAGE_SHIFT;
    if ((this.prot[first]! & prot) !== prot) return false;
    const last = (dmaAddr + lengthBytes - 1) >>> PAGE_SHIFT;
    return first === last || this.allAllow(first + 1, last, prot);
  }

  private allAllow(first: number, last: number, prot: number): boolean {
    for (let i = first; i <= last; i++) if ((this.prot[i]! & prot) !== prot) return false;
    return true;
  }

  refusal(dmaAddr: number, lengthBytes: number): string {
    const mapped = this.allows(dmaAddr, lengthBytes, 0) && this.prot[dmaAddr >>> PAGE_SHIFT] !== 0;
    return mapped ? "the mapping does not allow this direction" : "no live mapping covers it";
  }

  region(dmaAddr: number): PayloadRegion {
    return this.regions[this.regionIndex[dmaAddr >>> PAGE_SHIFT]!]!;
  }

  offset(dmaAddr: number): number {
    return this.offsets[dmaAddr >>> PAGE_SHIFT]! + (dmaAddr & (PAGE_SIZE - 1));
  }

  isStale(dmaAddr: number): boolean {
    return this.stale[dmaAddr >>> PAGE_SHIFT] !== 0;
  }

  /** Whether there are translations for the whole range that nobody has undone. */
  isMapped(dmaAddr: number, sizeBytes: number): boolean {
    if (!(dmaAddr > 0 && sizeBytes > 0 && dmaAddr + sizeBytes <= this.sizeBytes)) return false;
    const last = (dmaAddr + sizeBytes - 1) >>> PAGE_SHIFT;
    for (let i = dmaAddr >>> PAGE_SHIFT; i <= last; i++) if (this.prot[i] === 0 || this.stale[i] !== 0) return false;
    return true;
  }

  /** Whether the I/O pages of the range are those of one mapping, from its first to its last. */
  isWhole(dmaAddr: number, sizeBytes: number): boolean {
    if (!this.isMapped(dmaAddr, sizeBytes)) return false;
    const first = dmaAddr >>> PAGE_SHIFT;
    const next = ((dmaAddr + sizeBytes - 1) >>> PAGE_SHIFT) + 1;
    if (this.begins[first] === 0) return false;
    for (let i = first + 1; i < next; i++) if (this.begins[i] !== 0) return false;
    return next >= this.size || this.begins[next] !== 0 || this.prot[next] === 0 || this.stale[next] !== 0;
  }

  private takeSingle(): number {
    // The kernel, too, empties the queue when it runs out of addresses.
    if (this.singlesCount === 0) this.queue?.flush();
    if (this.singlesCount === 0) return 0;
    const index = this.singles[this.singlesHead]!;
    this.singlesHead = this.singlesHead + 1 === this.singles.length ? 0 : this.singlesHead + 1;
    this.singlesCount--;
    return index;
  }

  /** For a device with few address lines: what lies above them goes to the end of the queue again. */
  private takeSingleBelow(): number {
    for (let tries = this.singlesCount; tries > 0; tries--) {
      const index = this.takeSingle();
      if (index < this.most) return index;
      this.putSingle(index);
    }
    if (this.queue === null || this.queue.isEmpty()) return 0;
    this.queue.flush();
    return this.takeSingleBelow();
  }

  private putSingle(index: number): void {
    const capacity = this.singles.length;
    const end = this.singlesHead + this.singlesCount;
    this.singles[end < capacity ? end : end - capacity] = index;
    this.singlesCount++;
  }

  private findRun(pages: number): number {
    for (let start = this.multiStart, i = start; i < this.most; i++) {
      if (this.prot[i] !== 0) start = i + 1;
      else if (i - start + 1 === pages) return start;
    }
    if (this.queue === null || this.queue.isEmpty()) return 0;
    this.queue.flush();
    return this.findRun(pages);
  }

  private indexOf(region: PayloadRegion): number {
    // Nearly always the same one as before, the host's.
    if (this.regions[this.lastRegion] === region) return this.lastRegion;
    const found = this.regions.indexOf(region);
    this.lastRegion = found >= 0 ? found : this.regions.push(region) - 1;
    return this.lastRegion;
  }
}

/** Ranges that were unmapped and wait for one flush of the device's translation cache. @kernel struct iova_fq */
class FlushQueue {
  private readonly first: Int32Array = new Int32Array(FQ_SIZE);
  private readonly pages: Int32Array = new Int32Array(FQ_SIZE);
  private readonly invalidate: (first: number, pages: number) => void;
  private readonly timers: Kernel["timers"];
  private readonly timer: Timer;
  private count = 0;

  constructor(kernel: Pick<Kernel, "timers">, invalidate: (first: number, pages: number) => void) {
    this.invalidate = invalidate;
    this.timers = kernel.timers;
    this.timer = kernel.timers.timerSetup(() => this.flush(), 0);
  }

  isEmpty(): boolean {
    return this.count === 0;
  }

  /** @kernel queue_iova */
  add(first: number, pages: number): void {
    if (this.count === FQ_SIZE) this.flush();
    this.first[this.count] = first;
    this.pages[this.count++] = pages;
    if (!this.timer.pending) this.timers.modTimer(this.timer, FQ_TIMEOUT_NS);
  }

  /** @kernel fq_flush_iotlb, fq_ring_free */
  flush(): void {
    if (this.timer.pending) this.timers.timerDelete(this.timer);
    for (let i = 0; i < this.count; i++) this.invalidate(this.first[i]!, this.pages[i]!);
    this.count = 0;
  }
}
