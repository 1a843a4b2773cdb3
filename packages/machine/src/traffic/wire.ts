import { UsageError, type Kernel, type Timer } from "@netmem/kernel/api";
import type { PayloadMemory, PayloadRegion } from "@netmem/mm/api";
import type { FrameSource, NicWire } from "@netmem/driver/api";

/** A frame to be sent, its bytes anywhere. */
export interface WireFrame {
  readonly bytes: Uint8Array;
  readonly offset: number;
  readonly lengthBytes: number;
  /** When it arrives, in ns after the start; must not fall. Only used by `capture` timing. */
  readonly arrivalNs: number;
}

/** `back-to-back`: as fast as the NIC takes them, none lost. `capture`: at their time, and a full ring loses them. */
export type WireTiming = "back-to-back" | "capture";

/** Frames lie close together, which a cache likes, with at least 8 zero bytes before each. */
const ALIGN = 8;
const LEAD = 8;

function slotBytes(lengthBytes: number): number {
  return (LEAD + lengthBytes + ALIGN - 1) & ~(ALIGN - 1);
}

/** Bytes of a machine's extra memory that a wire with these frames needs. */
export function wireBytes(frames: readonly WireFrame[]): number {
  let total = 0;
  for (const frame of frames) total += slotBytes(frame.lengthBytes);
  return total;
}

/** Frames laid out in the machine's memory, once, so that sending one is a single copy by the NIC. */
export class Wire implements FrameSource {
  readonly region: PayloadRegion;
  readonly lossless: boolean;
  private readonly offsets: Int32Array;
  private readonly lengths: Int32Array;
  private readonly arrivals: Float64Array;
  private readonly kernel: Kernel;
  private readonly timed: boolean;
  private timer: Timer | null = null;
  private next = 0;

  constructor(kernel: Kernel, payload: PayloadMemory, frames: readonly WireFrame[], timing: WireTiming) {
    if (timing !== "back-to-back" && timing !== "capture") throw new UsageError("machine", "timing", timing, "choose back-to-back or capture");
    this.kernel = kernel;
    this.timed = timing === "capture";
    this.lossless = !this.timed;
    this.region = payload.addRegion("wire", wireBytes(frames), true);
    this.offsets = new Int32Array(frames.length);
    this.lengths = new Int32Array(frames.length);
    this.arrivals = new Float64Array(frames.length);
    let at = 0;
    for (let i = 0; i < frames.length; i++) {
      const frame = frames[i]!;
      this.offsets[i] = at + LEAD;
      this.lengths[i] = frame.lengthBytes;
      this.arrivals[i] = frame.arrivalNs;
      this.region.bytes.set(frame.bytes.subarray(frame.offset, frame.offset + frame.lengthBytes), at + LEAD);
      at += slotBytes(frame.lengthBytes);
    }
  }

  /** Plugs it in; the first frame is on its way. */
  connect(nic: NicWire): void {
    this.timer = this.kernel.timers.timerSetup(() => nic.frameArrived(), -1);
    nic.connect(this);
    if (this.timed) this.armTimer();
  }

  /** Frames taken or lost by the NIC. */
  sent(): number {
    return this.next;
  }

  finished(): boolean {
    return this.next === this.lengths.length;
  }

  peekBytes(): number {
    if (this.next === this.lengths.length) return -1;
    if (this.timed && this.arrivals[this.next]! > this.kernel.clock.nowNs) return -1;
    return this.lengths[this.next]!;
  }

  peekOffset(): number {
    return this.offsets[this.next]!;
  }

  advance(): void {
    this.next++;
    if (this.timed === true) this.armTimer();
    else this.kernel.clock.countMoment();
  }

  private armTimer(): void {
    if (this.finished() || this.timer!.pending) return;
    const delay = this.arrivals[this.next]! - this.kernel.clock.nowNs;
    if (delay > 0) this.kernel.timers.modTimer(this.timer!, delay);
  }
}
