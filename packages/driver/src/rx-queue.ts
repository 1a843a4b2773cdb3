import { UsageError, type Kernel } from "@netmem/kernel/api";
import type { DeviceBus, PayloadRegion } from "@netmem/mm/api";
import { IPPROTO_TCP } from "@netmem/net-core/api";
import type { FrameSource, HeaderSplitFormat, NicStats, RxDescFormat } from "./api/index.ts";
import type { BufferPool } from "./buffer-pool.ts";
import type { FrameHeaders } from "./frame-headers.ts";
import type { RxLine } from "./rx-line.ts";
import type { FrameReceiver } from "./receiver.ts";

/** One receive queue: frames into posted buffers, in order. */
export class RxQueue implements FrameReceiver {
  readonly line: RxLine;
  private readonly kernel: Kernel;
  private readonly bus: DeviceBus;
  private readonly format: RxDescFormat;
  private readonly stats: NicStats;
  private readonly pools: readonly BufferPool[];
  /** Buffers come from these pools, and not with descriptors. */
  private readonly isManaged: boolean;
  private readonly doorbell: () => void;
  /** Bytes from a descriptor's first: where its words are; and the status of a frame that has one alone. */
  private readonly addressAt: number;
  private readonly sizeAt: number;
  private readonly statusAt: number;
  private readonly wholeBits: number;
  private smallPool = 0;
  private largePool = 0;
  private ring = 0;
  private ringEnd = 0;
  private entries = 0;
  private bufferBytes = 0;
  /** 0: frames are not split. */
  private headerBufferBytes = 0;
  /** Address of the descriptor that the next frame starts with. */
  private next = 0;
  private nrNonOccupied = 0;
  private nrOccupied = 0;
  private running = false;

  constructor(kernel: Kernel, bus: DeviceBus, format: RxDescFormat, stats: NicStats, pools: readonly BufferPool[], line: RxLine, doorbell: () => void) {
    this.kernel = kernel;
    this.bus = bus;
    this.format = format;
    this.addressAt = format.addressWord * 4;
    this.sizeAt = format.sizeWord * 4;
    this.statusAt = format.statusWord * 4;
    this.wholeBits = format.firstBit | format.lastBit;
    this.stats = stats;
    this.pools = pools;
    this.isManaged = pools.length > 0;
    this.line = line;
    this.doorbell = doorbell;
  }

  configure(ringDmaAddr: number, entries: number, bufferBytes: number): void {
    this.ring = ringDmaAddr;
    this.entries = entries;
    this.bufferBytes = bufferBytes;
    this.ringEnd = ringDmaAddr + entries * this.format.sizeBytes;
    this.next = ringDmaAddr;
    this.nrNonOccupied = 0;
    this.nrOccupied = 0;
  }

  addNonOccupied(n: number): void {
    this.bus.registerWrite();
    this.nrNonOccupied += n;
    if (this.nrNonOccupied + this.nrOccupied > this.entries) {
      this.kernel.reports.report("nic-ring-overcommitted", "warn", "rx queue", "driver", `${this.nrNonOccupied} posted and ${this.nrOccupied} occupied of ${this.entries} descriptors`);
    }
    this.doorbell();
  }

  occupied(): number {
    this.bus.registerRead();
    return this.nrOccupied;
  }

  decOccupied(n: number): void {
    this.nrOccupied -= n;
  }

  enableIrq(): void {
    this.line.enabled = true;
    if (this.nrOccupied > 0) this.line.raise();
  }

  disableIrq(): void {
    this.line.enabled = false;
  }

  start(): void {
    this.running = true;
    this.doorbell();
  }

  stop(): void {
    this.running = false;
    this.line.enabled = false;
  }

  setBufferPools(small: number, large: number): void {
    for (const pool of [small, large]) if (this.pools[pool] === undefined) throw new UsageError("driver", "buffer pool", pool, `this NIC has ${this.pools.length}`);
    this.smallPool = small;
    this.largePool = large;
  }

  /** Descriptors that a frame, of which `headerPart` bytes lie elsewhere, takes; 0: there is no room for it now. */
  roomFor(bytes: number, headerPart: number): number {
    if (this.running === false) return 0;
    if (this.isManaged === false) {
      const descriptors = this.descriptorsFor(bytes, headerPart);
      return descriptors > this.nrNonOccupied ? 0 : descriptors;
    }
    return this.nrNonOccupied > 0 && this.takesFrameOf(bytes) && this.pools[this.poolFor(bytes)]!.buffers() > 0 ? 1 : 0;
  }

  /** Whether a frame could be taken at all, if there were room. */
  takesFrameOf(bytes: number): boolean {
    return this.pools.length === 0 || this.format.prefixBytes + bytes <= this.pools[this.largePool]!.bufferBytes;
  }

  private poolFor(bytes: number): number {
    return this.format.prefixBytes + bytes <= this.pools[this.smallPool]!.bufferBytes ? this.smallPool : this.largePool;
  }

  setStrides(): void {
    throw new UsageError("driver", "strides", "set", "this NIC's descriptors bring a buffer each, and no strides");
  }

  setHeaderSplit(headerBufferBytes: number): void {
    if (headerBufferBytes > 0 && this.format.headerSplit === undefined) throw new UsageError("driver", "header buffer bytes", headerBufferBytes, "this NIC's descriptors have no place for header buffers");
    this.headerBufferBytes = headerBufferBytes;
  }

