import fc from "fast-check";
import { expect, test } from "vitest";
import { createKernel } from "@netmem/kernel";
import { EACCES, EFAULT, EINVAL } from "@netmem/kernel/api";
import { createMm } from "@netmem/mm";
import { PAGE_SIZE, type Netmem, type Page } from "@netmem/mm/api";
import { XDP_OPTIONS_6_18, createXdp } from "../src/index.ts";
import { MEM_TYPE_PAGE_POOL, XDP_PASS, type MemModel, type XdpBuff, type XdpMd, type XdpProg } from "../src/api/index.ts";

const ETH = 14;
const FRAME_STRUCT = 40;
const HARD_END = PAGE_SIZE - 320;
/** Programs that meet the same packet, one after the other. */
const PER_PACKET = 64;

/** One call of a program. */
type Op =
  | { readonly op: "head" | "tail" | "meta"; readonly delta: number }
  | { readonly op: "load" | "store"; readonly offset: number; readonly bytes: number; readonly salt: number }
  | { readonly op: "get" | "set"; readonly offset: number; readonly width: number; readonly salt: number };

interface Packet {
  readonly headroom: number;
  readonly linear: number;
  /** Offset and bytes of each fragment in its page. */
  readonly frags: readonly (readonly [number, number])[];
}

/** A packet as plain arrays: what must be true of it after any call. */
class Model {
  start: number;
  /** Bytes of metadata, and of the linear part. */
  meta: number[] = [];
  linear: number[];
  frags: { bytes: number[]; offset: number }[];
  /** What lies in front of the packet, from its buffer's start. */
  readonly front: number[];
  gone = 0;

  constructor(start: number, front: number[], linear: number[], frags: { bytes: number[]; offset: number }[]) {
    this.start = start;
    this.front = front;
    this.linear = linear;
    this.frags = frags;
  }

  all(): number[] {
    return [...this.linear, ...this.frags.flatMap(({ bytes }) => bytes)];
  }

  /** The answer of a helper that moves a bound; the packet changes only with 0. */
  head(delta: number): number {
    const start = this.start + delta;
    if (start < FRAME_STRUCT + this.meta.length || delta > this.linear.length - ETH) return -EINVAL;
    const old = this.start - this.meta.length;
    const whole = [...this.front.slice(0, old), ...this.meta, ...this.linear];
    // Metadata moves as one; the bytes it leaves stay as they were, those it enters are overwritten.
    const moved = whole.slice();
    this.meta.forEach((byte, i) => (moved[old + delta + i] = byte));
    this.front.splice(0, this.front.length, ...moved.slice(0, start - this.meta.length));
    this.linear = moved.slice(start);
    this.start = start;
    return 0;
  }

  setMeta(delta: number): number {
    const from = this.start - this.meta.length + delta;
    if (from < FRAME_STRUCT || from > this.start) return -EINVAL;
    const bytes = this.start - from;
    if (bytes % 4 !== 0 || bytes > 252) return -EACCES;
    const whole = [...this.front, ...this.meta];
    this.front.splice(0, this.front.length, ...whole.slice(0, from));
    this.meta = whole.slice(from);
    return 0;
  }

  tail(delta: number): number {
    const last = this.frags.at(-1);
    if (last !== undefined && delta >= 0) {
      if (delta > PAGE_SIZE - last.offset - last.bytes.length) return -EINVAL;
      last.bytes.push(...Array.from({ length: delta }, () => 0));
      return 0;
    }
    if (last !== undefined) {
      if (-delta > this.all().length - ETH) return -EINVAL;
      let left = -delta;
      for (let frag = this.frags.at(-1); frag !== undefined && left > 0; frag = this.frags.at(-1)) {
        const part = Math.min(left, frag.bytes.length);
        frag.bytes.length -= part;
        left -= part;
        if (frag.bytes.length > 0) break;
        this.frags.pop();
        this.gone++;
      }
      this.linear.length -= left;
      return 0;
    }
    const bytes = this.linear.length + delta;
    if (this.start + bytes > HARD_END || bytes < ETH) return -EINVAL;
    if (delta < 0) this.linear.length = bytes;
    else this.linear.push(...Array.from({ length: delta }, () => 0));
    return 0;
  }

  store(offset: number, bytes: readonly number[]): void {
    bytes.forEach((byte, i) => {
      let at = offset + i;
      if (at < this.linear.length) {
        this.linear[at] = byte;
        return;
      }
      at -= this.linear.length;
      for (const frag of this.frags) {
        if (at < frag.bytes.length) {
          frag.bytes[at] = byte;
          return;
        }
        at -= frag.bytes.length;
      }
    });
  }
}

