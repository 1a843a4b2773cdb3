import { CONTEXT_HARDIRQ, EIO, UsageError, type ExecutionContext, type ReportSink } from "@netmem/kernel/api";
import {
  DMA_ATTR_SKIP_CPU_SYNC, DMA_BIDIRECTIONAL, DMA_MAPPING_ERROR, DMA_NONE, NUMA_NO_NODE, PAGE_SHIFT, PAGE_SIZE, Scatterlist, __GFP_COMP, __GFP_DMA, __GFP_DMA32, __GFP_HIGHMEM,
  type CoherentMemory, type DmaDevice, type DmaProbe, type DmaStats, type NetIov, type Page, type PageAllocator, type PayloadRegion,
} from "../api/index.ts";
import type { Point } from "../fault-injection.ts";
import { getOrder } from "../get-order.ts";
import { CarveOut, CoherentBlock, WeakCoherentBlock } from "./coherent.ts";
import type { ShadowedCache } from "./cpu-cache.ts";
import { DEBUG_COHERENT, DEBUG_PAGE, DEBUG_SG, type DmaDebug } from "./debug.ts";
import type { Limits } from "./device-parts.ts";
import type { DmaOps } from "./ops.ts";
import type { PhysMap } from "./phys-map.ts";

export interface DeviceOptions {
  readonly name: string;
  readonly coherent: boolean;
  readonly weaklyOrdered: boolean;
  /** 6.1 skips no sync. */
  readonly skipsSyncs: boolean;
  readonly coherentRefusesComp: boolean;
  readonly maskBits: number;
}

export interface DeviceDeps {
  readonly ops: DmaOps;
  readonly phys: PhysMap;
  readonly limits: Limits;
  readonly stats: DmaStats;
  /** Null when nothing is checked. */
  readonly debug: DmaDebug | null;
  readonly debugId: number;
  readonly pages: PageAllocator;
  readonly context: ExecutionContext;
  readonly reports: ReportSink;
  readonly probe: DmaProbe | null;
  readonly failPoint: Point;
  readonly cache: ShadowedCache | null;
  readonly carveOut: CarveOut | null;
}

/** Largest address of a mask of so many bits. @kernel DMA_BIT_MASK */
export function maskLimit(bits: number): number {
  return bits >= 53 ? Number.MAX_SAFE_INTEGER : 2 ** bits - 1;
}

/** The driver's half of a device: what it may ask is checked here, what it asks for is done by the operations behind. @kernel kernel/dma/mapping.c */
export class Device implements DmaDevice {
  readonly name: string;
  readonly stats: DmaStats;
  needSync: boolean;
  private readonly options: DeviceOptions;
  private readonly deps: DeviceDeps;
  private readonly ops: DmaOps;
  private readonly debug: DmaDebug | null;
  private readonly debugId: number;
  /** By address; coherent memory is set up and torn down, never on the packet path. */
  private readonly coherent = new Map<number, CoherentBlock>();
  private faultHandler: ((dmaAddr: number, isWrite: boolean) => boolean) | null = null;
  private maskBits: number;
  private live = 0;

  constructor(options: DeviceOptions, deps: DeviceDeps) {
    this.name = options.name;
    this.stats = deps.stats;
    this.options = options;
    this.deps = deps;
    this.ops = deps.ops;
    this.debug = deps.debug;
    this.debugId = deps.debugId;
    this.maskBits = options.maskBits;
    this.needSync = !options.coherent || !options.skipsSyncs;
  }

  dmaNeedSync(dmaAddr: number): boolean {
    return this.needSync && this.ops.needsSync(dmaAddr);
  }

  /** @kernel dma_reset_need_sync */
  bounced(): void {
    this.needSync = true;
  }

  setMask(bits: number): number {
    if (!Number.isInteger(bits) || bits < 0 || bits > 64) throw new UsageError("mm", `DMA mask bits of ${this.name}`, bits, "give 12 to 64; for fewer than memory needs the answer is −EIO");
    if (bits < 12 || !this.ops.supports(maskLimit(bits))) return -EIO;
    this.maskBits = bits;
    this.deps.limits.limit = maskLimit(bits);
    this.ops.limitChanged(this.live === 0 && this.coherent.size === 0);
    return 0;
  }