  /** Bytes of the frame that go into a header buffer. */
  headerPart(headers: FrameHeaders, bytes: number): number {
    const most = this.headerBufferBytes - this.format.prefixBytes;
    if (most <= 0) return 0;
    return Math.min(most, headers.protocol === IPPROTO_TCP ? headers.payloadOffset : bytes);
  }

  private descriptorsFor(bytes: number, headerPart: number): number {
    const elsewhere = headerPart === 0 ? 0 : this.format.prefixBytes + headerPart;
    const here = this.format.prefixBytes + bytes + this.format.fcsBytes - elsewhere;
    return here <= this.bufferBytes ? 1 : Math.ceil(here / this.bufferBytes);
  }

  /** The caller has seen that there are descriptors enough. `flags`: further bits for the status of the first. */
  receive(source: FrameSource, bytes: number, descriptors: number, headerPart: number, flags: number): void {
    const { region } = source;
    const format = this.format;
    const total = format.prefixBytes + bytes;
    const start = source.peekOffset() - format.prefixBytes;
    if (this.isManaged === true) {
      this.receiveManaged(region, start, bytes, flags);
      return;
    }
    if (descriptors === 1 && headerPart === 0 && total > 0) {
      this.receiveWhole(region, start, bytes, flags);
      return;
    }
    let done = 0;
    let failed = this.line.frameArrivesBad(bytes);
    if (headerPart > 0) {
      done = format.prefixBytes + headerPart;
      if (!this.writeHeader(format.headerSplit!, region, start, done)) failed = true;
    }
    for (let i = 0; i < descriptors; i++) {
      const descriptor = this.next;
      const left = total - done;
      const part = left < this.bufferBytes ? left : this.bufferBytes;
      if (part > 0) {
        const buffer = this.bus.read32(descriptor + this.addressAt);
        if (failed === false) failed = !this.bus.write(buffer, region, start + done, part);
        done += part;
      }
      let status = 0;
      if (i === 0) {
        status |= format.firstBit | flags;
        this.bus.write32(descriptor + this.sizeAt, (total + format.fcsBytes + this.line.excessBytes(bytes)) << format.sizeShift);
      }
      if (i === descriptors - 1) status |= format.lastBit;
      if (failed === true) status |= format.errorBit;
      this.bus.write32(descriptor + this.statusAt, status);
      this.toNextDescriptor();
    }
    this.received(bytes, descriptors, failed);
  }

  /** Most frames: one descriptor, one buffer. */
  private receiveWhole(region: PayloadRegion, start: number, bytes: number, flags: number): void {
    const bus = this.bus;
    const format = this.format;
    const total = format.prefixBytes + bytes;
    const descriptor = this.next;
    const statusAt = descriptor + this.statusAt;
    const status = this.wholeBits | flags;
    const isBad = this.line.frameArrivesBad(bytes);
    const buffer = bus.read32(descriptor + this.addressAt);
    // Before the frame: its copy is a call, after which the engine asks of everything anew what kind of object it is.
    bus.write32(descriptor + this.sizeAt, (total + format.fcsBytes + this.line.excessBytes(bytes)) << format.sizeShift);
    const failed = isBad === true || bus.write(buffer, region, start, total) === false;
    bus.write32(statusAt, failed === true ? status | format.errorBit : status);
    this.toNextDescriptor();
    this.received(bytes, 1, failed);
  }

  /** The buffer is the oldest of a pool, and the descriptor says which. */
  private receiveManaged(region: PayloadRegion, start: number, bytes: number, flags: number): void {
    const format = this.format;
    const total = format.prefixBytes + bytes;
    const poolIndex = this.poolFor(bytes);
    const pool = this.pools[poolIndex]!;
    const descriptor = this.next;
    const { cookieWord, poolShift } = format.bufferManager!;
    const buffer = pool.address();
    const failed = this.line.frameArrivesBad(bytes) || !this.bus.write(buffer, region, start, total);
    this.bus.write32(descriptor + this.addressAt, buffer);
    this.bus.write32(descriptor + cookieWord * 4, pool.cookie());
    pool.advance();
    this.bus.write32(descriptor + this.sizeAt, (total + format.fcsBytes + this.line.excessBytes(bytes)) << format.sizeShift);
    this.bus.write32(descriptor + this.statusAt, this.wholeBits | flags | (poolIndex << poolShift) | (failed ? format.errorBit : 0));
    this.toNextDescriptor();
    this.received(bytes, 1, failed);
  }

  private toNextDescriptor(): void {
    const next = this.next + this.format.sizeBytes;
    this.next = next === this.ringEnd ? this.ring : next;
  }

  private received(bytes: number, descriptors: number, failed: boolean): void {
    this.nrNonOccupied -= descriptors;
    this.nrOccupied += descriptors;
    if (failed === true) this.stats.faults++;
    else {
      this.stats.frames++;
      this.stats.bytes += bytes;
    }
    this.line.raise();
  }

  /** False: the IOMMU refused it. */
  private writeHeader(format: HeaderSplitFormat, region: PayloadRegion, start: number, bytes: number): boolean {
    const descriptor = this.next;
    const written = this.bus.write(this.bus.read32(descriptor + format.headerAddressWord * 4), region, start, bytes);
    return this.bus.write32(descriptor + format.headerSizeWord * 4, bytes << format.headerSizeShift) && written;
  }
}
