import type { ReportSink } from "@netmem/kernel/api";
import {
  DMA_ATTR_SKIP_CPU_SYNC, DMA_BIDIRECTIONAL, DMA_FROM_DEVICE, DMA_MAPPING_ERROR, DMA_TO_DEVICE, L1_CACHE_BYTES, type DmaDebugKind,
} from "../api/index.ts";

const DIRECTION_NAMES = ["DMA_BIDIRECTIONAL", "DMA_TO_DEVICE", "DMA_FROM_DEVICE", "DMA_NONE"] as const;

/** What a mapping was made as. @kernel dma_debug_phy, dma_debug_sg, dma_debug_coherent (kernel/dma/debug.c) */
export const DEBUG_PAGE = 0;
export const DEBUG_SG = 1;
export const DEBUG_COHERENT = 2;
const TYPE_NAMES = ["page", "scatter-gather", "coherent"] as const;

/** @kernel MAP_ERR_CHECK_NOT_APPLICABLE, MAP_ERR_NOT_CHECKED, MAP_ERR_CHECKED */
const ERR_NOT_APPLICABLE = 0;
const ERR_NOT_CHECKED = 1;
const ERR_CHECKED = 2;

/** Addresses are hashed by the page, where the kernel takes two: a page's mapping is the only one in its bucket. @kernel HASH_FN_SHIFT, HASH_SIZE */
const HASH_SHIFT = 12;
const HASH_SIZE = 16_384;
const NONE = -1;
/** Mappings of one line beyond the first that may be live. @kernel ACTIVE_CACHELINE_MAX_OVERLAP */
const MAX_OVERLAP = 7;
const LINE_SHIFT: number = Math.log2(L1_CACHE_BYTES);

function both(mapped: number, synced: number): string {
  return `mapped with ${directionName(mapped)}, synced with ${directionName(synced)}`;
}

function directionName(direction: number): string {
  return DIRECTION_NAMES[direction] ?? `direction ${direction}`;
}

/** The mapping that a call is about. @kernel struct dma_debug_entry; one instance, refilled by each call */
export interface DebugRef {
  device: number;
  type: number;
  dmaAddr: number;
  sizeBytes: number;
  direction: number;
  /** Physical address of the first byte, of coherent memory and at map. */
  phys: number;
  /** Entries of the list that was given, 0 for no list. */
  sgEntries: number;
}

/** Words of an entry: what a sync looks at shares a cache line. */
const DMA_ADDR = 0;
const SIZE = 1;
const NEXT = 2;
const DEVICE = 3;
const DIRECTION = 4;
const TYPE = 5;
const PHYS = 6;
const SG_ENTRIES = 7;
const ENTRY_SHIFT = 3;

/**
 * The record of every live mapping of a machine, and what it tells of a driver's mistakes. Entries lie in a typed array,
 * chained by hashed address, and are known by the place of their first word.
 * @kernel kernel/dma/debug.c
 */
export class DmaDebug {
  private readonly reports: ReportSink;
  private readonly deviceNames: string[] = [];
  private readonly quietOverlaps: boolean[] = [];
  private words = new Int32Array(64 << ENTRY_SHIFT);
  private mapErr = new Uint8Array(64);
  private entries = 0;
  private freeEntry = NONE;
  private readonly buckets: Int32Array = new Int32Array(HASH_SIZE).fill(NONE);
  /** Largest mapping so far: how far back the start of one that holds an address can lie. */
  private largest = 0;
  /** Mappings that the device may write and that begin in a line, by line of host memory. @kernel dma_active_cacheline */
  private readonly lines: Uint8Array;
  private readonly linesBase: number;
  /** Physical address of the mapping that `remove` found last. */
  removedPhys = 0;
  readonly ref: DebugRef = { device: 0, type: 0, dmaAddr: 0, sizeBytes: 0, direction: 0, phys: 0, sgEntries: 0 };

  constructor(reports: ReportSink, hostBase: number, hostBytes: number) {
    this.reports = reports;
    this.linesBase = hostBase;
    this.lines = new Uint8Array(hostBytes >> LINE_SHIFT);
  }

  /** `quietOverlaps`: small buffers are bounced, so that lines are not shared after all. */
  addDevice(name: string, quietOverlaps: boolean): number {
    this.quietOverlaps.push(quietOverlaps);
    return this.deviceNames.push(name) - 1;
  }

