import { mvneta } from "@netmem/driver-mvneta";
import { TASK_SLEEP } from "@netmem/kernel/api";
import { createMachine, dmaKind, Wire, wireBytes, type Machine, type WireFrame } from "@netmem/machine";
import { GFP_KERNEL, NUMA_NO_NODE, netmemCompoundHead, type Netmem, type Page, type SlabObject } from "@netmem/mm/api";
import type { SkBuff } from "@netmem/net-core/api";
import { CliError } from "../terminal.ts";
import type { DesignOptions } from "./options.ts";

/** What a head or a frag lies in. */
export type Memory = Netmem | SlabObject;

/** A packet under a name; after it was freed its struct may be another packet's. */
export interface NamedSkb {
  readonly name: string;
  readonly skb: SkBuff;
  readonly id: number;
  /** `received`, or what of which: `a clone of A`. */
  readonly from: string;
  /** Whoever has it, by operations: 0 once it was given up. */
  holders: number;
}

const NR_PAGES = 2048;
/** The device interrupts this CPU; the process that does the operations runs on another, unless asked otherwise. */
const NIC_CPU = 0;
const LETTERS = 26;

/** A machine that has received one packet, which is A, and what became of it. */
export class Stage {
  readonly machine: Machine;
  /** Its device has posted pages since the packet came. */
  polled = false;
  readonly skbs: NamedSkb[] = [];
  readonly #cpu: number;
  readonly #names = new Map<Memory, string>();
  readonly #frame: WireFrame;
  /** Of the capture, behind A: those that `receive` has not had yet. */
  readonly #later: WireFrame[];
  readonly #nic: ReturnType<Machine["attach"]>["nic"];
  /** Called where a poll has done what it was asked to, and has not refilled its ring yet. */
  look: (() => void) | null = null;
  /** Called in the poll for the next packet. */
  #received: ((skb: SkBuff) => void) | null = null;

  /** Pages of the process's own, and what it was told of those it lent to packets: whether they were never copied. */
  readonly userPages: Page[] = [];
  readonly told: boolean[] = [];
  /** Packets that GRO holds. */
  readonly gro: Set<SkBuff> = new Set();

