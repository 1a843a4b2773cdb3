import { type ReportSink, UsageError } from "@netmem/kernel/api";
import { PayloadRegion, type PayloadBacking, type PayloadMemory, type RegionKind } from "./api/index.ts";
import { fold, portableSum, swapped } from "./internet-sum.ts";

/** Below this a word loop beats the call into the engine's own copy. */
const LOOP_BYTES = 64;
/** What a backing's own sum takes at a time. */
const MOST_SUMMED_BYTES = 65_536;

export class BackedPayload implements PayloadMemory {
  private readonly buffer: ArrayBuffer;
  private readonly bytes: Uint8Array;
  private readonly copyWithin: ((target: number, source: number, lengthBytes: number) => void) | null;
  private readonly sum16: ((at: number, lengthBytes: number) => number) | null;
  private readonly reports: ReportSink;
  /** Of the backing: what lies behind is nobody's. */
  private readonly sizeBytes: number;
  private used = 0;

  constructor(backing: PayloadBacking, sizeBytes: number, reports: ReportSink) {
    this.buffer = backing.buffer;
    this.bytes = new Uint8Array(backing.buffer);
    this.copyWithin = backing.copyWithin ?? null;
    this.sum16 = backing.sum16 ?? null;
    this.reports = reports;
    this.sizeBytes = sizeBytes;
  }

  addRegion(name: string, lengthBytes: number, cpuReadable: boolean, kind?: RegionKind): PayloadRegion {
    if (!Number.isInteger(lengthBytes) || lengthBytes < 0 || lengthBytes % 8 !== 0) {
      throw new UsageError("mm", `region ${name} bytes`, lengthBytes, "give a multiple of 8");
    }
    const base = this.used;
    if (base + lengthBytes > this.sizeBytes) {
      throw new UsageError("mm", `region ${name} bytes`, lengthBytes, `the machine has ${this.sizeBytes - base} bytes left: create the machine with more`);
    }
    this.used = base + lengthBytes;
    const bytes = new Uint8Array(this.buffer, base, lengthBytes);
    return new PayloadRegion(name, bytes, new Int32Array(this.buffer, base, lengthBytes >> 2), cpuReadable, base, kind ?? defaultKind(cpuReadable));
  }

  adoptRegion(name: string, bytes: Uint8Array, cpuReadable: boolean): PayloadRegion {
    // Bytes that do not start on a word have no words; a copy of them would no longer be the caller's.
    const words = bytes.byteOffset % 4 === 0 ? new Int32Array(bytes.buffer as ArrayBuffer, bytes.byteOffset, bytes.byteLength >> 2) : new Int32Array(0);
    return new PayloadRegion(name, bytes, words, cpuReadable, -1, defaultKind(cpuReadable));
  }

  copy(target: PayloadRegion, targetOffset: number, source: PayloadRegion, sourceOffset: number, lengthBytes: number): boolean {
    if (target.cpuReadable === false || source.cpuReadable === false) {
      this.refuseCopy(target.cpuReadable ? source : target, lengthBytes);
      return false;
    }
    // Both at once, and the copy itself as `dmaCopy` does it: a packet's copies are calls enough as they are.
    if (!(targetOffset >= 0 && sourceOffset >= 0 && lengthBytes >= 0 && targetOffset + lengthBytes <= target.bytes.length && sourceOffset + lengthBytes <= source.bytes.length)) {
      checkRange(target, targetOffset, lengthBytes);
      checkRange(source, sourceOffset, lengthBytes);
    }
    const { copyWithin } = this;
    if (copyWithin !== null && target.base >= 0 && source.base >= 0) copyWithin(target.base + targetOffset, source.base + sourceOffset, lengthBytes);
    else this.dmaCopy(target, targetOffset, source, sourceOffset, lengthBytes);
    return true;
  }

  private refuseCopy(unreadable: PayloadRegion, lengthBytes: number): void {
    this.reports.report("unreadable-access", "warn", `region ${unreadable.name}`, "cpu", `CPU copy of ${lengthBytes} bytes refused: the memory is the device's`);
  }

  dmaCopy(target: PayloadRegion, targetOffset: number, source: PayloadRegion, sourceOffset: number, lengthBytes: number): void {
    const { copyWithin } = this;
    if (target.base < 0 || source.base < 0) copyAdopted(target, targetOffset, source, sourceOffset, lengthBytes);
    else if (copyWithin !== null) copyWithin(target.base + targetOffset, source.base + sourceOffset, lengthBytes);
    else this.plainCopy(target.base + targetOffset, source.base + sourceOffset, lengthBytes);
  }

  private plainCopy(to: number, from: number, lengthBytes: number): void {
    if (lengthBytes > LOOP_BYTES) this.bytes.copyWithin(to, from, from + lengthBytes);
    else {
      const bytes = this.bytes;
      for (let i = 0; i < lengthBytes; i++) bytes[to + i] = bytes[from + i]!;
    }
  }

  checksum(region: PayloadRegion, offset: number, lengthBytes: number): number {
    if (region.cpuReadable === false) return this.refuseChecksum(region, lengthBytes);
    checkRange(region, offset, lengthBytes);
    const { sum16 } = this;
    if (sum16 === null || region.base < 0) return swapped(portableSum(region, offset, lengthBytes));
    if (lengthBytes <= MOST_SUMMED_BYTES) return swapped(fold(sum16(region.base + offset, lengthBytes)));
    return this.sumInParts(sum16, region, offset, lengthBytes);
  }

  private refuseChecksum(region: PayloadRegion, lengthBytes: number): number {
    this.reports.report("unreadable-access", "warn", `region ${region.name}`, "cpu", `checksum of ${lengthBytes} bytes refused: the memory is the device's`);
    return 0;
  }

  private sumInParts(sum16: (at: number, lengthBytes: number) => number, region: PayloadRegion, offset: number, lengthBytes: number): number {
    let sum = 0;
    for (let done = 0; done < lengthBytes; done += MOST_SUMMED_BYTES) {
      sum = fold(sum + fold(sum16(region.base + offset + done, Math.min(MOST_SUMMED_BYTES, lengthBytes - done))));
    }
    return swapped(sum);
  }

  readByte(region: PayloadRegion, offset: number): number {
    if (region.cpuReadable) return region.bytes[offset]!;
    this.reports.report("unreadable-access", "warn", `region ${region.name}`, "cpu", `CPU read at offset ${offset} refused: the memory is the device's`);
    return -1;
  }
}

/** Memory of somebody else's, in a buffer of its own. */
function copyAdopted(target: PayloadRegion, targetOffset: number, source: PayloadRegion, sourceOffset: number, lengthBytes: number): void {
  target.bytes.set(source.bytes.subarray(sourceOffset, sourceOffset + lengthBytes), targetOffset);
}

/** All regions lie in one buffer: a copy past the end of one would land in the next. */
export function checkRange(region: PayloadRegion, offset: number, lengthBytes: number): void {
  if (!(offset >= 0 && lengthBytes >= 0 && offset + lengthBytes <= region.bytes.length)) refuseRange(region, offset, lengthBytes);
}

function refuseRange(region: PayloadRegion, offset: number, lengthBytes: number): never {
  throw new UsageError("mm", `range of region ${region.name}`, `${lengthBytes} bytes at ${offset}`, `it has ${region.bytes.length} bytes`);
}

/** What is not the page allocator's is not in the linear map. */
function defaultKind(cpuReadable: boolean): RegionKind {
  return cpuReadable ? "vmalloc" : "device";
}
