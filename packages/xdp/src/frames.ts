import type { ReportSink } from "@netmem/kernel/api";
import { XdpFrame } from "./api/index.ts";

/** Frames made at a time. */
const BULK = 16;

/** Frame structs nobody uses. In the kernel they lie in the headroom of their packets, and need no allocator. */
export class FrameStructs {
  private first: XdpFrame | null;
  private readonly reports: ReportSink;

  constructor(reports: ReportSink) {
    this.first = null;
    this.reports = reports;
  }

  /** True, with a report, for a frame that is no packet's any more: what the kernel would find there is the next packet. */
  isGone(frame: XdpFrame, what: string): boolean {
    if (frame.head !== null) return false;
    this.reports.report("xdp-frame-gone", "warn", `mem type ${frame.memType} id ${frame.memId}`, "xdp", `a frame ${what} that was returned, or became an skb, before`);
    return true;
  }

  take(): XdpFrame {
    if (this.first === null) for (let i = 0; i < BULK; i++) this.push(new XdpFrame());
    const frame = this.first!;
    this.first = frame.next;
    frame.next = null;
    return frame;
  }

  put(frame: XdpFrame): void {
    frame.head = null;
    frame.devRx = null;
    frame.nrFrags = 0;
    frame.flags = 0;
    this.push(frame);
  }

  private push(frame: XdpFrame): void {
    frame.next = this.first;
    this.first = frame;
  }
}
