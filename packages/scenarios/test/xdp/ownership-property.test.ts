import fc from "fast-check";
import { describe, test } from "vitest";
import { EIO, NSEC_PER_MSEC, NSEC_PER_SEC } from "@netmem/kernel/api";
import { PRESETS, PRESET_NAMES, type PresetName } from "@netmem/machine";
import { GFP_ATOMIC, GFP_KERNEL, PAGE_SIZE, type Netmem, type Page } from "@netmem/mm/api";
import type { SkBuff } from "@netmem/net-core/api";
import type { PagePool } from "@netmem/page-pool/api";
import {
  BPF_F_BROADCAST, MSG_DONTWAIT, NETDEV_TX_BUSY, NETDEV_TX_OK, XDP_ABORTED, XDP_COPY, XDP_DROP, XDP_PACKET_HEADROOM, XDP_PASS, XDP_REDIRECT, XDP_TX, XDP_USE_SG,
  type CpuMap, type DevMap, type XdpBuff, type XdpFrame, type XdpMd, type XdpProg, type XdpSocket, type XskMap,
} from "@netmem/xdp/api";
import { SendingDevice, XdpBench } from "./xdp-bench.ts";

const CHUNK = 2048;
const CHUNKS = 16;

/** What the program of a packet does, before its verdict. */
type Verdict = "pass" | "drop" | "tx" | "devmap" | "devmap-prog" | "broadcast" | "cpumap" | "cpumap-prog" | "xsk" | "nowhere" | "aborted" | "odd" | "throw";

type Op =
  | { readonly op: "receive"; readonly queue: number; readonly frags: number; readonly verdict: Verdict; readonly tail: number; readonly head: number }
  | { readonly op: "flush" | "kthread" | "drain" | "user-take" | "user-send" | "generic" }
  | { readonly op: "complete"; readonly device: number; readonly how: "plain" | "napi" | "bulk"; readonly most: number }
  | { readonly op: "device"; readonly device: number; readonly answer: number | null; readonly up: boolean }
  | { readonly op: "free"; readonly cpu: number; readonly most: number }
  | { readonly op: "user-fill"; readonly n: number; readonly wild: boolean }
  | { readonly op: "memory"; readonly there: boolean };

const ops: fc.Arbitrary<Op> = fc.oneof(
  { weight: 12, arbitrary: fc.record({
    op: fc.constant("receive"), queue: fc.nat(1), frags: fc.nat(3), tail: fc.constantFrom(0, 0, -20, -900, -1500, -2500, 40), head: fc.constantFrom(0, 0, -8, 6),
    verdict: fc.constantFrom("pass", "drop", "tx", "devmap", "devmap", "devmap-prog", "broadcast", "cpumap", "cpumap-prog", "xsk", "nowhere", "aborted", "odd", "throw"),
  }) },
  { weight: 5, arbitrary: fc.record({ op: fc.constantFrom("flush", "kthread", "drain", "user-take", "user-send", "generic") }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constant("complete"), device: fc.nat(2), how: fc.constantFrom("plain", "napi", "bulk"), most: fc.integer({ min: 1, max: 20 }) }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant("device"), device: fc.nat(2), answer: fc.constantFrom(null, null, 0, 1, -EIO), up: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant("free"), cpu: fc.nat(1), most: fc.integer({ min: 1, max: 8 }) }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant("user-fill"), n: fc.integer({ min: 1, max: 4 }), wild: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant("memory"), there: fc.boolean() }) },
) as fc.Arbitrary<Op>;

/** All parts of XDP on one machine, and who should have what. */
class World extends XdpBench {
  readonly pools: readonly PagePool[];
  readonly buffs: readonly XdpBuff[];
  readonly devices: readonly SendingDevice[];
  readonly socket: XdpSocket;
  /** Chunks that the user has, and the others by where it gave them. */
  readonly userChunks: Set<number> = new Set();
  readonly #memory: Page[];
  readonly #up: SkBuff[] = [];
  readonly #devmap: DevMap;
  readonly #cpumaps: readonly [CpuMap, CpuMap];
  readonly #xskmap: XskMap;
  readonly #prog: XdpProg;
  readonly #bulk = this.machine.xdp.structs.createFrameBulk();
  #act: (ctx: XdpMd) => number = () => XDP_DROP;
  #txBusy = 0;
  #flushed = true;

