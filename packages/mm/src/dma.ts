import { type ReportSink, UsageError } from "@netmem/kernel/api";
import {
  __GFP_COMP, DMA_BIDIRECTIONAL, DMA_FROM_DEVICE, DMA_MAPPING_ERROR, DMA_NONE, DMA_TO_DEVICE, GFP_KERNEL, NUMA_NO_NODE, PAGE_SHIFT, PAGE_SIZE,
  type CoherentMemory, type DeviceBus, type DmaDevice, type DmaDeviceOptions, type DmaProbe, type DmaStats,
  type NetIov, type Page, type PageAllocator, type PayloadMemory, type PayloadRegion,
} from "./api/index.ts";
import { getOrder } from "./get-order.ts";
import { IOMMU_READ, IOMMU_WRITE, IommuDomain } from "./iommu.ts";

const DIRECTION_NAMES = ["DMA_BIDIRECTIONAL", "DMA_TO_DEVICE", "DMA_FROM_DEVICE", "DMA_NONE"] as const;

/** What the device may do under a mapping of this direction. @kernel dma_info_to_prot (drivers/iommu/dma-iommu.c) */
function protOf(direction: number): number {
  switch (direction) {
    case DMA_TO_DEVICE: return IOMMU_READ;
    case DMA_FROM_DEVICE: return IOMMU_WRITE;
    default: return IOMMU_READ | IOMMU_WRITE;
  }
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}

/** The driver's half of a device: mappings, their bookkeeping, and the checks of CONFIG_DMA_API_DEBUG. */
export class IommuDmaDevice implements DmaDevice {
  readonly name: string;
  readonly needSync: boolean;
  readonly stats: DmaStats = { maps: 0, unmaps: 0, syncs: 0, faults: 0 };
  readonly domain: IommuDomain;
  readonly #pages: PageAllocator;
  readonly #reports: ReportSink;
  readonly #probe: DmaProbe | null;
  /** By first I/O page of a streaming mapping: its size in bytes (0: none), offset in that page, direction, and page frame number. */
  readonly #size: Int32Array;
  readonly #inPage: Uint16Array;
  readonly #direction: Uint8Array;
  readonly #pfn: Int32Array;
  #live = 0;

  constructor(options: DmaDeviceOptions, pages: PageAllocator, reports: ReportSink, probe: DmaProbe | null) {
    const { name, coherent, aperturePages } = options;
    if (!Number.isInteger(aperturePages) || aperturePages < 2 || aperturePages >= 1 << 19) {
      throw new UsageError("mm", `aperturePages of ${name}`, aperturePages, "give 2 to 524287 I/O pages");
    }
    this.name = name;
    this.needSync = !coherent;
    this.domain = new IommuDomain(aperturePages);
    this.#pages = pages;
    this.#reports = reports;
    this.#probe = probe;
    this.#size = new Int32Array(aperturePages);
    this.#inPage = new Uint16Array(aperturePages);
    this.#direction = new Uint8Array(aperturePages);
    this.#pfn = new Int32Array(aperturePages);
  }

  mapPage(page: Page, offset: number, sizeBytes: number, direction: number, _attrs: number): number {
    return this.#map(page.region, page.base + offset, sizeBytes, direction, page.pfn);
  }

  mapNetIov(niov: NetIov, sizeBytes: number, direction: number): number {
    return this.#map(niov.region, niov.base, sizeBytes, direction, 0);
  }

  #map(region: PayloadRegion, start: number, sizeBytes: number, direction: number, pfn: number): number {
    if (direction < DMA_BIDIRECTIONAL || direction >= DMA_NONE) {
      this.#reports.report("dma-bad-direction", "bug", `device ${this.name}`, this.name, `map with direction ${direction}`);
    }
    if (sizeBytes <= 0 || start < 0 || start + sizeBytes > region.bytes.length) return DMA_MAPPING_ERROR;
    const inPage = start & (PAGE_SIZE - 1);
    const first = this.domain.map(region, start - inPage, (inPage + sizeBytes + PAGE_SIZE - 1) >>> PAGE_SHIFT, protOf(direction));
    if (first === 0) return DMA_MAPPING_ERROR;
    this.#size[first] = sizeBytes;
    this.#inPage[first] = inPage;
    this.#direction[first] = direction;
    this.#pfn[first] = pfn;
    this.#live++;
    this.stats.maps++;
    const dmaAddr = (first << PAGE_SHIFT) | inPage;
    if (this.#probe !== null) this.#probe.map(this.name, dmaAddr, pfn, direction);
    return dmaAddr;
  }