const packets: fc.Arbitrary<Packet> = fc.record({
  headroom: fc.constantFrom(256, 256, 64, 44, 258),
  linear: fc.oneof(fc.integer({ min: ETH, max: 120 }), fc.integer({ min: ETH, max: HARD_END - 258 })),
  frags: fc.array(fc.tuple(fc.constantFrom(0, 256, 2048), fc.integer({ min: 1, max: 1800 })), { maxLength: 5 }),
});

const delta = fc.oneof(fc.integer({ min: -24, max: 24 }), fc.integer({ min: -300, max: 300 }), fc.integer({ min: -5000, max: 5000 }), fc.constantFrom(0, -4, 4, -252, 2 ** 31 - 1, -(2 ** 31)));
const offset = fc.oneof(fc.integer({ min: -8, max: 200 }), fc.integer({ min: 0, max: 9000 }), fc.constantFrom(65_535, 65_536));
const ops: fc.Arbitrary<Op> = fc.oneof(
  fc.record({ op: fc.constantFrom("head", "tail", "meta"), delta }),
  fc.record({ op: fc.constantFrom("load", "store"), offset, bytes: fc.oneof(fc.integer({ min: 0, max: 64 }), fc.integer({ min: 0, max: 4000 })), salt: fc.nat(255) }),
  fc.record({ op: fc.constantFrom("get", "set"), offset: fc.oneof(fc.integer({ min: -260, max: 200 }), fc.integer({ min: -10, max: 4096 })), width: fc.constantFrom(1, 2, 4), salt: fc.nat(0x7fffffff) }),
) as fc.Arbitrary<Op>;

/** A machine on which many packets are received, one after the other. Memory around them is filled so that a stray write shows. */
class Bench {
  readonly #mm = createMm(createKernel({ nrCpus: 1, seed: 1, reports: "collect" }), { nrPages: 64, minFreePages: 0, extraBytes: PAGE_SIZE });
  readonly #kernel = createKernel({ nrCpus: 1, seed: 1, reports: "collect" });
  readonly #xdp = createXdp(this.#kernel, this.#mm, XDP_OPTIONS_6_18);
  readonly #returned: Netmem[] = [];
  readonly #pages: Page[];
  readonly buff: XdpBuff;
  readonly #prog: XdpProg;
  /** Set for each run. */
  #run: (ctx: XdpMd) => void = () => {};

  constructor() {
    const returned = this.#returned;
    const model: MemModel = {
      memType: MEM_TYPE_PAGE_POOL, memId: 1, returnNetmem: (netmem) => void returned.push(netmem), returnSkbNetmem: () => {}, refSkbNetmem: () => {}, returnNetmemBulk: () => {}, releaseNetmem: () => {}, useXdpMem: () => {}, unuseXdpMem: () => {},
    };
    const dev = this.#xdp.structs.createNetDevice("eth0", 7, 1);
    const { xdpRxq } = dev.rxQueues[0]!;
    this.#xdp.rxqs.xdpRxqInfoRegFrags(xdpRxq, dev, 0, PAGE_SIZE);
    this.#xdp.rxqs.xdpRxqInfoRegMemModel(xdpRxq, MEM_TYPE_PAGE_POOL, model);
    // With a page between any two, which nobody has.
    const all = Array.from({ length: 16 }, () => this.#mm.pages.allocPages(0, 0, -1)!);
    this.#pages = all.toSorted((a, b) => a.pfn - b.pfn);
    for (const page of this.#pages) page.pp = model;
    this.buff = this.#xdp.structs.createXdpBuff(xdpRxq);
    this.#prog = this.#xdp.programs.bpfProgLoad("random", (ctx) => {
      this.#run(ctx);
      return XDP_PASS;
    }, true) as XdpProg;
  }

