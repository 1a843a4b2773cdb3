import { UsageError, type Kernel } from "@netmem/kernel/api";
import { PAGE_SIZE, type DeviceBus, type PayloadRegion } from "@netmem/mm/api";
import type { FrameSource, NicStats, RxDescFormat, StridingFormat } from "./api/index.ts";
import type { FrameReceiver } from "./receiver.ts";
import type { RxLine } from "./rx-line.ts";

/** A receive queue whose descriptors bring the memory of many frames: a frame takes as many strides as it needs, one behind the other, and completes in a queue of its own. */
export class StridingRxQueue implements FrameReceiver {
  readonly line: RxLine;
  readonly #kernel: Kernel;
  readonly #bus: DeviceBus;
  readonly #format: RxDescFormat;
  readonly #striding: StridingFormat;
  readonly #stats: NicStats;
  readonly #doorbell: () => void;
  #ring = 0;
  #entries = 0;
  #completionRing = 0;
  #completions = 0;
  #strideBytes = 0;
  #mostFrameBytes = 0;
  #headroomBytes = 0;
  /** Descriptor whose strides are being filled, and how many of them are. */
  #current = 0;
  #usedStrides = 0;
  #posted = 0;
  #nextCompletion = 0;
  #completed = 0;
  #running = false;

  constructor(kernel: Kernel, bus: DeviceBus, format: RxDescFormat, striding: StridingFormat, stats: NicStats, line: RxLine, doorbell: () => void) {
    this.#kernel = kernel;
    this.#bus = bus;
    this.#format = format;
    this.#striding = striding;
    this.#stats = stats;
    this.line = line;
    this.#doorbell = doorbell;
  }

  configure(ringDmaAddr: number, entries: number, mostFrameBytes: number): void {
    this.#mostFrameBytes = mostFrameBytes;
    this.#ring = ringDmaAddr;
    this.#entries = entries;
    this.#current = 0;
    this.#usedStrides = 0;
    this.#posted = 0;
  }

  setStrides(completionDmaAddr: number, completions: number, strideBytes: number, headroomBytes: number): void {
    if (strideBytes < 1 || this.#bufferBytes() % strideBytes !== 0) throw new UsageError("driver", "stride bytes", strideBytes, `give a part of ${this.#bufferBytes()}`);
    this.#completionRing = completionDmaAddr;
    this.#completions = completions;
    this.#strideBytes = strideBytes;
    this.#headroomBytes = headroomBytes;
    this.#nextCompletion = 0;
    this.#completed = 0;
  }

  setHeaderSplit(headerBufferBytes: number): void {
    if (headerBufferBytes > 0) throw new UsageError("driver", "header buffer bytes", headerBufferBytes, "this NIC's descriptors have no place for header buffers");
  }

  setBufferPools(small: number): void {
    throw new UsageError("driver", "buffer pool", small, "this NIC has 0");
  }

  addNonOccupied(n: number): void {
    this.#bus.registerWrite();
    this.#posted += n;
    if (this.#posted > this.#entries) this.#kernel.reports.report("nic-ring-overcommitted", "warn", "rx queue", "driver", `${this.#posted} posted of ${this.#entries} descriptors`);
    this.#doorbell();
  }

  occupied(): number {
    this.#bus.registerRead();
    return this.#completed;
  }

  decOccupied(n: number): void {
    this.#completed -= n;
    this.#doorbell();
  }

  enableIrq(): void {
    this.line.enabled = true;
    if (this.#completed > 0) this.line.raise();
  }

  disableIrq(): void {
    this.line.enabled = false;
  }

  start(): void {
    this.#running = true;
    this.#doorbell();
  }

  stop(): void {
    this.#running = false;
    this.line.enabled = false;
  }

  headerPart(): number {
    return 0;
  }

  /** Strides that it takes. A frame is in one descriptor's memory: where that has not enough left, the rest of it is filler, for which there must be a completion, too. */
  roomFor(bytes: number): number {
    if (!this.#running || this.#posted === 0 || !this.takesFrameOf(bytes)) return 0;
    const strides = this.#stridesFor(bytes);
    const fits = strides <= this.#left();
    return (fits || this.#posted > 1) && this.#completions - this.#completed >= (fits ? 1 : 2) ? strides : 0;
  }

  takesFrameOf(bytes: number): boolean {
    return bytes <= this.#mostFrameBytes && this.#stridesFor(bytes) * this.#strideBytes <= this.#bufferBytes();
  }

  receive(source: FrameSource, bytes: number, strides: number, _headerPart: number, flags: number): void {
    if (strides > this.#left()) this.#complete(0, this.#left(), this.#striding.fillerBit);
    const failed = this.line.frameArrivesBad(bytes) || !this.#write(this.#usedStrides * this.#strideBytes + this.#headroomBytes, source.region, source.peekOffset(), bytes);
    this.#complete(bytes + this.line.excessBytes(bytes), strides, this.#format.firstBit | this.#format.lastBit | flags | (failed ? this.#format.errorBit : 0));
    if (failed) this.#stats.faults++;
    else {
      this.#stats.frames++;
      this.#stats.bytes += bytes;
    }
    this.line.raise();
  }

  #bufferBytes(): number {
    return this.#striding.pages * PAGE_SIZE;
  }

  #stridesFor(bytes: number): number {
    return Math.max(1, Math.ceil((this.#headroomBytes + bytes) / this.#strideBytes));
  }

  /** Strides of the current descriptor that nobody has. */
  #left(): number {
    return this.#bufferBytes() / this.#strideBytes - this.#usedStrides;
  }

  /** Its pages lie where they lie; to the NIC they are one buffer. False: the IOMMU refused it. */
  #write(start: number, region: PayloadRegion, from: number, bytes: number): boolean {
    const words = this.#ring + this.#current * this.#format.sizeBytes + this.#format.addressWord * 4;
    for (let done = 0; done < bytes;) {
      const at = start + done;
      const page = Math.floor(at / PAGE_SIZE);
      const part = Math.min(bytes - done, PAGE_SIZE - (at % PAGE_SIZE));
      if (!this.#bus.write(this.#bus.read32(words + page * 4) + (at % PAGE_SIZE), region, from + done, part)) return false;
      done += part;
    }
    return true;
  }

  #complete(bytes: number, strides: number, status: number): void {
    const { strideWord, bytesWord, completionBytes, completionStatusWord } = this.#striding;
    const entry = this.#completionRing + this.#nextCompletion * completionBytes;
    this.#bus.write32(entry + strideWord * 4, this.#current | (this.#usedStrides << 16));
    this.#bus.write32(entry + bytesWord * 4, bytes | (strides << 16));
    this.#bus.write32(entry + completionStatusWord * 4, status);
    this.#nextCompletion = this.#nextCompletion + 1 === this.#completions ? 0 : this.#nextCompletion + 1;
    this.#completed++;
    this.#usedStrides += strides;
    if (this.#left() > 0) return;
    this.#usedStrides = 0;
    this.#posted--;
    this.#current = this.#current + 1 === this.#entries ? 0 : this.#current + 1;
  }
}
