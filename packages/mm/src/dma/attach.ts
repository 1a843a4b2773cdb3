import { UsageError } from "@netmem/kernel/api";
import {
  GFP_KERNEL, NUMA_NO_NODE, PAGE_SIZE, type DeviceBus, type DmaDevice, type DmaDeviceOptions, type DmaProbe, type DmaStats, type Page, type PageAllocator, type PayloadMemory,
} from "../api/index.ts";
import type { Point } from "../fault-injection.ts";
import { getOrder } from "../get-order.ts";
import type { MmKernel } from "../mm.ts";
import type { MmRules } from "../rules.ts";
import { MemoryBus } from "./bus.ts";
import { CarveOut } from "./coherent.ts";
import type { ShadowedCache } from "./cpu-cache.ts";
import type { DmaDebug } from "./debug.ts";
import { CacheUpkeep, type DeviceParts, type Limits } from "./device-parts.ts";
import { Device, maskLimit } from "./device.ts";
import { DirectOps } from "./direct.ts";
import { IommuOps } from "./iommu-ops.ts";
import { IommuDomain } from "./iommu.ts";
import type { PhysMap } from "./phys-map.ts";
import type { Swiotlb } from "./swiotlb.ts";

export interface DeviceFactoryParts {
  readonly kernel: MmKernel;
  readonly pages: PageAllocator;
  readonly payload: PayloadMemory;
  readonly phys: PhysMap;
  readonly cpuCache: ShadowedCache | null;
  readonly rules: MmRules;
  readonly debug: DmaDebug | null;
  readonly everySync: boolean;
  readonly swiotlb: Swiotlb | null;
  readonly probe: DmaProbe | null;
  readonly failPoint: Point;
}

/** The kernel's defaults for lists: segments of 64 KiB, within 4 GiB. @kernel dma_get_max_seg_size, dma_get_seg_boundary */
const MAX_SEGMENT_BYTES = 65_536;
const MOST_ALIGN_MASK = 65_535;
const SEGMENT_BOUNDARY: number = 2 ** 32 - 1;

/** Puts a device together from its options: which addresses it has, and who checks its driver. */
export class DeviceFactory {
  readonly #parts: DeviceFactoryParts;

  constructor(parts: DeviceFactoryParts) {
    this.#parts = parts;
  }

