import type { ExecutionContext, ReportSink } from "@netmem/kernel/api";
import { GFP_NOWAIT, NUMA_NO_NODE, PAGE_SIZE, __GFP_COMP, __GFP_DMA, __GFP_DMA32, type Page, type PageAllocator, type PayloadMemory, type PayloadRegion } from "../api/index.ts";
import { getOrder } from "../get-order.ts";
import type { PhysMap } from "./phys-map.ts";

/** @kernel IO_TLB_SHIFT, IO_TLB_SEGSIZE (include/linux/swiotlb.h) */
export const IO_TLB_SHIFT = 11;
export const IO_TLB_SIZE: number = 1 << IO_TLB_SHIFT;
export const IO_TLB_SEGSIZE = 128;
const WITHIN_SLOT: number = IO_TLB_SIZE - 1;

/** What a device asks of its bounce buffers. */
export interface BounceNeeds {
  readonly name: string;
  readonly minAlignMask: number;
  readonly segmentBoundary: number;
  /** Highest physical address it reaches. */
  readonly limit: number;
}

/** Slots that lie side by side. @kernel struct io_tlb_pool */
class Pool {
  readonly region: PayloadRegion;
  readonly base: number;
  /** Physical address of the first slot. */
  readonly start: number;
  readonly nslabs: number;
  readonly nareas: number;
  readonly areaNslabs: number;
  /** Free slots from this one on, within its segment; 0 where it is taken. */
  readonly list: Int32Array;
  readonly allocSize: Int32Array;
  readonly origOffset: Int32Array;
  readonly origRegion: (PayloadRegion | null)[] = [];
  /** Of the slot a mapping begins in: unused ones before it, which keep its alignment. @kernel io_tlb_slot.pad_slots */
  readonly padSlots: Uint8Array;
  readonly areaIndex: Int32Array;
  readonly areaUsed: Int32Array;
  /** Made for one mapping, gone with it: the pages it lives in. */
  readonly transient: Page | null;

  constructor(region: PayloadRegion, base: number, start: number, nslabs: number, nareas: number, transient: Page | null) {
    this.region = region;
    this.base = base;
    this.start = start;
    this.nslabs = nslabs;
    this.nareas = nareas;
    this.areaNslabs = Math.floor(nslabs / nareas);
    this.transient = transient;
    this.list = new Int32Array(nslabs);
    this.allocSize = new Int32Array(nslabs);
    this.origOffset = new Int32Array(nslabs);
    this.padSlots = new Uint8Array(nslabs);
    this.areaIndex = new Int32Array(nareas);
    this.areaUsed = new Int32Array(nareas);
    for (let i = 0; i < nslabs; i++) {
      this.list[i] = Math.min(IO_TLB_SEGSIZE - (i % IO_TLB_SEGSIZE), nslabs - i);
      this.origRegion.push(null);
    }
  }

  holds(address: number): boolean {
    return address >= this.start && address < this.start + (this.nslabs << IO_TLB_SHIFT);
  }
}

export interface SwiotlbParts {
  readonly region: PayloadRegion;
  readonly slots: number;
  readonly areas: number;
  /** Makes a pool for one mapping when the rest is full. */
  readonly dynamic: boolean;
  readonly phys: PhysMap;
  readonly payload: PayloadMemory;
  readonly pages: PageAllocator;
  readonly context: ExecutionContext;
  readonly reports: ReportSink;
}

/**
 * Bounce buffers for what a device cannot reach, or may not see. Slots of 2 KiB, at most 128 in a row; a slot counts the
 * free ones from it on, so that a search steps over what is taken.
 * @kernel kernel/dma/swiotlb.c
 */
export class Swiotlb {
  readonly #parts: SwiotlbParts;
  readonly #pool: Pool;
  readonly #transient: Pool[] = [];
  #used = 0;
  #truncated = false;

  constructor(parts: SwiotlbParts) {
    this.#parts = parts;
    this.#pool = new Pool(parts.region, 0, parts.phys.addressOf(parts.region, 0), parts.slots, parts.areas, null);
  }

  /** Slots that are taken, those of pools for one mapping included. */
  usedSlots(): number {
    return this.#used;
  }

  /** Whether this physical address is a bounce buffer's. @kernel swiotlb_find_pool */
  isBounce(address: number): boolean {
    return this.#poolAt(address) !== null;
  }

  /** Whether somebody has the slot. */
  isTaken(address: number): boolean {
    const pool = this.#poolAt(address)!;
    return pool.origRegion[(address - pool.start) >> IO_TLB_SHIFT] !== null;
  }