  mapPage(page: Page, offset: number, sizeBytes: number, direction: number, attrs: number): number {
    // Beyond the page lies the block's next one; before it, nobody's.
    return this.map(page.region, offset >= 0 ? page.base + offset : offset, sizeBytes, direction, attrs, page.pfn);
  }

  mapSingle(region: PayloadRegion, offset: number, sizeBytes: number, direction: number, attrs: number): number {
    if (region.kind === "vmalloc") {
      this.complain("dma-debug-vmalloc", region, "rejecting DMA map of vmalloc memory: its pages lie anywhere");
      return DMA_MAPPING_ERROR;
    }
    if (this.debug !== null) {
      if (region.kind === "stack") this.complain("dma-debug-stack", region, "device driver maps memory from stack");
      if (region.kind === "rodata") this.complain("dma-debug-rodata", region, "device driver maps memory from kernel text or rodata");
      if (region.kind === "device") this.complain("dma-debug-invalid-area", region, "device driver maps memory from invalid area: it is no memory of the kernel's");
    }
    return this.map(region, offset, sizeBytes, direction, attrs, 0);
  }

  mapNetIov(niov: NetIov, sizeBytes: number, direction: number, attrs: number): number {
    return this.map(niov.region, niov.base, sizeBytes, direction, attrs, 0);
  }

  private map(region: PayloadRegion, start: number, sizeBytes: number, direction: number, attrs: number, pfn: number): number {
    if (!this.mayMap(direction) || !this.isRange(region, start, sizeBytes)) return DMA_MAPPING_ERROR;
    if (this.deps.failPoint.armed && this.deps.failPoint.shouldFail(0, sizeBytes)) return DMA_MAPPING_ERROR;
    const dmaAddr = this.ops.map(region, start, sizeBytes, direction, attrs);
    if (dmaAddr === DMA_MAPPING_ERROR) return DMA_MAPPING_ERROR;
    if (this.debug !== null) {
      this.fillRef(DEBUG_PAGE, dmaAddr, sizeBytes, direction, this.physOf(region, start), 0);
      this.debug.add(attrs);
    }
    this.live++;
    this.stats.maps++;
    if (this.deps.probe !== null) this.deps.probe.map(this.name, dmaAddr, pfn, direction);
    return dmaAddr;
  }

  /** A device without a mask was never told where memory is. */
  private mayMap(direction: number): boolean {
    const { reports } = this.deps;
    if (!(direction >= DMA_BIDIRECTIONAL && direction < DMA_NONE)) {
      reports.report("dma-bad-direction", "bug", `device ${this.name}`, this.name, `map with direction ${direction}`);
    }
    if (this.maskBits > 0) return true;
    reports.report("dma-no-mask", "warn", `device ${this.name}`, this.name, "map without a DMA mask: set one with setMask first");
    return false;
  }

  private isRange(region: PayloadRegion, start: number, sizeBytes: number): boolean {
    if (sizeBytes > 0 && start >= 0 && start + sizeBytes <= region.bytes.length && Number.isInteger(start) && Number.isInteger(sizeBytes)) return true;
    this.deps.reports.report("dma-bad-range", "warn", `device ${this.name}`, this.name, `map of ${sizeBytes} bytes at offset ${start} of region ${region.name}, which has ${region.bytes.length}`);
    return false;
  }

  mappingError(dmaAddr: number): boolean {
    if (this.debug !== null) this.debug.checked(this.debugId, dmaAddr);
    return dmaAddr === DMA_MAPPING_ERROR;
  }

  unmapPage(dmaAddr: number, sizeBytes: number, direction: number, attrs: number): void {
    let bytes = sizeBytes;
    if (this.debug !== null) {
      this.fillRef(DEBUG_PAGE, dmaAddr, sizeBytes, direction, 0, 0);
      bytes = this.debug.remove();
      if (bytes === 0) return;
    } else if (!this.isOneMapping(dmaAddr, sizeBytes)) return;
    this.ops.unmap(dmaAddr, bytes, direction, attrs);
    this.live--;
    this.stats.unmaps++;
    if (this.deps.probe !== null) this.deps.probe.unmap(this.name, dmaAddr, this.removedPfn(), direction);
  }

