import { veth, veth414, veth518, veth67, type VethDriver, type VethEnd } from "@netmem/driver-veth";
import { NSEC_PER_SEC, TASK_SLEEP, UsageError } from "@netmem/kernel/api";
import { createMachine, type Machine, type PresetName } from "@netmem/machine";
import { GFP_ATOMIC, PAGE_SIZE } from "@netmem/mm/api";
import { SKB_DROP_REASON_NOT_SPECIFIED, skbRegion, type PacketHandler, type SkBuff, type UdpSocket } from "@netmem/net-core/api";
import { leaveChecksum } from "@netmem/testkit";
import type { XdpProg, XdpProgram } from "@netmem/xdp/api";
import { PoolWatch } from "./samples.ts";

/** What a socket's send leaves in front of a packet, far less than XDP wants. */
const LL_RESERVED = 16;
/** Of Ethernet, IPv4 and TCP. */
const HEADER_BYTES = 54;
/** Pages of a machine on which megabytes may wait in sockets. */
const NR_PAGES = 65_536;
/** NAPI runs where the sender does. */
export const NAPI_CPU = 0;
export const OTHER_CPU = 1;

/**
 * The captures' set-up on a modelled machine: kca0 – kcb0, and kcb1 – kcc0. What kcb0, and kca0, receive goes to sockets; what the others receive is nobody's. Time is that of the
 * capture, from when its tracing began.
 */
export class VethWorld {
  readonly machine: Machine;
  readonly watch: PoolWatch = new PoolWatch();
  readonly kca0: VethEnd;
  readonly kcb0: VethEnd;
  readonly kcb1: VethEnd;
  readonly kcc0: VethEnd;
  /** Pools of devices, by their number. */
  readonly devicePools: Map<number, string> = new Map();
  readonly #attached: Map<VethEnd, number> = new Map();
  readonly #dellink: () => void;
  readonly #sockets: Map<number, UdpSocket> = new Map();
  readonly #user;

  constructor(preset: PresetName) {
    this.machine = createMachine({ preset, nrPages: NR_PAGES, extraBytes: 1 << 17, probes: this.watch.probes() });
    const { machine } = this;
    this.watch.usePools(machine.pagePools);
    const ab = machine.newlink(vethOf(preset), { names: ["kca0", "kcb0"] });
    const bc = machine.newlink(vethOf(preset), { names: ["kcb1", "kcc0"] });
    [this.kca0, this.kcb0] = ab.ends;
    [this.kcb1, this.kcc0] = bc.ends;
    this.#dellink = ab.dellink;
    for (const end of [...ab.ends, ...bc.ends]) if (end.open() !== 0) throw new UsageError("scenarios", "device", end.dev.name, "it cannot be opened");
    this.#user = machine.mm.payload.addRegion("user", 1 << 16, true);
    this.setProtocol(machine.net.inet);
  }

  /** Where packets of kca0 and kcb0 go, or of some others; and those of the rest, which are dropped unless said otherwise. */
  setProtocol(handler: PacketHandler, ends: readonly VethEnd[] = [this.kca0, this.kcb0], rest: PacketHandler | null = null): void {
    const { net } = this.machine;
    const here: readonly unknown[] = ends.map(({ dev }) => dev);
    net.receive.setProtocol({
      packetRcv: (skb) => {
        if (here.includes(skb.dev)) handler.packetRcv(skb);
        else if (rest !== null) rest.packetRcv(skb);
        else net.lifetime.kfreeSkb(skb, SKB_DROP_REASON_NOT_SPECIFIED);
      },
    });
  }

  program(run: XdpProgram, hasFrags: boolean = false): XdpProg {
    const prog = this.machine.xdp.programs.bpfProgLoad("kt", run, hasFrags);
    if (typeof prog === "number") throw new UsageError("scenarios", "program", prog, "it was refused with this errno");
    return prog;
  }

  attach(end: VethEnd, prog: XdpProg | null, flags: number = 0): void {
    const known = new Set(this.machine.pagePools.pools().map(({ id }) => id));
    const errno = this.machine.net.xdpAttachment.devXdpAttach(end.dev, prog, flags, null);
    if (errno !== 0) throw new UsageError("scenarios", `program of ${end.dev.name}`, errno, "it was refused with this errno");
    for (const { id } of this.machine.pagePools.pools()) if (!known.has(id)) this.devicePools.set(id, end.dev.name);
    if (prog !== null) this.#attached.set(end, flags);
    else this.#attached.delete(end);
  }

  /** Programs go as the script takes them away: kcb0's first. */
  detachAll(): void {
    const order = [this.kcb0, this.kca0, this.kcc0, this.kcb1];
    this.asProcess(OTHER_CPU, () => {
      for (const end of order) {
        const flags = this.#attached.get(end);
        if (flags !== undefined) this.attach(end, null, flags);
      }
    });
  }

