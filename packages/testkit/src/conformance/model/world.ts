import { headerSplit } from "@netmem/driver-header-split";
import { xsk as xskDriver } from "@netmem/driver-xsk";
import { EBUSY, TASK_SLEEP } from "@netmem/kernel/api";
import { Wire, createMachine, type Device, type Machine } from "@netmem/machine";
import type { MemoryBinding, MemoryModel, MemoryModelDeps, MemoryStream, ProvidedArea } from "@netmem/memory-model/api";
import { backingBytes } from "@netmem/mm";
import { PAGE_SIZE, netmemName, type NetIov, type NetIovArea, type PayloadRegion } from "@netmem/mm/api";
import { IPPROTO_TCP, type SkBuff, type TcpSocket } from "@netmem/net-core/api";
import type { PagePool } from "@netmem/page-pool/api";
import { conservationFaults } from "../../conservation.ts";
import { tcpFrame, testPayload } from "../../inet-frames.ts";
import { DriverWatch } from "../driver/watch.ts";
import type { CaseMemory } from "../case-memory.ts";
import { Findings } from "../findings.ts";
import { FreshReports } from "../fresh-reports.ts";
import { warmHeads } from "../warm-heads.ts";
import { watched, type Watches } from "../watched.ts";
import type { BindFailing, ModelCase } from "./case.ts";

/** Descriptors: half of the fewest buffers at most, so that a queue may be rebuilt while it runs. */
const RING_SIZE = 32;
const XSK_RING_SIZE = 64;
const PAGES = 3072;
const MOST_BINDINGS = 4;
const CONNECTIONS = 3;
const OVERLAP_BYTES = 4;
/** Of the queue's instance: whoever reads there frees there. */
const QUEUE_CPU = 1;

/** Which rule a report of the machine speaks of. */
const RULE_OF_REPORT: Readonly<Record<string, string>> = {
  "unreadable-access": "M5", "skb-copy-unreadable": "M5", "netmem-not-a-page": "M5",
  "pp-double-put": "M4", "pp-unowned-put": "M4", "pp-foreign-put": "M4", "pp-ref-underflow": "M4", "pp-holders-left": "M4", "mp-counted-twice": "M4", "devmem-bad-release": "M4", "page-ref-underflow": "M4", "page-ref-zero": "M4",
  "mp-not-counted": "M3", "mp-mark-left": "M3", "mp-cache-full": "M3", "mp-not-taken": "M3", "pp-negative-inflight": "M3", "page_pool leak": "M3", "bad-page": "M3",
  "dma-leak": "M7", "dma-unmap-nothing": "M7", "dma-debug-not-allocated": "M7", "dma-debug-overlap": "M7", "dma-sync-nothing": "M7", "dma-debug-sync-not-allocated": "M7", "dma-debug-size": "M7", "dma-debug-direction": "M7", "dma-debug-sync-direction": "M7", "dma-fault": "M8",
};

/** One connection, or all frames: what was sent, what its user read, and by which binding. */
interface Connection {
  readonly sent: number[];
  /** Where in it each segment begins. */
  readonly starts: number[];
  readonly read: number[];
  socket: TcpSocket | null;
  stream: MemoryStream | null;
}

/** A machine with a device whose second queue a memory model is bound to, and users who read. */
export class ModelWorld {
  readonly machine: Machine;
  readonly device: Device;
  readonly findings: Findings;
  binding: MemoryBinding | null = null;
  /** All that there ever were. */
  readonly bindings: MemoryBinding[] = [];
  readonly deliversFrames: boolean;
  readonly ringSize: number = RING_SIZE;
  /** Where the model last asked for its queue, in a run that keeps places. */
  boundWhere = "";
  /** Whatever was sent from here on may not come whole. */
  disturbed = false;
  readonly #model: MemoryModel;
  readonly #buffers: number;
  readonly #watch: DriverWatch;
  readonly #ofDriver: Findings = new Findings(false);
  readonly #connections: Connection[];
  readonly #reports: FreshReports;
  readonly #freePages: number;
  /** In a run that keeps places: where the model took each buffer that it has not given up, or took its mark away, where it gave users each that they have not given back, where it last told one of bytes, and last mapped or unmapped. */
  readonly #taken: Map<NetIov, string> = new Map<NetIov, string>();
  readonly #given: Map<NetIov, string> = new Map<NetIov, string>();
  #toldWhere = "";
  #mappedWhere = "";
  #queueFails = false;
  #serial = 0;
  #reads = 0;
  #seq: number[] = [];

