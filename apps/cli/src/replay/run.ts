import { mvneta } from "@netmem/driver-mvneta";
import { tapWire } from "@netmem/driver";
import { RXFH_INDIR_SIZE, type NetDriver, type NicWire } from "@netmem/driver/api";
import { ENOMEM, EOPNOTSUPP, NSEC_PER_SEC, UsageError, errnoName } from "@netmem/kernel/api";
import { createMachine, dmaKind, USER_BUFFER_BYTES, Wire, wireBytes, type Device, type DeviceOptions, type Machine, type PresetName, type WireFrame } from "@netmem/machine";
import type { MemoryBinding, MemoryModel } from "@netmem/memory-model/api";
import { backingBytes } from "@netmem/mm";
import { PAGE_SIZE, type DmaStats, type PayloadRegion } from "@netmem/mm/api";
import { IPPROTO_TCP, IP_FRAG_TIME_NS } from "@netmem/net-core/api";
import type { PagePool, PagePoolStats } from "@netmem/page-pool/api";
import { ETH_DATA_LEN, ETH_HLEN, type NetDevice } from "@netmem/xdp/api";
import { CliError } from "../terminal.ts";
import { counted } from "../words.ts";
import { DRIVER_NAMES, MODEL_NAMES } from "../plugins.ts";
import { within } from "./hang.ts";
import { makeOld } from "./make-old.ts";
import { machineMemory } from "./backing.ts";
import { droppedInAll, forwarder, frameReader, heldAtEnd, inetRun, modelFrames, socketReaders, type HeldAtEnd, type InetRun, type TrafficEnd } from "./ends.ts";
import type { ReplayOptions } from "./options.ts";
import type { ProgramInstance } from "./program.ts";
import { AttachedProgram, type XdpRun } from "./xdp.ts";

/** What one design did with the traffic. The names are those of the JSON document. */
export interface DesignRun {
  readonly design: PresetName;
  readonly delivered: { readonly packets: number; readonly bytes: number; readonly sha256: string };
  readonly dropped: number;
  /** Of these, lost because the ring was full; only under `--timing capture`. */
  readonly overruns?: number;
  /** Clones whose head could not be made private, for lack of memory. */
  readonly expandFailures?: number;
  /** Pages that the pool took from the page allocator. */
  readonly pageAllocs: number;
  /** Buffers that it took from the memory model; only with one. */
  readonly modelBuffers?: number;
  /** Of its buffers, those that are not free when all is over; absent: none. */
  readonly modelBuffersMissing?: number;
  readonly dmaMaps: number;
  readonly dmaUnmaps: number;
  readonly dmaSyncs: number;
  readonly memInfoLookups: number;
  /** To cache and ring: by the traffic. Released from the pool: in all its life. */
  readonly recycled: { readonly cached: number; readonly ring: number; readonly released: number; readonly percent: number };
  /** Pages that left their pool with the packet, since others held them too, or since the ring was full. */
  readonly notRecycled: { readonly shared: number; readonly ringFull: number };
  readonly inflightAtEnd: number;
  readonly reports: readonly { readonly kind: string; readonly count: number }[];
  /** Of this machine's time; 0 where nothing was timed. */
  readonly nsPerPacket: number;
  /** Only with a program. */
  readonly xdp?: XdpRun;
  /** Only with sockets, or forwarding. */
  readonly inet?: InetRun;
  /** With sockets, or forwarding, or when somebody holds pages. */
  readonly held?: HeldAtEnd;
}

/** What a run tells as it goes, and what watches it; tests check invariants at every step through this. */
export interface RunWatcher {
  /** After boot, before the first frame. */
  readonly started?: (machine: Machine, pools: readonly PagePool[]) => void;
  /** After each scheduler step. */
  readonly step?: () => void;
  /** Each frame that a device has sent, as it leaves, and the simulated time. */
  readonly sent?: (bytes: Uint8Array, offset: number, lengthBytes: number, timeNs: number) => void;
  /** Events that the machine's trace holds; default none. */
  readonly traceEntries?: number;
  /** After shutdown. */
  readonly ended?: (machine: Machine) => void;
  /** Now and then: packets read so far. */
  readonly progress?: (done: number) => void;
}

