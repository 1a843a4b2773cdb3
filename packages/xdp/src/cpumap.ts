import { E2BIG, EBADRQC, EEXIST, EINVAL, ENODEV, EOVERFLOW, TASK_AGAIN, TASK_SLEEP, type Kernel, type PtrRing, type Runnable } from "@netmem/kernel/api";
import {
  BPF_EXIST, BPF_MAP_TYPE_CPUMAP, BPF_NOEXIST, CPUMAP_BATCH, CPU_MAP_BULK_SIZE, CPU_MAP_MAX_QSIZE, XDP_PASS, XDP_REDIRECT, XdpFrame,
  type CpuMap, type GenericPacket, type NetDevice, type XdpProbe, type XdpProg, type XdpReturn,
} from "./api/index.ts";
import type { FlushList } from "./flush-list.ts";
import type { ProgramOnFrame } from "./program-on-frame.ts";
import type { PacketRedirect } from "./redirect.ts";
import type { Stack } from "./stack.ts";
import type { TargetMap } from "./target-map.ts";

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
  readonly probe: XdpProbe | null;
  /** From 6.17 NO_DIRECT lasts until redirects are flushed. */
  readonly flushesNoDirect: boolean;
  /** From 6.15 every skb of a batch meets the program. */
  readonly runsEverySkb: boolean;
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
  private slept: boolean;
  /** Out of its map: the thread empties the ring, and ends. */
  private stopping: boolean;
  /** Of the batch under way. */
  private redirects: number;
  private frameRedirects: number;
  private packetDrops: number;
  private packetsPassed: number;

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
    this.slept = true;
    this.stopping = false;
    this.redirects = 0;
    this.frameRedirects = 0;
    this.packetDrops = 0;
    this.packetsPassed = 0;
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

  flushToRing(bq: CpuQueue, flushList: FlushList<CpuQueue>): void {
    this.intoRing(bq, true);
    flushList.remove(bq);
  }

  /** What the ring does not take is dropped; direct if this is the poll that it came from. @kernel bq_flush_to_queue */
  private intoRing(bq: CpuQueue, inPoll: boolean): void {
    const { q, count } = bq;
    if (count === 0) return;
    const { xdpReturn, probe } = this.parts;
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
    const { kernel, stack, probe } = this.parts;
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
    const passed = this.prog === null ? frames : this.runPrograms(this.prog, frames, packets);
    const { redirects, packetDrops, packetsPassed } = this;
    const kmemDrops = passed === 0 ? 0 : stack.receiver.receiveFrames(this.frames, passed);
    for (let i = 0; i < (this.prog === null ? packets : packetsPassed); i++) stack.receiver.receivePacket(this.packets[i]!);
    for (let i = 0; i < CPUMAP_BATCH; i++) {
      this.frames[i] = null;
      this.packets[i] = null;
    }
    if (probe !== null) {
      const dropped = this.prog === null ? 0 : frames - passed - this.frameRedirects + packetDrops;
      probe.xdpCpumapKthread(this.mapId, frames + packets, kmemDrops, sched, this.prog === null ? 0 : passed, dropped, this.prog === null ? 0 : redirects);
    }
    kernel.softirqs.localBhEnable();
    return TASK_AGAIN;
  }

  /** The program over a batch: how many frames pass, and in `packetsPassed` how many skbs. Redirects are sent. @kernel cpu_map_bpf_prog_run */
  private runPrograms(prog: XdpProg, frames: number, packets: number): number {
    const { xdpReturn, redirect, flushesNoDirect } = this.parts;
    this.redirects = 0;
    this.packetDrops = 0;
    xdpReturn.xdpSetReturnFrameNoDirect();
    const passed = this.runProgram(prog, frames);
    this.frameRedirects = this.redirects;
    if (!flushesNoDirect) xdpReturn.xdpClearReturnFrameNoDirect();
    this.packetsPassed = this.filterPackets(prog, packets);
    if (this.redirects > 0) redirect.xdpDoFlush();
    xdpReturn.xdpClearReturnFrameNoDirect();
    return passed;
  }

  /** What is left without a stack to take it is returned. @kernel __cpu_map_ring_cleanup */
  private end(): void {
    const { kernel, xdpReturn } = this.parts;
    kernel.scheduler.remove(this.thread);
    if (this.ring.isEmpty()) return;
    kernel.reports.report("xdp-cpumap-not-empty", "warn", `cpumap ${this.mapId} cpu ${this.cpu}`, "xdp", `freed with ${this.ring.count()} packets in its ring: there is no stack to take them`);
    for (let item = this.ring.consume(); item !== null; item = this.ring.consume()) if (item instanceof XdpFrame) xdpReturn.xdpReturnFrame(item);
  }

  /** Frames that pass move to the front; how many. @kernel cpu_map_bpf_prog_run_xdp */
  private runProgram(prog: XdpProg, count: number): number {
    const { xdpReturn, onFrame, redirect } = this.parts;
    let passed = 0;
    for (let i = 0; i < count; i++) {
      const frame = this.frames[i]!;
      const { devRx } = frame;
      const act = onFrame.run(frame, devRx, null, prog);
      if (act === XDP_PASS && onFrame.update(frame) === 0) this.frames[passed++] = frame;
      else if (act === XDP_REDIRECT && onFrame.update(frame) === 0 && redirect.redirectFrame(devRx!, frame, prog) === 0) this.redirects++;
      else {
        if (act > XDP_REDIRECT || act < 0) onFrame.warnInvalid(prog, act);
        xdpReturn.xdpReturnFrame(frame);
      }
    }
    return passed;
  }

  /** The same for skbs. @kernel cpu_map_bpf_prog_run_skb */
  private filterPackets(prog: XdpProg, count: number): number {
    const receiver = this.parts.stack.receiver!;
    let passed = 0;
    for (let i = 0; i < count; i++) {
      const packet = this.packets[i]!;
      const act = receiver.runGenericXdp(packet, prog);
      if (act === XDP_PASS) {
        this.packets[passed++] = packet;
        continue;
      }
      if (act === XDP_REDIRECT) {
        if (receiver.redirectPacket(packet, prog) === 0) this.redirects++;
        else this.packetDrops++;
      } else {
        if (act > XDP_REDIRECT || act < 0) this.parts.onFrame.warnInvalid(prog, act);
        receiver.dropPacket(packet);
        this.packetDrops++;
      }
      if (this.parts.runsEverySkb) continue;
      // Up to 6.14 the loop ended here, and the others went up without having met the program.
      for (let rest = i + 1; rest < count; rest++) this.packets[passed++] = this.packets[rest]!;
      break;
    }
    return passed;
  }
}