  /** Records the mapping that `ref` describes. @kernel add_dma_entry */
  add(attrs: number): void {
    const { ref } = this;
    const entry = this.takeEntry();
    this.words[entry + DEVICE] = ref.device;
    this.words[entry + TYPE] = ref.type;
    this.words[entry + DMA_ADDR] = ref.dmaAddr;
    this.words[entry + SIZE] = ref.sizeBytes;
    this.words[entry + DIRECTION] = ref.direction;
    this.words[entry + PHYS] = ref.phys;
    this.words[entry + SG_ENTRIES] = ref.sgEntries;
    this.mapErr[entry >> ENTRY_SHIFT] = ref.type === DEBUG_PAGE ? ERR_NOT_CHECKED : ERR_NOT_APPLICABLE;
    const bucket = bucketOf(ref.dmaAddr);
    this.words[entry + NEXT] = this.buckets[bucket]!;
    this.buckets[bucket] = entry;
    if (ref.sizeBytes > this.largest) this.largest = ref.sizeBytes;
    if (ref.direction !== DMA_TO_DEVICE) this.insertLine(ref, attrs);
  }

  /** @kernel active_cacheline_insert: only the line of the first byte is looked at */
  private insertLine(ref: DebugRef, attrs: number): void {
    const line = (ref.phys - this.linesBase) >> LINE_SHIFT;
    if (line < 0 || line >= this.lines.length) return;
    const live = this.lines[line]!;
    if (live <= MAX_OVERLAP + 1) this.lines[line]!++;
    if (live === 0) return;
    if (live > MAX_OVERLAP) this.report("dma-debug-overlap-limit", ref, `exceeded ${MAX_OVERLAP} overlapping mappings of the cache line at 0x${hex(ref.phys)}`);
    else if ((attrs & DMA_ATTR_SKIP_CPU_SYNC) === 0 && !this.quietOverlaps[ref.device]) this.report("dma-debug-overlap", ref, `another live mapping begins in the cache line at 0x${hex(ref.phys)}: overlapping mappings aren't supported`);
  }

  /** The driver asks whether it failed. @kernel debug_dma_mapping_error */
  checked(device: number, dmaAddr: number): void {
    for (let entry = this.buckets[bucketOf(dmaAddr)]!; entry !== NONE; entry = this.words[entry + NEXT]!) {
      if (this.words[entry + DMA_ADDR] !== dmaAddr || this.words[entry + DEVICE] !== device || this.mapErr[entry >> ENTRY_SHIFT] !== ERR_NOT_CHECKED) continue;
      this.mapErr[entry >> ENTRY_SHIFT] = ERR_CHECKED;
      return;
    }
  }

  /**
   * Compares `ref` with the mapping at its address and forgets that. The bytes that were mapped, for the caller to undo,
   * or 0 if there is no such mapping. Coherent memory unmapped as if it were a mapping, or the other way round, stays what it
   * is; the kernel goes on and harms it. @kernel check_unmap
   */
  remove(): number {
    const { ref } = this;
    const entry = this.findExact(ref);
    if (entry === NONE) {
      if (ref.dmaAddr === DMA_MAPPING_ERROR) this.report("dma-debug-invalid-address", ref, "device driver tries to free an invalid DMA memory address: its mapping failed");
      else this.report("dma-debug-not-allocated", ref, `device driver tries to free DMA memory it has not allocated: ${ref.sizeBytes} bytes`);
      return 0;
    }
    const size = this.words[entry + SIZE]!;
    const type = this.words[entry + TYPE]!;
    const direction = this.words[entry + DIRECTION]!;
    const entries = this.words[entry + SG_ENTRIES]!;
    if (ref.sizeBytes !== size) this.report("dma-debug-size", ref, `device driver frees DMA memory with different size: mapped ${size} bytes, unmapped ${ref.sizeBytes}`);
    if (ref.type !== type) this.report("dma-debug-function", ref, `device driver frees DMA memory with wrong function: mapped as ${TYPE_NAMES[type]}, unmapped as ${TYPE_NAMES[ref.type]}`);
    if ((ref.type === DEBUG_COHERENT) !== (type === DEBUG_COHERENT)) return 0;
    if (type === DEBUG_COHERENT && ref.phys !== this.words[entry + PHYS]) this.report("dma-debug-cpu-address", ref, `device driver frees DMA memory with different CPU address: allocated 0x${hex(this.words[entry + PHYS]!)}, freed 0x${hex(ref.phys)}`);
    if (ref.type === DEBUG_SG && ref.sgEntries !== 0 && ref.sgEntries !== entries) this.report("dma-debug-sg-count", ref, `device driver frees DMA sg list with different entry count: mapped ${entries}, unmapped ${ref.sgEntries}`);
    if (ref.direction !== direction) this.report("dma-debug-direction", ref, `device driver frees DMA memory with different direction: mapped with ${directionName(direction)}, unmapped with ${directionName(ref.direction)}`);
    if (this.mapErr[entry >> ENTRY_SHIFT] === ERR_NOT_CHECKED) this.report("dma-debug-error-unchecked", ref, `device driver failed to check map error: ${size} bytes mapped as ${TYPE_NAMES[type]}, unmapped without a call of dma_mapping_error`);
    this.removedPhys = this.words[entry + PHYS]!;
    this.forget(entry);
    return size;
  }

