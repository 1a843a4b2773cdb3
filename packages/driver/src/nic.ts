import { TASK_AGAIN, TASK_SLEEP, UsageError, type IrqLine, type Kernel, type Runnable } from "@netmem/kernel/api";
import type { DeviceBus } from "@netmem/mm/api";
import type { FrameSink, FrameSource, NicHardware, NicProbe, NicRxQueue, NicStats, NicWire, RxDescFormat, TxDescFormat } from "./api/index.ts";
import { TxQueue } from "./tx-queue.ts";

/** Frames taken in one slice of the NIC's time. */
const BURST = 32;

export interface NicOptions {
  readonly name: string;
  readonly rxQueueCount: number;
  readonly rxDescFormat: RxDescFormat;
  readonly txDescFormat: TxDescFormat;
  readonly probe?: NicProbe | null;
}

/**
 * A NIC: takes frames from its wire, writes them through the IOMMU into the buffers that descriptors name, marks the
 * descriptors done and interrupts. It works beside the CPUs, in slices the scheduler orders.
 */
export class ModelledNic implements NicHardware, NicWire {
  readonly name: string;
  readonly stats: NicStats = { frames: 0, bytes: 0, overruns: 0, faults: 0, sentFrames: 0, sentBytes: 0 };
  readonly rxQueues: readonly RxQueue[];
  readonly txQueues: readonly TxQueue[];
  readonly #kernel: Kernel;
  readonly #engine: Runnable;
  readonly #probe: NicProbe | null;
  #source: FrameSource | null = null;

