import { EBADRQC, TASK_AGAIN, TASK_SLEEP, type Kernel, type PtrRing, type Runnable } from "@netmem/kernel/api";
import {
  CPUMAP_BATCH, CPU_MAP_BULK_SIZE, NAPI_POLL_WEIGHT, XDP_PASS, XDP_REDIRECT, XdpFrame,
  type FrameReceiver, type GenericPacket, type NetDevice, type ReceiveGro, type XdpProbe, type XdpProg, type XdpReturn,
} from "./api/index.ts";
import type { FlushList } from "./flush-list.ts";
import type { ProgramOnFrame } from "./program-on-frame.ts";
import type { RedirectCounts } from "./redirect-stats.ts";
import type { PacketRedirect } from "./redirect.ts";
import type { Stack } from "./stack.ts";

/** Frames of one CPU that wait for an entry's ring. @kernel struct xdp_bulk_queue (kernel/bpf/cpumap.c) */
export class CpuQueue {
  readonly entry: CpuMapEntry;
  readonly q: (XdpFrame | null)[];
  count: number;

  constructor(entry: CpuMapEntry) {
    this.entry = entry;
    this.q = [];
    for (let i = 0; i < CPU_MAP_BULK_SIZE; i++) this.q.push(null);
    this.count = 0;
  }
}

export interface CpuMapParts {
  readonly kernel: Pick<Kernel, "context" | "nrCpus" | "rings" | "scheduler" | "softirqs" | "reports">;
  readonly xdpReturn: XdpReturn;
  readonly onFrame: ProgramOnFrame;
  readonly stack: Stack;
  readonly redirect: PacketRedirect;
  readonly stats: RedirectCounts;
  readonly probe: XdpProbe | null;
  /** From 6.17 NO_DIRECT lasts until redirects are flushed. */
  readonly flushesNoDirect: boolean;
  /** From 6.15 every skb of a batch meets the program, and those that pass are counted. */
  readonly runsEverySkb: boolean;
  /** From 6.15 packets are merged; before, a batch goes up as it is. */
  readonly merges: boolean;
  /** From 6.12 a batch is told of before it goes up. */
  readonly tellsFirst: boolean;
}

/** A CPU's ring, and the thread that empties it there. @kernel struct bpf_cpu_map_entry */
export class CpuMapEntry {
  readonly cpu: number;
  readonly qsize: number;
  readonly prog: XdpProg | null;
  readonly mapId: number;
  private readonly parts: CpuMapParts;
  private readonly ring: PtrRing<XdpFrame | GenericPacket>;
  /** By the CPU that fills it. */
  private readonly queues: CpuQueue[];
  private readonly thread: Runnable;
  /** One batch of the thread. */
  private readonly frames: (XdpFrame | null)[];
  private readonly packets: (GenericPacket | null)[];
  /** All that goes up of it. */
  private readonly upward: (GenericPacket | null)[];
  /** Null: nothing was merged yet. */
  private gro: ReceiveGro | null;
  private sinceFlush: number;
  private slept: boolean;
  /** Out of its map: the thread empties the ring, and ends. */
  private stopping: boolean;
  /** Of the batch under way. */
  private framesUp: number;
  private packetsUp: number;
  private passed: number;
  private dropped: number;
  private redirects: number;

  constructor(parts: CpuMapParts, mapId: number, cpu: number, qsize: number, prog: XdpProg | null) {
    this.cpu = cpu;
    this.qsize = qsize;
    this.prog = prog;
    this.mapId = mapId;
    this.parts = parts;
    this.ring = parts.kernel.rings.create(qsize);
    this.queues = Array.from({ length: parts.kernel.nrCpus }, () => new CpuQueue(this));
    this.frames = Array.from({ length: CPUMAP_BATCH }, () => null);
    this.packets = Array.from({ length: CPUMAP_BATCH }, () => null);
    this.upward = Array.from({ length: CPUMAP_BATCH }, () => null);
    this.gro = null;
    this.sinceFlush = 0;
    this.slept = true;
    this.stopping = false;
    this.framesUp = 0;
    this.packetsUp = 0;
    this.passed = 0;
    this.dropped = 0;
    this.redirects = 0;
    this.thread = parts.kernel.scheduler.spawn({ name: `cpumap/${cpu}/map:${mapId}`, cpu, run: () => this.run() });
  }

  /** 0: keeps the frame. -EBADRQC: the entry was replaced since a program asked for it, and the frame stays the caller's. @kernel cpu_map_enqueue, bq_enqueue */
  enqueue(frame: XdpFrame, devRx: NetDevice, flushList: FlushList<CpuQueue>): number {
    if (this.stopping) return -EBADRQC;
    frame.devRx = devRx;
    const bq = this.queues[this.parts.kernel.context.cpu]!;
    if (bq.count === CPU_MAP_BULK_SIZE) this.flushToRing(bq, flushList);
    bq.q[bq.count++] = frame;
    if (bq.count === 1) flushList.push(bq);
    return 0;
  }