  /** Boots, and receives `frames`; the last of them is A, those before it are freed as they come. At most `polls` times it comes again, or one of those `later`. */
  constructor(frames: readonly WireFrame[], options: DesignOptions, polls: number, later: readonly WireFrame[]) {
    const { memory, device: reach } = dmaKind("iommu-strict");
    this.#frame = frames.at(-1)!;
    this.#later = later.slice(0, polls);
    this.#cpu = options.readerCpu;
    this.machine = createMachine({
      nrPages: NR_PAGES,
      extraBytes: wireBytes(frames) + polls * wireBytes([this.#frame]) + wireBytes(this.#later),
      memory,
      preset: options.design,
      ...(options.returnPath === undefined ? {} : { returnPath: options.returnPath }),
      ...(options.sharedRelease === undefined ? {} : { sharedRelease: options.sharedRelease }),
    });
    const { net } = this.machine;
    const device = this.machine.attach(mvneta, { rxRingSize: 64, cpu: NIC_CPU, ...reach });
    this.#nic = device.nic;
    device.netif.open();
    net.receive.setProtocol({ packetRcv: (skb) => this.#received!(skb) });
    let left = frames.length;
    this.#receive(frames, (skb) => {
      if (--left > 0) net.lifetime.consumeSkb(skb);
      else this.name(skb, "received");
    });
    if (this.skbs.length === 0) throw new CliError(`${options.design}: the packet did not reach the stack: this is a bug of the model`);
  }

  /** The next free letter. */
  name(skb: SkBuff, from: string): NamedSkb {
    const i = this.skbs.length;
    const letter = String.fromCharCode(65 + (i % LETTERS));
    const named = { name: i < LETTERS ? letter : `${letter}${Math.floor(i / LETTERS) + 1}`, skb, id: skb.id, from, holders: 1 };
    this.skbs.push(named);
    return named;
  }

  /** p1, p2, … for pages, s1, … for objects of a slab, n1, … for net_iovs: in order of appearance, and they stay. */
  memoryName(memory: Memory): string {
    const known = this.#names.get(memory);
    if (known !== undefined) return known;
    const prefix = "isNetIov" in memory ? (memory.isNetIov ? "n" : "p") : "s";
    const name = `${prefix}${[...this.#names.values()].filter((other) => other.startsWith(prefix)).length + 1}`;
    this.#names.set(memory, name);
    return name;
  }

  /** All memory that any packet has ever been seen with. */
  seen(): readonly Memory[] {
    return [...this.#names.keys()];
  }

  /** In process context, on the reading process's CPU. */
  inProcess<T>(work: () => T): T {
    const { scheduler } = this.machine.kernel;
    const results: T[] = [];
    const task = scheduler.spawn({ name: "inspect", cpu: this.#cpu, run: () => {
      results.push(work());
      return TASK_SLEEP;
    } });
    scheduler.wake(task);
    scheduler.runUntil(() => results.length > 0);
    scheduler.remove(task);
    scheduler.runFor(0);
    return results[0]!;
  }

  /** In process context, with softirqs off: what must not be interrupted by the pool's own poll. */
  inSoftirq<T>(work: () => T): T {
    const { softirqs } = this.machine.kernel;
    return this.inProcess(() => {
      softirqs.localBhDisable();
      const result = work();
      softirqs.localBhEnable();
      return result;
    });
  }

  /** The next packet of the capture, or null. */
  receiveNext(): SkBuff | null {
    const frame = this.#later.shift();
    if (frame === undefined) return null;
    const got: SkBuff[] = [];
    this.#receive([frame], (skb) => void got.push(skb));
    this.polled = true;
    return got[0]!;
  }

  /** A page of the process's own, with the reference that it keeps; null without memory. */
  userPage(): Page | null {
    const page = this.machine.mm.pages.allocPages(GFP_KERNEL, 0, NUMA_NO_NODE);
    if (page !== null) this.userPages.push(page);
    return page;
  }

  /** In hardirq, on the CPU that the device interrupts. */
  inHardirq(work: () => void): void {
    const { irqs, scheduler } = this.machine.kernel;
    const line = irqs.requestIrq("inspect", NIC_CPU, work);
    irqs.raise(line);
    scheduler.runFor(0);
    irqs.freeIrq(line);
  }

  /** In the device's NAPI poll, which receives the packet a second time for it; `look` before the poll goes on and refills its ring. */
  inPoll(work: () => void): void {
    this.#receive([this.#frame], (skb) => {
      this.machine.net.lifetime.consumeSkb(skb);
      work();
      this.look?.();
    });
    this.polled = true;
  }

  #receive(frames: readonly WireFrame[], received: (skb: SkBuff) => void): void {
    const { kernel, mm } = this.machine;
    this.#received = received;
    const wire = new Wire(kernel, mm.payload, frames, "back-to-back");
    wire.connect(this.#nic);
    kernel.scheduler.runUntil(() => false);
  }
}

/** Head and frags of a packet, each once. */
export function memoryOf(skb: SkBuff): Memory[] {
  const info = skb.shinfo!;
  const frags = info.frags.slice(0, info.nrFrags).map(({ netmem }) => netmemCompoundHead(netmem!));
  const head = info.headPage === null ? info.headSlab! : netmemCompoundHead(info.headPage);
  return [...new Set<Memory>([head, ...frags])];
}

/** Given up, or its struct given to another packet. */
export function isGone({ skb, id }: NamedSkb): boolean {
  return skb.free || skb.id !== id;
}

/** The packets of its frag list. */
export function fragListOf(skb: SkBuff): SkBuff[] {
  const members: SkBuff[] = [];
  for (let member = skb.shinfo!.fragList; member !== null; member = member.next) members.push(member);
  return members;
}