  /** What is left to check where no mapping is recorded. */
  private isOneMapping(dmaAddr: number, sizeBytes: number): boolean {
    if (this.live > 0 && this.ops.isWhole(dmaAddr, sizeBytes)) return true;
    this.deps.reports.report("dma-unmap-nothing", "warn", `device ${this.name} address 0x${dmaAddr.toString(16)}`, this.name, `unmap of ${sizeBytes} bytes that are not what is mapped there, if anything is: left as it is`);
    return false;
  }

  syncForCpu(dmaAddr: number, offset: number, sizeBytes: number, direction: number): void {
    if (this.needSync === true) this.sync(DEBUG_PAGE, dmaAddr + offset, sizeBytes, direction, 0, true);
  }

  syncForDevice(dmaAddr: number, offset: number, sizeBytes: number, direction: number): void {
    if (this.needSync === true) this.sync(DEBUG_PAGE, dmaAddr + offset, sizeBytes, direction, 0, false);
  }

  private sync(type: number, dmaAddr: number, sizeBytes: number, direction: number, entries: number, forCpu: boolean): void {
    if (this.debug !== null) {
      if (!this.isRecordedSo(this.debug, type, dmaAddr, sizeBytes, direction, entries, forCpu)) return;
    } else if (!this.ops.isMapped(dmaAddr, sizeBytes)) {
      this.deps.reports.report("dma-sync-nothing", "warn", `device ${this.name} address 0x${dmaAddr.toString(16)}`, this.name, `sync of ${sizeBytes} bytes that are not all mapped: left as they are`);
      return;
    }
    this.stats.syncs++;
    if (forCpu === true) this.ops.syncForCpu(dmaAddr, sizeBytes, direction);
    else this.ops.syncForDevice(dmaAddr, sizeBytes, direction);
  }

  /** Whether what was mapped may be synced this way; the driver's mistake is reported. */
  private isRecordedSo(debug: DmaDebug, type: number, dmaAddr: number, sizeBytes: number, direction: number, entries: number, forCpu: boolean): boolean {
    if (type === DEBUG_PAGE && debug.isPlainSync(this.debugId, dmaAddr, sizeBytes, direction)) return true;
    this.fillRef(type, dmaAddr, sizeBytes, direction, 0, entries);
    return debug.checkSync(forCpu);
  }

  allocSgTable(nents: number): Scatterlist[] {
    if (!Number.isInteger(nents) || nents < 1) throw new UsageError("mm", `nents of ${this.name}`, nents, "give 1 or more");
    return Array.from({ length: nents }, () => new Scatterlist());
  }

  mapSg(list: readonly Scatterlist[], nents: number, direction: number, attrs: number): number {
    if (!this.mayMap(direction)) return 0;
    if (!(nents >= 1 && nents <= list.length)) throw new UsageError("mm", `nents of ${this.name}`, nents, `give 1 to the ${list.length} entries of the list`);
    for (let i = 0; i < nents; i++) {
      const { page, offset, lengthBytes } = list[i]!;
      if (page === null) throw new UsageError("mm", `page of sg entry ${i} of ${this.name}`, page, "give each entry a page");
      if (!this.isRange(page.region, page.base + offset, lengthBytes)) return 0;
    }
    if (this.deps.failPoint.armed && this.deps.failPoint.shouldFail(0, PAGE_SIZE)) return 0;
    const mapped = this.ops.mapSg(list, nents, direction, attrs);
    this.live += mapped;
    this.stats.maps += mapped;
    for (let i = mapped; i < nents; i++) list[i]!.dmaLengthBytes = 0;
    for (let i = 0; i < mapped; i++) this.recordSegment(list[i]!, nents, direction, attrs);
    return mapped;
  }

  /** @kernel debug_dma_map_sg, check_sg_segment */
  private recordSegment(segment: Scatterlist, nents: number, direction: number, attrs: number): void {
    const { limits, probe } = this.deps;
    const page = segment.page!;
    if (probe !== null) probe.map(this.name, segment.dmaAddress, page.pfn, direction);
    if (this.debug === null) return;
    const end = segment.dmaAddress + segment.dmaLengthBytes - 1;
    if (segment.lengthBytes > limits.maxSegmentBytes) {
      this.debug.complain("dma-debug-sg-segment", this.deps.debugId, `address 0x${segment.dmaAddress.toString(16)}`, `mapping sg segment longer than device claims to support: ${segment.lengthBytes} bytes, at most ${limits.maxSegmentBytes}`);
    }
    if (Math.floor(segment.dmaAddress / (limits.segmentBoundary + 1)) !== Math.floor(end / (limits.segmentBoundary + 1))) {
      this.debug.complain("dma-debug-sg-boundary", this.deps.debugId, `address 0x${segment.dmaAddress.toString(16)}`, `mapping sg segment across boundary: from 0x${segment.dmaAddress.toString(16)} to 0x${end.toString(16)}, boundary 0x${limits.segmentBoundary.toString(16)}`);
    }
    this.fillRef(DEBUG_SG, segment.dmaAddress, segment.dmaLengthBytes, direction, this.physOf(page.region, page.base + segment.offset), nents);
    this.debug.add(attrs);
  }

