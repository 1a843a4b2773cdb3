import type { ReportSink } from "@netmem/kernel/api";
import { PAGE_SIZE, type DeviceBus, type DmaStats, type PayloadMemory, type PayloadRegion } from "../api/index.ts";
import { checkRange } from "../payload.ts";
import type { ShadowedCache } from "./cpu-cache.ts";
import { IOMMU_READ, IOMMU_WRITE, type Translation } from "./translation.ts";

export interface BusParts {
  readonly name: string;
  readonly stats: DmaStats;
  readonly translation: Translation;
  readonly payload: PayloadMemory;
  readonly reports: ReportSink;
  readonly cache: ShadowedCache | null;
  readonly coherent: boolean;
  /** The driver's fault handler. @kernel report_iommu_fault */
  readonly handlesFault: (dmaAddr: number, isWrite: boolean) => boolean;
  readonly rmb: () => void;
  readonly wmb: () => void;
}

/** The device's half: transfers real bytes, and only where its translation lets it. */
export class MemoryBus implements DeviceBus {
  private readonly parts: BusParts;
  private readonly translation: Translation;
  private readonly payload: PayloadMemory;
  /** The cache that stands between device and CPU, if any is modelled. */
  private readonly cache: ShadowedCache | null;
  /** Where words lay last, as the device remembers it until translations change: first address of that page; its region's words, and which of them is its first. */
  private wordsStart: number;
  private words: Int32Array;
  private wordsFirst: number;
  /** The translations by which it may read there, and write; −1 for none. */
  private readChanges: number;
  private writeChanges: number;

  constructor(parts: BusParts) {
    this.parts = parts;
    this.translation = parts.translation;
    this.payload = parts.payload;
    this.cache = parts.cache;
    this.wordsStart = 0;
    this.words = new Int32Array(0);
    this.wordsFirst = 0;
    this.readChanges = -1;
    this.writeChanges = -1;
  }

  write(dmaAddr: number, source: PayloadRegion, sourceOffset: number, lengthBytes: number): boolean {
    if (!this.translation.allows(dmaAddr, lengthBytes, IOMMU_WRITE)) return this.fault(true, dmaAddr, lengthBytes);
    checkRange(source, sourceOffset, lengthBytes);
    const first = PAGE_SIZE - (dmaAddr & (PAGE_SIZE - 1));
    // Most frames lie in one page.
    if (lengthBytes <= first) {
      this.writeInPage(dmaAddr, source, sourceOffset, lengthBytes);
      return true;
    }
    this.writeInPage(dmaAddr, source, sourceOffset, first);
    for (let done = first; done < lengthBytes; done += PAGE_SIZE) {
      this.writeInPage(dmaAddr + done, source, sourceOffset + done, Math.min(lengthBytes - done, PAGE_SIZE));
    }
    return true;
  }

  private writeInPage(dmaAddr: number, source: PayloadRegion, sourceOffset: number, lengthBytes: number): void {
    const region = this.translation.region(dmaAddr);
    const offset = this.translation.offset(dmaAddr);
    if (this.translation.isStale(dmaAddr)) this.parts.stats.staleAccesses++;
    if (this.cache === null) {
      this.payload.dmaCopy(region, offset, source, sourceOffset, lengthBytes);
      return;
    }
    this.payload.dmaCopy(this.side(region, offset), offset, source, sourceOffset, lengthBytes);
    this.wrote(region, offset, lengthBytes);
  }

  read(dmaAddr: number, target: PayloadRegion, targetOffset: number, lengthBytes: number): boolean {
    if (!this.translation.allows(dmaAddr, lengthBytes, IOMMU_READ)) return this.fault(false, dmaAddr, lengthBytes);
    checkRange(target, targetOffset, lengthBytes);
    let done = 0;
    while (done < lengthBytes) {
      const at = dmaAddr + done;
      const part = Math.min(lengthBytes - done, PAGE_SIZE - (at & (PAGE_SIZE - 1)));
      const offset = this.translation.offset(at);
      if (this.translation.isStale(at)) this.parts.stats.staleAccesses++;
      this.payload.dmaCopy(target, targetOffset + done, this.side(this.translation.region(at), offset), offset, part);
      done += part;
    }
    return true;
  }

  read32(dmaAddr: number): number {
    const at = dmaAddr - this.wordsStart;
    if (at >= 0 && at < PAGE_SIZE && this.readChanges === this.translation.changes) return this.words[this.wordsFirst + (at >> 2)]!;
    if (!this.translation.allows(dmaAddr, 4, IOMMU_READ)) {
      this.fault(false, dmaAddr, 4);
      return 0;
    }
    const region = this.translation.region(dmaAddr);
    const offset = this.translation.offset(dmaAddr);
    if (this.cache === null) {
      this.remember(dmaAddr, region, offset, IOMMU_READ);
      return region.words[offset >> 2]!;
    }
    return this.side(region, offset).words[offset >> 2]!;
  }

  write32(dmaAddr: number, value: number): boolean {
    const at = dmaAddr - this.wordsStart;
    if (at >= 0 && at < PAGE_SIZE && this.writeChanges === this.translation.changes) {
      this.words[this.wordsFirst + (at >> 2)] = value;
      return true;
    }
    if (!this.translation.allows(dmaAddr, 4, IOMMU_WRITE)) return this.fault(true, dmaAddr, 4);
    const region = this.translation.region(dmaAddr);
    const offset = this.translation.offset(dmaAddr);
    if (this.cache === null) {
      this.remember(dmaAddr, region, offset, IOMMU_WRITE);
      region.words[offset >> 2] = value;
      return true;
    }
    this.side(region, offset).words[offset >> 2] = value;
    this.wrote(region, offset, 4);
    return true;
  }

  registerRead(): void {
    this.parts.rmb();
  }

  registerWrite(): void {
    this.parts.wmb();
  }

  private remember(dmaAddr: number, region: PayloadRegion, offset: number, prot: number): void {
    const inPage = dmaAddr & (PAGE_SIZE - 1);
    const first = offset - inPage;
    // A region may end within a page, and its words at their end.
    if (first < 0 || first + PAGE_SIZE > region.words.length * 4) return;
    const start = dmaAddr - inPage;
    if (this.wordsStart !== start) {
      this.readChanges = -1;
      this.writeChanges = -1;
    }
    this.wordsStart = start;
    this.words = region.words;
    this.wordsFirst = first >> 2;
    if (prot === IOMMU_READ) this.readChanges = this.translation.changes;
    else this.writeChanges = this.translation.changes;
  }

  /** Memory as this device sees it. */
  private side(region: PayloadRegion, offset: number): PayloadRegion {
    return this.cache === null || this.parts.coherent ? region : this.cache.deviceSide(region, offset);
  }

  private wrote(region: PayloadRegion, offset: number, lengthBytes: number): void {
    if (this.parts.coherent) this.cache!.snoopWrote(region, offset, lengthBytes);
    else if (this.side(region, offset) !== region) this.cache!.deviceWrote(region, offset, lengthBytes);
  }

  private fault(isWrite: boolean, dmaAddr: number, lengthBytes: number): false {
    const { name, stats, reports } = this.parts;
    stats.faults++;
    if (this.parts.handlesFault(dmaAddr, isWrite)) return false;
    reports.report(
      "dma-fault", "warn", `device ${name} address 0x${dmaAddr.toString(16)}`, name,
      `DMA ${isWrite ? "write" : "read"} of ${lengthBytes} bytes refused: ${this.translation.refusal(dmaAddr, lengthBytes)}`,
    );
    return false;
  }
}
