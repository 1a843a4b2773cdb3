import { describe, expect, test } from "vitest";
import { EBUSY, EEXIST, EINVAL, EIO, EOPNOTSUPP, NSEC_PER_MSEC } from "@netmem/kernel/api";
import { PRESETS, PRESET_NAMES, type PresetName } from "@netmem/machine";
import { GFP_ATOMIC, GFP_KERNEL, PAGE_SIZE, type Page } from "@netmem/mm/api";
import {
  SKB_DROP_REASON_NOT_SPECIFIED, XDP_FLAGS_DRV_MODE, XDP_FLAGS_HW_MODE, XDP_FLAGS_REPLACE, XDP_FLAGS_SKB_MODE, XDP_FLAGS_UPDATE_IF_NOEXIST, skbMetadataLen, type SkBuff,
} from "@netmem/net-core/api";
import {
  BPF_F_BROADCAST, NETDEV_TX_BUSY, NETDEV_TX_OK, XDP_ABORTED, XDP_COPY, XDP_DROP, XDP_PASS, XDP_REDIRECT, XDP_TX, type CpuMap, type DevMap, type NetDevice, type XdpMd, type XdpProg, type XdpProgram, type XskMap,
} from "@netmem/xdp/api";
import { XdpBench } from "./xdp-bench.ts";

/** A device without XDP in its driver, and a program on its skbs. */
class GenericBench extends XdpBench {
  /** Bytes of each packet that came up, its link-layer header included. */
  readonly up: { readonly bytes: number[]; readonly skb: { readonly protocol: number; readonly meta: number } }[] = [];
  /** Of each that was sent: device and bytes. */
  readonly sent: { readonly dev: string; readonly bytes: number[] }[] = [];

  constructor(preset: PresetName) {
    super(preset);
    this.dev.up = true;
    this.machine.net.receive.setProtocol({ packetRcv: (skb) => {
      this.up.push({ bytes: this.allBytes(skb), skb: { protocol: skb.protocol, meta: skbMetadataLen(skb) } });
      this.machine.net.lifetime.consumeSkb(skb);
    } });
  }

  attach(run: XdpProgram, hasFrags: boolean = this.multiBuffer): void {
    const errno = this.machine.net.xdpAttachment.devXdpAttach(this.dev, this.prog(run, "generic", hasFrags), XDP_FLAGS_SKB_MODE, null);
    if (errno !== 0) throw new Error(`not attached: ${errno}`);
  }

  sender(name: string): NetDevice {
    const dev = this.machine.net.registerNetdev(name, 1);
    dev.up = true;
    this.listenTo(dev);
    return dev;
  }

  listenTo(dev: NetDevice): void {
    this.machine.net.transmit.setStartXmit(dev, { startXmit: (skb) => {
      this.sent.push({ dev: dev.name, bytes: this.allBytes(skb, 0) });
      this.machine.net.lifetime.consumeSkb(skb);
      return NETDEV_TX_OK;
    } });
  }

  allBytes(skb: SkBuff, pulled: number = skb.data - skb.macHeader): number[] {
    const out = this.machine.mm.payload.adoptRegion("out", new Uint8Array(80_000), true);
    if (this.machine.net.edit.skbCopyBits(skb, -pulled, out, 0, skb.len + pulled) < 0) throw new Error("not readable");
    return [...out.bytes.subarray(0, skb.len + pulled)];
  }

  /** A packet as a driver without XDP hands it up: `linear` bytes in the head behind `headroom`, and frags of 1000. */
  skb(linear: number, frags: number = 0, headroom: number = 64): { readonly skb: SkBuff; readonly bytes: number[] } {
    const { lifetime, edit, recycle } = this.machine.net;
    const [head, ...rest] = this.take(this.pool, 1 + frags) as [Page, ...Page[]];
    const skb = lifetime.napiBuildSkb(head, PAGE_SIZE)!;
    recycle.skbMarkForRecycle(skb, head, this.buff.rxq.mem);
    edit.skbReserve(skb, headroom);
    edit.skbPut(skb, linear);
    const salt = (page: Page, from: number, n: number, base: number): number[] => Array.from({ length: n }, (_, i) => (page.region.bytes[page.base + from + i] = (base + i * 3) & 0xff));
    const bytes = salt(head, headroom, linear, 2);
    for (const [i, page] of rest.entries()) {
      bytes.push(...salt(page, 0, 1000, 50 * i));
      edit.skbAddRxFrag(skb, page, 0, 1000, PAGE_SIZE);
      recycle.storeMemInfo(page, this.buff.rxq.mem);
    }
    skb.dev = this.dev;
    skb.rxQueue = 1;
    edit.ethTypeTrans(skb);
    return { skb, bytes };
  }