  constructor(model: MemoryModel, { buffers }: ModelCase, bytes: number, findings: Findings, memory: CaseMemory) {
    this.findings = findings;
    this.#buffers = buffers;
    this.deliversFrames = model.delivers === "frames";
    const size = { nrPages: PAGES, extraBytes: bytes + MOST_BINDINGS * buffers * PAGE_SIZE + (1 << 18) };
    this.machine = createMachine({ ...size, backing: memory.take(backingBytes(size)) });
    this.#reports = new FreshReports(this.machine.kernel.reports);
    const { net } = this.machine;
    warmHeads(this.machine);
    this.#freePages = this.machine.mm.pages.freePages();
    // What a driver does wrong is not the model's fault.
    this.#watch = new DriverWatch(this.machine, this.#ofDriver);
    this.device = this.machine.attach(this.#watch.driver(this.deliversFrames ? xskDriver : headerSplit), { rxRingSize: this.deliversFrames ? XSK_RING_SIZE : RING_SIZE, rxQueueCount: 2 });
    this.device.netif.open();
    this.device.netif.dev.mtu = 1500;
    this.device.nic.steering.insertRule({ protocol: IPPROTO_TCP, queue: 1 });
    this.#model = { ...model, bind: (deps, options) => model.bind(this.#watchDeps(deps), options) };
    this.#connections = Array.from({ length: this.deliversFrames ? 1 : CONNECTIONS }, () => ({ sent: [], starts: [], read: [], socket: null, stream: null }));
    this.#seq = this.#connections.map(() => 1);
    net.receive.setProtocol(net.inet);
    net.inet.tcpListen({ name: "user", port: null, accept: (socket) => this.#accept(socket) });
  }

  /** 0 or a negative errno. */
  bind(failing: BindFailing | undefined): number {
    if (this.bindings.length === MOST_BINDINGS) return 0;
    const { faults } = this.machine.mm;
    if (failing?.what === "mapping") faults.failDmaMap.arm({ nth: failing.nth });
    if (failing?.what === "memory") faults.failPageAlloc.arm({ nth: failing.nth });
    this.#queueFails = failing?.what === "queue";
    const bound = this.machine.bindMemoryModel(this.#model, this.device, 1, this.#buffers);
    faults.failDmaMap.disarm();
    faults.failPageAlloc.disarm();
    this.#queueFails = false;
    if (typeof bound === "number") {
      // A driver that restarts for it, and fails, is down: that is not the model's fault.
      if (!this.device.netif.dev.up) this.device.netif.open();
      return bound;
    }
    // Whoever read another way, or by a binding before, does not know this memory.
    this.closeStreams();
    this.binding = bound;
    this.bindings.push(bound);
    if (this.deliversFrames) this.#connections[0]!.stream = bound.openFrames!(() => undefined);
    return 0;
  }

  close(): void {
    if (this.binding === null) return;
    this.binding.close();
    this.binding = null;
    this.#occasion("M9");
    // The last of an AF_XDP socket is a workqueue's. @kernel xp_release_deferred
    if (!this.deliversFrames && this.isBound()) this.findings.consequence("M9", "closed, and its queue is still bound to it: the next pool there is made with it", this.boundWhere);
    if (this.deliversFrames) this.#connections[0]!.stream = null;
  }

  /** Buffers that the model has to spare. */
  free(): number {
    return this.binding?.free() ?? 0;
  }

  /** Whether a provider, or an AF_XDP socket, is bound to the queue. */
  isBound(): boolean {
    const queue = this.device.netif.dev.rxQueues[1]!;
    return queue.memoryProvider !== null || queue.xskBound;
  }

  wire(count: number, bytes: number): Wire {
    const frames = Array.from({ length: count }, () => {
      const serial = this.#serial++;
      const i = serial % this.#connections.length;
      const { sent, starts } = this.#connections[i]!;
      // Now and then a segment begins with bytes that were there before, as one that is sent again may.
      const again = serial % 5 === 4 && !this.deliversFrames ? Math.min(OVERLAP_BYTES, sent.length) : 0;
      const fresh = testPayload(bytes, serial + 1);
      const frame = tcpFrame(Uint8Array.from([...sent.slice(sent.length - again), ...fresh]), { sport: 1000 + i, seq: this.#seq[i]! - again });
      this.#seq[i] = this.#seq[i]! + bytes;
      if (again === 0) starts.push(sent.length);
      else starts.push(sent.length - again, sent.length);
      sent.push(...(this.deliversFrames ? frame : fresh));
      return { bytes: frame, offset: 0, lengthBytes: frame.length, arrivalNs: 0 };
    });
    const wire = new Wire(this.machine.kernel, this.machine.mm.payload, frames, "back-to-back");
    wire.connect(this.device.nic);
    return wire;
  }

  /** Every user reads what there is, by turns on the CPU that built the packets and on another. */
  read(): void {
    if (this.#reads++ % 2 === 0) this.#readHere();
    else {
      const { scheduler } = this.machine.kernel;
      scheduler.spawn({ name: "users", cpu: QUEUE_CPU, run: () => {
        this.#readHere();
        return TASK_SLEEP;
      } });
      scheduler.runFor(0);
    }
    this.judgeBytes(false);
  }

  #readHere(): void {
    for (const connection of this.#connections) {
      if (connection.stream === null) continue;
      this.findings.occasion("M4");
      if (this.#areas().some(({ region }) => !region.cpuReadable)) this.findings.occasion("M5");
      const onBytes = (region: PayloadRegion, offset: number, length: number): void => {
        this.#toldWhere = this.findings.traceOf(onBytes);
        for (let i = 0; i < length; i++) connection.read.push(region.bytes[offset + i]!);
        this.#isUsers(region, offset);
      };
      connection.stream.read(onBytes);
    }
  }

  /** Of a model that was never bound there is nothing to say. */
  #occasion(rule: string): void {
    if (this.bindings.length > 0) this.findings.occasion(rule);
  }

  /** The device goes away, whoever has its queues. */
  removeDevice(): void {
    const { netif } = this.device;
    this.disturbed = true;
    netif.stop();
    this.machine.net.unregisterNetdev(netif.dev);
    this.#occasion("M6");
    if (netif.dev.rxQueues[1]!.memoryProvider !== null) this.findings.consequence("M6", "the device is gone, and its queue is still bound: uninstall has to forget it", "");
  }

  closeStreams(): void {
    for (const connection of this.#connections) {
      if (!this.deliversFrames) connection.stream?.close();
      connection.socket?.close();
      if (!this.deliversFrames) connection.stream = null;
      connection.socket = null;
    }
  }

  /** What was read is what was sent, from the beginning on, and all of it; where something was in the way, from the segment on that the connection was met by. */
  judgeBytes(whole: boolean): void {
    if (this.#connections.some(({ sent }) => sent.length > 0)) this.#occasion("M1");
    for (const [i, { sent, starts, read }] of this.#connections.entries()) {
      const what = this.deliversFrames ? "the frames" : `connection ${i}`;
      // Whole frames may be missing, and those that are there are a stream of them no more.
      if (this.deliversFrames && this.disturbed) continue;
      const wrongAfter = (start: number): number => read.findIndex((byte, at) => byte !== sent[start + at]);
      const wrong = wrongAfter(0);
      if (wrong >= 0 && !(this.disturbed && starts.some((start) => wrongAfter(start) < 0))) this.findings.consequence("M1", `byte ${wrong} of ${what} is not what was sent`, this.#toldWhere);
      else if (whole && !this.disturbed && read.length < sent.length) this.findings.consequence("M1", `${read.length} of the ${sent.length} bytes of ${what} are read, and no more come`, this.#toldWhere);
    }
  }

  /** What must hold at any time. */
  judge(): void {
    const { findings, machine } = this;
    this.reported();
    const areas = this.#areas();
    this.#occasion("M3");
    for (const fault of conservationFaults(machine, this.#pools(), areas)) if (!(this.deliversFrames && fault.includes("live mappings"))) findings.consequence(fault.includes("mapping") || fault.includes("maps") ? "M7" : "M3", fault, this.#lostWhere());
    for (const binding of this.bindings) {
      const [free, held] = [binding.free(), binding.held()];
      const out = binding.areas().flatMap(({ niovs }) => niovs).filter(({ poolState }) => poolState !== 0).length;
      if (free < 0 || held < 0 || free > this.#buffers || (!this.deliversFrames && free + out > this.#buffers)) findings.consequence("M3", `${free} buffers are free, ${held} held and ${out} a pool's, of ${this.#buffers}`, this.#lostWhere());
    }
    this.#judgeUnmapped();
    for (const { socket } of this.#connections) for (const skb of socket?.packets() ?? []) this.#judgePacket(skb);
  }

  /** Everything goes: users, model, device. */
  end(): void {
    const { machine, findings } = this;
    this.closeStreams();
    this.close();
    machine.shutdown();
    this.reported();
    this.#occasion("M6");
    for (const binding of this.bindings) {
      const [free, held] = [binding.free(), binding.held()];
      if (held !== 0) findings.consequence("M6", `${held} buffers are still held after their users have gone`, [...this.#given.values()][0] ?? "");
      else if (free !== this.#buffers) findings.consequence("M3", `${free} of ${this.#buffers} buffers are free once everything is down`, this.#lostWhere());
    }
    for (const pool of this.#pools()) if (pool.inflight() !== 0) findings.consequence("M3", `${pool.inflight()} buffers are missing from page_pool ${pool.id}`, this.#lostWhere());
    this.#occasion("M7");
    const live = this.device.dma.liveMappings();
    if (live !== 0) findings.consequence("M7", `${live} mappings are left`, this.#mappedWhere);
    const { live: skbs } = machine.net.lifetime.stats;
    if (skbs > 0) findings.consequence("M3", `${skbs} packets are never freed`, "");
    warmHeads(machine);
    const gone = this.#freePages - machine.mm.pages.freePages();
    if (gone > 0) findings.consequence("M3", `${gone} pages do not come back to the page allocator`, "");
  }

  reported(): void {
    for (const { kind, object, message } of this.#reports.take()) {
      // Whoever asked was told.
      if (kind === "pp-create-failed" || kind === "mp-init-failed") continue;
      const rule = Object.hasOwn(RULE_OF_REPORT, kind) ? RULE_OF_REPORT[kind]! : "M9";
      this.findings.consequence(rule, `${kind}: ${object}: ${message}`, this.findings.here() || (rule === "M7" ? this.#mappedWhere : ""));
    }
  }

  #accept(socket: TcpSocket): void {
    const connection = this.#connections[(socket.sport - 1000) % this.#connections.length]!;
    connection.socket = socket;
    connection.read.length = 0;
    if (this.binding !== null && !this.deliversFrames) connection.stream = this.binding.openStream(socket);
    // Somebody reads it, but not by the model.
    else this.disturbed = true;
  }

  /** What a user looks at is nobody else's. */
  #isUsers(region: PayloadRegion, offset: number): void {
    for (const area of this.#areas()) {
      if (area.region !== region) continue;
      const niov = area.niovs[Math.floor(offset / PAGE_SIZE)];
      if (niov !== undefined) this.#isNotPosted(niov, "a user looks at it");
    }
  }

  #judgePacket(skb: SkBuff): void {
    const { frags, nrFrags } = skb.shinfo!;
    for (let i = 0; i < nrFrags; i++) if (frags[i]!.netmem!.isNetIov) this.#isNotPosted(frags[i]!.netmem as NetIov, "a packet has it");
  }

  #isNotPosted(niov: NetIov, who: string): void {
    this.findings.occasion("M8");
    const holder = this.#watch.posted!.holderOf(niov);
    if (holder !== null) this.findings.consequence("M8", `${netmemName(niov)} is posted to ${holder}, and ${who}`, this.#given.get(niov) ?? this.#taken.get(niov) ?? "");
    if ((niov.poolState & 1) !== 0) this.findings.consequence("M8", `${netmemName(niov)} lies idle in its pool, and ${who}`, this.#given.get(niov) ?? this.#taken.get(niov) ?? "");
  }

  /** Of a buffer that no pool has, and that was not given up. */
  #lostWhere(): string {
    for (const [niov, where] of this.#taken) if (niov.poolState === 0) return where;
    return [...this.#taken.values()].at(-1) ?? "";
  }

  /** The driver is a good one: what is let go of under its hardware, the model has unmapped. */
  #judgeUnmapped(): void {
    const unmapped = this.#ofDriver.found.find(({ rule }) => rule === "R8");
    if (unmapped !== undefined) this.findings.consequence("M7", unmapped.what, this.findings.here());
  }

  #areas(): readonly NetIovArea[] {
    return this.bindings.flatMap((binding) => [...binding.areas()]);
  }

  #pools(): readonly PagePool[] {
    return this.machine.pagePools.pools().filter(({ system }) => !system);
  }

  #watchDeps(deps: MemoryModelDeps): MemoryModelDeps {
    const { findings } = this;
    const reported = (): void => this.reported();
    const takes = (niov: NetIov | null): void => void (niov !== null && this.#taken.set(niov, findings.trace()));
    const gives = (niov: NetIov | null): void => void (niov !== null && this.#given.set(niov, findings.trace()));
    const mapped = (): void => void (this.#mappedWhere = findings.trace());
    const watch = <T extends object>(target: T, watches: Watches<T> = {}): T => watched(target, findings, watches, reported);
    return {
      ...deps, payload: watch(deps.payload), edit: watch(deps.edit), pages: watch(deps.pages),
      areas: watch(deps.areas, { create: { instead: (call, ...args): ProvidedArea => {
        const area = call(...args);
        const givenBack = (niov: NetIov): void => void (area.userRefs(niov) === 0 && this.#given.delete(niov));
        return watch(area, {
          addPool: { before: (pool) => {
            mapped();
            // Whoever takes a buffer's mark away is the last to have to do with it, unless the area hears of it.
            if (findings.traces) Object.assign(pool, { niovClearPagePool: watch(pool, { niovClearPagePool: { before: takes } }).niovClearPagePool });
          } }, removePool: { before: mapped, after: () => this.#judgeUnmapped() }, unmap: { before: mapped, after: () => this.#judgeUnmapped() },
          takeFree: { after: takes }, take: { before: (_pool, niov) => takes(niov) }, release: { after: (_answer, _pool, niov) => void this.#taken.delete(niov) },
          giveToUser: { before: gives }, takeForUser: { after: gives }, putUser: { after: (_had, niov) => givenBack(niov) }, reclaim: { after: (_home, _pool, niov) => givenBack(niov) },
        });
      } } }),
      providers: watch(deps.providers, { openRxq: { before: () => void (this.boundWhere = findings.trace()), instead: (call, dev, queue, provider) => (this.#queueFails ? -EBUSY : call(dev, queue, provider)) } }),
      afXdp: watch(deps.afXdp), xdpAttachment: watch(deps.xdpAttachment, { devXdpAttach: { instead: (call, ...args) => (this.#queueFails && args[1] !== null ? -EBUSY : call(...args)) } }),
    };
  }
}