/** Pages beside what packets hold: pool ring, cache and a bulk refill, slabs, descriptors, and room to breathe. */
const BASE_PAGES = 8192;
/** 1 GiB. */
const MOST_PAGES = 262_144;
/** Descriptors of a device that only sends: as few as any has. */
const RING_OF_SENDER = 64;
/** After so many packets sent and read a timed run has made most of the structures that it goes on with, which become old then; and those since at twice as many, again and again. */
const FIRST_AGING_PACKETS = 20_000;
/** Steps between two progress reports. */
const PROGRESS_STEPS = 256;
/** Simulated time without a frame sent or read after which a phase is over. */
const STALL_NS = 10 * NSEC_PER_SEC;
/** Steps without one after which none will come: no driver has so much else to do. */
const MOST_IDLE_STEPS = 1_000_000;

/** Boots a machine, replays the frames through it, takes it down, and counts. */
export function runDesign(design: PresetName, frames: readonly WireFrame[], options: ReplayOptions, watcher: RunWatcher = {}, program: ProgramInstance | null = null, plugins: Plugins = OURS): DesignRun {
  const { driver, model } = plugins;
  const { nrPages, extraBytes } = memoryFor(frames, options, model);
  const { memory, device: reach } = dmaKind(options.dma);
  const backing = machineMemory().take(backingBytes({ ...memory, nrPages, extraBytes }));
  const machine = createMachine({
    nrPages,
    extraBytes,
    memory: { ...memory, cpuCache: options.cpuCache, dmaDebug: options.dmaDebug },
    preset: design,
    seed: options.seed,
    packetCostNs: options.packetCostNs,
    traceEntries: watcher.traceEntries ?? 0,
    backing,
    ...(options.returnPath === undefined ? {} : { returnPath: options.returnPath }),
    ...(options.sharedRelease === undefined ? {} : { sharedRelease: options.sharedRelease }),
  });
  const { kernel, mm } = machine;
  const wire = new Wire(kernel, mm.payload, frames, options.timing);
  const limit = isSomebodys(options, program) ? options.hangLimit : null;
  const guard = <T>(work: () => T): T => (limit === null ? work() : within(limit, work, () => new CliError(`${design}: hangs: what is not netmem's own has not returned for ${counted(limit, "second")}, after ${counted(wire.sent(), "frame")}`)));
  const user = mm.payload.addRegion("user", USER_BUFFER_BYTES, true);
  // A model's memory is behind the second queue, where all of TCP goes; or behind the only one, where all frames go.
  const givesFrames = model?.delivers === "frames";
  const device = guard(() => attachFirst(machine, driver, { rxRingSize: options.ring, earlyDrop: options.earlyDrop, rxQueueCount: model === null || givesFrames ? 1 : 2, cpu: 0, ...reach }));
  device.netif.dev.gro = options.gro;
  device.netif.dev.groUdpFwd = options.udpGro && options.forward;
  device.netif.dev.mtu = mtuFor(frames);
  const frameEnd = options.sockets === undefined && !options.forward && !givesFrames ? frameReader(machine, user, options) : null;
  const withProgram = program === null ? null : guard(() => attach(machine, design, device, program, options, frames, user, watcher));
  const forwarding = options.forward ? guard(() => forwardOn(machine, design, user, frames, options, driver, watcher)) : null;
  guard(() => bringUp(device, design, options));
  const binding = model === null ? null : guard(() => bindModel(machine, design, device, model, options));
  const sockets = options.sockets === undefined ? null : socketReaders(machine, user, options, binding);
  const end = frameEnd ?? sockets ?? forwarding ?? modelFrames(machine, binding!, options);
  const pools = machine.pagePools.pools().filter(({ netdev, destroyCnt }) => netdev === device.netif.dev && destroyCnt === 0);
  watcher.started?.(machine, pools);

  const began = process.hrtime.bigint();
  wire.connect(device.nic);
  const { step = null, progress = null } = watcher;
  let agingNs = 0n;
  const steps = (packets: number): boolean => {
    for (;;) {
      const came = guard(() => stepUntil(machine, wire, end, packets, step, progress, limit === null ? null : limit / 2));
      if (came !== null) return came;
    }
  };
  for (let packets = options.countsOnly ? Infinity : FIRST_AGING_PACKETS; steps(packets); packets *= 2) agingNs += makeOld();
  end.drain();
  steps(Infinity);
  machine.flushDeferred();
  if (!wire.finished()) throw stalled(design, wire, frames, binding, options, mm.pages.freePages());
  const elapsedNs = Number(process.hrtime.bigint() - began - end.checkingNs() - agingNs);
  // What the traffic recycled; the posted buffers that teardown puts back are no recycling.
  const stats = machine.pagePools.createStats();
  for (const pool of pools) pool.getStats(stats);
  const { cached, ring, releasedRefcnt, ringFull } = stats.recycleStats;
  const percent = recyclingPercent(stats);
  const xdp = withProgram?.attached.result();
  const sending = withProgram?.sending();
  const held = heldAtEnd(machine, pools, options.timing, binding === null || givesFrames ? null : { name: model!.name, holds: binding.held() });
  // Given up by then.
  if (held.by.some(({ kind }) => kind === "ip-fragments")) guard(() => kernel.scheduler.runFor(IP_FRAG_TIME_NS));
  const inet = sockets === null && forwarding === null ? undefined : inetRun(machine, sockets?.readers ?? null, options.forward ? end.packets() : 0);
  guard(() => {
    end.close();
    binding?.close();
    machine.shutdown();
  });
  const missing = binding === null ? 0 : options.buffers - binding.free();
  watcher.step?.();
  watcher.ended?.(machine);
  machineMemory().put(backing);

  const { overruns } = device.nic.stats;
  const delivered = end.packets();
  const expandFailures = frameEnd?.reader.expandFailures ?? 0;
  const { maps, unmaps, syncs } = device.dma.stats;
  return {
    design,
    delivered: { packets: delivered, bytes: end.bytes(), sha256: end.sha256() },
    dropped: inet !== undefined ? droppedInAll(inet.dropped) + overruns : frames.length - delivered + (xdp === undefined ? 0 : xdp.copies - xdp.sent.eth0 - xdp.sent.eth1),
    ...(overruns === 0 ? {} : { overruns }),
    ...(expandFailures === 0 ? {} : { expandFailures }),
    pageAllocs: takenBy(pools.filter(({ memoryProvider }) => memoryProvider === null)),
    ...(binding === null || givesFrames ? {} : { modelBuffers: takenBy(pools.filter(({ memoryProvider }) => memoryProvider !== null)) }),
    ...(missing === 0 ? {} : { modelBuffersMissing: missing }),
    dmaMaps: maps + (sending?.maps ?? 0),
    dmaUnmaps: unmaps + (sending?.unmaps ?? 0),
    dmaSyncs: syncs + (sending?.syncs ?? 0),
    memInfoLookups: machine.xdp.registry.stats.lookups,
    recycled: { cached, ring, released: pools.reduce((sum, { releaseCnt }) => sum + (releaseCnt >>> 0), 0), percent },
    notRecycled: { shared: releasedRefcnt, ringFull },
    inflightAtEnd: pools.reduce((sum, pool) => sum + pool.inflight(), 0),
    reports: kernel.reports.counts(),
    nsPerPacket: frames.length === 0 ? 0 : elapsedNs / frames.length,
    ...(xdp === undefined ? {} : { xdp }),
    ...(inet === undefined ? {} : { inet }),
    ...(inet === undefined && held.by.length === 0 ? {} : { held }),
  };
}

