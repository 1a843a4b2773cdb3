import type { DeviceBus } from "@netmem/mm/api";
import type { FrameSink, NicProbe, NicStats, NicTxQueue, TxDescFormat } from "./api/index.ts";

/** Reads frames out of memory, in the order in which the driver asked for them. */
export class TxQueue implements NicTxQueue {
  sink: FrameSink | null = null;
  readonly #bus: DeviceBus;
  readonly #format: TxDescFormat;
  readonly #stats: NicStats;
  readonly #probe: NicProbe | null;
  readonly #doorbell: () => void;
  #ring = 0;
  #entries = 0;
  #next = 0;
  #pending = 0;
  #sent = 0;
  #running = false;

  constructor(bus: DeviceBus, format: TxDescFormat, stats: NicStats, probe: NicProbe | null, doorbell: () => void) {
    this.#bus = bus;
    this.#format = format;
    this.#stats = stats;
    this.#probe = probe;
    this.#doorbell = doorbell;
  }

  configure(ringDmaAddr: number, entries: number): void {
    this.#ring = ringDmaAddr;
    this.#entries = entries;
    this.#next = 0;
    this.#pending = 0;
    this.#sent = 0;
  }

  addPending(n: number): void {
    this.#bus.registerWrite();
    this.#pending += n;
    this.#doorbell();
  }

  sent(): number {
    this.#bus.registerRead();
    return this.#sent;
  }

  decSent(n: number): void {
    this.#sent -= n;
  }

  start(): void {
    this.#running = true;
  }

  stop(): void {
    this.#running = false;
  }

  waiting(): boolean {
    return this.#running && this.#pending > 0;
  }

  /** Up to `frames` frames; how many. */
  send(frames: number): number {
    let done = 0;
    while (done < frames && this.waiting()) {
      this.#sendFrame();
      done++;
    }
    return done;
  }

  #sendFrame(): void {
    const format = this.#format;
    let bytes = 0;
    let descriptors = 0;
    let failed = false;
    for (let last = false; !last && this.#pending > 0;) {
      const descriptor = this.#ring + this.#next * format.sizeBytes;
      const part = this.#bus.read32(descriptor + format.sizeWord * 4) >>> format.sizeShift;
      last = (this.#bus.read32(descriptor + format.commandWord * 4) & format.lastBit) === format.lastBit;
      if (!failed) failed = !this.#fetch(this.#bus.read32(descriptor + format.addressWord * 4), bytes, part);
      bytes += part;
      descriptors++;
      this.#next = this.#next + 1 === this.#entries ? 0 : this.#next + 1;
      this.#pending--;
      this.#sent++;
    }
    if (failed) {
      this.#stats.faults++;
      return;
    }
    this.#stats.sentFrames++;
    this.#stats.sentBytes += bytes;
    if (this.sink !== null) this.sink.frameSent(Math.min(bytes, this.sink.roomBytes()));
    if (this.#probe !== null) this.#probe.transmitted(0, bytes, descriptors);
  }

  #fetch(dmaAddr: number, done: number, bytes: number): boolean {
    const { sink } = this;
    if (sink === null) {
      // The bytes go nowhere; that they can be reached is seen by their first word.
      this.#bus.read32(dmaAddr & ~3);
      return true;
    }
    const part = Math.min(bytes, sink.roomBytes() - done);
    return part <= 0 || this.#bus.read(dmaAddr, sink.region, sink.offset() + done, part);
  }
}