  /** False: the ring is full, and the packet stays the caller's. @kernel cpu_map_generic_redirect */
  enqueuePacket(packet: GenericPacket): boolean {
    const produced = !this.stopping && this.ring.produce(packet);
    if (produced) this.wake();
    const { probe } = this.parts;
    if (probe !== null) probe.xdpCpumapEnqueue(this.mapId, produced ? 1 : 0, produced ? 0 : 1, this.cpu);
    return produced;
  }

  /** In the poll that filled it. */
  flushToRing(bq: CpuQueue, flushList: FlushList<CpuQueue>): void {
    this.intoRing(bq, true);
    flushList.remove(bq);
  }

  /** What the ring does not take is dropped; direct if this is the poll that it came from. @kernel bq_flush_to_queue */
  private intoRing(bq: CpuQueue, inPoll: boolean): void {
    const { q, count } = bq;
    if (count === 0) return;
    const { xdpReturn, stats, probe } = this.parts;
    let drops = 0;
    for (let i = 0; i < count; i++) {
      const frame = q[i]!;
      if (!this.ring.produce(frame)) {
        drops++;
        if (inPoll) xdpReturn.xdpReturnFrameRxNapi(frame);
        else xdpReturn.xdpReturnFrame(frame);
      }
      q[i] = null;
    }
    bq.count = 0;
    stats.cpumapDrops += drops;
    if (probe !== null) probe.xdpCpumapEnqueue(this.mapId, count, drops, this.cpu);
  }

  wake(): void {
    this.parts.kernel.scheduler.wake(this.thread);
  }

  waiting(): number {
    return this.ring.count();
  }

  /** Nothing comes any more; what waits, in queues of other CPUs too, goes up on its own CPU, and the thread ends. @kernel __cpu_map_entry_replace, __cpu_map_entry_free */
  free(): void {
    this.stopping = true;
    for (const bq of this.queues) this.intoRing(bq, false);
    this.wake();
  }

  /** One batch. @kernel cpu_map_kthread_run */
  private run(): number {
    const { kernel, stack } = this.parts;
    if (this.ring.isEmpty() || stack.receiver === null) {
      this.slept = true;
      if (this.stopping) this.end();
      return TASK_SLEEP;
    }
    const sched = this.slept ? 1 : 0;
    this.slept = false;
    let frames = 0;
    let packets = 0;
    while (frames + packets < CPUMAP_BATCH) {
      const item = this.ring.consume();
      if (item === null) break;
      if (item instanceof XdpFrame) this.frames[frames++] = item;
      else this.packets[packets++] = item;
    }
    kernel.softirqs.localBhDisable();
    this.framesUp = frames;
    this.packetsUp = packets;
    this.passed = 0;
    this.dropped = 0;
    this.redirects = 0;
    if (this.prog !== null) this.runProgram(this.prog, frames, packets);
    if (this.parts.merges) this.receiveMerged(stack.receiver, frames + packets, sched);
    else this.receiveTogether(stack.receiver, frames + packets, sched);
    for (let i = 0; i < CPUMAP_BATCH; i++) {
      this.frames[i] = null;
      this.packets[i] = null;
    }
    kernel.softirqs.localBhEnable();
    return TASK_AGAIN;
  }

  private receiveMerged(receiver: FrameReceiver, processed: number, sched: number): void {
    const missing = this.takeStructs(receiver);
    const built = receiver.buildPackets(this.frames, this.framesUp, this.upward, 0);
    this.told(processed, missing, sched);
    const gro = (this.gro ??= receiver.openGro(`cpumap ${this.mapId} cpu ${this.cpu}`));
    for (let i = 0; i < built; i++) {
      receiver.groReceive(gro, this.upward[i]!);
      this.upward[i] = null;
    }
    for (let i = 0; i < this.packetsUp; i++) receiver.groReceive(gro, this.packets[i]!);
    this.sinceFlush += processed;
    const isEmpty = this.ring.isEmpty();
    if (this.sinceFlush < NAPI_POLL_WEIGHT && !isEmpty) return;
    this.sinceFlush = 0;
    receiver.groFlush(gro, isEmpty);
  }

  private receiveTogether(receiver: FrameReceiver, processed: number, sched: number): void {
    for (let i = 0; i < this.packetsUp; i++) this.upward[i] = this.packets[i]!;
    const missing = this.takeStructs(receiver);
    const built = receiver.buildPackets(this.frames, this.framesUp, this.upward, this.packetsUp);
    if (this.parts.tellsFirst) this.told(processed, missing, sched);
    receiver.receivePackets(this.upward, this.packetsUp + built);
    if (!this.parts.tellsFirst) this.told(processed, missing, sched);
  }