  /**
   * Slots for `mappingBytes`, aligned to `alignMask` + 1 at both ends, into which the original is copied whatever the direction:
   * a device that writes only a part must not destroy the rest. The physical address, or −1 when full. @kernel swiotlb_tbl_map_single
   */
  map(device: BounceNeeds, region: PayloadRegion, offset: number, mappingBytes: number, alignMask: number): number {
    const orig = this.#parts.phys.register(region, offset);
    const within = orig & device.minAlignMask & (alignMask | WITHIN_SLOT);
    const bytes = (mappingBytes + within + alignMask) & ~alignMask;
    let pool = this.#pool;
    let index = this.#findSlots(device, pool, orig, bytes, alignMask);
    if (index < 0 && this.#parts.dynamic) {
      const made = this.#makeTransient(device, bytes);
      if (made === null) return -1;
      index = this.#findSlots(device, made, orig, bytes, alignMask);
      if (index < 0) {
        this.#parts.pages.putPage(made.transient!);
        return -1;
      }
      this.#transient.push(made);
      pool = made;
    }
    if (index < 0) return -1;
    const pad = within >> IO_TLB_SHIFT;
    const first = index + pad;
    pool.padSlots[first] = pad;
    for (let i = 0; i < nrSlots(bytes) - pad; i++) {
      pool.origRegion[first + i] = region;
      pool.origOffset[first + i] = offset + (i << IO_TLB_SHIFT);
    }
    const address = pool.start + (index << IO_TLB_SHIFT) + within;
    this.#bounce(pool, address, mappingBytes, true, device.minAlignMask);
    return address;
  }

  /** Gives the slots back. Nothing is copied: who wants the bytes syncs before. @kernel swiotlb_release_slots, swiotlb_del_transient */
  unmap(device: BounceNeeds, address: number): void {
    const pool = this.#poolAt(address)!;
    const within = address & device.minAlignMask & WITHIN_SLOT;
    const first = (address - within - pool.start) >> IO_TLB_SHIFT;
    const index = first - pool.padSlots[first]!;
    pool.padSlots[first] = 0;
    const nslots = nrSlots(pool.allocSize[index]! + within);
    this.#used -= nslots;
    if (pool.transient !== null) {
      this.#transient.splice(this.#transient.indexOf(pool), 1);
      this.#parts.pages.putPage(pool.transient);
      return;
    }
    const { list } = pool;
    const segmentEnd = Math.min((Math.floor(index / IO_TLB_SEGSIZE) + 1) * IO_TLB_SEGSIZE, pool.nslabs);
    let count = index + nslots < segmentEnd ? list[index + nslots]! : 0;
    for (let i = index + nslots - 1; i >= index; i--) {
      list[i] = ++count;
      pool.origRegion[i] = null;
      pool.allocSize[i] = 0;
    }
    for (let i = index - 1; i >= 0 && i % IO_TLB_SEGSIZE !== IO_TLB_SEGSIZE - 1 && list[i] !== 0; i--) list[i] = ++count;
    pool.areaUsed[Math.floor(index / pool.areaNslabs)]! -= nslots;
  }

  /** Bounce → original. @kernel swiotlb_sync_single_for_cpu */
  copyBack(device: BounceNeeds, address: number, lengthBytes: number): void {
    this.#bounce(this.#poolAt(address)!, address, lengthBytes, false, device.minAlignMask);
  }

  /** Original → bounce. @kernel swiotlb_sync_single_for_device */
  copyIn(device: BounceNeeds, address: number, lengthBytes: number): void {
    this.#bounce(this.#poolAt(address)!, address, lengthBytes, true, device.minAlignMask);
  }