/** A plugin does not do what it is asked for. */
export class Refused extends CliError {}

/** The device that receives. A driver knows how many descriptors it has. */
function attachFirst(machine: Machine, driver: NetDriver, options: DeviceOptions): Device {
  try {
    return machine.attach(driver, options);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    if (error.option !== "rxRingSize") throw new Refused(error.message);
    throw new Refused(`--ring ${options.rxRingSize}: ${driver.name} does not do that: ${error.message.slice(error.message.lastIndexOf(": ") + 2)}`);
  }
}

/** Netmems that pools ever took. */
function takenBy(pools: readonly PagePool[]): number {
  return pools.reduce((sum, { holdCnt }) => sum + (holdCnt >>> 0), 0);
}

/** Bytes of the memory that `runDesign` will take for its machine. */
export function bytesFor(frames: readonly WireFrame[], options: ReplayOptions, { model }: Plugins): number {
  return backingBytes({ ...dmaKind(options.dma).memory, ...memoryFor(frames, options, model) });
}

function memoryFor(frames: readonly WireFrame[], options: ReplayOptions, model: MemoryModel | null): { readonly nrPages: number; readonly extraBytes: number } {
  return { nrPages: pagesFor(frames, options), extraBytes: wireBytes(frames) + USER_BUFFER_BYTES + (model === null ? 0 : options.buffers * PAGE_SIZE) };
}

