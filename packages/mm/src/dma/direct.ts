import {
  DMA_ATTR_SKIP_CPU_SYNC, DMA_BIDIRECTIONAL, DMA_MAPPING_ERROR, DMA_TO_DEVICE, L1_CACHE_BYTES, PAGE_SIZE, type Page, type PayloadRegion, type Scatterlist,
} from "../api/index.ts";
import { kmallocSizeRoundup } from "../slab/buckets.ts";
import type { DeviceParts } from "./device-parts.ts";
import { mapEach, type DmaOps } from "./ops.ts";
import type { Translation } from "./translation.ts";

/** Device addresses are physical ones. What the device cannot reach is bounced. @kernel kernel/dma/direct.c, kernel/dma/direct.h */
export class DirectOps implements DmaOps, Translation {
  readonly changes = 0;
  private readonly parts: DeviceParts;
  private overflowReported = false;

  constructor(parts: DeviceParts) {
    this.parts = parts;
  }

  /** @kernel dma_direct_map_page */
  map(region: PayloadRegion, offset: number, sizeBytes: number, direction: number, attrs: number): number {
    const { phys, swiotlb, limits } = this.parts;
    const address = phys.register(region, offset);
    const reachable = address + sizeBytes - 1 <= limits.limit;
    if (this.parts.forceBounce || !reachable || this.isUnsafe(sizeBytes, direction)) {
      if (swiotlb !== null && region.kind !== "device") return this.bounce(region, offset, sizeBytes, direction, attrs);
      if (!reachable || this.parts.forceBounce) return this.overflow(address, sizeBytes);
    }
    if ((attrs & DMA_ATTR_SKIP_CPU_SYNC) === 0) this.parts.upkeep.forDevice(region, offset, sizeBytes);
    return address;
  }

  /** A buffer whose bucket is no multiple of a cache line may share one. @kernel dma_kmalloc_needs_bounce (include/linux/dma-map-ops.h) */
  private isUnsafe(sizeBytes: number, direction: number): boolean {
    if (this.parts.coherent || direction === DMA_TO_DEVICE || this.parts.swiotlb === null) return false;
    return sizeBytes < 2 * L1_CACHE_BYTES && kmallocSizeRoundup(sizeBytes) % L1_CACHE_BYTES !== 0;
  }

  /** @kernel swiotlb_map */
  private bounce(region: PayloadRegion, offset: number, sizeBytes: number, direction: number, attrs: number): number {
    const { swiotlb, limits, stats } = this.parts;
    const address = swiotlb!.map(limits, region, offset, sizeBytes, 0);
    if (address < 0) {
      stats.bounceFull++;
      return DMA_MAPPING_ERROR;
    }
    if (address + sizeBytes - 1 > limits.limit) {
      swiotlb!.unmap(limits, address);
      return this.overflow(address, sizeBytes);
    }
    stats.bounces++;
    this.parts.bounced();
    if ((attrs & DMA_ATTR_SKIP_CPU_SYNC) === 0) this.forDevice(address, sizeBytes, direction, false);
    return address;
  }

  private overflow(address: number, sizeBytes: number): number {
    if (!this.overflowReported) {
      this.overflowReported = true;
      const { limits, reports } = this.parts;
      reports.report("dma-unreachable", "warn", `device ${limits.name} address 0x${address.toString(16)}`, limits.name, `${sizeBytes} bytes lie beyond its mask 0x${limits.limit.toString(16)}, and there is no bounce buffer for them: give the machine one, or the device a wider mask; reported once`);
    }
    return DMA_MAPPING_ERROR;
  }

  /** @kernel dma_direct_unmap_page */
  unmap(dmaAddr: number, sizeBytes: number, direction: number, attrs: number): void {
    if ((attrs & DMA_ATTR_SKIP_CPU_SYNC) === 0) this.syncForCpu(dmaAddr, sizeBytes, direction);
    if (this.isBounced(dmaAddr)) this.parts.swiotlb!.unmap(this.parts.limits, dmaAddr);
  }

  /** Caches first, then the bounce buffer. @kernel dma_direct_sync_single_for_cpu */
  syncForCpu(dmaAddr: number, sizeBytes: number, direction: number): void {
    if (direction === DMA_TO_DEVICE) return;
    const region = this.region(dmaAddr);
    this.parts.upkeep.forCpu(region, this.offset(dmaAddr), sizeBytes);
    if (this.isBounced(dmaAddr)) this.parts.swiotlb!.copyBack(this.parts.limits, dmaAddr, sizeBytes);
  }

  /** The bounce buffer first, then caches. @kernel dma_direct_sync_single_for_device */
  syncForDevice(dmaAddr: number, sizeBytes: number, direction: number): void {
    this.forDevice(dmaAddr, sizeBytes, direction, true);
  }

  private forDevice(dmaAddr: number, sizeBytes: number, direction: number, copies: boolean): void {
    const writes = direction === DMA_TO_DEVICE || direction === DMA_BIDIRECTIONAL;
    if (copies && writes && this.isBounced(dmaAddr)) this.parts.swiotlb!.copyIn(this.parts.limits, dmaAddr, sizeBytes);
    this.parts.upkeep.forDevice(this.region(dmaAddr), this.offset(dmaAddr), sizeBytes);
  }

  limitChanged(): void {
    // Each mapping looks at the limit.
  }

  /** Where all memory lies beyond it, nothing helps. @kernel dma_direct_supported */
  supports(limit: number): boolean {
    return limit >= this.parts.phys.hostBase + PAGE_SIZE - 1;
  }

  /** @kernel dma_direct_need_sync */
  needsSync(dmaAddr: number): boolean {
    return !this.parts.coherent || this.isBounced(dmaAddr);
  }

  private isBounced(dmaAddr: number): boolean {
    const { swiotlb } = this.parts;
    return swiotlb !== null && swiotlb.isBounce(dmaAddr);
  }

  isMapped(dmaAddr: number, sizeBytes: number): boolean {
    return sizeBytes > 0 && this.parts.phys.regionAt(dmaAddr, sizeBytes) !== null;
  }

  /** Of physical memory nobody knows what is mapped, but for a bounce buffer, which must be somebody's. */
  isWhole(dmaAddr: number, sizeBytes: number): boolean {
    return this.isMapped(dmaAddr, sizeBytes) && (!this.isBounced(dmaAddr) || this.parts.swiotlb!.isTaken(dmaAddr));
  }

  /** None is merged. @kernel dma_direct_map_sg */
  mapSg(list: readonly Scatterlist[], nents: number, direction: number, attrs: number): number {
    return mapEach(this, list, nents, direction, attrs);
  }

  mapCoherent(page: Page, _order: number): number {
    return this.parts.phys.addressOf(page.region, page.base);
  }

  unmapCoherent(_dmaAddr: number, _order: number): void {
    // A physical address needs no undoing.
  }

  allows(dmaAddr: number, lengthBytes: number, _prot: number): boolean {
    return lengthBytes > 0 && this.parts.phys.regionAt(dmaAddr, lengthBytes) !== null;
  }

  refusal(): string {
    return "there is no memory at this physical address";
  }

  region(dmaAddr: number): PayloadRegion {
    return this.parts.phys.regionAt(dmaAddr, 1)!;
  }

  offset(dmaAddr: number): number {
    return this.parts.phys.offsetIn(this.region(dmaAddr), dmaAddr);
  }

  isStale(): boolean {
    return false;
  }
}
