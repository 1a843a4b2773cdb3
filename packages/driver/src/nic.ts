import { TASK_AGAIN, TASK_SLEEP, UsageError, type Kernel, type Runnable } from "@netmem/kernel/api";
import type { DeviceBus, FaultGate, FaultInjection, PayloadMemory } from "@netmem/mm/api";
import { IPPROTO_TCP } from "@netmem/net-core/api";
import type { FrameSink, FrameSource, NicHardware, NicProbe, NicStats, NicWire, RxDescFormat, TxDescFormat } from "./api/index.ts";
import { BufferPool } from "./buffer-pool.ts";
import { FrameHeaders } from "./frame-headers.ts";
import type { FrameReceiver } from "./receiver.ts";
import { RxLine, type RxFaults } from "./rx-line.ts";
import { RxQueue } from "./rx-queue.ts";
import { Steering } from "./steering.ts";
import { StridingRxQueue } from "./striding-rx-queue.ts";
import { TxQueue } from "./tx-queue.ts";

const NEVER: FaultGate = { armed: false, shouldFail: () => false };
/** Frames taken in one slice of the NIC's time. */
const BURST = 32;

export interface NicOptions {
  readonly name: string;
  readonly rxQueueCount: number;
  readonly rxDescFormat: RxDescFormat;
  readonly txDescFormat: TxDescFormat;
  readonly probe?: NicProbe | null;
  /** Points `nicInterrupt`, an interrupt is lost, and `nicFrameError`, a frame arrives damaged, `nicFrameLength`, its descriptor says that it is longer than its buffers, and `nicDuplicate`, a frame completes twice, of all NICs; without it none of them happens. */
  readonly faults?: Pick<FaultInjection, "failFunction">;
  /** For a NIC that verifies checksums, which reads the wire for that. */
  readonly payload?: Pick<PayloadMemory, "checksum">;
}

/**
 * A NIC: takes frames from its wire, writes them through the IOMMU into the buffers that descriptors name, marks the
 * descriptors done and interrupts. It works beside the CPUs, in slices the scheduler orders.
 */
export class ModelledNic implements NicHardware, NicWire {
  readonly name: string;
  readonly stats: NicStats = { frames: 0, bytes: 0, overruns: 0, faults: 0, sentFrames: 0, sentBytes: 0 };
  readonly rxQueues: readonly FrameReceiver[];
  readonly bufferPools: readonly BufferPool[];
  readonly txQueues: readonly TxQueue[];
  readonly steering: Steering;
  private readonly payload: Pick<PayloadMemory, "checksum"> | null;
  private readonly checksumBit: number;
  private readonly splitBit: number;
  /** Whether anything depends on what a frame says of itself. */
  private readonly parses: boolean;
  private readonly headers: FrameHeaders = new FrameHeaders();
  private readonly kernel: Kernel;
  private readonly engine: Runnable;
  private readonly probe: NicProbe | null;
  private readonly duplicate: FaultGate;
  private source: FrameSource | null = null;

  constructor(kernel: Kernel, bus: DeviceBus, options: NicOptions) {
    const { rxQueueCount } = options;
    if (!Number.isInteger(rxQueueCount) || rxQueueCount < 1) throw new UsageError("driver", `rx queues of ${options.name}`, rxQueueCount, "give 1 or more");
    this.name = options.name;
    this.kernel = kernel;
    this.probe = options.probe ?? null;
    this.duplicate = options.faults?.failFunction("nicDuplicate") ?? NEVER;
    const doorbell = (): void => this.frameArrived();
    this.bufferPools = Array.from({ length: options.rxDescFormat.bufferManager?.pools ?? 0 }, () => new BufferPool(bus, doorbell));
    const faults: RxFaults = { interrupt: options.faults?.failFunction("nicInterrupt") ?? NEVER, frameError: options.faults?.failFunction("nicFrameError") ?? NEVER, frameLength: options.faults?.failFunction("nicFrameLength") ?? NEVER };
    const { rxDescFormat } = options;
    this.rxQueues = Array.from({ length: rxQueueCount }, (): FrameReceiver => {
      const line = new RxLine(kernel, faults);
      return rxDescFormat.striding === undefined ? new RxQueue(kernel, bus, rxDescFormat, this.stats, this.bufferPools, line, doorbell) : new StridingRxQueue(kernel, bus, rxDescFormat, rxDescFormat.striding, this.stats, line, doorbell);
    });
    this.txQueues = [new TxQueue(bus, options.txDescFormat, this.stats, this.probe, doorbell)];
    this.steering = new Steering(options.name, rxQueueCount);
    this.payload = options.payload ?? null;
    this.checksumBit = options.rxDescFormat.checksumBit ?? 0;
    this.splitBit = options.rxDescFormat.headerSplit?.splitBit ?? 0;
    this.parses = rxQueueCount > 1 || this.checksumBit !== 0 || this.splitBit !== 0;
    if (this.checksumBit !== 0 && this.payload === null) throw new UsageError("driver", `payload of ${options.name}`, undefined, "a NIC that verifies checksums needs it");
    this.engine = kernel.scheduler.addActor({ name: `${options.name} dma engine`, run: () => this.run() });
  }