  /** In a softirq of the CPU, as a process that sends has one. */
  onCpu(cpu: number, work: () => void): void {
    const { timers, scheduler } = this.machine.kernel;
    timers.modTimer(timers.timerSetup(work, cpu), 0);
    scheduler.runFor(0);
  }

  send(end: VethEnd, frame: Uint8Array, cpu: number = NAPI_CPU): void {
    this.sendSkb(end, () => this.skb(frame), cpu);
  }

  sendSkb(end: VethEnd, make: () => SkBuff, cpu: number = NAPI_CPU): void {
    this.onCpu(cpu, () => void this.machine.net.transmit.devDirectXmit(make(), end.dev, 0));
  }

  /** A packet as a local socket makes it for kca0: a slab's head, hardly any headroom; what is longer than a page in pages of its own; its checksum left to the device, unless it is a piece of a datagram. */
  skb(frame: Uint8Array): SkBuff {
    const skb = frame.length > PAGE_SIZE ? this.#skbOfPages(frame) : this.#skbOfHead(frame);
    if (this.kca0.dev.hwCsum) leaveChecksum(skb);
    return skb;
  }

  #skbOfHead(frame: Uint8Array): SkBuff {
    const { lifetime, edit } = this.machine.net;
    const skb = lifetime.allocSkb(LL_RESERVED + frame.length, GFP_ATOMIC)!;
    edit.skbReserve(skb, LL_RESERVED);
    edit.skbPut(skb, frame.length);
    skbRegion(skb).bytes.set(frame, skb.data);
    skb.macHeader = skb.data;
    return skb;
  }

  #skbOfPages(frame: Uint8Array): SkBuff {
    const { lifetime, edit } = this.machine.net;
    const dataBytes = frame.length - HEADER_BYTES;
    const skb = lifetime.allocSkbWithFrags(LL_RESERVED + HEADER_BYTES, dataBytes, 0, GFP_ATOMIC);
    if (typeof skb === "number") throw new UsageError("scenarios", `packet of ${frame.length} bytes`, skb, "it cannot be built, with this errno");
    edit.skbReserve(skb, LL_RESERVED);
    edit.skbPut(skb, HEADER_BYTES);
    skb.len = frame.length;
    skb.dataLen = dataBytes;
    skb.macHeader = skb.data;
    // A region's bytes are whole words.
    const bytes = new Uint8Array((frame.length + 7) & ~7);
    bytes.set(frame);
    edit.skbStoreBits(skb, 0, this.machine.mm.payload.adoptRegion("frame", bytes, true), 0, frame.length);
    return skb;
  }

  bind(port: number, rcvbufBytes: number | null): void {
    const socket = this.machine.net.inet.udpBind({ name: String(port), port, ...(rcvbufBytes === null ? {} : { rcvbufBytes }) });
    if (typeof socket === "number") throw new UsageError("scenarios", `port ${port}`, socket, "it was refused with this errno");
    this.#sockets.set(port, socket);
  }

  /** How many there were, of as many as asked for; where none came, one read finds that out. */
  read(port: number, count: number, cpu: number): number {
    const socket = this.#socket(port);
    let done = 0;
    this.asProcess(cpu, () => {
      while (done < Math.max(count, 1) && socket.recvmsg(this.#user, 0, this.#user.bytes.length) >= 0) done++;
    });
    return done;
  }

  close(port: number, cpu: number): void {
    const socket = this.#socket(port);
    this.asProcess(cpu, () => socket.close());
  }

  waiting(port: number): number {
    return this.#socket(port).length();
  }

  dellink(): void {
    this.asProcess(OTHER_CPU, () => {
      for (const end of [this.kca0, this.kcb0]) end.stop();
      this.#dellink();
    });
  }

  /** Up to so many seconds after tracing began. */
  runTo(seconds: number): void {
    const { clock, scheduler } = this.machine.kernel;
    scheduler.runFor(Math.max(0, Math.round(seconds * NSEC_PER_SEC) - clock.nowNs));
  }

  get seconds(): number {
    return this.machine.kernel.clock.nowNs / NSEC_PER_SEC;
  }

  #socket(port: number): UdpSocket {
    const socket = this.#sockets.get(port);
    if (socket === undefined) throw new UsageError("scenarios", "port", port, "no socket has it");
    return socket;
  }

  /** In a process' slice on that CPU. */
  asProcess(cpu: number, work: () => void): void {
    const { scheduler } = this.machine.kernel;
    const task = scheduler.spawn({
      name: "script", cpu,
      run: () => {
        work();
        return TASK_SLEEP;
      },
    });
    scheduler.runFor(0);
    scheduler.remove(task);
  }
}

/** The driver of a preset's kernel. */
export function vethOf(preset: PresetName): VethDriver {
  switch (preset) {
    case "6.18": return veth;
    case "6.8": return veth67;
    case "6.1": return veth518;
    default: return veth414;
  }
}