/** The plugins of a run. */
export interface Plugins {
  readonly driver: NetDriver;
  /** Null: payload is received into pages. */
  readonly model: MemoryModel | null;
}

const OURS: Plugins = { driver: mvneta, model: null };

function stalled(design: PresetName, wire: Wire, frames: readonly WireFrame[], binding: MemoryBinding | null, { model, buffers, reader }: ReplayOptions, freePages: number): CliError {
  const where = `${design}: stalled after ${wire.sent()} of ${frames.length} frames`;
  if (binding !== null && binding.free() === 0) return new CliError(`${where}: all ${buffers} buffers of ${model} are with packets and users${reader === "prompt" ? "; raise --buffers" : `, and --reader ${reader} gives none back; raise --buffers, or read promptly`}`);
  return new CliError(`${where}, ${freePages} pages free: this is a bug of the model, or of a plugin`);
}

/** What can be done where a model was not bound. */
function remedyFor(errno: number, givesFrames: boolean, buffers: number, { name, mtu }: NetDevice): string {
  if (errno === -EOPNOTSUPP) return givesFrames ? `: ${name} has no zero copy, or none at its MTU of ${mtu}, which the longest frame asks for; --driver xsk has it up to 1500` : ": this driver cannot restart a queue; one that splits headers can, --driver header-split";
  if (errno === -ENOMEM) return givesFrames ? `: there is not memory enough, or bounce buffers, for ${buffers} buffers and the rings; lower --buffers or --ring` : `: ${buffers} buffers are too few, raise --buffers`;
  return "";
}

/** Reports that a binding failed, which say nothing of why. */
const OF_A_CAUSE: readonly string[] = ["mp-init-failed", "pp-create-failed"];

/** Behind the device's second queue, to which all of TCP goes; a model of frames behind the only one. */
function bindModel(machine: Machine, design: PresetName, device: Device, model: MemoryModel, { buffers }: ReplayOptions): MemoryBinding {
  const givesFrames = model.delivers === "frames";
  const reportsBefore = machine.kernel.reports.reports.length;
  const binding = machine.bindMemoryModel(model, device, givesFrames ? 0 : 1, buffers);
  if (typeof binding === "number") {
    const cause = machine.kernel.reports.reports.slice(reportsBefore).find(({ kind }) => !OF_A_CAUSE.includes(kind));
    if (cause !== undefined) throw new CliError(`${design}: ${model.name} was not bound (${errnoName(binding)}): report ${cause.kind}: ${cause.object}: ${cause.message}${cause.kind === "dma-unreachable" ? "; such memory cannot be bounced, choose another --dma" : ""}`);
    throw new Refused(`${design}: ${model.name} was not bound (${errnoName(binding)})${remedyFor(binding, givesFrames, buffers, device.netif.dev)}`);
  }
  if (givesFrames) return binding;
  // What is not TCP is not split, and is the first queue's.
  device.nic.steering.setIndirection(Array.from({ length: RXFH_INDIR_SIZE }, () => 0));
  device.nic.steering.insertRule({ protocol: IPPROTO_TCP, queue: 1 });
  return binding;
}

