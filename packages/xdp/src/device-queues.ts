import { EOPNOTSUPP, type ExecutionContext } from "@netmem/kernel/api";
import {
  DEV_MAP_BULK_SIZE, XDP_ABORTED, XDP_DROP, XDP_PASS, XDP_XMIT_FLUSH, type NetDevice, type XdpFrame, type XdpProbe, type XdpProg, type XdpPrograms, type XdpReturn,
} from "./api/index.ts";
import { FlushList } from "./flush-list.ts";
import type { ProgramOnFrame } from "./program-on-frame.ts";
import type { RedirectCounts } from "./redirect-stats.ts";

/** Frames of one CPU that wait for one device. @kernel struct xdp_dev_bulk_queue (kernel/bpf/devmap.c) */
class DeviceQueue {
  readonly dev: NetDevice;
  q: (XdpFrame | null)[];
  /** What `q` is while it is being sent: who sends may run code that queues more. */
  spare: (XdpFrame | null)[];
  count: number;
  devRx: NetDevice | null;
  prog: XdpProg | null;
  listed: boolean;
  sending: boolean;

  constructor(dev: NetDevice) {
    this.dev = dev;
    this.q = [];
    this.spare = [];
    for (let i = 0; i < DEV_MAP_BULK_SIZE; i++) {
      this.q.push(null);
      this.spare.push(null);
    }
    this.count = 0;
    this.devRx = null;
    this.prog = null;
    this.listed = false;
    this.sending = false;
  }
}

/** The queues, and who of a CPU's must be flushed. @kernel kernel/bpf/devmap.c */
export class DeviceQueues {
  /** By ifindex, by CPU. */
  private readonly queues: (DeviceQueue[] | null)[];
  private readonly flushLists: FlushList<DeviceQueue>[];
  private readonly context: ExecutionContext;
  private readonly nrCpus: number;
  private readonly xdpReturn: XdpReturn;
  private readonly programs: XdpPrograms;
  private readonly onFrame: ProgramOnFrame;
  private readonly stats: RedirectCounts;
  private readonly probe: XdpProbe | null;

  constructor(context: ExecutionContext, nrCpus: number, xdpReturn: XdpReturn, programs: XdpPrograms, onFrame: ProgramOnFrame, stats: RedirectCounts, probe: XdpProbe | null) {
    this.queues = [];
    this.flushLists = [];
    for (let cpu = 0; cpu < nrCpus; cpu++) this.flushLists.push(new FlushList());
    this.context = context;
    this.nrCpus = nrCpus;
    this.xdpReturn = xdpReturn;
    this.programs = programs;
    this.onFrame = onFrame;
    this.stats = stats;
    this.probe = probe;
  }

  /** Keeps the frame. @kernel bq_enqueue */
  enqueue(dev: NetDevice, frame: XdpFrame, devRx: NetDevice, prog: XdpProg | null): void {
    const { cpu } = this.context;
    const bq = (this.queues[dev.ifindex] ?? this.create(dev))[cpu]!;
    if (bq.count === DEV_MAP_BULK_SIZE) this.xmitAll(bq, 0);
    // Still full: it is being sent by this very call's caller.
    if (bq.count === DEV_MAP_BULK_SIZE) {
      this.xdpReturn.xdpReturnFrameRxNapi(frame);
      this.stats.devmapDrops++;
      return;
    }
    // Every frame of a NAPI run comes from one device, and what waits is flushed before it ends.
    if (bq.listed === false) {
      bq.devRx = devRx;
      bq.prog = prog;
      bq.listed = true;
      this.flushLists[cpu]!.push(bq);
    }
    bq.q[bq.count++] = frame;
  }

  /** Devices that something waits for on this CPU. */
  waiting(): number {
    return this.flushLists[this.context.cpu]!.length;
  }

  /** @kernel __dev_flush */
  flush(): void {
    const list = this.flushLists[this.context.cpu]!;
    for (let bq = list.pop(); bq !== null; bq = list.pop()) {
      bq.listed = false;
      this.xmitAll(bq, XDP_XMIT_FLUSH);
    }
  }

  /** What waits for a device that goes is returned, whichever CPU queued it. */
  deviceGone(dev: NetDevice): void {
    for (const bq of this.queues[dev.ifindex] ?? []) {
      const { count } = bq;
      bq.count = 0;
      this.stats.devmapDrops += count;
      for (let i = 0; i < count; i++) {
        this.xdpReturn.xdpReturnFrame(bq.q[i]!);
        bq.q[i] = null;
      }
    }
  }

  private create(dev: NetDevice): DeviceQueue[] {
    const made = Array.from({ length: this.nrCpus }, () => new DeviceQueue(dev));
    while (this.queues.length < dev.ifindex) this.queues.push(null);
    return (this.queues[dev.ifindex] = made);
  }

  /** @kernel bq_xmit_all */
  private xmitAll(bq: DeviceQueue, flags: number): void {
    const queued = bq.count;
    if (queued === 0 || bq.sending === true) return;
    const { dev, q, prog, devRx } = bq;
    const xmit = dev.xdpOps === null ? null : dev.xdpOps.xdpXmit;
    bq.sending = true;
    bq.count = 0;
    bq.q = bq.spare;
    bq.spare = q;
    const toSend = prog === null ? queued : this.runProgram(q, queued, dev, devRx, prog);
    let sent = 0;
    let err = 0;
    if (toSend > 0) {
      sent = xmit === null ? -EOPNOTSUPP : xmit(q, toSend, flags);
      if (sent < 0) {
        err = sent;
        sent = 0;
      }
      // Those that it did not take are still ours.
      for (let i = sent; i < toSend; i++) this.xdpReturn.xdpReturnFrameRxNapi(q[i]!);
    }
    for (let i = 0; i < queued; i++) q[i] = null;
    bq.sending = false;
    this.stats.devmapDrops += queued - sent;
    if (this.probe !== null) this.probe.xdpDevmapXmit(devRx, dev, sent, queued - sent, err);
  }

  /** What passes moves to the front; how many. @kernel dev_map_bpf_prog_run */
  private runProgram(q: (XdpFrame | null)[], count: number, dev: NetDevice, devRx: NetDevice | null, prog: XdpProg): number {
    let passed = 0;
    for (let i = 0; i < count; i++) {
      const frame = q[i]!;
      if (this.passes(frame, dev, devRx, prog)) q[passed++] = frame;
      else this.xdpReturn.xdpReturnFrameRxNapi(frame);
    }
    return passed;
  }

  /** Whether a devmap's program lets the frame go on, which is as the program left it then. It stays the caller's. */
  passes(frame: XdpFrame, dev: NetDevice, devRx: NetDevice | null, prog: XdpProg): boolean {
    const act = this.onFrame.run(frame, devRx, dev, prog);
    if (act === XDP_PASS) return this.onFrame.update(frame) === 0;
    if (act !== XDP_DROP) {
      if (act !== XDP_ABORTED) this.programs.bpfWarnInvalidXdpAction(dev, prog, act);
      this.programs.xdpException(dev, prog, act);
    }
    return false;
  }
}