  receiveSkb(skb: SkBuff): void {
    this.softirq(0, () => this.machine.net.receive.netifReceiveSkb(skb));
  }

  home(): number {
    return this.pool.inflight() - this.pool.cacheCount - this.pool.ringCount();
  }
}

describe.each(PRESET_NAMES)("%s", (preset) => {
  const { pagePool: { hasSystemPools }, xdp: { hasMultiBuffer, hasBroadcast } } = PRESETS[preset];

  test("a packet passes unchanged; the program sees it from its MAC header on, with 256 bytes of headroom", () => {
    const bench = new GenericBench(preset);
    const seen: number[] = [];
    bench.attach((ctx: XdpMd) => {
      seen.push(ctx.linearBytes, ctx.getBuffLen(), ctx.ingressIfindex, ctx.adjustHead(-200), ctx.adjustHead(200));
      return XDP_PASS;
    });
    const { skb, bytes } = bench.skb(100);
    bench.receiveSkb(skb);
    expect([bench.up, seen, bench.home(), bench.kinds()]).toEqual([[{ bytes, skb: { protocol: (bytes[12]! << 8) | bytes[13]!, meta: 0 } }], [100, 100, bench.dev.ifindex, 0, 0], 0, []]);
  });

  test(`a packet in several buffers ${hasSystemPools ? "is copied into the CPU's system pool, and its fragments stay fragments" : "becomes one piece first"}`, () => {
    const bench = new GenericBench(preset);
    const seen: number[] = [];
    bench.attach((ctx) => {
      seen.push(ctx.linearBytes, ctx.getBuffLen());
      return XDP_PASS;
    });
    const { skb, bytes } = bench.skb(3000, 2);
    bench.receiveSkb(skb);
    expect([bench.up[0]!.bytes, seen, bench.home(), bench.kinds()]).toEqual([bytes, hasSystemPools ? [3520, 5000] : [5000, 5000], 0, []]);
    expect(bench.machine.systemPools[0]?.holdCnt ?? 0).toBe(hasSystemPools ? 64 : 0);
  });

  test("for a program without fragments nothing is taken from a system pool: a packet is put into one piece where it is", () => {
    const bench = new GenericBench(preset);
    bench.attach(() => XDP_PASS, false);
    for (const [linear, frags] of [[100, 0], [1000, 2]] as const) {
      const { skb, bytes } = bench.skb(linear, frags, 16);
      bench.receiveSkb(skb);
      expect(bench.up.at(-1)!.bytes).toEqual(bytes);
    }
    expect([bench.machine.systemPools.every(({ holdCnt }) => holdCnt === 0), bench.home(), bench.kinds()]).toEqual([true, 0, []]);
  });

  test("head, tail and metadata move, headers change: the skb follows, protocol included", () => {
    const bench = new GenericBench(preset);
    bench.attach((ctx) => {
      ctx.adjustHead(-4);
      for (let i = 0; i < 4; i++) ctx.setUint8(i, 0xa0 + i);
      ctx.setUint16(12, 0x86dd);
      ctx.adjustTail(-20);
      ctx.adjustMeta(-8);
      ctx.setUint32(-8, 0x01020304);
      return XDP_PASS;
    });
    const { skb, bytes } = bench.skb(120, 0, 320);
    bench.receiveSkb(skb);
    const expected = [0xa0, 0xa1, 0xa2, 0xa3, ...bytes.slice(0, 100)];
    expected[12] = 0x86;
    expected[13] = 0xdd;
    expect([bench.up[0], bench.home(), bench.kinds()]).toEqual([{ bytes: expected, skb: { protocol: 0x86dd, meta: 8 } }, 0, []]);
  });

  test("dropped, aborted, no verdict, thrown: the packet is gone and its pages home; what is no verdict is an exception", () => {
    const bench = new GenericBench(preset);
    const verdicts: readonly (() => number)[] = [() => XDP_DROP, () => XDP_ABORTED, () => 17, () => {
      throw new Error("oops");
    }];
    let n = 0;
    bench.attach(() => verdicts[n++]!());
    for (let i = 0; i < 4; i++) bench.receiveSkb(bench.skb(100).skb);
    expect([bench.up, bench.home(), bench.machine.net.lifetime.stats.live, bench.kinds()]).toEqual([[], 0, 0, ["xdp-invalid-action", "xdp-program-fault"]]);
    expect(bench.trace("xdp_exception").map((line) => line.split(" ")[2])).toEqual(["action=0", "action=17", "action=0"]);
  });

  test("XDP_TX that the device has no room for is an exception of the program's (generic_xdp_tx)", () => {
    const bench = new GenericBench(preset);
    bench.attach(() => XDP_TX);
    bench.dev.up = true;
    bench.machine.net.transmit.setStartXmit(bench.dev, { startXmit: () => NETDEV_TX_BUSY });
    bench.receiveSkb(bench.skb(100).skb);
    expect([bench.trace("xdp_exception"), bench.machine.net.transmit.stats.dropped, bench.home(), bench.kinds()]).toEqual([[expect.stringMatching(/ action=XDP_TX |act(ion)?=3/)], 1, 0, []]);
  });

  test("XDP_TX sends it back whole; a device that cannot send loses it, and says so in its counts", () => {
    const bench = new GenericBench(preset);
    bench.attach((ctx) => {
      ctx.setUint8(0, 0x42);
      return XDP_TX;
    });
    const first = bench.skb(100);
    bench.receiveSkb(first.skb);
    expect([bench.sent, bench.machine.net.transmit.stats]).toEqual([[], { sent: 0, dropped: 1 }]);
    bench.listenTo(bench.dev);
    const { skb, bytes } = bench.skb(100);
    // It goes past the taps, both ways.
    const tap = bench.machine.net.sockets.openTap({ name: "tap" });
    bench.machine.net.receive.addTap(tap);
    bench.receiveSkb(skb);
    expect(tap.length()).toBe(0);
    expect([bench.sent, bench.home()]).toEqual([[{ dev: bench.dev.name, bytes: [0x42, ...bytes.slice(1)] }], 0]);
  });

  test("redirected: to a device, through a devmap's program, to nowhere", () => {
    const bench = new GenericBench(preset);
    const out = bench.sender("out");
    const map = bench.devMap(out);
    map.mapUpdateElem(1, out.ifindex, bench.prog((ctx) => {
      ctx.setUint8(1, ctx.egressIfindex);
      ctx.adjustTail(-10);
      return ctx.getUint8(0) === 2 ? XDP_PASS : XDP_DROP;
    }, "devmap", false), 0);
    const asks: readonly ((ctx: XdpMd) => number)[] = [(ctx) => ctx.redirect(out.ifindex, 0), (ctx) => ctx.redirectMap(map, 0, 0), (ctx) => ctx.redirectMap(map, 1, 0), () => XDP_REDIRECT, (ctx) => ctx.redirect(999, 0)];
    let n = 0;
    bench.attach((ctx) => asks[n++]!(ctx));
    const packets = asks.map(() => bench.skb(100));
    for (const { skb } of packets) bench.receiveSkb(skb);
    const cut = packets[2]!.bytes.slice(0, 90);
    cut[1] = out.ifindex;
    expect([bench.sent.map(({ bytes }) => bytes), bench.home(), bench.machine.net.lifetime.stats.live, bench.kinds()]).toEqual([[packets[0]!.bytes, packets[1]!.bytes, cut], 0, 0, []]);
    expect([bench.trace("xdp_redirect").length, bench.trace("xdp_redirect_err").length]).toEqual([3, 2]);
  });

  test(`redirected to all of a map: ${hasBroadcast ? "a clone each, and the last gets the packet; the first that may not send ends it" : "not before 5.14"}`, () => {
    const bench = new GenericBench(preset);
    const devs = ["a", "b", "c"].map((name) => bench.sender(name));
    const map = bench.devMap(...devs);
    bench.attach((ctx) => ctx.redirectMap(map, 0, BPF_F_BROADCAST));
    const { skb, bytes } = bench.skb(100);
    bench.receiveSkb(skb);
    expect(bench.sent).toEqual(hasBroadcast ? devs.map(({ name }) => ({ dev: name, bytes })) : []);
    devs[1]!.up = false;
    bench.receiveSkb(bench.skb(100).skb);
    expect([bench.sent.length, bench.home(), bench.machine.net.lifetime.stats.live]).toEqual([hasBroadcast ? 4 : 0, 0, 0]);
  });

  test("redirected to a socket: it has the bytes, and the packet is gone", () => {
    const bench = new GenericBench(preset);
    const { afXdp, maps } = bench.machine.xdp;
    const pages = Array.from({ length: 2 }, () => bench.machine.mm.pages.allocPages(GFP_KERNEL, 0, 0)!);
    const socket = afXdp.createSocket();
    for (const errno of [socket.umemReg(pages, 4096, 0, 0), socket.rxRing(4), socket.fillRing(4), socket.completionRing(4), socket.bind(bench.dev, 0, XDP_COPY, null)]) expect(errno).toBe(0);
    const map = maps.createXskMap(1) as XskMap;
    map.mapUpdateElem(0, socket, 0);
    socket.fill!.addr[0] = 4096;
    socket.fill!.producer = 1;
    bench.attach((ctx) => ctx.redirectMap(map, 0, XDP_PASS));
    const { skb, bytes } = bench.skb(300);
    bench.receiveSkb(skb);
    const rx = socket.rx!;
    const at = pages[1]!.base + rx.addr[0]! - 4096;
    expect([rx.producer, rx.len[0], [...pages[1]!.region.bytes.subarray(at, at + 300)], bench.home(), bench.machine.net.lifetime.stats.live]).toEqual([1, 300, bytes, 0, 0]);
  });

  test(`redirected to a CPU: skbs behind frames in one ring; ${PRESETS[preset].xdp.cpumapRunsEverySkb ? "its program sees each of them" : "up to 6.14 those behind the first that does not pass go up unseen"}`, () => {
    const bench = new GenericBench(preset);
    const map = bench.machine.xdp.maps.createCpuMap(2) as CpuMap;
    let met = 0;
    map.mapUpdateElem(1, 64, bench.prog(() => (++met === 2 ? XDP_DROP : XDP_PASS), "cpumap", false), 0);
    bench.attach((ctx) => ctx.redirectMap(map, 1, 0));
    const packets = Array.from({ length: 5 }, () => bench.skb(100));
    bench.softirq(0, () => packets.forEach(({ skb }) => bench.machine.net.receive.netifReceiveSkb(skb)));
    // What a batch is hangs on when the other CPU looks.
    bench.machine.kernel.scheduler.runFor(NSEC_PER_MSEC);
    expect([bench.up.length, bench.home(), bench.kinds()]).toEqual([4, 0, []]);
    expect(met).toBe(PRESETS[preset].xdp.cpumapRunsEverySkb ? 5 : 2);
    expect(bench.up.map(({ bytes }) => bytes)).toEqual([0, 2, 3, 4].map((i) => packets[i]!.bytes));
    // Up to 6.14 what passes of these is not counted.
    const counted = (what: string): number => bench.trace("xdp_cpumap_kthread").reduce((sum, line) => sum + Number(new RegExp(`xdp_${what}=(\\d+)`).exec(line)![1]), 0);
    expect([counted("pass"), counted("drop")]).toEqual([PRESETS[preset].xdp.cpumapRunsEverySkb ? 4 : 0, 1]);
    expect(bench.trace("skb_freed").filter((line) => line.includes(`reason=${SKB_DROP_REASON_NOT_SPECIFIED}`)).length).toBe(PRESETS[preset].xdp.cpumapRunsEverySkb ? 0 : 1);
  });

  test("a clone is not written to: whoever shares the packet sees it as it was", () => {
    const bench = new GenericBench(preset);
    bench.attach((ctx) => {
      ctx.setUint8(14, 0xee);
      return XDP_PASS;
    });
    const { skb, bytes } = bench.skb(100, 0, 320);
    const { lifetime } = bench.machine.net;
    const clone = lifetime.skbClone(skb, GFP_ATOMIC)!;
    const shared = lifetime.skbGet(bench.skb(100, 0, 320).skb);
    const before = bench.allBytes(shared);
    bench.receiveSkb(skb);
    bench.receiveSkb(shared);
    expect([bench.allBytes(clone), bench.up[0]!.bytes[14], bench.allBytes(shared), bench.up[1]!.bytes[14]]).toEqual([bytes, 0xee, before, 0xee]);
    lifetime.consumeSkb(clone);
    lifetime.consumeSkb(shared);
    expect([bench.home(), lifetime.stats.live, bench.kinds()]).toEqual([0, 0, []]);
  });

  test("without memory for a copy the packet is dropped, and nothing else", () => {
    const bench = new GenericBench(preset);
    bench.attach(() => XDP_PASS);
    const { failPageAlloc, failSlab } = bench.machine.mm.faults;
    const { skb } = bench.skb(3000, 2);
    failPageAlloc.arm({});
    failSlab.arm({});
    bench.receiveSkb(skb);
    failPageAlloc.disarm();
    failSlab.disarm();
    expect([bench.up.length, bench.home(), bench.machine.net.lifetime.stats.live, bench.kinds()]).toEqual([0, 0, 0, []]);
  });

  if (hasMultiBuffer) {
    test("a program that cuts a packet by fragments: those go home, and the skb is as long as what is left", () => {
      const bench = new GenericBench(preset);
      bench.attach((ctx) => (ctx.adjustTail(-(ctx.getBuffLen() - 200)) === 0 ? XDP_PASS : XDP_ABORTED));
      const { skb, bytes } = bench.skb(3000, 5);
      bench.receiveSkb(skb);
      expect([bench.up[0]!.bytes, bench.home(), bench.machine.net.lifetime.stats.live, bench.kinds()]).toEqual([bytes.slice(0, 200), 0, 0, []]);
      const system = bench.machine.systemPools[0];
      expect(system === undefined ? 0 : system.inflight() - system.cacheCount - system.ringCount() - (system.fragPage === null ? 0 : 1)).toBe(0);
    });
  }
});