  /** Frames without a struct are returned, the last of the batch: how many. */
  private takeStructs(receiver: FrameReceiver): number {
    const { framesUp } = this;
    this.framesUp = receiver.takeStructs(framesUp);
    for (let i = this.framesUp; i < framesUp; i++) {
      this.parts.xdpReturn.xdpReturnFrame(this.frames[i]!);
      this.frames[i] = null;
    }
    return framesUp - this.framesUp;
  }

  private told(processed: number, kmemDrops: number, sched: number): void {
    const { stats, probe } = this.parts;
    stats.cpumapDrops += kmemDrops;
    if (probe !== null) probe.xdpCpumapKthread(this.mapId, processed, kmemDrops, sched, this.passed, this.dropped, this.redirects);
  }

  /** The program over a batch; what it redirects is sent. @kernel cpu_map_bpf_prog_run */
  private runProgram(prog: XdpProg, frames: number, packets: number): void {
    const { xdpReturn, redirect, flushesNoDirect, runsEverySkb } = this.parts;
    xdpReturn.xdpSetReturnFrameNoDirect();
    this.filterFrames(prog, frames);
    this.passed = this.framesUp;
    if (!flushesNoDirect) xdpReturn.xdpClearReturnFrameNoDirect();
    this.filterPackets(prog, packets);
    if (runsEverySkb) this.passed += this.packetsUp;
    if (this.redirects > 0) redirect.xdpDoFlush();
    xdpReturn.xdpClearReturnFrameNoDirect();
  }

  /** What is left without a stack to take it is returned. @kernel __cpu_map_ring_cleanup */
  private end(): void {
    const { kernel, stack, xdpReturn } = this.parts;
    kernel.scheduler.remove(this.thread);
    if (this.gro !== null) stack.receiver!.closeGro(this.gro);
    this.gro = null;
    if (this.ring.isEmpty()) return;
    kernel.reports.report("xdp-cpumap-not-empty", "warn", `cpumap ${this.mapId} cpu ${this.cpu}`, "xdp", `freed with ${this.ring.count()} packets in its ring: there is no stack to take them`);
    for (let item = this.ring.consume(); item !== null; item = this.ring.consume()) if (item instanceof XdpFrame) xdpReturn.xdpReturnFrame(item);
  }

  /** Those that pass move to the front. @kernel cpu_map_bpf_prog_run_xdp */
  private filterFrames(prog: XdpProg, count: number): void {
    const { xdpReturn, onFrame, redirect, stats } = this.parts;
    this.framesUp = 0;
    for (let i = 0; i < count; i++) {
      const frame = this.frames[i]!;
      const { devRx } = frame;
      const act = onFrame.run(frame, devRx, null, prog);
      if (act === XDP_PASS && onFrame.update(frame) === 0) this.frames[this.framesUp++] = frame;
      else if (act === XDP_REDIRECT && onFrame.update(frame) === 0 && redirect.redirectFrame(devRx!, frame, prog) === 0) this.redirects++;
      else {
        if (act > XDP_REDIRECT || act < 0) onFrame.warnInvalid(prog, act);
        xdpReturn.xdpReturnFrame(frame);
        this.dropped++;
        // A redirect that failed is counted as such.
        if (act !== XDP_REDIRECT) stats.cpumapDrops++;
      }
    }
  }

  /** The same for skbs. @kernel cpu_map_bpf_prog_run_skb */
  private filterPackets(prog: XdpProg, count: number): void {
    this.packetsUp = 0;
    for (let i = 0; i < count; i++) {
      const packet = this.packets[i]!;
      if (this.packetPasses(prog, packet)) {
        this.packets[this.packetsUp++] = packet;
        continue;
      }
      if (this.parts.runsEverySkb) continue;
      // Up to 6.14 the loop ended here, and the others went up without having met the program.
      for (let rest = i + 1; rest < count; rest++) this.packets[this.packetsUp++] = this.packets[rest]!;
      break;
    }
  }

  private packetPasses(prog: XdpProg, packet: GenericPacket): boolean {
    const receiver = this.parts.stack.receiver!;
    const act = receiver.runGenericXdp(packet, prog);
    if (act === XDP_PASS) return true;
    if (act === XDP_REDIRECT) {
      if (receiver.redirectPacket(packet, prog) === 0) this.redirects++;
      else this.dropped++;
      return false;
    }
    if (act > XDP_REDIRECT || act < 0) this.parts.onFrame.warnInvalid(prog, act);
    receiver.dropPacket(packet, this.parts.runsEverySkb);
    this.dropped++;
    this.parts.stats.cpumapDrops++;
    return false;
  }
}
