import { ETHTOOL_TCP_DATA_SPLIT_ENABLED, XDP_ABORTED, XDP_DROP, XDP_PASS, XDP_TX, type NetDevice, type XdpMd, type XdpFrame, type XdpProg } from "@netmem/xdp/api";
import { backingBytes } from "@netmem/mm";
import { GFP_KERNEL, NET_IOV_DMABUF, PAGE_SHIFT } from "@netmem/mm/api";
import { XDP_FLAGS_DRV_MODE, skbHeadlen, skbRegion, type SkBuff } from "@netmem/net-core/api";
import type { NetDriver } from "@netmem/driver/api";
import { Wire, createMachine, dmaKind, type Device, type Machine } from "@netmem/machine";
import { AreaProvider } from "../../provider.ts";
import type { CaseMemory } from "../case-memory.ts";
import type { Findings } from "../findings.ts";
import { warmHeads } from "../warm-heads.ts";
import type { DriverCase, ProgramKind } from "./case.ts";
import { frameKey, type FrameMaker } from "./frame-maker.ts";
import { DriverWatch } from "./watch.ts";

/** Rings that cases begin with. */
export const RING_SIZE = 64;
const NIOVS = 160;
/** Each has memory of its own. */
const MOST_BINDINGS = 3;
/** A user has not all of memory. */
const MOST_HELD_BYTES = 256 << 10;
/** Of what the stack sends: 60 bytes that no frame of the wire's has. */
const SMALLEST_FRAME = 60;
const STACK_BYTE = 0xff;

/** A frame that was sent: the how-manieth, in which step, and how many times it came. */
interface Sent {
  readonly bytes: Uint8Array;
  readonly step: number;
  readonly serial: number;
  times: number;
}

/** A machine with the driver's device, a wire, a user who keeps packets, and a second device that frames are redirected to. */
export class DriverWorld {
  readonly machine: Machine;
  readonly watch: DriverWatch;
  readonly device: Device;
  /** Requests that the page allocator had refused before the driver came. */
  readonly failuresAtStart: number;
  /** How many different frames came up, by the step that sent them. */
  readonly came: number[] = [];
  /** Frames that nobody sent, in words. */
  wrongFrame: string | null = null;
  /** Where the driver gave it up, if it did that just then. */
  wrongWhere = "";
  /** They may come twice, while the NIC is told to. */
  mayRepeat = false;
  holding = false;
  readonly #held: SkBuff[] = [];
  #heldBytes = 0;
  readonly #redirected: XdpFrame[] = [];
  readonly #sink: NetDevice;
  readonly #freePages: number;
  readonly #maker: FrameMaker;
  #provider: AreaProvider | null = null;
  #bindings = 0;
  #prog: XdpProg | null = null;
  readonly #sent: Map<number, Sent[]> = new Map<number, Sent[]>();
  #serial = 0;
  #latest = -1;

