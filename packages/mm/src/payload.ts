import { type ReportSink, UsageError } from "@netmem/kernel/api";
import { PayloadRegion, type PayloadBacking, type PayloadMemory, type RegionKind } from "./api/index.ts";

/** Below this a word loop beats the call into the engine's own copy. */
const LOOP_BYTES = 64;

export class BackedPayload implements PayloadMemory {
  private readonly buffer: ArrayBuffer;
  private readonly bytes: Uint8Array;
  private readonly copyWithin: ((target: number, source: number, lengthBytes: number) => void) | null;
  private readonly reports: ReportSink;
  private used = 0;

  constructor(backing: PayloadBacking, reports: ReportSink) {
    this.buffer = backing.buffer;
    this.bytes = new Uint8Array(backing.buffer);
    this.copyWithin = backing.copyWithin ?? null;
    this.reports = reports;
  }

  addRegion(name: string, lengthBytes: number, cpuReadable: boolean, kind?: RegionKind): PayloadRegion {
    if (!Number.isInteger(lengthBytes) || lengthBytes < 0 || lengthBytes % 8 !== 0) {
      throw new UsageError("mm", `region ${name} bytes`, lengthBytes, "give a multiple of 8");
    }
    const base = this.used;
    if (base + lengthBytes > this.buffer.byteLength) {
      throw new UsageError("mm", `region ${name} bytes`, lengthBytes, `the backing has ${this.buffer.byteLength - base} bytes left: create the machine with more`);
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
    if (!target.cpuReadable || !source.cpuReadable) {
      const unreadable = target.cpuReadable ? source : target;
      this.reports.report("unreadable-access", "warn", `region ${unreadable.name}`, "cpu", `CPU copy of ${lengthBytes} bytes refused: the memory is the device's`);
      return false;
    }
    checkRange(target, targetOffset, lengthBytes);
    checkRange(source, sourceOffset, lengthBytes);
    this.dmaCopy(target, targetOffset, source, sourceOffset, lengthBytes);
    return true;
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
    if (!region.cpuReadable) {
      this.reports.report("unreadable-access", "warn", `region ${region.name}`, "cpu", `checksum of ${lengthBytes} bytes refused: the memory is the device's`);
      return 0;
    }
    checkRange(region, offset, lengthBytes);
    return onesComplementSum(region, offset, lengthBytes);
  }

  readByte(region: PayloadRegion, offset: number): number {
    if (region.cpuReadable) return region.bytes[offset]!;
    this.reports.report("unreadable-access", "warn", `region ${region.name}`, "cpu", `CPU read at offset ${offset} refused: the memory is the device's`);
    return -1;
  }
}

/** Longest run whose sum of halves of words stays below 2^30. */
const RUN_BYTES = 1 << 15;

/** The order of bytes does not matter to the sum, but for one swap at the end: words are added as they lie. */
function onesComplementSum({ bytes, words }: PayloadRegion, offset: number, lengthBytes: number): number {
  const end = offset + lengthBytes;
  let at = offset;
  let sum = 0;
  if ((offset & 3) === 0 && words.length > 0) {
    const lastWord = end >> 2;
    for (let word = offset >> 2; word < lastWord;) {
      const stop = Math.min(lastWord, word + (RUN_BYTES >> 2));
      let low = 0;
      let high = 0;
      for (; word < stop; word++) {
        const value = words[word]!;
        low += value & 0xffff;
        high += value >>> 16;
      }
      sum = fold(sum + fold(low + high));
    }
    at = lastWord << 2;
  }
  for (; at + 1 < end;) {
    const stop = Math.min(end - 1, at + RUN_BYTES);
    let run = 0;
    for (; at < stop; at += 2) run += bytes[at]! | (bytes[at + 1]! << 8);
    sum = fold(sum + fold(run));
  }
  if (at < end) sum = fold(sum + bytes[at]!);
  return ((sum & 0xff) << 8) | (sum >> 8);
}

function fold(sum: number): number {
  const once = (sum & 0xffff) + (sum >>> 16);
  return (once & 0xffff) + (once >>> 16);
}

/** Memory of somebody else's, in a buffer of its own. */
function copyAdopted(target: PayloadRegion, targetOffset: number, source: PayloadRegion, sourceOffset: number, lengthBytes: number): void {
  target.bytes.set(source.bytes.subarray(sourceOffset, sourceOffset + lengthBytes), targetOffset);
}

/** All regions lie in one buffer: a copy past the end of one would land in the next. */
export function checkRange(region: PayloadRegion, offset: number, lengthBytes: number): void {
  if (!(offset >= 0 && lengthBytes >= 0 && offset + lengthBytes <= region.bytes.length)) {
    throw new UsageError("mm", `range of region ${region.name}`, `${lengthBytes} bytes at ${offset}`, `it has ${region.bytes.length} bytes`);
  }
}

/** What is not the page allocator's is not in the linear map. */
function defaultKind(cpuReadable: boolean): RegionKind {
  return cpuReadable ? "vmalloc" : "device";
}