interface WithProgram {
  readonly attached: AttachedProgram;
  /** What the second device has done with DMA since it came up. */
  readonly sending: () => DmaCounts;
}

type DmaCounts = Pick<DmaStats, "maps" | "unmaps" | "syncs">;

/** The program, on the device that receives, and a second device for what it redirects. */
function attach(machine: Machine, design: PresetName, device: Device, program: ProgramInstance, options: ReplayOptions, frames: readonly WireFrame[], out: PayloadRegion, watcher: RunWatcher): WithProgram {
  const { device: reach } = dmaKind(options.dma);
  // It receives nothing.
  const second = machine.attach(mvneta, { name: "eth1", rxRingSize: RING_OF_SENDER, cpu: 0, ...reach });
  const attached = new AttachedProgram(machine, program, device, second, { design, designs: options.designs, mode: options.xdpMode, mtu: mtuFor(frames) });
  if (watcher.sent !== undefined) {
    for (const sender of [device, second]) tapSent(machine, sender, watcher).connectSink({ region: out, offset: () => 0, roomBytes: () => USER_BUFFER_BYTES, frameSent: () => undefined });
  }
  bringUp(second, design, options);
  const before: DmaCounts = { ...second.dma.stats };
  const { stats } = second.dma;
  return { attached, sending: () => ({ maps: stats.maps - before.maps, unmaps: stats.unmaps - before.unmaps, syncs: stats.syncs - before.syncs }) };
}

/** What the longest of them needs, and Ethernet's at least. */
function mtuFor(frames: readonly WireFrame[]): number {
  return frames.reduce((most, { lengthBytes }) => Math.max(most, lengthBytes - ETH_HLEN), ETH_DATA_LEN);
}

/** A second device for what is sent on. */
function forwardOn(machine: Machine, design: PresetName, out: PayloadRegion, frames: readonly WireFrame[], options: ReplayOptions, driver: NetDriver, watcher: RunWatcher): TrafficEnd {
  const { device: reach } = dmaKind(options.dma);
  const second = machine.attach(driver, { name: "eth1", rxRingSize: RING_OF_SENDER, cpu: 0, ...reach });
  second.netif.dev.mtu = mtuFor(frames);
  bringUp(second, design, options);
  return forwarder(machine, out, second.netif.dev, tapSent(machine, second, watcher));
}

/** The wire of a device that sends, heard by the watcher. */
function tapSent({ kernel }: Machine, { nic }: Device, { sent }: RunWatcher): NicWire {
  return sent === undefined ? nic : tapWire(nic, { sent: ({ bytes }, offset, lengthBytes) => sent(bytes, offset, lengthBytes, kernel.clock.nowNs) });
}

/** A device that refused to come up. */
export class DeviceDown extends CliError {
  /** Without the design, and without what can be done in `replay`. */
  readonly why: string;

  constructor(design: PresetName, why: string, remedy: string) {
    super(`${design}: ${why}${remedy}`);
    this.why = why;
  }
}

function bringUp({ netif }: Device, design: PresetName, { dma, ring, driver }: ReplayOptions): void {
  const errno = netif.open();
  if (errno === 0) return;
  const { name, mtu } = netif.dev;
  const isShort = errno === -ENOMEM;
  const short = dma === "bounce" ? `: ${ring} descriptors take more bounce buffers than there are` : `: there is not memory enough, or not in one piece, for ${ring} descriptors and an MTU of ${mtu}`;
  throw new DeviceDown(design, `${name} of ${driver} did not come up (${errnoName(errno)})${isShort ? short : ""}`, isShort ? "; lower --ring" : "");
}