describe("attaching", () => {
  test("what is no program is refused by name, at a device and in a map", () => {
    const { machine, dev } = new XdpBench("6.18");
    const noProgram = (() => XDP_PASS) as unknown as XdpProg;
    const { maps } = machine.xdp;
    expect(() => machine.net.xdpAttachment.devXdpAttach(dev, noProgram, 0, null)).toThrow("@netmem/xdp: devXdpAttach's program = function: give what bpfProgLoad answered, or null");
    expect(() => (maps.createDevMap(1) as DevMap).mapUpdateElem(0, dev.ifindex, noProgram, 0)).toThrow("devmap entry's program = function");
    expect(() => (maps.createCpuMap(1) as CpuMap).mapUpdateElem(0, 8, noProgram, 0)).toThrow("cpumap entry's program = function");
  });

  test("one program a device, in the driver if that can: what does not fit is refused in the kernel's words", () => {
    const bench = new XdpBench("6.18");
    const { xdpAttachment } = bench.machine.net;
    const { dev } = bench;
    const [a, b] = [bench.prog(() => XDP_PASS, "a"), bench.prog(() => XDP_PASS, "b")];
    const attach = (prog: typeof a | null, flags: number, old: typeof a | null = null): number => xdpAttachment.devXdpAttach(dev, prog, flags, old);
    expect([attach(a, 1 << 9), attach(a, XDP_FLAGS_SKB_MODE | XDP_FLAGS_DRV_MODE), attach(a, XDP_FLAGS_DRV_MODE), attach(a, XDP_FLAGS_HW_MODE), attach(a, 0, b)]).toEqual([-EINVAL, -EINVAL, -EOPNOTSUPP, -EOPNOTSUPP, -EINVAL]);
    // Without a mode: the driver has none, so it is generic.
    expect([attach(a, 0), dev.xdpGenericProg === a, dev.xdpProgCount]).toEqual([0, true, 1]);
    expect([attach(b, XDP_FLAGS_UPDATE_IF_NOEXIST), attach(b, XDP_FLAGS_REPLACE, b), attach(b, XDP_FLAGS_REPLACE, a), dev.xdpGenericProg === b, attach(b, 0), dev.xdpProgCount]).toEqual([-EBUSY, -EEXIST, 0, true, 0, 1]);
    let answer = 0;
    const setUp: (typeof a | null)[] = [];
    dev.xdpOps = { xdpXmit: null, xskSetupPool: null, xskWakeup: null, xdpSetupProg: (prog) => {
      setUp.push(prog);
      return answer;
    } };
    // Without a mode it is the driver's now, where there is none to take off.
    expect([attach(a, XDP_FLAGS_DRV_MODE), attach(a, 0), attach(null, 0), dev.xdpProgCount, attach(null, XDP_FLAGS_SKB_MODE), dev.xdpProgCount]).toEqual([-EEXIST, -EEXIST, 0, 1, 0, 0]);
    answer = -EIO;
    expect([attach(a, 0), dev.xdpDriverProg]).toEqual([-EIO, null]);
    answer = 0;
    expect([attach(a, 0), dev.xdpDriverProg === a, attach(b, XDP_FLAGS_SKB_MODE), attach(null, XDP_FLAGS_DRV_MODE), dev.xdpProgCount]).toEqual([0, true, -EEXIST, 0, 0]);
    dev.hdsConfig = 2;
    expect([attach(bench.prog(() => XDP_PASS, "plain", false), 0), attach(a, 0), attach(null, 0)]).toEqual([-EBUSY, 0, 0]);
    dev.rxQueues[0]!.memoryProvider = { nlFill: () => ({}), uninstall: () => {} };
    expect([attach(a, 0), setUp.map((prog) => prog?.name ?? null), bench.kinds()]).toEqual([-EBUSY, ["a", "a", null, "a", null], []]);
  });
});
