import type { VethEnd } from "@netmem/driver-veth";
import { createMachine, type Machine, type MachineOptions } from "@netmem/machine";
import { GFP_ATOMIC } from "@netmem/mm/api";
import { skbRegion, type SkBuff } from "@netmem/net-core/api";
import type { PagePool } from "@netmem/page-pool/api";
import { XDP_PASS, type XdpFrame, type XdpProg, type XdpProgram } from "@netmem/xdp/api";
import { vethOf } from "../../src/world.ts";
import { plainFrame } from "../xdp/plain-frame.ts";

/** What a socket's send leaves in front of a packet, far less than XDP wants. */
const LL_RESERVED = 16;

/** Two ends, both open; what the second receives goes to `received`, or wherever a test sends it. */
export class VethRig {
  readonly machine: Machine;
  readonly a: VethEnd;
  readonly b: VethEnd;
  readonly received: SkBuff[] = [];
  readonly dellink: () => void;

  constructor(options: MachineOptions = {}, rxQueueCount: number = 1) {
    this.machine = createMachine({ nrPages: 4096, extraBytes: 1 << 20, ...options });
    const link = this.machine.newlink(vethOf(options.preset ?? "6.18"), { rxQueueCount });
    [this.a, this.b] = link.ends;
    this.dellink = link.dellink;
    for (const end of link.ends) if (end.open() !== 0) throw new Error("open failed");
    this.machine.net.receive.setProtocol({ packetRcv: (skb) => void this.received.push(skb) });
  }

  program(run: XdpProgram, hasFrags: boolean = false): XdpProg {
    const prog = this.machine.xdp.programs.bpfProgLoad("test", run, hasFrags);
    if (typeof prog === "number") throw new Error(`refused: ${prog}`);
    return prog;
  }

  /** 0 or a negative errno. */
  attach(end: VethEnd, prog: XdpProg | null): number {
    return this.machine.net.xdpAttachment.devXdpAttach(end.dev, prog, 0, null);
  }

  attachPass(end: VethEnd, hasFrags: boolean = false): void {
    if (this.attach(end, this.program(() => XDP_PASS, hasFrags)) !== 0) throw new Error("refused");
  }

  /** The pool of an end with one, the youngest. */
  pool(): PagePool {
    return this.machine.pagePools.pools().filter(({ system }) => !system).at(-1)!;
  }

  /** A packet as a local socket makes it: a slab's head, hardly any headroom. */
  skb(frame: Uint8Array): SkBuff {
    const { lifetime, edit } = this.machine.net;
    const skb = lifetime.allocSkb(LL_RESERVED + frame.length, GFP_ATOMIC)!;
    edit.skbReserve(skb, LL_RESERVED);
    edit.skbPut(skb, frame.length);
    skbRegion(skb).bytes.set(frame, skb.data);
    skb.macHeader = skb.data;
    return skb;
  }

  /** In a page of nobody's pool, as another device would redirect it. */
  frame(bytes: Uint8Array): XdpFrame {
    return plainFrame(this.machine, this.a.dev, bytes);
  }

  /** Each in a softirq of its own on `cpu`, as a process that sends one after the other. */
  send(from: VethEnd, frames: readonly Uint8Array[], cpu: number = 0, queueId: number = 0): void {
    for (const frame of frames) this.sendSkb(from, () => this.skb(frame), cpu, queueId);
  }

  sendSkb(from: VethEnd, make: () => SkBuff, cpu: number = 0, queueId: number = 0): number {
    let answer = 0;
    this.softirq(cpu, () => {
      answer = this.machine.net.transmit.devDirectXmit(make(), from.dev, queueId);
    });
    return answer;
  }

  softirq(cpu: number, work: () => void): void {
    const { timers, scheduler } = this.machine.kernel;
    timers.modTimer(timers.timerSetup(work, cpu), 0);
    scheduler.runFor(0);
  }

  bytes(skb: SkBuff): number[] {
    const { net, mm } = this.machine;
    const copy = new Uint8Array((skb.len + 7) & ~7);
    if (net.edit.skbCopyBits(skb, 0, mm.payload.adoptRegion("copy", copy, true), 0, skb.len) !== 0) throw new Error("unreadable");
    return [...copy.subarray(0, skb.len)];
  }

  /** Frees what was received. */
  free(): void {
    for (const skb of this.received.splice(0)) this.machine.net.lifetime.consumeSkb(skb);
  }

  reports(): string[] {
    return this.machine.kernel.reports.reports.map(({ kind }) => kind);
  }

  /** What is left when all is freed and both ends are gone: skbs, pages. */
  end(): { skbs: number; pages: number; reports: readonly string[] } {
    this.free();
    const { machine } = this;
    machine.shutdown();
    const system = machine.systemPools.reduce((sum, pool) => sum + pool.inflight(), 0);
    return { skbs: machine.net.lifetime.stats.live, pages: machine.mm.pages.nrPages - machine.mm.pages.freePages() - system, reports: this.reports() };
  }
}