/** @kernel kernel/bpf/cpumap.c */
export class CpuMapTable implements CpuMap, TargetMap {
  readonly mapType: number = BPF_MAP_TYPE_CPUMAP;
  readonly mapId: number;
  readonly maxEntries: number;
  private readonly parts: CpuMapParts;
  private readonly entries: (CpuMapEntry | null)[];

  constructor(parts: CpuMapParts, mapId: number, maxEntries: number) {
    this.mapId = mapId;
    this.maxEntries = maxEntries;
    this.parts = parts;
    this.entries = Array.from({ length: maxEntries }, () => null);
  }

  mapUpdateElem(cpu: number, qsize: number, prog: XdpProg | null, flags: number): number {
    if (!(flags >= 0 && flags <= BPF_EXIST)) return -EINVAL;
    if (!(Number.isInteger(cpu) && cpu >= 0 && cpu < this.maxEntries)) return -E2BIG;
    if (flags === BPF_NOEXIST) return -EEXIST;
    if (!(Number.isInteger(qsize) && qsize >= 0 && qsize <= CPU_MAP_MAX_QSIZE)) return -EOVERFLOW;
    if (cpu >= this.parts.kernel.nrCpus) return -ENODEV;
    this.replace(cpu, qsize === 0 ? null : new CpuMapEntry(this.parts, this.mapId, cpu, qsize, prog));
    return 0;
  }

  mapDeleteElem(cpu: number): number {
    if (!(Number.isInteger(cpu) && cpu >= 0 && cpu < this.maxEntries)) return -EINVAL;
    this.replace(cpu, null);
    return 0;
  }

  mapLookupElem(cpu: number): { readonly qsize: number; readonly prog: XdpProg | null; readonly waiting: number } | null {
    const entry = this.target(cpu);
    return entry === null ? null : { qsize: entry.qsize, prog: entry.prog, waiting: entry.waiting() };
  }

  target(cpu: number): CpuMapEntry | null {
    return this.entries[cpu] ?? null;
  }

  private replace(cpu: number, entry: CpuMapEntry | null): void {
    const old = this.entries[cpu]!;
    this.entries[cpu] = entry;
    if (old !== null) old.free();
  }
}