  unmapSg(list: readonly Scatterlist[], nents: number, direction: number, attrs: number): void {
    const mapped = this.mappedEntries(list, nents);
    for (let i = 0; i < mapped; i++) {
      const { dmaAddress, dmaLengthBytes } = list[i]!;
      let bytes = dmaLengthBytes;
      if (this.debug !== null) {
        this.fillRef(DEBUG_SG, dmaAddress, dmaLengthBytes, direction, 0, nents);
        bytes = this.debug.remove();
        if (bytes === 0) continue;
      } else if (!this.isOneMapping(dmaAddress, dmaLengthBytes)) continue;
      this.ops.unmap(dmaAddress, bytes, direction, attrs);
      this.live--;
      this.stats.unmaps++;
      if (this.deps.probe !== null) this.deps.probe.unmap(this.name, dmaAddress, this.removedPfn(), direction);
    }
  }

  syncSgForCpu(list: readonly Scatterlist[], nents: number, direction: number): void {
    if (this.needSync) this.syncSg(list, nents, direction, true);
  }

  syncSgForDevice(list: readonly Scatterlist[], nents: number, direction: number): void {
    if (this.needSync) this.syncSg(list, nents, direction, false);
  }

  private syncSg(list: readonly Scatterlist[], nents: number, direction: number, forCpu: boolean): void {
    const mapped = this.mappedEntries(list, nents);
    for (let i = 0; i < mapped; i++) this.sync(DEBUG_SG, list[i]!.dmaAddress, list[i]!.dmaLengthBytes, direction, nents, forCpu);
  }

  /** Of a list, as many as were mapped: those with a length. @kernel get_nr_mapped_entries */
  private mappedEntries(list: readonly Scatterlist[], nents: number): number {
    let mapped = 0;
    while (mapped < nents && mapped < list.length && list[mapped]!.dmaLengthBytes > 0) mapped++;
    return mapped;
  }

  allocCoherent(sizeBytes: number, gfp: number): CoherentMemory | null {
    const { reports, pages, carveOut } = this.deps;
    if (!(sizeBytes >= 1)) throw new UsageError("mm", `coherent bytes of ${this.name}`, sizeBytes, "give 1 or more");
    if ((gfp & __GFP_COMP) !== 0 && this.options.coherentRefusesComp) {
      reports.report("dma-alloc-comp", "warn", `device ${this.name}`, this.name, `coherent memory of ${sizeBytes} bytes asked for with __GFP_COMP: it has no struct page to share`);
      return null;
    }
    if (!this.mayMap(DMA_BIDIRECTIONAL)) return null;
    if (this.deps.failPoint.armed && this.deps.failPoint.shouldFail(0, sizeBytes)) return null;
    const order = getOrder(sizeBytes);
    const flags = gfp & ~(__GFP_DMA | __GFP_DMA32 | __GFP_HIGHMEM | __GFP_COMP);
    const page = carveOut?.take(order) ?? this.allocReachable(flags, order);
    if (page === null) return null;
    const dmaAddr = this.ops.mapCoherent(page, order);
    if (dmaAddr === DMA_MAPPING_ERROR) {
      if (carveOut === null || !carveOut.giveBack(page, order)) pages.freePagesOrder(page, order);
      return null;
    }
    page.region.bytes.fill(0, page.base, page.base + (PAGE_SIZE << order));
    this.deps.cache?.setUncached(page.region, page.base, PAGE_SIZE << order, true);
    const block = this.options.weaklyOrdered ? new WeakCoherentBlock(page, dmaAddr, sizeBytes, order) : new CoherentBlock(page, dmaAddr, sizeBytes, order);
    this.coherent.set(dmaAddr, block);
    if (this.debug !== null) {
      this.fillRef(DEBUG_COHERENT, dmaAddr, sizeBytes, DMA_BIDIRECTIONAL, this.physOf(page.region, page.base), 0);
      this.debug.add(DMA_ATTR_SKIP_CPU_SYNC);
    }
    return block;
  }