  constructor(driver: NetDriver, { preset, dma, queues, mtu, pages, earlyDrop, steps }: DriverCase, bytes: number, findings: Findings, maker: FrameMaker, memory: CaseMemory) {
    this.#maker = maker;
    const kind = dmaKind(dma);
    const bindsMemory = steps.some((step) => step.do === "bind memory" || (step.do === "send" && step.midway?.do === "bind memory"));
    const size = { nrPages: pages, extraBytes: bytes + (bindsMemory ? MOST_BINDINGS * (NIOVS << PAGE_SHIFT) : 0) + (1 << 18) };
    this.machine = createMachine({ preset, ...size, memory: { ...kind.memory, cpuCache: dma === "non-coherent" }, backing: memory.take(backingBytes({ ...kind.memory, ...size })) });
    const { net } = this.machine;
    warmHeads(this.machine);
    this.#freePages = this.machine.mm.pages.freePages();
    this.failuresAtStart = this.machine.mm.pages.stats.failures;
    this.watch = new DriverWatch(this.machine, findings);
    this.device = this.machine.attach(this.watch.driver(driver), { rxRingSize: RING_SIZE, rxQueueCount: queues, earlyDrop: earlyDrop === true, ...kind.device });
    this.device.netif.dev.mtu = mtu;
    this.#sink = this.#redirectTarget();
    net.receive.setProtocol({ packetRcv: (skb) => this.#receive(skb) });
    const region = this.machine.mm.payload.addRegion("sent frames", 1 << 15, true);
    this.device.nic.connectSink({ region, offset: () => 0, roomBytes: () => 1 << 15, frameSent: (length) => this.#arrived(region.bytes.subarray(0, length)) });
  }

  get dev(): NetDevice {
    return this.device.netif.dev;
  }

  get hasProgram(): boolean {
    return this.#prog !== null;
  }

  /** Frames of `bytes`, no two alike. */
  frames(count: number, bytes: number, step: number): Uint8Array[] {
    return Array.from({ length: count }, () => {
      const serial = this.#serial++;
      const made = this.#maker.frame(serial, bytes);
      const alike = this.#sent.get(made.key);
      const sent = { bytes: made.bytes, step, serial, times: 0 };
      if (alike === undefined) this.#sent.set(made.key, [sent]);
      else alike.push(sent);
      return made.bytes;
    });
  }

  wire(frames: readonly Uint8Array[]): Wire {
    const wire = new Wire(this.machine.kernel, this.machine.mm.payload, frames.map((bytes) => ({ bytes, offset: 0, lengthBytes: bytes.length, arrivalNs: 0 })), "back-to-back");
    wire.connect(this.device.nic);
    return wire;
  }

  attach(kind: ProgramKind | null, frags: boolean = false): number {
    const { xdpAttachment } = this.machine.net;
    const prog = kind === null ? null : this.machine.xdp.programs.bpfProgLoad(kind, (ctx) => this.#verdict(kind, ctx), frags);
    // Older kernels have no programs of that kind.
    if (typeof prog === "number") return prog;
    const errno = xdpAttachment.devXdpAttach(this.dev, prog, XDP_FLAGS_DRV_MODE, null);
    if (errno === 0) this.#prog = prog;
    return errno;
  }

  /** A provider's memory behind the last queue, or no longer. */
  bind(): number {
    if (this.#provider !== null || this.#bindings === MOST_BINDINGS) return 0;
    this.#bindings++;
    this.dev.hdsConfig = ETHTOOL_TCP_DATA_SPLIT_ENABLED;
    const provider = new AreaProvider(this.machine.mm.createNetIovArea("device memory", NET_IOV_DMABUF, NIOVS, false), { syncs: false });
    const errno = this.machine.pagePools.providers.openRxq(this.dev, this.dev.rxQueues.length - 1, provider);
    if (errno === 0) this.#provider = provider;
    return errno;
  }

  unbind(): void {
    if (this.#provider === null) return;
    this.machine.pagePools.providers.closeRxq(this.dev, this.dev.rxQueues.length - 1, this.#provider);
    this.#provider = null;
  }

  /** Until the NIC has sent a packet of the stack's. True: and nobody has taken it back yet. */
  transmit(): boolean {
    const { machine: { net, kernel }, device: { nic }, watch: { txRing } } = this;
    const skb = net.lifetime.allocSkb(SMALLEST_FRAME, GFP_KERNEL);
    if (txRing === null || skb === null) return false;
    net.edit.skbPut(skb, SMALLEST_FRAME);
    skbRegion(skb).bytes.fill(STACK_BYTE, skb.data, skb.data + SMALLEST_FRAME);
    const { sentFrames } = nic.stats;
    net.transmit.devDirectXmit(skb, this.dev, 0);
    // Without it, it could not be mapped.
    while (txRing.inRing().skbs.length > 0 && nic.stats.sentFrames === sentFrames && kernel.scheduler.step());
    return this.dev.up && txRing.inRing().skbs.length > 0;
  }

  /** What a process, and the other device, still have. From another CPU than the interrupt's, too. */
  release(): void {
    this.#heldBytes = 0;
    const { net, kernel } = this.machine;
    for (const [i, skb] of this.#held.splice(0).entries()) {
      if (i % 3 === 0) kernel.timers.modTimer(kernel.timers.timerSetup(() => net.lifetime.consumeSkb(skb), i % kernel.nrCpus), 0);
      else net.lifetime.consumeSkb(skb);
    }
    for (const frame of this.#redirected.splice(0)) this.machine.xdp.xdpReturn.xdpReturnFrame(frame);
    kernel.scheduler.runFor(0);
  }

  /** Everything is taken down: what is missing then, in words, by rule. */
  end(): void {
    const { machine, watch } = this;
    this.unbind();
    machine.shutdown();
    warmHeads(machine);
    watch.reported();
    const { findings } = watch;
    findings.occasion("R2");
    for (const { real, counted } of watch.pools) {
      const out = real.inflight();
      if (out === 0) continue;
      const lost = [...watch.logs.all()].filter(({ netmem, pool }) => pool?.real === real && netmem.poolState === 2 * real.id);
      findings.consequence(counted ? "R11" : "R2", `${out} page${out === 1 ? " is" : "s are"} missing from page_pool ${real.id} once everything is down and everybody has let go`, lost[0]?.where ?? "");
    }
    const { live } = machine.net.lifetime.stats;
    if (live > 0) findings.consequence("R2", `${live} skb${live === 1 ? " is" : "s are"} never freed`, "");
    const gone = this.#freePages - machine.mm.pages.freePages();
    const own = [...watch.logs.all()].find(({ netmem, pool }) => pool === null && !netmem.isNetIov && netmem.refcount > 0);
    if (gone > 0) findings.consequence(own?.counted === true ? "R11" : "R2", `${gone} page${gone === 1 ? " does" : "s do"} not come back to the page allocator`, own?.where ?? "");
  }

  #receive(skb: SkBuff): void {
    this.#arrived(bytesOf(skb));
    if (this.holding && this.#heldBytes + skb.truesize <= MOST_HELD_BYTES) {
      this.#held.push(skb);
      this.#heldBytes += skb.truesize;
    } else this.machine.net.lifetime.consumeSkb(skb);
  }

  /** Sent frames come in their order, some missing where something failed. Of several queues, and of what a program sends, each is in order by itself. */
  #arrived(bytes: Uint8Array): void {
    if (this.wrongFrame !== null || (bytes.length === SMALLEST_FRAME && bytes.every((byte) => byte === STACK_BYTE))) return;
    this.wrongFrame = this.#wrongWith(bytes);
    if (this.wrongFrame !== null) this.wrongWhere = this.watch.findings.here();
  }

  #wrongWith(bytes: Uint8Array): string | null {
    const sent = this.#sent.get(frameKey(bytes))?.find((frame) => same(bytes, frame.bytes));
    if (sent === undefined) return `a frame of ${bytes.length} bytes comes that was not sent`;
    if (sent.times++ === 0) this.came[sent.step] = (this.came[sent.step] ?? 0) + 1;
    else if (!this.mayRepeat) return `a frame of ${bytes.length} bytes comes twice`;
    if (this.dev.rxQueues.length > 1 || this.#prog !== null) return null;
    if (sent.serial < this.#latest) return `a frame of ${bytes.length} bytes comes out of order`;
    this.#latest = sent.serial;
    return null;
  }

  #verdict(kind: ProgramKind, ctx: XdpMd): number {
    switch (kind === "mixed" ? (["pass", "drop", "tx", "redirect", "aborted"] as const)[ctx.getUint8(ctx.linearBytes - 1) % 5]! : kind) {
      case "drop": return XDP_DROP;
      case "tx": return XDP_TX;
      case "redirect": return ctx.redirect(this.#sink.ifindex, 0);
      case "aborted": return XDP_ABORTED;
      case "grow": {
        // A program touches what the device has not written, and drops the packet.
        if (ctx.adjustTail(64) === 0) for (let i = 1; i <= 64; i++) ctx.setUint8(ctx.linearBytes - i, i);
        return XDP_DROP;
      }
      default: return XDP_PASS;
    }
  }

  /** Takes frames, and has them until it is asked: they outlive the queue. */
  #redirectTarget(): NetDevice {
    const sink = this.machine.net.registerNetdev("sink", 1);
    sink.up = true;
    sink.mtu = 65_535;
    sink.xdpOps = {
      xdpSetupProg: null, xskSetupPool: null, xskWakeup: null,
      xdpXmit: (frames, n) => {
        for (let i = 0; i < n; i++) {
          if (this.holding) this.#redirected.push(frames[i]!);
          else this.machine.xdp.xdpReturn.xdpReturnFrame(frames[i]!);
        }
        return n;
      },
    };
    return sink;
  }
}

/** The whole frame, whose Ethernet header has been pulled, as its user sees it, device memory too. */
function bytesOf(skb: SkBuff): Uint8Array {
  const bytes = new Uint8Array(skb.len + 14);
  const headlen = skbHeadlen(skb) + 14;
  bytes.set(skbRegion(skb).bytes.subarray(skb.data - 14, skb.data - 14 + headlen));
  let at = headlen;
  const { frags, nrFrags } = skb.shinfo!;
  for (let i = 0; i < nrFrags; i++) {
    const { netmem, offset, sizeBytes } = frags[i]!;
    const { region, base } = netmem!;
    bytes.set(region.bytes.subarray(base + offset, base + offset + sizeBytes), at);
    at += sizeBytes;
  }
  return bytes;
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