  /** The packet, its bytes and those around it derived from `salt`. */
  receive(packet: Packet, salt: number): Model {
    const { buffs } = this.#xdp;
    this.#returned.length = 0;
    const { bytes } = this.#pages[0]!.region;
    for (const page of this.#pages) for (let i = 0; i < PAGE_SIZE; i++) bytes[page.base + i] = (i * 31 + page.pfn * 17 + salt) & 0xff;
    const part = (page: Page, from: number, n: number): number[] => [...bytes.subarray(page.base + from, page.base + from + n)];
    const head = this.#pages[1]!;
    buffs.xdpInitBuff(this.buff, PAGE_SIZE);
    const linear = Math.min(packet.linear, HARD_END - packet.headroom);
    buffs.xdpPrepareBuff(this.buff, head, 0, packet.headroom, linear, true);
    const frags = packet.frags.map(([at, n], i) => {
      const page = this.#pages[3 + 2 * i]!;
      buffs.xdpBuffAddFrag(this.buff, page, at, n, PAGE_SIZE);
      return { bytes: part(page, at, n), offset: at };
    });
    return new Model(packet.headroom, part(head, 0, packet.headroom), part(head, packet.headroom, linear), frags);
  }

  run(work: (ctx: XdpMd) => void): number {
    this.#run = work;
    return this.#xdp.programs.bpfProgRunXdp(this.#prog, this.buff);
  }

  returned(): number {
    return this.#returned.length;
  }

  /** All memory, as it lies. */
  memory(): Uint8Array {
    return this.#pages[0]!.region.bytes;
  }

  /** Bytes that a program of the present packet may reach: head from the frame's struct to the shared info, and its fragments' buffers. */
  reachable(): Uint8Array {
    const mask = new Uint8Array(this.memory().length);
    const head = this.buff.head!;
    mask.fill(1, head.base + FRAME_STRUCT, head.base + HARD_END);
    for (const { netmem, offset: at } of this.buff.frags.slice(0, this.buff.nrFrags)) mask.fill(1, netmem!.base + at, netmem!.base + PAGE_SIZE);
    return mask;
  }

  bytesNow(): { readonly meta: number[]; readonly all: number[] } {
    const { buff } = this;
    const { bytes } = this.#pages[0]!.region;
    const cut = (base: number, from: number, to: number): number[] => [...bytes.subarray(base + from, base + to)];
    const head = buff.head!;
    return {
      meta: cut(head.base, buff.dataMeta, buff.data),
      all: [...cut(head.base, buff.data, buff.dataEnd), ...buff.frags.slice(0, buff.nrFrags).flatMap(({ netmem, offset: at, sizeBytes }) => cut(netmem!.base, at, at + sizeBytes))],
    };
  }
}

/** The same call of the program and of the model: whether both said the same. */
function call(ctx: XdpMd, model: Model, op: Op): void {
  switch (op.op) {
    case "head": return expect(ctx.adjustHead(op.delta)).toBe(model.head(op.delta));
    case "meta": return expect(ctx.adjustMeta(op.delta)).toBe(model.setMeta(op.delta));
    case "tail": return expect(ctx.adjustTail(op.delta)).toBe(model.tail(op.delta));
    case "load": case "store": {
      const buffer = Uint8Array.from({ length: op.bytes }, (_, i) => (i * 5 + op.salt) & 0xff);
      const answer = op.op === "load" ? ctx.loadBytes(op.offset, buffer, op.bytes) : ctx.storeBytes(op.offset, buffer, op.bytes);
      const all = model.all();
      const expected = op.offset < 0 || op.offset > 0xffff ? -EFAULT : op.offset + op.bytes > all.length ? -EINVAL : 0;
      expect(answer).toBe(expected);
      if (answer !== 0) return;
      if (op.op === "store") model.store(op.offset, [...buffer]);
      else expect([...buffer]).toEqual(all.slice(op.offset, op.offset + op.bytes));
      return;
    }
    case "get": case "set": {
      const inside = op.offset >= -model.meta.length && op.offset + op.width <= model.linear.length;
      // An access outside ends the run, which other tests hold.
      if (!inside) return;
      const window = [...model.meta, ...model.linear].slice(model.meta.length + op.offset, model.meta.length + op.offset + op.width);
      const value = window.reduce((sum, byte) => sum * 256 + byte, 0);
      const read = op.width === 1 ? ctx.getUint8(op.offset) : op.width === 2 ? ctx.getUint16(op.offset) : ctx.getUint32(op.offset);
      expect(read).toBe(value);
      if (op.op === "get") return;
      if (op.width === 1) ctx.setUint8(op.offset, op.salt);
      else if (op.width === 2) ctx.setUint16(op.offset, op.salt);
      else ctx.setUint32(op.offset, op.salt);
      for (let i = 0; i < op.width; i++) {
        const at = op.offset + i;
        const byte = (op.salt >>> (8 * (op.width - 1 - i))) & 0xff;
        if (at < 0) model.meta[model.meta.length + at] = byte;
        else model.linear[at] = byte;
      }
    }
  }
}

test("any sequence of helpers leaves head, metadata, linear part and fragments as a model of plain arrays has them, byte for byte", () => {
  const bench = new Bench();
  fc.assert(fc.property(packets, fc.array(ops, { maxLength: 12 }), fc.nat(255), (packet, calls, salt) => {
    const model = bench.receive(packet, salt);
    const answers: unknown[] = [];
    bench.run((ctx) => {
      try {
        for (const op of calls) call(ctx, model, op);
        expect([ctx.linearBytes, ctx.metaBytes, ctx.getBuffLen()]).toEqual([model.linear.length, model.meta.length, model.all().length]);
      } catch (error) {
        answers.push(error);
      }
    });
    if (answers.length > 0) throw answers[0];
    expect(bench.bytesNow()).toEqual({ meta: model.meta, all: model.all() });
    expect([bench.returned(), bench.buff.nrFrags]).toEqual([model.gone, model.frags.length]);
  }), { numRuns: 1500 });
});

test("64 K random programs never change a byte outside their packet's buffers, and never read one", { timeout: 120_000 }, () => {
  const bench = new Bench();
  // A generator of its own: arbitraries would take minutes for so many.
  let state = 0x2545f491;
  const below = (n: number): number => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % n;
  };
  const number = (): number => {
    switch (below(10)) {
      case 0: return Number.NaN;
      case 1: return below(9000) / 2;
      case 2: return -below(70_000);
      case 3: return 2 ** (20 + below(40));
      case 4: return below(70_000);
      default: return below(400) - 130;
    }
  };
  const scratch = new Uint8Array(5000);
  const spoilt = 0xa5;
  let faults = 0;
  let before = bench.memory().slice();
  let mask: Uint8Array = new Uint8Array(before.length);
  /** No byte but those that the packet's programs could reach is another than when it came. */
  const check = (program: number): void => {
    const now = bench.memory();
    if (program > 0) for (let i = 0; i < now.length; i++) if (mask[i] === 0 && now[i] !== before[i]) throw new Error(`one of the ${PER_PACKET} programs before ${program} wrote at ${i}`);
  };
  const wrong: string[] = [];
  /** An access ends the program if, and only if, a byte of it lies outside metadata and linear part. */
  const direct = (ctx: XdpMd, width: number, access: (at: number) => unknown): void => {
    const at = number();
    const inside = Number.isInteger(at) && at >= -ctx.metaBytes && at + width <= ctx.linearBytes;
    try {
      access(at);
    } catch (error) {
      if (inside) wrong.push(`refused ${width} at ${at}`);
      throw error;
    }
    if (!inside) wrong.push(`allowed ${width} at ${at} of ${ctx.linearBytes}`);
  };
  for (let program = 0; program < 65_536; program++) {
    if (program % PER_PACKET === 0) {
      check(program);
      bench.receive({ headroom: 256, linear: ETH + below(1000), frags: Array.from({ length: below(4) }, () => [below(2) * 256, 1 + below(1500)] as const) }, program >> 8);
      before = bench.memory().slice();
      mask = bench.reachable();
    }
    const act = bench.run((ctx) => {
      for (let i = 0, n = 1 + below(6); i < n; i++) {
        switch (below(12)) {
          case 0: ctx.adjustHead(number()); break;
          case 1: ctx.adjustTail(number()); break;
          case 2: ctx.adjustMeta(number()); break;
          case 3: direct(ctx, 1, (at) => ctx.setUint8(at, spoilt)); break;
          case 4: direct(ctx, 2, (at) => ctx.setUint16(at, spoilt)); break;
          case 5: direct(ctx, 4, (at) => ctx.setUint32(at, spoilt)); break;
          case 6: direct(ctx, 1, (at) => ctx.getUint8(at)); break;
          case 7: direct(ctx, 4, (at) => ctx.getUint32(at)); break;
          case 8: {
            const [at, bytes] = [number(), number()];
            const fits = Number.isInteger(at) && Number.isInteger(bytes) && at >= 0 && bytes >= 0 && at + bytes <= ctx.getBuffLen() && bytes <= scratch.length;
            if ((ctx.storeBytes(at, scratch, bytes) === 0) !== fits) wrong.push(`store of ${bytes} at ${at}`);
            break;
          }
          case 9: {
            // What is read is either all of the packet's, or nothing.
            const bytes = number();
            scratch.fill(1);
            if (ctx.loadBytes(number(), scratch, bytes) !== 0 && scratch.some((byte) => byte !== 1)) throw new Error("read in part");
            break;
          }
          case 10: ctx.redirect(number(), 0); break;
          default: direct(ctx, 2, (at) => ctx.getUint16(at));
        }
      }
    });
    if (act !== XDP_PASS) faults++;
    const { buff } = bench;
    // Bounds that no helper may break.
    if (!(buff.dataMeta >= FRAME_STRUCT && buff.dataMeta <= buff.data && buff.data <= buff.dataEnd - ETH && buff.dataEnd <= HARD_END)) throw new Error(`program ${program}: ${buff.dataMeta} ${buff.data} ${buff.dataEnd}`);
    for (let i = 0; i < buff.nrFrags; i++) {
      const frag = buff.frags[i]!;
      if (!(frag.sizeBytes > 0 && frag.offset + frag.sizeBytes <= PAGE_SIZE)) throw new Error(`program ${program}: fragment ${frag.offset} ${frag.sizeBytes}`);
    }
  }
  check(65_536);
  expect(wrong).toEqual([]);
  // Both kinds were there.
  expect(faults > 5000 && faults < 60_000).toBe(true);
});