  constructor(preset: PresetName) {
    super(preset);
    const { machine } = this;
    const { xdp, net } = machine;
    this.dev.up = true;
    this.dev.mtu = 9000;
    const second = this.create({ napi: null });
    this.pools = [this.pool, second];
    this.buffs = [this.buff, this.queue(1, second)];
    this.devices = ["a", "b", "c"].map((name) => new SendingDevice(this, name));
    for (const { dev } of this.devices) dev.mtu = 9000;
    this.#devmap = this.devMap(...this.devices.map(({ dev }) => dev));
    let turn = 0;
    const changing = (): XdpProg => this.prog((ctx) => {
      turn++;
      if (turn % 3 === 0) ctx.adjustTail(-700);
      if (turn % 4 === 0) ctx.adjustHead(-8);
      return [XDP_PASS, XDP_DROP, XDP_PASS, 77, XDP_PASS, XDP_ABORTED][turn % 6]!;
    }, "map");
    this.#devmap.mapUpdateElem(3, this.devices[0]!.dev.ifindex, changing(), 0);
    const cpumap = (prog: XdpProg | null): CpuMap => {
      const map = xdp.maps.createCpuMap(2) as CpuMap;
      map.mapUpdateElem(1, 6, prog, 0);
      return map;
    };
    this.#cpumaps = [cpumap(null), cpumap(this.prog((ctx) => {
      turn++;
      return turn % 4 === 0 ? ctx.redirectMap(this.#devmap, turn % 3, 0) : [XDP_PASS, XDP_DROP, XDP_PASS][turn % 3]!;
    }, "cpumap"))];
    this.#memory = Array.from({ length: CHUNKS / 2 }, () => machine.mm.pages.allocPages(GFP_KERNEL, 0, 0)!);
    this.socket = xdp.afXdp.createSocket();
    const sg = xdp.afXdp.hasMultiBuffer ? XDP_USE_SG : 0;
    for (const errno of [this.socket.umemReg(this.#memory, CHUNK, 0, 0), this.socket.rxRing(8), this.socket.txRing(8), this.socket.fillRing(16), this.socket.completionRing(8), this.socket.bind(this.dev, 0, XDP_COPY | sg, null)]) if (errno !== 0) throw new Error(`socket: ${errno}`);
    for (let i = 0; i < CHUNKS; i++) this.userChunks.add(i);
    this.#xskmap = xdp.maps.createXskMap(2) as XskMap;
    this.#xskmap.mapUpdateElem(0, this.socket, 0);
    this.#prog = this.prog((ctx) => this.#act(ctx), "random");
    net.receive.setProtocol({ packetRcv: (skb) => void this.#up.push(skb) });
    net.transmit.setStartXmit(this.dev, { startXmit: (skb) => {
      if (this.#txBusy++ % 5 === 4) return NETDEV_TX_BUSY;
      this.#up.push(skb);
      return NETDEV_TX_OK;
    } });
  }

  step(op: Op): void {
    switch (op.op) {
      case "receive": return this.softirq(0, () => this.#receive(op));
      case "flush": return this.softirq(0, () => this.#flush());
      case "kthread": return void this.machine.kernel.scheduler.runFor(NSEC_PER_MSEC);
      case "complete": return this.softirq(op.how === "napi" ? 0 : 1, () => this.#complete(op));
      case "device": {
        const { [op.device]: device } = this.devices;
        device!.answer = op.answer;
        device!.dev.up = op.up;
        return;
      }
      case "free": return this.softirq(op.cpu, () => this.#up.splice(0, op.most).forEach((skb) => this.machine.net.lifetime.consumeSkb(skb)));
      case "user-fill": return this.#fill(op.n, op.wild);
      case "user-take": return this.#take();
      case "user-send": return this.#send();
      case "generic": return this.softirq(0, () => this.#generic());
      case "memory": {
        const { failPageAlloc } = this.machine.mm.faults;
        if (op.there) failPageAlloc.disarm();
        else failPageAlloc.arm({ probability: 40, seed: 7 });
        return;
      }
      case "drain": return this.drain();
    }
  }

  /** Everything comes to rest: all is flushed, sent, completed and read. */
  drain(): void {
    this.machine.mm.faults.failPageAlloc.disarm();
    for (const device of this.devices) device.answer = null;
    for (let round = 0; round < 3; round++) {
      for (const cpu of [0, 1]) this.softirq(cpu, () => this.machine.xdp.redirect.xdpDoFlush());
      this.machine.kernel.scheduler.runFor(NSEC_PER_MSEC);
      this.softirq(0, () => {
        for (const device of this.devices) device.complete(this);
        for (const skb of this.#up.splice(0)) this.machine.net.lifetime.consumeSkb(skb);
      });
      this.#take();
    }
    this.#flushed = true;
  }

  /** What is not as it should be, in words. */
  faults(): string[] {
    const faults = this.kinds().filter((kind) => kind !== "xdp-invalid-action" && kind !== "xdp-program-fault").map((kind) => `report ${kind}`);
    const waiting = this.#cpumaps.some((map) => map.mapLookupElem(1)!.waiting > 0);
    if (this.#flushed && !waiting) {
      const held: Netmem[] = [];
      for (const { frames } of this.devices) for (const frame of frames) held.push(...pagesOf(frame));
      for (const skb of this.#up) held.push(...pagesOfSkb(skb));
      for (const pool of this.pools) {
        const out = pool.inflight() - pool.cacheCount - pool.ringCount();
        const ours = held.filter(({ poolState }) => poolState >> 1 === pool.id).length;
        if (out !== ours) faults.push(`pool ${pool.id}: ${out} pages out, and ${ours} are held`);
      }
      // Fragments and clones share a page, and count.
      const holders = new Map<Netmem, number>();
      for (const netmem of held) holders.set(netmem, (holders.get(netmem) ?? 0) + 1);
      for (const [netmem, count] of holders) if (!netmem.isNetIov && count > Math.max(netmem.refcount, netmem.ppRefCount)) faults.push(`page pfn ${netmem.pfn} is held ${count} times, and counted fewer`);
    }
    return [...faults, ...(this.#flushed ? this.#chunkFaults() : [])];
  }

  /**
   * Chunks are the user's, in the fill or tx ring, on their way out, in the pool, or in the rx or completion ring. Between two flushes the user does not
   * see what was received, and what was taken from the fill ring it may see late: so no chunk is missing, though one may seem to be in two places there.
   */
  #chunkFaults(): string[] {
    const faults: string[] = [];
    const { fill, rx, tx, completion, pool } = this.socket;
    const chunks = [...this.userChunks];
    const inRing = (ring: NonNullable<typeof fill>, from: number): void => {
      for (let i = from; i !== ring.producer; i = (i + 1) >>> 0) chunks.push(Math.floor(ring.addr[i & ring.mask]! / CHUNK));
    };
    inRing(rx!, rx!.consumer);
    inRing(completion!, completion!.consumer);
    inRing(tx!, tx!.consumer);
    const known = new Set(chunks.filter((chunk) => chunk >= 0 && chunk < CHUNKS));
    if (known.size !== chunks.filter((chunk) => chunk >= 0 && chunk < CHUNKS).length) faults.push(`a chunk is in two places: ${chunks.toSorted((a, b) => a - b).join()}`);
    let promised = 0;
    for (let i = fill!.consumer; i !== fill!.producer; i = (i + 1) >>> 0) if (fill!.addr[i & fill!.mask]! < CHUNKS * CHUNK) promised++;
    const onTheirWay = this.#up.filter((skb) => skb.destructor !== null).length;
    if (known.size + promised + pool!.freeListCnt + onTheirWay < CHUNKS) faults.push(`chunks lost: ${known.size} known, ${promised} in the fill ring, ${pool!.freeListCnt} free`);
    return faults;
  }

  /** Home: nothing is out any more. */
  atRest(): string[] {
    const faults = this.faults();
    for (const pool of this.pools) if (pool.inflight() !== pool.cacheCount + pool.ringCount()) faults.push(`pool ${pool.id} has ${pool.inflight()} in flight`);
    if (this.machine.net.lifetime.stats.live !== 0) faults.push(`${this.machine.net.lifetime.stats.live} skbs live`);
    for (const page of this.#memory) if (page.refcount !== 2) faults.push("user memory is not pinned once");
    return faults;
  }

  close(): string[] {
    this.socket.release();
    for (const map of this.#cpumaps) map.mapDeleteElem(1);
    for (const [index, pool] of this.pools.entries()) {
      this.machine.xdp.rxqs.xdpRxqInfoUnreg(this.dev.rxQueues[index]!.xdpRxq);
      pool.destroy();
    }
    this.machine.kernel.scheduler.runFor(2 * NSEC_PER_SEC);
    return [...this.pools.filter(({ dead }) => !dead).map(({ id }) => `pool ${id} is not freed`), ...this.#memory.filter(({ refcount }) => refcount !== 1).map(() => "user memory is still pinned")];
  }

  #receive({ queue, frags, verdict, tail, head }: Extract<Op, { op: "receive" }>): void {
    const { machine } = this;
    const { xdp, net } = machine;
    const { [queue]: pool } = this.pools;
    const { [queue]: buff } = this.buffs;
    const pages: Page[] = [];
    for (let i = 0; i <= (this.multiBuffer ? frags : 0); i++) {
      const page = pool!.allocPages(GFP_ATOMIC);
      if (page === null) break;
      pages.push(page);
    }
    if (pages.length === 0) return;
    xdp.buffs.xdpInitBuff(buff!, PAGE_SIZE);
    xdp.buffs.xdpPrepareBuff(buff!, pages[0]!, 0, XDP_PACKET_HEADROOM, 600, true);
    for (const page of pages.slice(1)) xdp.buffs.xdpBuffAddFrag(buff!, page, 0, 1000, PAGE_SIZE);
    this.#act = (ctx) => {
      if (tail !== 0) ctx.adjustTail(tail);
      if (head !== 0) ctx.adjustHead(head);
      switch (verdict) {
        case "pass": return XDP_PASS;
        case "drop": return XDP_DROP;
        case "tx": return XDP_TX;
        case "devmap": return ctx.redirectMap(this.#devmap, frags % 3, 0);
        case "devmap-prog": return ctx.redirectMap(this.#devmap, 3, 0);
        case "broadcast": return ctx.redirectMap(this.#devmap, 0, BPF_F_BROADCAST);
        case "cpumap": return ctx.redirectMap(this.#cpumaps[0], 1, 0);
        case "cpumap-prog": return ctx.redirectMap(this.#cpumaps[1], 1, 0);
        case "xsk": return ctx.redirectMap(this.#xskmap, 0, 0);
        case "nowhere": return XDP_REDIRECT;
        case "aborted": return XDP_ABORTED;
        case "odd": return 99;
        case "throw": throw new Error("random");
      }
    };
    switch (xdp.programs.bpfProgRunXdp(this.#prog, buff!)) {
      case XDP_PASS: {
        const skb = net.xdpSkbs.xdpBuildSkbFromBuff(buff!)!;
        net.receive.netifReceiveSkb(skb);
        return;
      }
      case XDP_TX: {
        const frame = xdp.buffs.xdpConvertBuffToFrame(buff!);
        if (frame === null) break;
        if (xdp.redirect.devXdpEnqueue(this.devices[2]!.dev, frame, this.dev) < 0) xdp.xdpReturn.xdpReturnFrameRxNapi(frame);
        else this.#flushed = false;
        return;
      }
      case XDP_REDIRECT:
        if (xdp.redirect.xdpDoRedirect(this.dev, buff!, this.#prog) === 0) {
          this.#flushed = false;
          return;
        }
    }
    if (buff!.head !== null) xdp.xdpReturn.xdpReturnBuff(buff!);
  }

  #flush(): void {
    this.machine.xdp.redirect.xdpDoFlush();
    this.#flushed = true;
  }

  #complete({ device, how, most }: Extract<Op, { op: "complete" }>): void {
    const { xdpReturn } = this.machine.xdp;
    for (const frame of this.devices[device]!.frames.splice(0, most)) {
      if (how === "plain") xdpReturn.xdpReturnFrame(frame);
      else if (how === "napi") xdpReturn.xdpReturnFrameRxNapi(frame);
      else xdpReturn.xdpReturnFrameBulk(frame, this.#bulk);
    }
    xdpReturn.xdpFlushFrameBulk(this.#bulk);
  }

  /** Generic XDP of a packet that has no room in front, with what the last program did. */
  #generic(): void {
    const { net } = this.machine;
    const page = this.pool.allocPages(GFP_ATOMIC);
    if (page === null) return;
    const skb = net.lifetime.napiBuildSkb(page, PAGE_SIZE)!;
    net.recycle.skbMarkForRecycle(skb, page, this.buff.rxq.mem);
    net.edit.skbReserve(skb, 64);
    net.edit.skbPut(skb, 300);
    skb.dev = this.dev;
    skb.rxQueue = 1;
    net.edit.ethTypeTrans(skb);
    const up = net.genericXdp.doXdpGeneric(this.#prog, skb);
    if (up !== null) this.#up.push(up);
  }

  #fill(n: number, wild: boolean): void {
    const fill = this.socket.fill!;
    for (let i = 0; i < n && ((fill.producer - fill.consumer) >>> 0) < fill.entries; i++) {
      const [chunk] = this.userChunks;
      if (chunk === undefined) return;
      if (wild && i === 0) fill.addr[fill.producer & fill.mask] = CHUNKS * CHUNK + 5;
      else {
        this.userChunks.delete(chunk);
        fill.addr[fill.producer & fill.mask] = chunk * CHUNK;
      }
      fill.producer = (fill.producer + 1) >>> 0;
    }
  }

  /** Packets received, and chunks whose packets were sent. */
  #take(): void {
    const { rx, completion } = this.socket;
    for (const ring of [rx!, completion!]) {
      for (; ring.consumer !== ring.producer; ring.consumer = (ring.consumer + 1) >>> 0) this.userChunks.add(Math.floor(ring.addr[ring.consumer & ring.mask]! / CHUNK));
    }
  }

  #send(): void {
    const tx = this.socket.tx!;
    const [chunk] = this.userChunks;
    if (chunk !== undefined && ((tx.producer - tx.consumer) >>> 0) < tx.entries) {
      this.userChunks.delete(chunk);
      const slot = tx.producer & tx.mask;
      tx.addr[slot] = chunk * CHUNK + 100;
      tx.offset[slot] = 0;
      tx.len[slot] = 200;
      tx.options[slot] = 0;
      tx.producer = (tx.producer + 1) >>> 0;
    }
    this.socket.sendmsg(MSG_DONTWAIT);
  }
}

function pagesOf(frame: XdpFrame): Netmem[] {
  return [frame.head!, ...frame.frags.slice(0, frame.nrFrags).map(({ netmem }) => netmem!)];
}

function pagesOfSkb(skb: SkBuff): Netmem[] {
  const info = skb.shinfo!;
  return [...(skb.shinfo!.headPage === null ? [] : [skb.shinfo!.headPage]), ...info.frags.slice(0, info.nrFrags).map(({ netmem }) => netmem!)];
}

function check(preset: PresetName, steps: readonly Op[]): void {
  const world = new World(preset);
  for (const [i, op] of steps.entries()) {
    world.step(op);
    const faults = world.faults();
    if (faults.length > 0) throw new Error(`after step ${i} (${op.op}): ${faults.join("; ")}`);
  }
  world.drain();
  const left = [...world.atRest(), ...world.close()];
  if (left.length > 0) throw new Error(`at rest: ${left.join("; ")}`);
}

describe.each(PRESET_NAMES)("%s", (preset) => {
  test("random verdicts, redirects, completions, faults and ring operations: whoever should have a page or a chunk has it, and in the end everyone has his own back", { timeout: 60_000 }, () => {
    fc.assert(fc.property(fc.array(ops, { maxLength: 60, size: "max" }), (steps) => check(preset, steps)), { numRuns: 60, seed: PRESET_NAMES.indexOf(preset) + 1 });
  });
});

test("the oracle is no ornament: a frame completed twice, and one that is forgotten, are both found", () => {
  const world = new World("6.18");
  const receive: Op = { op: "receive", queue: 0, frags: 0, verdict: "devmap", tail: 0, head: 0 };
  for (const op of [receive, { op: "flush" } as const]) world.step(op);
  const frame = world.devices[0]!.frames.pop()!;
  if (!world.faults().some((fault) => fault.includes("1 pages out, and 0 are held"))) throw new Error("a forgotten frame was not missed");
  world.machine.xdp.xdpReturn.xdpReturnFrame(frame);
  world.machine.xdp.xdpReturn.xdpReturnFrame(frame);
  if (!world.faults().includes("report xdp-frame-gone")) throw new Error("a frame returned twice was not found");
  if (PRESETS["6.18"].net.framesRecycle !== true) throw new Error("preset");
});