  constructor(kernel: Kernel, bus: DeviceBus, options: NicOptions) {
    const { rxQueueCount } = options;
    if (!Number.isInteger(rxQueueCount) || rxQueueCount < 1) throw new UsageError("driver", `rx queues of ${options.name}`, rxQueueCount, "give 1 or more");
    this.name = options.name;
    this.#kernel = kernel;
    this.#probe = options.probe ?? null;
    const queues: RxQueue[] = [];
    for (let i = 0; i < rxQueueCount; i++) queues.push(new RxQueue(kernel, bus, options.rxDescFormat, this.stats, () => this.frameArrived()));
    this.rxQueues = queues;
    this.txQueues = [new TxQueue(bus, options.txDescFormat, this.stats, this.#probe, () => this.frameArrived())];
    this.#engine = kernel.scheduler.addActor({ name: `${options.name} dma engine`, run: () => this.#run() });
  }

  requestIrq(queue: number, cpu: number, handler: () => void): void {
    this.rxQueues[queue]!.irq = this.#kernel.irqs.requestIrq(`${this.name}-rx-${queue}`, cpu, handler);
  }

  freeIrq(queue: number): void {
    const rxq = this.rxQueues[queue]!;
    if (rxq.irq !== null) this.#kernel.irqs.freeIrq(rxq.irq);
    rxq.irq = null;
  }

  connect(source: FrameSource): void {
    this.#source = source;
    this.frameArrived();
  }

  frameArrived(): void {
    this.#kernel.scheduler.wake(this.#engine);
  }

  connectSink(sink: FrameSink | null): void {
    this.txQueues[0]!.sink = sink;
  }

  #run(): number {
    const tx = this.txQueues[0]!;
    if (tx.send(BURST) > 0) this.rxQueues[0]!.interruptIfEnabled();
    const receiving = this.#receive();
    return tx.waiting() ? TASK_AGAIN : receiving;
  }

  #receive(): number {
    const source = this.#source;
    if (source === null) return TASK_SLEEP;
    // One queue until receive-side scaling comes: every flow hashes to it.
    const queue = this.rxQueues[0]!;
    for (let i = 0; i < BURST; i++) {
      const bytes = source.peekBytes();
      if (bytes < 0) return TASK_SLEEP;
      const descriptors = queue.descriptorsFor(bytes);
      if (descriptors > queue.free()) {
        // The doorbell wakes the engine again.
        if (source.lossless) return TASK_SLEEP;
        this.stats.overruns++;
        if (this.#probe !== null) this.#probe.overrun(0, bytes);
      } else {
        queue.receive(source, bytes, descriptors);
        if (this.#probe !== null) this.#probe.received(0, bytes, descriptors);
      }
      source.advance();
    }
    return TASK_AGAIN;
  }
}

class RxQueue implements NicRxQueue {
  irq: IrqLine | null = null;
  readonly #kernel: Kernel;
  readonly #bus: DeviceBus;
  readonly #format: RxDescFormat;
  readonly #stats: NicStats;
  readonly #doorbell: () => void;
  #ring = 0;
  #entries = 0;
  #bufferBytes = 0;
  /** Descriptor that the next frame starts with. */
  #next = 0;
  #nonOccupied = 0;
  #occupied = 0;
  #irqEnabled = false;
  #running = false;

  constructor(kernel: Kernel, bus: DeviceBus, format: RxDescFormat, stats: NicStats, doorbell: () => void) {
    this.#kernel = kernel;
    this.#bus = bus;
    this.#format = format;
    this.#stats = stats;
    this.#doorbell = doorbell;
  }

  configure(ringDmaAddr: number, entries: number, bufferBytes: number): void {
    this.#ring = ringDmaAddr;
    this.#entries = entries;
    this.#bufferBytes = bufferBytes;
    this.#next = 0;
    this.#nonOccupied = 0;
    this.#occupied = 0;
  }

  addNonOccupied(n: number): void {
    this.#bus.registerWrite();
    this.#nonOccupied += n;
    if (this.#nonOccupied + this.#occupied > this.#entries) {
      this.#kernel.reports.report("nic-ring-overcommitted", "warn", "rx queue", "driver", `${this.#nonOccupied} posted and ${this.#occupied} occupied of ${this.#entries} descriptors`);
    }
    this.#doorbell();
  }

  occupied(): number {
    this.#bus.registerRead();
    return this.#occupied;
  }

  decOccupied(n: number): void {
    this.#occupied -= n;
  }

  enableIrq(): void {
    this.#irqEnabled = true;
    if (this.#occupied > 0) this.#interrupt();
  }

  /** Something else than a frame received wants the driver's attention. */
  interruptIfEnabled(): void {
    if (this.#irqEnabled) this.#interrupt();
  }

  disableIrq(): void {
    this.#irqEnabled = false;
  }

  start(): void {
    this.#running = true;
    this.#doorbell();
  }

  stop(): void {
    this.#running = false;
    this.#irqEnabled = false;
  }

  free(): number {
    return this.#running ? this.#nonOccupied : 0;
  }

  descriptorsFor(bytes: number): number {
    return Math.ceil((this.#format.prefixBytes + bytes + this.#format.fcsBytes) / this.#bufferBytes);
  }

  /** The caller has seen that there are descriptors enough. */
  receive(source: FrameSource, bytes: number, descriptors: number): void {
    const { region } = source;
    const format = this.#format;
    const total = format.prefixBytes + bytes;
    const start = source.peekOffset() - format.prefixBytes;
    let done = 0;
    let failed = false;
    for (let i = 0; i < descriptors; i++) {
      const descriptor = this.#ring + this.#next * format.sizeBytes;
      const part = Math.min(this.#bufferBytes, total - done);
      if (part > 0) {
        const buffer = this.#bus.read32(descriptor + format.addressWord * 4);
        if (!failed) failed = !this.#bus.write(buffer, region, start + done, part);
        done += part;
      }
      let status = 0;
      if (i === 0) {
        status |= format.firstBit;
        this.#bus.write32(descriptor + format.sizeWord * 4, (total + format.fcsBytes) << format.sizeShift);
      }
      if (i === descriptors - 1) status |= format.lastBit;
      if (failed) status |= format.errorBit;
      this.#bus.write32(descriptor + format.statusWord * 4, status);
      this.#next = this.#next + 1 === this.#entries ? 0 : this.#next + 1;
    }
    this.#nonOccupied -= descriptors;
    this.#occupied += descriptors;
    if (failed) this.#stats.faults++;
    else {
      this.#stats.frames++;
      this.#stats.bytes += bytes;
    }
    if (this.#irqEnabled) this.#interrupt();
  }

  #interrupt(): void {
    if (this.irq !== null) this.#kernel.irqs.raise(this.irq);
  }
}