  /** From lower and lower zones until the device reaches it. @kernel __dma_direct_alloc_pages, dma_direct_optimal_gfp_mask */
  private allocReachable(gfp: number, order: number): Page | null {
    const { pages, limits } = this.deps;
    for (const zone of [0, __GFP_DMA32, __GFP_DMA]) {
      const page = pages.allocPages(gfp | zone, order, NUMA_NO_NODE);
      if (page === null) return null;
      if ((page.pfn + (1 << order)) * PAGE_SIZE - 1 <= limits.limit) return page;
      pages.freePagesOrder(page, order);
    }
    return null;
  }

  freeCoherent(memory: CoherentMemory | null): void {
    if (memory === null) return;
    const { context, reports, pages, carveOut } = this.deps;
    if (context.level === CONTEXT_HARDIRQ) reports.report("dma-free-in-irq", "warn", `device ${this.name} address 0x${memory.dmaAddr.toString(16)}`, this.name, "coherent memory freed with interrupts off: unmapping it may sleep");
    const block = this.coherent.get(memory.dmaAddr) ?? null;
    if (this.debug !== null) {
      this.fillRef(DEBUG_COHERENT, memory.dmaAddr, memory.sizeBytes, DMA_BIDIRECTIONAL, this.physOf(memory.region, memory.base), 0);
      if (this.debug.remove() === 0) return;
    }
    if (block === null) {
      if (this.debug === null) reports.report("dma-unmap-nothing", "warn", `device ${this.name} address 0x${memory.dmaAddr.toString(16)}`, this.name, "free of coherent memory that is not there");
      return;
    }
    this.coherent.delete(memory.dmaAddr);
    this.ops.unmapCoherent(block.dmaAddr, block.order);
    this.deps.cache?.setUncached(block.region, block.base, PAGE_SIZE << block.order, false);
    if (carveOut === null || !carveOut.giveBack(block.page, block.order)) pages.freePagesOrder(block.page, block.order);
  }

  dmaRmb(): void {
    if (this.options.weaklyOrdered === true) for (const block of this.coherent.values()) block.rmb();
  }

  dmaWmb(): void {
    if (this.options.weaklyOrdered === true) for (const block of this.coherent.values()) block.wmb();
  }

  setFaultHandler(handler: ((dmaAddr: number, isWrite: boolean) => boolean) | null): void {
    this.faultHandler = handler;
  }

  handlesFault(dmaAddr: number, isWrite: boolean): boolean {
    return this.faultHandler !== null && this.faultHandler(dmaAddr, isWrite);
  }

  liveMappings(): number {
    return this.live;
  }

  unbind(): void {
    if (this.debug !== null) this.debug.leaks(this.deps.debugId);
    else if (this.live > 0) this.deps.reports.report("dma-leak", "warn", `device ${this.name}`, this.name, `driver unbound with ${this.live} live DMA mappings`);
  }

  private fillRef(type: number, dmaAddr: number, sizeBytes: number, direction: number, phys: number, sgEntries: number): void {
    const { ref } = this.debug!;
    ref.device = this.debugId;
    ref.type = type;
    ref.dmaAddr = dmaAddr;
    ref.sizeBytes = sizeBytes;
    ref.direction = direction;
    ref.phys = phys;
    ref.sgEntries = sgEntries;
  }

  private complain(kind: "dma-debug-vmalloc" | "dma-debug-stack" | "dma-debug-rodata" | "dma-debug-invalid-area", region: PayloadRegion, message: string): void {
    this.deps.reports.report(kind, "warn", `device ${this.name} region ${region.name}`, this.name, message);
  }

  /** Only host memory has cache lines worth recording; 0 for the rest. */
  private physOf(region: PayloadRegion, start: number): number {
    const { phys } = this.deps;
    return region === phys.host ? phys.hostBase + start : 0;
  }

  /** Of the mapping that was just forgotten; 0 if none is recorded. */
  private removedPfn(): number {
    return this.debug === null ? 0 : this.debug.removedPhys >>> PAGE_SHIFT;
  }
}