  /** @kernel swiotlb_bounce */
  #bounce(pool: Pool, address: number, lengthBytes: number, toBounce: boolean, alignMask: number): void {
    const index = (address - pool.start) >> IO_TLB_SHIFT;
    const region = pool.origRegion[index]!;
    const start = pool.origOffset[index]!;
    const within = (address & WITHIN_SLOT) - (start & alignMask & WITHIN_SLOT);
    let bytes = lengthBytes;
    const room = pool.allocSize[index]! - within;
    if (bytes > room) {
      if (!this.#truncated) {
        this.#truncated = true;
        this.#parts.reports.report("swiotlb-overflow", "warn", `bounce buffer at 0x${address.toString(16)}`, "swiotlb", `copy of ${bytes} bytes where the mapping has ${room}: the rest is left out; reported once`);
      }
      bytes = Math.max(0, room);
    }
    if (bytes === 0) return;
    const original = start + within;
    const bounce = pool.base + (address - pool.start);
    if (toBounce) this.#parts.payload.dmaCopy(pool.region, bounce, region, original, bytes);
    else this.#parts.payload.dmaCopy(region, original, pool.region, bounce, bytes);
  }

  /** The executing CPU's area first, then the others. @kernel swiotlb_pool_find_slots */
  #findSlots(device: BounceNeeds, pool: Pool, orig: number, bytes: number, alignMask: number): number {
    const start = this.#parts.context.cpu & (pool.nareas - 1);
    for (let i = 0; i < pool.nareas; i++) {
      const index = this.#findInArea(device, pool, (start + i) % pool.nareas, orig, bytes, alignMask);
      if (index >= 0) return index;
    }
    return -1;
  }

  /** @kernel swiotlb_area_find_slots */
  #findInArea(device: BounceNeeds, pool: Pool, area: number, orig: number, bytes: number, alignMask: number): number {
    const nslots = nrSlots(bytes);
    if (nslots > pool.areaNslabs - pool.areaUsed[area]!) return -1;
    // From 6.9 (14cebf689a78), and before 6.8: a page or more begins at a page, unless another alignment is asked for.
    const isWholePages = alignMask === 0 && device.minAlignMask === 0 && bytes >= PAGE_SIZE;
    const slotMask = (isWholePages ? PAGE_SIZE - 1 : alignMask) | WITHIN_SLOT;
    const keepMask = device.minAlignMask & ~slotMask;
    const stride = (Math.max(slotMask, keepMask) >> IO_TLB_SHIFT) + 1;
    const slotBase = area * pool.areaNslabs;
    let index = pool.areaIndex[area]!;
    for (let checked = 0; checked < pool.areaNslabs;) {
      const slot = slotBase + index;
      const address = pool.start + (slot << IO_TLB_SHIFT);
      const aligned = (address & slotMask) === 0 && (address & keepMask) === (orig & keepMask);
      const step = aligned ? stride : 1;
      if (aligned && pool.list[slot]! >= nslots && !crosses(address, nslots << IO_TLB_SHIFT, device.segmentBoundary)) {
        this.#takeSlots(pool, area, slot, nslots, bytes, orig & device.minAlignMask & WITHIN_SLOT);
        const next = index + nslots;
        pool.areaIndex[area] = next >= pool.areaNslabs ? 0 : next;
        return slot;
      }
      index = index + step >= pool.areaNslabs ? 0 : index + step;
      checked += step;
    }
    return -1;
  }

  #takeSlots(pool: Pool, area: number, slot: number, nslots: number, bytes: number, within: number): void {
    for (let i = 0; i < nslots; i++) {
      pool.list[slot + i] = 0;
      pool.allocSize[slot + i] = bytes - (within + (i << IO_TLB_SHIFT));
    }
    let count = 0;
    for (let i = slot - 1; i >= 0 && i % IO_TLB_SEGSIZE !== IO_TLB_SEGSIZE - 1 && pool.list[i] !== 0; i--) pool.list[i] = ++count;
    pool.areaUsed[area]! += nslots;
    this.#used += nslots;
  }

  /** A pool for this mapping alone, where the device reaches it. @kernel swiotlb_alloc_pool, swiotlb_alloc_tlb */
  #makeTransient(device: BounceNeeds, bytes: number): Pool | null {
    const { pages, phys } = this.#parts;
    const nslots = nrSlots(bytes);
    if (nslots > IO_TLB_SEGSIZE) return null;
    for (const zone of [0, __GFP_DMA32, __GFP_DMA]) {
      const page = pages.allocPages(GFP_NOWAIT | __GFP_COMP | zone, getOrder(nslots << IO_TLB_SHIFT), NUMA_NO_NODE);
      if (page === null) return null;
      const start = phys.addressOf(page.region, page.base);
      if (start + (nslots << IO_TLB_SHIFT) - 1 <= device.limit) return new Pool(page.region, page.base, start, nslots, 1, page);
      pages.putPage(page);
    }
    return null;
  }

  #poolAt(address: number): Pool | null {
    if (this.#pool.holds(address)) return this.#pool;
    for (let i = 0; i < this.#transient.length; i++) if (this.#transient[i]!.holds(address)) return this.#transient[i]!;
    return null;
  }
}

function nrSlots(bytes: number): number {
  return Math.ceil(bytes / IO_TLB_SIZE);
}

/** Whether a range lies on both sides of a multiple of `boundary` + 1. @kernel iommu_is_span_boundary */
function crosses(address: number, bytes: number, boundary: number): boolean {
  const size = boundary + 1;
  return Math.floor(address / size) !== Math.floor((address + bytes - 1) / size);
}
