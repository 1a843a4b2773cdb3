import type { Kernel } from "@netmem/kernel/api";
import type { MachineOptions, Preset, PresetName } from "@netmem/machine";
import { GFP_ATOMIC, PAGE_SIZE, type Netmem, type Page, type PayloadRegion } from "@netmem/mm/api";
import { SKBFL_DONT_ORPHAN, SKBFL_MANAGED_FRAG_REFS, SKBFL_ZEROCOPY_FRAG, skbRegion, type NetCore, type SkBuff, type UbufInfo } from "@netmem/net-core/api";
import type { NetCoreDates } from "@netmem/net-core";
import { Rig, type RigPool } from "../rig.ts";

/** A user's buffer in packets: who was told, and how often. */
export interface UserBuffer {
  readonly uarg: UbufInfo;
  /** `success` of each completion. */
  readonly told: boolean[];
}

export interface Frag {
  readonly netmem: Netmem;
  readonly offset?: number;
  readonly bytes?: number;
}

/** A machine of one preset, and packets with bytes that count on, made by hand. */
export class SkbBench {
  readonly preset: Preset;
  readonly rig: Rig;
  readonly net: NetCore;
  readonly kernel: Kernel;
  readonly #scratch: PayloadRegion;
  #next = 1;

  constructor(preset: PresetName, net: Partial<NetCoreDates> = {}, nodes: MachineOptions = { nrPages: 2048 }) {
    this.rig = new Rig({ preset, ...nodes, dates: { net } });
    const { machine } = this.rig;
    this.preset = machine.preset;
    this.net = machine.net;
    this.kernel = machine.kernel;
    this.#scratch = machine.mm.payload.addRegion("scratch", 32 * PAGE_SIZE, true);
  }

  /** Whether a marked skb recycles at all. */
  get recycles(): boolean {
    return this.preset.recyclesSkbPages;
  }

  page(order: number = 0, gfp: number = GFP_ATOMIC): Page {
    return this.rig.machine.mm.pages.allocPages(gfp, order, -1)!;
  }

  freePages(): number {
    const { mm } = this.rig.machine;
    mm.slab.shrink();
    mm.pages.drainAllPages();
    return mm.pages.freePages();
  }

  /** Bytes that nobody has written before. */
  fill(region: PayloadRegion, at: number, bytes: number): void {
    for (let i = 0; i < bytes; i++) region.bytes[at + i] = this.#next++ & 0xff;
  }

  /** An skb over a page of its own, or a slab's object; `room` behind it. */
  skb(bytes: number, kind: "page" | "slab" = "page", room: number = 0): SkBuff {
    const { lifetime, edit } = this.net;
    const skb = kind === "page" ? lifetime.buildSkb(this.page(), PAGE_SIZE)! : lifetime.allocSkb(64 + bytes + room, GFP_ATOMIC)!;
    edit.skbReserve(skb, 64);
    edit.skbPut(skb, bytes);
    this.fill(skbRegion(skb), skb.data, bytes);
    skb.dev = this.rig.dev;
    return skb;
  }

  /** The same whose head is a pool's page, marked. */
  pooled(from: RigPool, bytes: number = 60): SkBuff {
    const skb = this.rig.recyclingSkb(from);
    this.net.edit.pskbTrim(skb, 0);
    this.net.edit.skbPut(skb, bytes);
    this.fill(skbRegion(skb), skb.data, bytes);
    skb.dev = this.rig.dev;
    return skb;
  }

  /** Hands the frag to the packet, filled if the CPU can reach it. */
  addFrag(skb: SkBuff, { netmem, offset = 0, bytes = 100 }: Frag, truesize: number = PAGE_SIZE): void {
    if (netmem.region.cpuReadable) this.fill(netmem.region, netmem.base + offset, bytes);
    this.net.edit.skbAddRxFrag(skb, netmem, offset, bytes, truesize);
  }

  addPoolFrag(skb: SkBuff, from: RigPool, frag: Partial<Frag> = {}): Page {
    const netmem = this.rig.page(from);
    this.addFrag(skb, { netmem, ...frag });
    if (skb.ppRecycle || !this.recycles) this.net.recycle.storeMemInfo(netmem, from.mem);
    else this.net.recycle.skbMarkForRecycle(skb, netmem, from.mem);
    return netmem;
  }

  /** All of a packet, from its data on. */
  bytes(skb: SkBuff): number[] {
    const errno = this.net.edit.skbCopyBits(skb, 0, this.#scratch, 0, skb.len);
    if (errno < 0) throw new Error(`skb_copy_bits: ${errno}`);
    return [...this.#scratch.bytes.subarray(0, skb.len)];
  }

  userBuffer(flags: number = SKBFL_ZEROCOPY_FRAG | SKBFL_DONT_ORPHAN): UserBuffer {
    const told: boolean[] = [];
    const uarg = this.net.zerocopy.createUbufInfo({ complete: (_skb, info, success) => {
      info.refcnt--;
      told.push(success);
    } }, flags);
    return { uarg, told };
  }

  /** A packet whose frags are a user's pages: he has a reference to each, and so has the packet, unless they are managed. */
  userPacket(user: UserBuffer, frags: number, managed: boolean = false): { readonly skb: SkBuff; readonly pages: readonly Page[] } {
    const skb = this.skb(40, "slab");
    const pages = Array.from({ length: frags }, () => this.page());
    for (const page of pages) {
      if (!managed) this.rig.machine.mm.pages.getPage(page);
      this.addFrag(skb, { netmem: page, bytes: 1000 });
    }
    this.net.zerocopy.skbZcopySet(skb, user.uarg, false);
    if (managed) skb.shinfo!.flags |= SKBFL_MANAGED_FRAG_REFS;
    return { skb, pages };
  }

  free(...skbs: readonly SkBuff[]): void {
    for (const skb of skbs) this.net.lifetime.consumeSkb(skb);
  }

  softirq<T>(work: () => T, cpu: number = 0): T {
    const out: T[] = [];
    this.rig.inSoftirq(cpu, () => void out.push(work()));
    return out[0]!;
  }

  /** In hardirq on CPU 0. */
  hardirq(work: () => void): void {
    const irq = this.kernel.irqs.requestIrq("bench", 0, work);
    this.kernel.irqs.raise(irq);
    this.kernel.scheduler.runFor(0);
  }

  kinds(): string[] {
    return this.rig.reportKinds();
  }
}
