import { XdpFrame } from "./api/index.ts";

/** Frames made at a time. */
const BULK = 16;

/** Frame structs nobody uses. In the kernel they lie in the headroom of their packets, and need no allocator. */
export class FrameStructs {
  private first: XdpFrame | null;
  live: number;

  constructor() {
    this.first = null;
    this.live = 0;
  }

  take(): XdpFrame {
    if (this.first === null) for (let i = 0; i < BULK; i++) this.push(new XdpFrame());
    const frame = this.first!;
    this.first = frame.next;
    frame.next = null;
    this.live++;
    return frame;
  }

  put(frame: XdpFrame): void {
    frame.head = null;
    frame.devRx = null;
    frame.nrFrags = 0;
    frame.flags = 0;
    this.live--;
    this.push(frame);
  }

  private push(frame: XdpFrame): void {
    frame.next = this.first;
    this.first = frame;
  }
}