  /** Whether the newest mapping in its bucket holds the range and was made in this direction: nearly all syncs are so, and right. No `ref` is looked at. */
  isPlainSync(device: number, dmaAddr: number, sizeBytes: number, direction: number): boolean {
    const { words } = this;
    const entry = this.buckets[bucketOf(dmaAddr)]!;
    if (entry === NONE || words[entry + DEVICE] !== device || words[entry + DIRECTION] !== direction) return false;
    const start = words[entry + DMA_ADDR]!;
    return dmaAddr >= start && sizeBytes > 0 && dmaAddr + sizeBytes <= start + words[entry + SIZE]!;
  }

  /** Whether the range of `ref` may be synced this way; the driver's mistake is reported. @kernel check_sync */
  checkSync(forCpu: boolean): boolean {
    const { ref } = this;
    const entry = ref.sizeBytes > 0 ? this.findContaining(ref) : NONE;
    if (entry === NONE) {
      this.report("dma-debug-sync-not-allocated", ref, `device driver tries to sync DMA memory it has not allocated: ${ref.sizeBytes} bytes, and no mapping holds them all`);
      return false;
    }
    const direction = this.words[entry + DIRECTION]!;
    if (direction === DMA_BIDIRECTIONAL) return true;
    let ok = true;
    if (ref.direction !== direction) {
      this.report("dma-debug-sync-direction", ref, `device driver syncs DMA memory with different direction: ${both(direction, ref.direction)}`);
      ok = false;
    }
    if (forCpu && direction !== DMA_FROM_DEVICE && ref.direction !== DMA_TO_DEVICE) {
      this.report("dma-debug-sync-read-only", ref, `device driver syncs device read-only DMA memory for cpu: ${both(direction, ref.direction)}`);
      ok = false;
    }
    if (!forCpu && direction !== DMA_TO_DEVICE && ref.direction !== DMA_FROM_DEVICE) {
      this.report("dma-debug-sync-write-only", ref, `device driver syncs device write-only DMA memory to device: ${both(direction, ref.direction)}`);
      ok = false;
    }
    if (ref.type === DEBUG_SG && ref.sgEntries !== 0 && ref.sgEntries !== this.words[entry + SG_ENTRIES]) {
      this.report("dma-debug-sg-count", ref, `device driver syncs DMA sg list with different entry count: mapped ${this.words[entry + SG_ENTRIES]}, synced ${ref.sgEntries}`);
      ok = false;
    }
    return ok;
  }

  /** Its driver is gone: how many mappings, coherent memory included, it left behind. @kernel dma_debug_device_change */
  leaks(device: number): number {
    let count = 0;
    let sample = NONE;
    for (let bucket = 0; bucket < HASH_SIZE; bucket++) {
      for (let entry = this.buckets[bucket]!; entry !== NONE; entry = this.words[entry + NEXT]!) {
        if (this.words[entry + DEVICE] !== device) continue;
        count++;
        sample = entry;
      }
    }
    if (count === 0) return 0;
    const name = this.deviceNames[device]!;
    this.reports.report(
      "dma-leak", "warn", `device ${name}`, name,
      `device driver has pending DMA allocations while released from device: count ${count}; one of them is address 0x${hex(this.words[sample + DMA_ADDR]!)}, ${this.words[sample + SIZE]} bytes, mapped with ${directionName(this.words[sample + DIRECTION]!)} as ${TYPE_NAMES[this.words[sample + TYPE]!]}`,
    );
    return count;
  }