  attach(options: DmaDeviceOptions): { readonly dma: DmaDevice; readonly bus: DeviceBus } {
    const { kernel, pages, payload, phys, cpuCache, rules, debug, swiotlb, probe, failPoint } = this.#parts;
    const { name, coherent } = options;
    const limits = limitsOf(options);
    const stats: DmaStats = { maps: 0, unmaps: 0, syncs: 0, faults: 0, bounces: 0, bounceFull: 0, staleAccesses: 0 };
    const parts: DeviceParts = {
      phys, swiotlb, payload, limits, stats, coherent,
      reports: kernel.reports,
      forceBounce: options.forceBounce ?? false,
      untrusted: options.untrusted ?? false,
      upkeep: new CacheUpkeep(cpuCache, coherent),
      bounced: () => device.bounced(),
    };
    const domain = this.#domain(options);
    const direct = domain === null ? new DirectOps(parts) : null;
    const device: Device = new Device(
      { name, coherent, weaklyOrdered: options.ordering === "weak", skipsSyncs: rules.skipsSyncs && !this.#parts.everySync, coherentRefusesComp: rules.coherentRefusesComp, maskBits: options.dmaMaskBits ?? 64 },
      {
        ops: direct ?? new IommuOps(parts, domain!),
        phys, limits, stats, debug, pages, probe, failPoint, cache: cpuCache,
        debugId: debug === null ? 0 : debug.addDevice(name, !coherent && swiotlb !== null && domain === null),
        context: kernel.context,
        reports: kernel.reports,
        carveOut: this.#carveOut(options),
      },
    );
    const bus = new MemoryBus({
      name, stats, payload, coherent,
      translation: direct ?? domain!,
      reports: kernel.reports,
      cache: cpuCache,
      handlesFault: (dmaAddr, isWrite) => device.handlesFault(dmaAddr, isWrite),
      rmb: () => device.dmaRmb(),
      wmb: () => device.dmaWmb(),
    });
    return { dma: device, bus };
  }

  /** Null without an IOMMU. */
  #domain(options: DmaDeviceOptions): IommuDomain | null {
    const { name, iommu = "strict" } = options;
    if (iommu !== "strict" && iommu !== "deferred" && iommu !== "off") throw new UsageError("mm", `iommu of ${name}`, iommu, "choose strict, deferred or off");
    if (iommu === "off") {
      if (options.aperturePages !== undefined) throw new UsageError("mm", `aperturePages of ${name}`, options.aperturePages, "leave it out: without an IOMMU there is no aperture");
      if (options.untrusted === true) throw new UsageError("mm", `untrusted of ${name}`, true, "give it an IOMMU: nothing else keeps an untrusted device from memory");
      return null;
    }
    if (options.forceBounce === true) throw new UsageError("mm", `forceBounce of ${name}`, true, "switch its IOMMU off: behind one only untrusted devices bounce");
    const aperturePages = options.aperturePages ?? Math.min(2 ** 19 - 1, Math.ceil(this.#parts.pages.nrPages * 1.25) + 64);
    if (!Number.isInteger(aperturePages) || aperturePages < 2 || aperturePages >= 1 << 19) {
      throw new UsageError("mm", `aperturePages of ${name}`, aperturePages, "give 2 to 524287 I/O pages");
    }
    return new IommuDomain(aperturePages, iommu === "deferred" ? this.#parts.kernel : null);
  }

  #carveOut(options: DmaDeviceOptions): CarveOut | null {
    const { carveOutPages = 0, name } = options;
    if (carveOutPages === 0) return null;
    if (!(carveOutPages > 0 && Number.isInteger(carveOutPages))) throw new UsageError("mm", `carveOutPages of ${name}`, carveOutPages, "give a whole number");
    const { pages } = this.#parts;
    const block = pages.allocPages(GFP_KERNEL, getOrder(carveOutPages * PAGE_SIZE), NUMA_NO_NODE);
    if (block === null) throw new UsageError("mm", `carveOutPages of ${name}`, carveOutPages, `no block of that size is free: ${pages.freePages()} pages are`);
    const own: Page[] = [];
    for (let i = 0; i < carveOutPages; i++) own.push(pages.pages[block.pfn - pages.pages[0]!.pfn + i]!);
    return new CarveOut(own);
  }
}

function limitsOf(options: DmaDeviceOptions): Limits {
  const { name, minAlignMask = 0, maxSegmentBytes = MAX_SEGMENT_BYTES, segmentBoundary = SEGMENT_BOUNDARY, dmaMaskBits = 64 } = options;
  if (!Number.isInteger(dmaMaskBits) || dmaMaskBits < 0 || dmaMaskBits > 64 || (dmaMaskBits > 0 && dmaMaskBits < 12)) throw new UsageError("mm", `dmaMaskBits of ${name}`, dmaMaskBits, "give 12 to 64, or 0 for none set");
  if (!Number.isInteger(minAlignMask) || minAlignMask < 0 || minAlignMask > MOST_ALIGN_MASK || (minAlignMask & (minAlignMask + 1)) !== 0) throw new UsageError("mm", `minAlignMask of ${name}`, minAlignMask, `give 2^n − 1, at most ${MOST_ALIGN_MASK}`);
  for (const [option, value] of [["maxSegmentBytes", maxSegmentBytes], ["segmentBoundary", segmentBoundary]] as const) {
    if (!Number.isInteger(value) || value < 1) throw new UsageError("mm", `${option} of ${name}`, value, "give a whole number of bytes, 1 or more");
  }
  return { name, minAlignMask, maxSegmentBytes, segmentBoundary, limit: maskLimit(dmaMaskBits) };
}