  requestIrq(queue: number, cpu: number, handler: () => void): void {
    this.rxQueues[queue]!.line.irq = this.kernel.irqs.requestIrq(`${this.name}-rx-${queue}`, cpu, handler);
  }

  freeIrq(queue: number): void {
    const { line } = this.rxQueues[queue]!;
    if (line.irq !== null) this.kernel.irqs.freeIrq(line.irq);
    line.irq = null;
  }

  connect(source: FrameSource): void {
    this.source = source;
    this.frameArrived();
  }

  frameArrived(): void {
    this.kernel.scheduler.wake(this.engine);
  }

  connectSink(sink: FrameSink | null): void {
    this.txQueues[0]!.sink = sink;
  }

  private run(): number {
    const tx = this.txQueues[0]!;
    if (tx.send(BURST) > 0) this.rxQueues[0]!.line.raise();
    const receiving = this.receive();
    return tx.waiting() ? TASK_AGAIN : receiving;
  }

  private receive(): number {
    const source = this.source;
    if (source === null) return TASK_SLEEP;
    const { headers } = this;
    for (let i = 0; i < BURST; i++) {
      const bytes = source.peekBytes();
      if (bytes < 0) return TASK_SLEEP;
      let queueIndex = 0;
      if (this.parses === true) {
        headers.parse(source.region, source.peekOffset(), bytes);
        if (this.rxQueues.length > 1) queueIndex = this.steering.queueOf(headers, source.region, source.peekOffset());
      }
      const queue = this.rxQueues[queueIndex]!;
      const headerPart = this.splitBit === 0 ? 0 : queue.headerPart(headers, bytes);
      const descriptors = queue.roomFor(bytes, headerPart);
      if (descriptors === 0) {
        // The doorbell wakes the engine again.
        if (source.lossless === true && queue.takesFrameOf(bytes)) return TASK_SLEEP;
        this.stats.overruns++;
        if (this.probe !== null) this.probe.overrun(queueIndex, bytes);
      } else {
        this.complete(queueIndex, source, bytes, descriptors, headerPart);
        if (this.duplicate.armed && this.duplicate.shouldFail(0, bytes)) {
          const again = queue.roomFor(bytes, headerPart);
          if (again > 0) this.complete(queueIndex, source, bytes, again, headerPart);
        }
      }
      source.advance();
    }
    return TASK_AGAIN;
  }

  private complete(queueIndex: number, source: FrameSource, bytes: number, descriptors: number, headerPart: number): void {
    this.rxQueues[queueIndex]!.receive(source, bytes, descriptors, headerPart, this.parses === true ? this.flags(source, headerPart) : 0);
    if (this.probe !== null) this.probe.received(queueIndex, bytes, descriptors);
  }

  /** What the status of the frame's first descriptor says of its headers. */
  private flags(source: FrameSource, headerPart: number): number {
    const headers = this.headers;
    let flags = 0;
    if (this.checksumBit !== 0 && headers.checksumsHold(this.payload!, source.region, source.peekOffset())) flags |= this.checksumBit;
    if (headerPart > 0 && headers.protocol === IPPROTO_TCP && headerPart === headers.payloadOffset) flags |= this.splitBit;
    return flags;
  }
}