  unmapPage(dmaAddr: number, sizeBytes: number, direction: number, _attrs: number): void {
    const first = this.#mappingAt(dmaAddr);
    const size = this.#size[first]!;
    if (first === 0 || this.#inPage[first] !== (dmaAddr & (PAGE_SIZE - 1))) {
      this.#debug(dmaAddr, "device driver tries to free DMA memory it has not allocated");
      return;
    }
    if (size !== sizeBytes) this.#debug(dmaAddr, `freed with different size: mapped ${size} bytes, unmapped ${sizeBytes}`);
    if (this.#direction[first] !== direction) {
      this.#debug(dmaAddr, `freed with different direction: mapped ${DIRECTION_NAMES[this.#direction[first]!]}, unmapped ${DIRECTION_NAMES[direction]}`);
    }
    this.domain.unmap(first, ((dmaAddr & (PAGE_SIZE - 1)) + size + PAGE_SIZE - 1) >>> PAGE_SHIFT);
    this.#size[first] = 0;
    this.#live--;
    this.stats.unmaps++;
    if (this.#probe !== null) this.#probe.unmap(this.name, dmaAddr, this.#pfn[first]!, direction);
  }

  syncForCpu(dmaAddr: number, offset: number, sizeBytes: number, direction: number): void {
    if (this.needSync) this.#sync(dmaAddr, offset, sizeBytes, direction, DMA_TO_DEVICE, "for cpu of device read-only memory");
  }

  syncForDevice(dmaAddr: number, offset: number, sizeBytes: number, direction: number): void {
    if (this.needSync) this.#sync(dmaAddr, offset, sizeBytes, direction, DMA_NONE, "");
  }

  #sync(dmaAddr: number, offset: number, sizeBytes: number, direction: number, refused: number, why: string): void {
    const first = this.#mappingAt(dmaAddr);
    const size = this.#size[first]!;
    const start = (dmaAddr & (PAGE_SIZE - 1)) - this.#inPage[first]! + offset;
    if (first === 0 || start < 0 || start + sizeBytes > size) {
      this.#debug(dmaAddr, `syncs DMA memory it has not allocated: ${sizeBytes} bytes at offset ${start} of a mapping of ${size}`);
    } else if (this.#direction[first] !== direction && this.#direction[first] !== DMA_BIDIRECTIONAL) {
      this.#debug(dmaAddr, `synced with different direction: mapped ${DIRECTION_NAMES[this.#direction[first]!]}, synced ${DIRECTION_NAMES[direction]}`);
    } else if (this.#direction[first] === refused) this.#debug(dmaAddr, `syncs ${why}`);
    else this.stats.syncs++;
  }

  /** The I/O page of this address if a streaming mapping starts in it, else 0. */
  #mappingAt(dmaAddr: number): number {
    if (dmaAddr <= 0 || dmaAddr >= this.#size.length * PAGE_SIZE) return 0;
    const first = dmaAddr >>> PAGE_SHIFT;
    return this.#size[first] === 0 ? 0 : first;
  }

  allocCoherent(sizeBytes: number): CoherentMemory | null {
    const order = getOrder(sizeBytes);
    // Compound only on our side, so that one put frees the block; a driver never sees these pages.
    const page = this.#pages.allocPages(GFP_KERNEL | __GFP_COMP, order, NUMA_NO_NODE);
    if (page === null) return null;
    const first = this.domain.map(page.region, page.base, 1 << order, IOMMU_READ | IOMMU_WRITE);
    if (first === 0) {
      this.#pages.putPage(page);
      return null;
    }
    page.region.bytes.fill(0, page.base, page.base + (PAGE_SIZE << order));
    return new Coherent(page, first << PAGE_SHIFT, sizeBytes, order);
  }

  freeCoherent(memory: CoherentMemory): void {
    const coherent = memory as Coherent;
    const { page, dmaAddr, order } = coherent;
    if (coherent.freed) {
      this.#debug(dmaAddr, "device driver tries to free DMA memory it has not allocated");
      return;
    }
    coherent.freed = true;
    this.domain.unmap(dmaAddr >>> PAGE_SHIFT, 1 << order);
    this.#pages.putPage(page);
  }

  liveMappings(): number {
    return this.#live;
  }

  unbind(): void {
    if (this.#live > 0) this.#reports.report("dma-leak", "warn", `device ${this.name}`, this.name, `driver unbound with ${this.#live} live DMA mappings`);
  }

  #debug(dmaAddr: number, message: string): void {
    this.#reports.report("dma-debug", "warn", `device ${this.name} address ${hex(dmaAddr)}`, this.name, message);
  }
}

class Coherent implements CoherentMemory {
  readonly region: PayloadRegion;
  readonly base: number;
  readonly dmaAddr: number;
  readonly sizeBytes: number;
  readonly page: Page;
  readonly order: number;
  freed = false;