/** What runs is not ours alone, and may never return. */
function isSomebodys({ driver, model }: Pick<ReplayOptions, "driver" | "model">, program: ProgramInstance | null): boolean {
  return program !== null || !DRIVER_NAMES.includes(driver) || (model !== undefined && !MODEL_NAMES.includes(model));
}

/** Steps until so many packets were sent and read, or for `pauseSeconds` of wall time, and answers null then; false: before that nothing was left to do but what only time will bring. Watchers come one by one: the engine, which compiles all of a machine into this loop, starts anew at an object of another shape. */
function stepUntil(machine: Machine, wire: Wire, end: TrafficEnd, until: number, watchStep: (() => void) | null, progress: ((done: number) => void) | null, pauseSeconds: number | null): boolean | null {
  const pauseNs = pauseSeconds === null ? null : process.hrtime.bigint() + BigInt(pauseSeconds * 1e9);
  const { scheduler, clock } = machine.kernel;
  let steps = 0;
  let moved = 0;
  let movedAtNs = clock.nowNs;
  let movedAtStep = 0;
  while (scheduler.step()) {
    if (watchStep !== null) watchStep();
    if (++steps % PROGRESS_STEPS === 0) {
      if (progress !== null) progress(end.packets());
      if (pauseNs !== null && process.hrtime.bigint() > pauseNs) return null;
      if (steps - movedAtStep > MOST_IDLE_STEPS) throw new CliError(`nothing moves after ${counted(wire.sent(), "frame")}: something is scheduled again and again, as a poll is that always answers its budget`);
    }
    const sentAndRead = wire.sent() + end.packets();
    if (sentAndRead !== moved) {
      moved = sentAndRead;
      movedAtNs = clock.nowNs;
      movedAtStep = steps;
      if (moved >= until) return true;
    } else if (clock.nowNs - movedAtNs > STALL_NS && (wire.lossless || wire.finished())) {
      // A driver that is short of memory tries again for ever; nobody will free any before the reader drains.
      break;
    }
    // What expires much later, as pieces of a datagram do, is held until then.
    if (wire.finished() && scheduler.nextMomentNs() - movedAtNs > STALL_NS) break;
  }
  return false;
}

/**
 * Recycled over handed out, in percent with one decimal: what the kernel's `ynl` page-pool tool prints, with the
 * allocations that a refill served counted too.
 */
function recyclingPercent({ allocStats, recycleStats }: PagePoolStats): number {
  const allocs = allocStats.fast + allocStats.slow + allocStats.refill;
  return allocs === 0 ? 0 : Math.round(((recycleStats.cached + recycleStats.ring) / allocs) * 1000) / 10;
}

/** Memory for the packets a reader may leave waiting, wherever in the traffic they need most, on top of what always circulates. */
export function pagesFor(frames: readonly WireFrame[], options: Pick<ReplayOptions, "readerLag" | "expand"> & Partial<Pick<ReplayOptions, "reader">>): number {
  const { reader = "prompt" } = options;
  const pagesOf = (frame: WireFrame): number => Math.ceil((frame.lengthBytes + 6) / (PAGE_SIZE - 576)) + (options.expand ? 2 : 0);
  // Sockets that are read late, or never, may hold everything.
  const lag = reader === "prompt" ? options.readerLag : frames.length;
  let held = 0;
  let most = 0;
  for (let i = 0; i < frames.length; i++) {
    held += pagesOf(frames[i]!);
    if (i >= lag) held -= pagesOf(frames[i - lag]!);
    most = Math.max(most, held);
  }
  const pages = BASE_PAGES + (lag === 0 ? 0 : most);
  if (pages > MOST_PAGES) {
    const [option, remedy] = reader === "prompt" ? [`--reader-lag ${options.readerLag}`, "lower it"] : [`--reader ${reader}`, "replay fewer"];
    throw new CliError(`${option}: holding back that many of these packets takes ${pages} pages, and a machine has at most ${MOST_PAGES}; ${remedy}`);
  }
  return pages;
}