  /** A mistake in how a mapping is asked for. */
  complain(kind: DmaDebugKind, device: number, where: string, message: string): void {
    const name = this.deviceNames[device]!;
    this.reports.report(kind, "warn", `device ${name} ${where}`, name, message);
  }

  /**
   * The mapping at this address that agrees in size, function, direction and entries; where there is only one, it need not.
   * @kernel __hash_bucket_find
   */
  private findExact(ref: DebugRef): number {
    let best = NONE;
    let bestLevel = 0;
    let matches = 0;
    for (let entry = this.buckets[bucketOf(ref.dmaAddr)]!; entry !== NONE; entry = this.words[entry + NEXT]!) {
      if (this.words[entry + DMA_ADDR] !== ref.dmaAddr || this.words[entry + DEVICE] !== ref.device) continue;
      matches++;
      const level = (this.words[entry + SIZE] === ref.sizeBytes ? 1 : 0) + (this.words[entry + TYPE] === ref.type ? 1 : 0)
        + (this.words[entry + DIRECTION] === ref.direction ? 1 : 0) + (this.words[entry + SG_ENTRIES] === ref.sgEntries ? 1 : 0);
      if (level === 4) return entry;
      if (level > bestLevel) {
        bestLevel = level;
        best = entry;
      }
    }
    return matches === 1 ? best : NONE;
  }

  /** @kernel bucket_find_contain, containing_match */
  private findContaining(ref: DebugRef): number {
    const { words } = this;
    const end = ref.dmaAddr + ref.sizeBytes;
    const buckets = Math.min(HASH_SIZE, (this.largest >>> HASH_SHIFT) + 2, (ref.dmaAddr >>> HASH_SHIFT) + 1);
    for (let back = 0; back < buckets; back++) {
      for (let entry = this.buckets[bucketOf(ref.dmaAddr - (back << HASH_SHIFT))]!; entry !== NONE; entry = words[entry + NEXT]!) {
        const start = words[entry + DMA_ADDR]!;
        if (words[entry + DEVICE] === ref.device && start <= ref.dmaAddr && start + words[entry + SIZE]! >= end) return entry;
      }
    }
    return NONE;
  }

  private forget(entry: number): void {
    const bucket = bucketOf(this.words[entry + DMA_ADDR]!);
    if (this.buckets[bucket] === entry) this.buckets[bucket] = this.words[entry + NEXT]!;
    else {
      let before = this.buckets[bucket]!;
      while (this.words[before + NEXT] !== entry) before = this.words[before + NEXT]!;
      this.words[before + NEXT] = this.words[entry + NEXT]!;
    }
    this.words[entry + NEXT] = this.freeEntry;
    this.freeEntry = entry;
    if (this.words[entry + DIRECTION] === DMA_TO_DEVICE) return;
    const line = (this.words[entry + PHYS]! - this.linesBase) >> LINE_SHIFT;
    if (line >= 0 && line < this.lines.length && this.lines[line]! > 0) this.lines[line]!--;
  }

  private takeEntry(): number {
    if (this.freeEntry !== NONE) {
      const entry = this.freeEntry;
      this.freeEntry = this.words[entry + NEXT]!;
      return entry;
    }
    if (this.entries === this.mapErr.length) this.grow();
    return this.entries++ << ENTRY_SHIFT;
  }

  private grow(): void {
    const words = new Int32Array(this.words.length * 2);
    words.set(this.words);
    this.words = words;
    const mapErr = new Uint8Array(this.mapErr.length * 2);
    mapErr.set(this.mapErr);
    this.mapErr = mapErr;
  }

  private report(kind: DmaDebugKind, ref: DebugRef, message: string): void {
    this.complain(kind, ref.device, `address 0x${hex(ref.dmaAddr)}`, message);
  }
}

function bucketOf(dmaAddr: number): number {
  return (dmaAddr >>> HASH_SHIFT) & (HASH_SIZE - 1);
}

function hex(address: number): string {
  return address < 0 ? "ffffffffffffffff" : address.toString(16);
}