  constructor(page: Page, dmaAddr: number, sizeBytes: number, order: number) {
    this.region = page.region;
    this.base = page.base;
    this.dmaAddr = dmaAddr;
    this.sizeBytes = sizeBytes;
    this.page = page;
    this.order = order;
  }
}

/** The device's half: transfers real bytes, and only through a mapping that allows it. */
export class IommuBus implements DeviceBus {
  readonly #device: IommuDmaDevice;
  readonly #domain: IommuDomain;
  readonly #payload: PayloadMemory;
  readonly #reports: ReportSink;

  constructor(device: IommuDmaDevice, payload: PayloadMemory, reports: ReportSink) {
    this.#device = device;
    this.#domain = device.domain;
    this.#payload = payload;
    this.#reports = reports;
  }

  write(dmaAddr: number, source: PayloadRegion, sourceOffset: number, lengthBytes: number): boolean {
    if (!this.#domain.allows(dmaAddr, lengthBytes, IOMMU_WRITE)) return this.#fault("write", dmaAddr, lengthBytes);
    let done = 0;
    while (done < lengthBytes) {
      const at = dmaAddr + done;
      const part = Math.min(lengthBytes - done, PAGE_SIZE - (at & (PAGE_SIZE - 1)));
      this.#payload.dmaCopy(this.#domain.region(at), this.#domain.offset(at), source, sourceOffset + done, part);
      done += part;
    }
    return true;
  }

  read(dmaAddr: number, target: PayloadRegion, targetOffset: number, lengthBytes: number): boolean {
    if (!this.#domain.allows(dmaAddr, lengthBytes, IOMMU_READ)) return this.#fault("read", dmaAddr, lengthBytes);
    let done = 0;
    while (done < lengthBytes) {
      const at = dmaAddr + done;
      const part = Math.min(lengthBytes - done, PAGE_SIZE - (at & (PAGE_SIZE - 1)));
      this.#payload.dmaCopy(target, targetOffset + done, this.#domain.region(at), this.#domain.offset(at), part);
      done += part;
    }
    return true;
  }

  read32(dmaAddr: number): number {
    if (!this.#domain.allows(dmaAddr, 4, IOMMU_READ)) {
      this.#fault("read", dmaAddr, 4);
      return 0;
    }
    return this.#domain.region(dmaAddr).words[this.#domain.offset(dmaAddr) >> 2]!;
  }

  write32(dmaAddr: number, value: number): boolean {
    if (!this.#domain.allows(dmaAddr, 4, IOMMU_WRITE)) return this.#fault("write", dmaAddr, 4);
    this.#domain.region(dmaAddr).words[this.#domain.offset(dmaAddr) >> 2] = value;
    return true;
  }

  #fault(access: "read" | "write", dmaAddr: number, lengthBytes: number): false {
    this.#device.stats.faults++;
    const mapped = this.#domain.allows(dmaAddr, lengthBytes, 0) && this.#domain.prot[dmaAddr >>> PAGE_SHIFT] !== 0;
    this.#reports.report(
      "dma-fault", "warn", `device ${this.#device.name} address ${hex(dmaAddr)}`, this.#device.name,
      `DMA ${access} of ${lengthBytes} bytes refused: ${mapped ? "the mapping does not allow this direction" : "no live mapping covers it"}`,
    );
    return false;
  }
}
