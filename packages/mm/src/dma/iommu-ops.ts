import {
  DMA_ATTR_SKIP_CPU_SYNC, DMA_FROM_DEVICE, DMA_MAPPING_ERROR, DMA_TO_DEVICE, PAGE_SHIFT, PAGE_SIZE, type Page, type PayloadRegion, type Scatterlist,
} from "../api/index.ts";
import type { DeviceParts } from "./device-parts.ts";
import type { IommuDomain } from "./iommu.ts";
import { mapEach, type DmaOps } from "./ops.ts";
import { IOMMU_READ, IOMMU_WRITE } from "./translation.ts";

/** What the device may do under a mapping of this direction. @kernel dma_info_to_prot (drivers/iommu/dma-iommu.c) */
function protOf(direction: number): number {
  switch (direction) {
    case DMA_TO_DEVICE: return IOMMU_READ;
    case DMA_FROM_DEVICE: return IOMMU_WRITE;
    default: return IOMMU_READ | IOMMU_WRITE;
  }
}

function pagesOf(inPage: number, sizeBytes: number): number {
  return (inPage + sizeBytes + PAGE_SIZE - 1) >>> PAGE_SHIFT;
}

/** Device addresses are the domain's. @kernel drivers/iommu/dma-iommu.c */
export class IommuOps implements DmaOps {
  private readonly parts: DeviceParts;
  private readonly domain: IommuDomain;
  /** Neither a cache nor bounce buffers: a sync moves nothing. */
  private readonly plain: boolean;

  constructor(parts: DeviceParts, domain: IommuDomain) {
    this.parts = parts;
    this.domain = domain;
    this.plain = parts.upkeep.idle && parts.swiotlb === null;
    this.limitChanged(true);
  }

  /** @kernel iommu_dma_map_page */
  map(region: PayloadRegion, offset: number, sizeBytes: number, direction: number, attrs: number): number {
    if (this.parts.untrusted && ((offset | sizeBytes) & (PAGE_SIZE - 1)) !== 0) return this.mapBounced(region, offset, sizeBytes, direction);
    if ((attrs & DMA_ATTR_SKIP_CPU_SYNC) === 0) this.parts.upkeep.forDevice(region, offset, sizeBytes);
    return this.translate(region, offset, sizeBytes, direction);
  }

  private translate(region: PayloadRegion, offset: number, sizeBytes: number, direction: number): number {
    const inPage = offset & (PAGE_SIZE - 1);
    const first = this.domain.map(region, offset - inPage, pagesOf(inPage, sizeBytes), protOf(direction));
    return first === 0 ? DMA_MAPPING_ERROR : (first << PAGE_SHIFT) | inPage;
  }

  /** What lies beside the buffer in its page is nothing an untrusted device may see: zeroes lie there. @kernel iommu_dma_map_swiotlb */
  private mapBounced(region: PayloadRegion, offset: number, sizeBytes: number, direction: number): number {
    const { swiotlb, phys, limits, stats, reports } = this.parts;
    if (swiotlb === null) {
      reports.report("dma-unreachable", "warn", `device ${limits.name}`, limits.name, `${sizeBytes} bytes that do not fill whole pages must be bounced for an untrusted device: give the machine a bounce buffer`);
      return DMA_MAPPING_ERROR;
    }
    const address = swiotlb.map(limits, region, offset, sizeBytes, PAGE_SIZE - 1);
    if (address < 0) {
      stats.bounceFull++;
      return DMA_MAPPING_ERROR;
    }
    const bounce = phys.regionAt(address, sizeBytes)!;
    const start = phys.offsetIn(bounce, address);
    const firstPage = start & -PAGE_SIZE;
    const end = (start + sizeBytes + PAGE_SIZE - 1) & -PAGE_SIZE;
    bounce.bytes.fill(0, firstPage, start);
    bounce.bytes.fill(0, start + sizeBytes, end);
    // The device sees the zeroes, too, whatever the driver syncs itself.
    this.parts.upkeep.forDevice(bounce, firstPage, end - firstPage);
    const dmaAddr = this.translate(bounce, start, sizeBytes, direction);
    if (dmaAddr === DMA_MAPPING_ERROR) swiotlb.unmap(limits, address);
    else {
      stats.bounces++;
      this.parts.bounced();
    }
    return dmaAddr;
  }

  /** @kernel iommu_dma_unmap_page */
  unmap(dmaAddr: number, sizeBytes: number, direction: number, attrs: number): void {
    if ((attrs & DMA_ATTR_SKIP_CPU_SYNC) === 0) this.syncForCpu(dmaAddr, sizeBytes, direction);
    const bounce = this.bounceAddress(dmaAddr);
    this.domain.unmap(dmaAddr >>> PAGE_SHIFT, pagesOf(dmaAddr & (PAGE_SIZE - 1), sizeBytes));
    if (bounce >= 0) this.parts.swiotlb!.unmap(this.parts.limits, bounce);
  }

  /** Caches first, then the bounce buffer. @kernel iommu_dma_sync_single_for_cpu */
  syncForCpu(dmaAddr: number, sizeBytes: number, direction: number): void {
    if (this.plain === true || direction === DMA_TO_DEVICE) return;
    // By I/O pages: a segment of a list may have put memory side by side that is not.
    for (let done = 0; done < sizeBytes;) {
      const at = dmaAddr + done;
      const part = Math.min(sizeBytes - done, PAGE_SIZE - (at & (PAGE_SIZE - 1)));
      this.parts.upkeep.forCpu(this.domain.region(at), this.domain.offset(at), part);
      const bounce = this.bounceAddress(at);
      if (bounce >= 0) this.parts.swiotlb!.copyBack(this.parts.limits, bounce, part);
      done += part;
    }
  }

  /** The bounce buffer first, then caches. @kernel iommu_dma_sync_single_for_device */
  syncForDevice(dmaAddr: number, sizeBytes: number, direction: number): void {
    if (this.plain === true) return;
    for (let done = 0; done < sizeBytes;) {
      const at = dmaAddr + done;
      const part = Math.min(sizeBytes - done, PAGE_SIZE - (at & (PAGE_SIZE - 1)));
      const bounce = direction === DMA_FROM_DEVICE ? -1 : this.bounceAddress(at);
      if (bounce >= 0) this.parts.swiotlb!.copyIn(this.parts.limits, bounce, part);
      this.parts.upkeep.forDevice(this.domain.region(at), this.domain.offset(at), part);
      done += part;
    }
  }

  limitChanged(isIdle: boolean): void {
    this.domain.setLimit(this.parts.limits.limit, isIdle);
  }

  supports(): boolean {
    return true;
  }

  needsSync(_dmaAddr: number): boolean {
    return true;
  }

  isMapped(dmaAddr: number, sizeBytes: number): boolean {
    return this.domain.isMapped(dmaAddr, sizeBytes);
  }

  isWhole(dmaAddr: number, sizeBytes: number): boolean {
    return this.domain.isWhole(dmaAddr, sizeBytes);
  }

  /** Physical address of the bounce buffer behind a device address, or −1. */
  private bounceAddress(dmaAddr: number): number {
    const { swiotlb, phys } = this.parts;
    if (swiotlb === null) return -1;
    const address = phys.addressOf(this.domain.region(dmaAddr), this.domain.offset(dmaAddr));
    return swiotlb.isBounce(address) ? address : -1;
  }

  /**
   * One run of addresses for the whole list, each entry on pages of its own; what follows on without a gap becomes one
   * segment. An untrusted device gets entry by entry. @kernel iommu_dma_map_sg, __finalise_sg
   */
  mapSg(list: readonly Scatterlist[], nents: number, direction: number, attrs: number): number {
    if (this.parts.untrusted) return mapEach(this, list, nents, direction, attrs);
    let pages = 0;
    for (let i = 0; i < nents; i++) pages += pagesOf((list[i]!.page!.base + list[i]!.offset) & (PAGE_SIZE - 1), list[i]!.lengthBytes);
    const first = this.domain.reserve(pages);
    if (first === 0) return 0;
    let at = first;
    let segments = 0;
    for (let i = 0; i < nents; i++) {
      const { page, offset, lengthBytes } = list[i]!;
      const start = page!.base + offset;
      const inPage = start & (PAGE_SIZE - 1);
      if ((attrs & DMA_ATTR_SKIP_CPU_SYNC) === 0) this.parts.upkeep.forDevice(page!.region, start, lengthBytes);
      this.domain.fill(at, page!.region, start - inPage, pagesOf(inPage, lengthBytes), protOf(direction));
      const dmaAddr = (at << PAGE_SHIFT) | inPage;
      const before = segments === 0 ? null : list[segments - 1]!;
      if (before !== null && this.joins(before, dmaAddr, lengthBytes)) {
        before.dmaLengthBytes += lengthBytes;
        this.domain.join(at);
      } else {
        list[segments]!.dmaAddress = dmaAddr;
        list[segments]!.dmaLengthBytes = lengthBytes;
        segments++;
      }
      at += pagesOf(inPage, lengthBytes);
    }
    return segments;
  }

  private joins(before: Scatterlist, dmaAddr: number, lengthBytes: number): boolean {
    const { maxSegmentBytes, segmentBoundary } = this.parts.limits;
    const joined = before.dmaLengthBytes + lengthBytes;
    const size = segmentBoundary + 1;
    return before.dmaAddress + before.dmaLengthBytes === dmaAddr && joined <= maxSegmentBytes
      && Math.floor(before.dmaAddress / size) === Math.floor((before.dmaAddress + joined - 1) / size);
  }

  mapCoherent(page: Page, order: number): number {
    const first = this.domain.map(page.region, page.base, 1 << order, IOMMU_READ | IOMMU_WRITE);
    return first === 0 ? DMA_MAPPING_ERROR : first << PAGE_SHIFT;
  }

  unmapCoherent(dmaAddr: number, order: number): void {
    this.domain.unmap(dmaAddr >>> PAGE_SHIFT, 1 << order);
  }
}
