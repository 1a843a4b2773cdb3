import fc from "fast-check";
import { mvneta } from "@netmem/driver-mvneta";
import { veth } from "@netmem/driver-veth";
import { describe, expect, test } from "vitest";
import { EINVAL, ENXIO, ERANGE } from "@netmem/kernel/api";
import { PRESET_NAMES, createMachine } from "@netmem/machine";
import { GFP_ATOMIC, PAGE_SIZE } from "@netmem/mm/api";
import { skbHeadFrag, skbRegion, type SkBuff } from "@netmem/net-core/api";
import {
  MEM_TYPE_PAGE_SHARED, NETDEV_TX_OK, NETDEV_XDP_ACT_NDO_XMIT, NET_XMIT_DROP, XDP_ABORTED, XDP_DROP, XDP_PASS, XDP_REDIRECT, XDP_TX, type DevMap,
} from "@netmem/xdp/api";
import { conservationFaults, tcpFrame, testFrame, testPayload, udpFrame } from "@netmem/testkit";
import { VethRig } from "./veth-rig.ts";

const NOTHING_LEFT = { skbs: 0, pages: 0, reports: [] };

function datagrams(count: number, bytes: number): Uint8Array[] {
  return Array.from({ length: count }, (_, i) => udpFrame(testPayload(bytes, i + 1)));
}

describe("without XDP and GRO", () => {
  test("packets go by way of the backlog, as they are: no copy, no pool", () => {
    const rig = new VethRig();
    const frame = testFrame(100, 1);
    rig.send(rig.a, [frame]);
    expect([rig.bytes(rig.received[0]!), rig.received[0]!.dev === rig.b.dev, rig.machine.pagePools.pools().every(({ system }) => system), rig.a.stats.txPackets]).toEqual([[...frame.subarray(14)], true, true, 1]);
    expect(rig.end()).toEqual(NOTHING_LEFT);
  });

  test("a thousand and one may wait for a CPU; one more is dropped, with the reason", () => {
    const rig = new VethRig();
    const answers: number[] = [];
    rig.softirq(0, () => {
      for (let i = 0; i < 1003; i++) answers.push(rig.machine.net.transmit.devDirectXmit(rig.skb(testFrame(60, i)), rig.a.dev, 0));
    });
    expect([answers.filter((answer) => answer === NETDEV_TX_OK).length, answers.at(-1), rig.received.length, rig.b.dev.coreRxDropped, rig.a.stats.txDropped]).toEqual([1001, NET_XMIT_DROP, 1001, 2, 2]);
    expect(rig.end()).toEqual(NOTHING_LEFT);
  });

  test.each([["a peer that is down", (rig: VethRig) => rig.b.stop()], ["longer than the peer's MTU", (rig: VethRig) => void (rig.b.dev.mtu = 60)], ["no peer", (rig: VethRig) => rig.dellink()]])("%s: dropped, and counted", (_what, arrange) => {
    const rig = new VethRig();
    arrange(rig);
    expect(rig.sendSkb(rig.a, () => rig.skb(testFrame(100, 1)))).toBe(NET_XMIT_DROP);
    expect(rig.end()).toEqual(NOTHING_LEFT);
  });
});

describe("with XDP", () => {
  test("its pool is made with the program, 256 pages large and of no memory model, and destroyed with it", () => {
    const rig = new VethRig();
    rig.attachPass(rig.b);
    const pool = rig.pool();
    expect([pool.params.poolSize, pool.params.napi, pool.memId, rig.b.dev.rxQueues[0]!.xdpRxq.mem.type, rig.b.dev.gro, rig.a.dev.gsoSoftware, rig.a.dev.xdpFeatures & NETDEV_XDP_ACT_NDO_XMIT]).toEqual([256, null, 0, MEM_TYPE_PAGE_SHARED, false, false, NETDEV_XDP_ACT_NDO_XMIT]);
    expect(rig.attach(rig.b, null)).toBe(0);
    expect([pool.dead, rig.b.dev.gro, rig.a.dev.gsoSoftware, rig.a.dev.xdpFeatures & NETDEV_XDP_ACT_NDO_XMIT]).toEqual([true, false, true, 0]);
    expect(rig.end()).toEqual(NOTHING_LEFT);
  });

  test("another program in place of one keeps the pool", () => {
    const rig = new VethRig();
    rig.attachPass(rig.b);
    const pool = rig.pool();
    rig.attachPass(rig.b);
    expect([rig.pool() === pool, pool.dead]).toEqual([true, false]);
  });

  test("a packet is copied into a fragment of the pool, and recycles; an ordinary one goes on with its head as it is", () => {
    const rig = new VethRig();
    rig.attachPass(rig.b);
    const [frame] = datagrams(1, 1000);
    rig.send(rig.a, [frame!]);
    const skb = rig.received[0]!;
    expect([rig.bytes(skb), skb.ppRecycle, skbHeadFrag(skb), skb.shinfo!.headPage!.pp === rig.pool(), skb.data - skb.head]).toEqual([[...frame!.subarray(14)], true, true, true, 256 + 14]);
    // With room in front and a page's head: as it comes.
    rig.sendSkb(rig.a, () => roomy(rig, frame!));
    expect([rig.received[1]!.ppRecycle, rig.bytes(rig.received[1]!)]).toEqual([false, [...frame!.subarray(14)]]);
    expect(rig.end()).toEqual(NOTHING_LEFT);
  });

  test("truesize of 1000-byte datagrams alternates between 1920 and 2688: the last fragment takes the rest of its page", () => {
    const rig = new VethRig();
    rig.attachPass(rig.b);
    rig.send(rig.a, datagrams(4, 1000));
    expect(rig.received.map(({ truesize }) => truesize)).toEqual([1920, 2688, 1920, 2688]);
  });

  test("a packet with frags, cloned, or shared is copied; one too long for a program without fragments cannot come: its MTU is refused", () => {
    const rig = new VethRig();
    rig.a.dev.mtu = 3507;
    expect(rig.attach(rig.b, rig.program(() => XDP_PASS))).toBe(-ERANGE);
    rig.a.dev.mtu = 3506;
    rig.attachPass(rig.b);
    const [frame] = datagrams(1, 100);
    let clone: SkBuff | null = null;
    rig.sendSkb(rig.a, () => {
      const skb = roomy(rig, frame!);
      clone = rig.machine.net.lifetime.skbClone(skb, GFP_ATOMIC);
      return skb;
    });
    expect(rig.received[0]!.ppRecycle).toBe(true);
    rig.machine.net.lifetime.consumeSkb(clone!);
    expect(rig.end()).toEqual(NOTHING_LEFT);
  });

  test("a program bounds what the peer's MTU may be, the first of several for as long as there is one (max_mtu)", () => {
    const rig = new VethRig();
    const { devSetMtu } = rig.machine.net;
    const bound = (): number => rig.a.dev.maxMtu;
    const free = bound();
    rig.attachPass(rig.b);
    const first = bound();
    expect([devSetMtu(rig.a.dev, 3507), devSetMtu(rig.a.dev, 3506), devSetMtu(rig.a.dev, 67), devSetMtu(rig.a.dev, 68.5), devSetMtu(rig.b.dev, 65_535), rig.a.dev.mtu]).toEqual([-EINVAL, 0, -EINVAL, -EINVAL, 0, 3506]);
    // What it replaces it by might take more.
    rig.attachPass(rig.b, true);
    const second = bound();
    rig.attach(rig.b, null);
    const after = bound();
    rig.attachPass(rig.b, true);
    expect([free, first, second, after, bound()]).toEqual([65_535, 3506, 3506, 65_535, 3506 + 17 * 4096]);
    rig.attach(rig.b, null);
    expect(rig.machine.net.devSetMtu(rig.a.dev, 65_536)).toBe(-EINVAL);
  });

  test("a packet of several pages arrives whole with a program that takes fragments", () => {
    const rig = new VethRig({ nrPages: 8192 });
    for (const end of [rig.a, rig.b]) end.dev.mtu = 60_000;
    rig.attachPass(rig.b, true);
    const frame = testFrame(20_000, 5);
    const { lifetime, edit } = rig.machine.net;
    rig.sendSkb(rig.a, () => {
      const skb = lifetime.allocSkbWithFrags(100, frame.length - 100, 0, GFP_ATOMIC) as SkBuff;
      edit.skbPut(skb, 100);
      skb.macHeader = skb.data;
      skb.len = frame.length;
      skb.dataLen = frame.length - 100;
      const bytes = new Uint8Array(20_000);
      bytes.set(frame);
      edit.skbStoreBits(skb, 0, rig.machine.mm.payload.adoptRegion("frame", bytes, true), 0, frame.length);
      return skb;
    });
    expect(rig.received.map((skb) => [rig.bytes(skb), skb.ppRecycle, skb.shinfo!.nrFrags > 0])).toEqual([[[...frame.subarray(14)], true, true]]);
    expect(rig.end()).toEqual(NOTHING_LEFT);
  });

  test("a head, a tail and metadata that a program moves are moved in the packet", () => {
    const rig = new VethRig();
    rig.attach(rig.b, rig.program((md) => {
      if (md.adjustHead(-4) !== 0 || md.adjustTail(-10) !== 0 || md.adjustMeta(-8) !== 0) return XDP_DROP;
      md.setUint16(12, 0x1234);
      return XDP_PASS;
    }));
    rig.send(rig.a, [testFrame(100, 1)]);
    const skb = rig.received[0]!;
    expect([skb.len, skb.protocol, skb.shinfo!.metaLen, skb.macHeader]).toEqual([100 + 4 - 10 - 14, 0x1234, 8, skb.data - 14]);
    expect(rig.end()).toEqual(NOTHING_LEFT);
  });

  test("a full ring drops; what waits there when the program goes is dropped, too, and no page is lost", () => {
    const rig = new VethRig();
    rig.attachPass(rig.b);
    const answers: number[] = [];
    rig.softirq(0, () => {
      for (let i = 0; i < 300; i++) answers.push(rig.machine.net.transmit.devDirectXmit(rig.skb(testFrame(60, i)), rig.a.dev, 0));
      expect(rig.attach(rig.b, null)).toBe(0);
    });
    expect([answers.filter((answer) => answer === NETDEV_TX_OK).length, rig.received.length, rig.a.stats.txDropped]).toEqual([256, 0, 44]);
    expect(rig.end()).toEqual(NOTHING_LEFT);
  });

  test("without memory for the copy the packet is dropped, and counted", () => {
    const rig = new VethRig();
    rig.attachPass(rig.b);
    const point = rig.machine.mm.faults.failFunction("pageAlloc");
    Object.assign(point, { probability: 100, times: -1 });
    rig.send(rig.a, datagrams(1, 1000));
    expect([rig.received.length, rig.b.stats.queues[0]!.rxDrops > 0]).toEqual([1 - rig.b.stats.queues[0]!.rxDrops, rig.b.stats.queues[0]!.rxDrops === 1]);
  });
});

/** A packet with a page's head and room for XDP in front. */
function roomy(rig: VethRig, frame: Uint8Array, headroom: number = 300): SkBuff {
  const { net, mm } = rig.machine;
  const skb = net.lifetime.napiBuildSkb(mm.pages.allocPages(GFP_ATOMIC, 0, -1)!, PAGE_SIZE)!;
  net.edit.skbReserve(skb, headroom);
  net.edit.skbPut(skb, frame.length);
  skbRegion(skb).bytes.set(frame, skb.data);
  skb.macHeader = skb.data;
  return skb;
}

describe("verdicts", () => {
  test.each([["XDP_DROP", XDP_DROP, []], ["XDP_ABORTED", XDP_ABORTED, []], ["one that nobody knows", 77, ["xdp-invalid-action"]]] as const)("%s: 500 packets, 64 pages taken, all of them home", (_what, act, reports) => {
    const rig = new VethRig();
    rig.attach(rig.b, rig.program(() => act));
    const pool = rig.pool();
    rig.send(rig.a, datagrams(500, 700));
    expect([pool.holdCnt, rig.received.length, rig.b.stats.queues[0]!.xdpDrops]).toEqual([64, 0, 500]);
    expect({ ...rig.end(), reports: [...new Set(rig.reports())] }).toEqual({ ...NOTHING_LEFT, reports });
  });

  test("XDP_TX sends back: 300 packets, 64 pages taken, one of them used again and again; the sender's pool is not touched", () => {
    const rig = new VethRig();
    rig.attach(rig.b, rig.program((md) => (md.setUint8(0, 0xaa), XDP_TX)));
    rig.attachPass(rig.a);
    const pools = rig.machine.pagePools.pools().filter(({ system }) => !system);
    rig.send(rig.a, datagrams(300, 700));
    expect([pools.map(({ holdCnt }) => holdCnt), rig.received.length, rig.received.every(({ dev }) => dev === rig.a.dev), rig.b.stats.queues[0]!.xdpTx]).toEqual([[64 * Math.ceil(100 / 64), 0], 300, true, 300]);
    // Somebody without a pool holds them: they do not recycle.
    expect(rig.received.every(({ ppRecycle }) => !ppRecycle)).toBe(true);
    expect(rig.end()).toEqual(NOTHING_LEFT);
  });

  test("XDP_TX read at once needs 64 pages, as the kernel did; the page in use stays its pool's", () => {
    const rig = new VethRig();
    rig.attach(rig.b, rig.program(() => XDP_TX));
    rig.attachPass(rig.a);
    const pool = rig.machine.pagePools.pools().filter(({ system }) => !system)[0]!;
    for (const frame of datagrams(300, 700)) {
      rig.send(rig.a, [frame]);
      rig.free();
    }
    expect([pool.holdCnt, pool.releaseCnt, pool.cacheCount]).toEqual([64, 0, 63]);
    expect(rig.end()).toEqual(NOTHING_LEFT);
  });

  test("XDP_TX to a peer without NAPI: the frames are returned, and counted", () => {
    const rig = new VethRig();
    rig.attach(rig.b, rig.program(() => XDP_TX));
    rig.send(rig.a, datagrams(3, 700));
    expect([rig.received.length, rig.b.stats.queues[0]!.xdpTx, rig.b.stats.queues[0]!.xdpTxErr]).toEqual([0, 0, 3]);
    expect(rig.end()).toEqual(NOTHING_LEFT);
  });

  test("XDP_TX to a peer that has GRO and no program: nobody tells it, and the frames wait for another packet, as in the kernel", () => {
    const rig = new VethRig();
    rig.attach(rig.b, rig.program(() => XDP_TX));
    rig.a.setGro(true);
    rig.send(rig.a, datagrams(3, 700));
    expect([rig.received.length, rig.a.stats.waiting]).toEqual([0, 3]);
    rig.b.dev.gsoSoftware = false;
    rig.send(rig.b, datagrams(1, 700));
    expect([rig.received.length, rig.a.stats.waiting]).toEqual([4, 0]);
    expect(rig.end()).toEqual(NOTHING_LEFT);
  });

  test("XDP_REDIRECT to another pair: frames come out of its other end, as the memory they are", () => {
    const rig = new VethRig();
    const { machine } = rig;
    const other = machine.newlink(veth);
    for (const end of other.ends) end.open();
    rig.attachPass(other.ends[1]);
    const map = machine.xdp.maps.createDevMap(1) as DevMap;
    expect(map.mapUpdateElem(0, other.ends[0].dev.ifindex, null, 0)).toBe(0);
    rig.attach(rig.b, rig.program((md) => md.redirectMap(map, 0, 0)));
    const pools = machine.pagePools.pools().filter(({ system }) => !system);
    const frames = datagrams(40, 700);
    rig.send(rig.a, frames);
    expect([rig.received.length, rig.received.every(({ dev }) => dev === other.ends[1].dev), rig.received.map((skb) => rig.bytes(skb)), rig.b.stats.queues[0]!.xdpRedirect]).toEqual([40, true, frames.map((frame) => [...frame.subarray(14)]), 40]);
    expect(pools.map(({ holdCnt }) => holdCnt)).toEqual([0, 64]);
    expect(rig.end()).toEqual(NOTHING_LEFT);
  });

  test("XDP_REDIRECT nowhere: dropped, and counted", () => {
    const rig = new VethRig();
    const map = rig.machine.xdp.maps.createDevMap(1) as DevMap;
    rig.attach(rig.b, rig.program((md) => (md.redirectMap(map, 0, 0), XDP_REDIRECT)));
    rig.send(rig.a, datagrams(3, 700));
    expect([rig.received.length, rig.b.stats.queues[0]!.rxDrops]).toEqual([0, 3]);
    expect(rig.end()).toEqual(NOTHING_LEFT);
  });
});

/** Bytes of a fragment for a datagram, and how many of them a page has room for. */
function fragmentsOf(payloadBytes: number): { bytes: number; perPage: number } {
  const bytes = ((payloadBytes + 42 + 63) & ~63) + 320 + 256;
  return { bytes, perPage: bytes > 2048 ? 1 : Math.floor(4096 / bytes) };
}

describe("pages that queued datagrams hold", () => {
  test("the closed form of the real kernel holds for any size and count: pages, those taken, truesize", () => {
    fc.assert(fc.property(fc.integer({ min: 0, max: 1472 }), fc.integer({ min: 1, max: 150 }), (bytes, count) => {
      const rig = new VethRig();
      rig.attachPass(rig.b);
      const pool = rig.pool();
      rig.send(rig.a, datagrams(count, bytes));
      const { bytes: fragment, perPage } = fragmentsOf(bytes);
      const held = Math.ceil(count / perPage);
      expect(pool.holdCnt).toBe(64 * Math.ceil(held / 64));
      expect(rig.received.every((skb, i) => skb.truesize === (i % perPage === perPage - 1 ? 4096 - (perPage - 1) * fragment : fragment) + 256)).toBe(true);
      rig.attach(rig.b, null);
      expect(pool.inflight()).toBe(held);
      rig.free();
      // What came back lies in the ring until the pool is looked at again.
      rig.machine.kernel.scheduler.runFor(1_100_000_000);
      expect([pool.inflight(), pool.dead]).toEqual([0, true]);
      expect(rig.end()).toEqual(NOTHING_LEFT);
    }), { numRuns: 40 });
  });

  // What the kernel did: the datagrams of each capture, and pages in flight as the device was torn down.
  test.each([
    ["g-leak-socket-holds", [[40, 1000], [20, 1800]], 40], ["long-g-leak-socket-holds-124", [[30, 900], [14, 1500]], 29], ["n-skb-defer-list", [[24, 1000]], 12], ["stack-b-udp-late", [[4, 1000]], 2],
  ] as const)("%s", (_capture, sends, held) => {
    const rig = new VethRig();
    for (const end of [rig.a, rig.b]) end.dev.mtu = 2000;
    rig.attachPass(rig.b);
    const pool = rig.pool();
    for (const [count, bytes] of sends) rig.send(rig.a, datagrams(count, bytes));
    rig.dellink();
    expect([pool.inflight(), pool.dead]).toEqual([held, false]);
    expect(rig.end()).toEqual(NOTHING_LEFT);
    expect(pool.dead).toBe(true);
  });

  test("pinned-g-leak-socket-holds: 40, 35 as one socket reads ten, 15 as the other closes, 0 as the first does; the pool is gone a second later", () => {
    const rig = new VethRig();
    const { machine } = rig;
    for (const end of [rig.a, rig.b]) end.dev.mtu = 2000;
    const [first, second] = [machine.net.sockets.open({ name: "7700" }), machine.net.sockets.open({ name: "7702" })];
    machine.net.receive.setProtocol({ packetRcv: (skb) => (skb.len > 1500 ? second : first).packetRcv(skb) });
    rig.attachPass(rig.b);
    const pool = rig.pool();
    rig.send(rig.a, datagrams(40, 1000));
    rig.send(rig.a, datagrams(20, 1800));
    rig.dellink();
    // A reader on the CPU that received them.
    const series = [pool.inflight()];
    rig.softirq(0, () => {
      for (let i = 0; i < 10; i++) machine.net.lifetime.consumeSkb(first.dequeue()!);
    });
    machine.kernel.scheduler.runFor(1_100_000_000);
    series.push(pool.inflight());
    second.close();
    machine.kernel.scheduler.runFor(1_100_000_000);
    series.push(pool.inflight());
    first.close();
    machine.kernel.scheduler.runFor(1_100_000_000);
    expect([series, pool.inflight(), pool.dead]).toEqual([[40, 35, 15], 0, true]);
    expect(rig.end()).toEqual(NOTHING_LEFT);
  });

  test("n-skb-defer-list: read on another CPU, all sockets closed, 12 pages wait for that CPU's next softirq: a leak that is none", () => {
    const rig = new VethRig();
    const { machine } = rig;
    const socket = machine.net.sockets.open({ name: "s" });
    machine.net.receive.setProtocol(socket);
    rig.attachPass(rig.b);
    const pool = rig.pool();
    rig.send(rig.a, datagrams(24, 1000));
    rig.softirq(1, () => {
      for (let skb = socket.dequeue(); skb !== null; skb = socket.dequeue()) machine.net.lifetime.skbAttemptDeferFree(skb);
    });
    socket.close();
    rig.dellink();
    machine.kernel.scheduler.runFor(3_500_000_000);
    expect(pool.inflight()).toBe(12);
    machine.flushDeferred();
    machine.kernel.scheduler.runFor(1_100_000_000);
    expect([pool.inflight(), pool.dead]).toEqual([0, true]);
    expect(rig.end()).toEqual(NOTHING_LEFT);
  });

  test("k-packet-tap-clones: taps hold the pages until the last clone goes", () => {
    const rig = new VethRig();
    const { machine } = rig;
    const tap = machine.net.sockets.openTap({ name: "tap" });
    machine.net.receive.addTap(tap, rig.b.dev);
    rig.attachPass(rig.b);
    const pool = rig.pool();
    rig.send(rig.a, datagrams(60, 900));
    rig.free();
    rig.attach(rig.b, null);
    expect([tap.length(), pool.inflight()]).toEqual([60, 30]);
    for (let skb = tap.dequeue(); skb !== null; skb = tap.dequeue()) machine.net.lifetime.consumeSkb(skb);
    machine.net.receive.removeTap(tap);
    machine.kernel.scheduler.runFor(1_100_000_000);
    expect([pool.holdCnt, pool.inflight()]).toEqual([64, 0]);
    expect(rig.end()).toEqual(NOTHING_LEFT);
  });
});

describe.each(PRESET_NAMES)("the driver of %s's kernel", (preset) => {
  test("passes every byte, drops and sends back, and leaves nothing", () => {
    const rig = new VethRig({ preset });
    const frames = datagrams(30, 700);
    let count = 0;
    rig.attach(rig.b, rig.program(() => [XDP_PASS, XDP_DROP, XDP_TX][count++ % 3]!));
    rig.attachPass(rig.a);
    rig.send(rig.a, frames);
    expect(rig.received.map((skb) => rig.bytes(skb))).toEqual(frames.filter((_, i) => i % 3 !== 1).map((frame) => [...frame.subarray(14)]));
    expect(rig.received.every(({ ppRecycle, dev }) => ppRecycle === ((preset === "6.8" || preset === "6.18") && dev === rig.b.dev))).toBe(true);
    expect(rig.end()).toEqual(NOTHING_LEFT);
  });
});

test("before 5.18 a packet must fit into one page, beside its headroom; from then on it need not", () => {
  const [old, now] = [new VethRig({ preset: "5.14" }), new VethRig({ preset: "6.1" })];
  for (const rig of [old, now]) {
    rig.attachPass(rig.b);
    expect([rig.a, rig.b].map(({ dev }) => rig.machine.net.devSetMtu(dev, 3506))).toEqual([0, 0]);
    // A VLAN's four bytes may come beside the MTU.
    rig.send(rig.a, [testFrame(3520, 1), testFrame(3521, 2)]);
  }
  expect([old, now].map(({ received, b }) => [received.length, b.stats.queues[0]!.rxDrops])).toEqual([[1, 1], [2, 0]]);
});

test.each(PRESET_NAMES)("%s: a page's head without room in front, sent back by its program: copied, and all home", (preset) => {
  const rig = new VethRig({ preset });
  rig.attachPass(rig.a);
  rig.attach(rig.b, rig.program(() => XDP_TX));
  const frame = testFrame(200, 8);
  rig.sendSkb(rig.a, () => roomy(rig, frame, 64));
  expect(rig.received.map((skb) => rig.bytes(skb))).toEqual([[...frame.subarray(14)]]);
  expect(rig.end()).toEqual(NOTHING_LEFT);
});

test("what waits for a CPU when its device goes is dropped with it; others' packets are not", () => {
  const rig = new VethRig();
  const other = rig.machine.newlink(veth);
  for (const end of other.ends) end.open();
  rig.softirq(0, () => {
    for (const [i, from] of [rig.a, other.ends[0], rig.a].entries()) rig.machine.net.transmit.devDirectXmit(rig.skb(testFrame(60 + i, i)), from.dev, 0);
    rig.dellink();
  });
  expect(rig.received.map(({ dev, len }) => [dev === other.ends[1].dev, len])).toEqual([[true, 47]]);
  expect(rig.end()).toEqual(NOTHING_LEFT);
});

describe("frames of others", () => {
  test("are received by the peer's NAPI, from its XDP program; without one they are refused", () => {
    const rig = new VethRig();
    const { xdp } = rig.machine;
    const frame = rig.frame(testFrame(200, 3));
    let sent = 0;
    rig.softirq(0, () => {
      sent = rig.a.dev.xdpOps!.xdpXmit!([frame], 1, 1);
    });
    expect([sent, rig.a.stats.txDropped]).toEqual([-ENXIO, 1]);
    rig.attachPass(rig.b);
    rig.softirq(0, () => {
      sent = rig.a.dev.xdpOps!.xdpXmit!([frame], 1, 1);
    });
    expect([sent, rig.received.map((skb) => rig.bytes(skb)), rig.a.dev.xdpOps!.xdpXmit!([frame], 1, 2)]).toEqual([1, [[...testFrame(200, 3).subarray(14)]], -EINVAL]);
    expect(xdp.buffs).toBeDefined();
    expect(rig.end()).toEqual(NOTHING_LEFT);
  });

  test.each([["sent back", XDP_TX], ["dropped", XDP_DROP], ["aborted", XDP_ABORTED], ["redirected nowhere", XDP_REDIRECT]])("%s by its program, their pages are home", (_what, act) => {
    const rig = new VethRig();
    rig.attachPass(rig.a);
    rig.attach(rig.b, rig.program(() => act));
    rig.softirq(0, () => void rig.a.dev.xdpOps!.xdpXmit!([rig.frame(testFrame(200, 3)), rig.frame(testFrame(100, 4))], 2, 1));
    expect([rig.received.length, rig.b.stats.queues[0]!.xdpPackets]).toEqual([act === XDP_TX ? 2 : 0, 2]);
    expect(rig.end()).toEqual(NOTHING_LEFT);
  });

  test("too long for the peer, or more than its ring holds, stay the sender's", () => {
    const rig = new VethRig();
    rig.attachPass(rig.b);
    const frames = [rig.frame(testFrame(1500, 1)), rig.frame(testFrame(1519, 2)), rig.frame(testFrame(60, 3))];
    let sent = 0;
    rig.softirq(0, () => {
      sent = rig.a.dev.xdpOps!.xdpXmit!(frames, 3, 1);
      for (const frame of frames.slice(sent)) rig.machine.xdp.xdpReturn.xdpReturnFrame(frame);
    });
    expect([sent, rig.a.stats.txDropped]).toEqual([1, 2]);
    expect(rig.end()).toEqual(NOTHING_LEFT);
  });
});

describe("GRO", () => {
  test("asked for, it brings NAPI and a pool, and segments are merged once the peer sends them one by one", () => {
    const rig = new VethRig();
    expect([rig.b.setGro(true), rig.b.dev.gro, rig.pool().params.poolSize]).toEqual([0, true, 256]);
    rig.a.dev.gsoSoftware = false;
    const frames = Array.from({ length: 4 }, (_, i) => tcpFrame(testPayload(1000, i), { seq: 1 + 1000 * i, ipId: i }));
    rig.softirq(0, () => {
      for (const frame of frames) rig.machine.net.transmit.devDirectXmit(rig.skb(frame), rig.a.dev, 0);
    });
    expect([rig.received.map((skb) => skb.len), rig.b.stats.queues[0]!.xdpPackets]).toEqual([[4040], 4]);
    // A peer that sends several segments at once has merged them before.
    rig.a.dev.gsoSoftware = true;
    rig.send(rig.a, [frames[0]!]);
    expect([rig.received.length, rig.b.stats.queues[0]!.xdpPackets]).toEqual([2, 4]);
    expect([rig.b.setGro(false), rig.b.dev.gro]).toEqual([0, false]);
    expect(rig.end()).toEqual(NOTHING_LEFT);
  });

  test("with a program attached, asked for and not, the pool stays", () => {
    const rig = new VethRig();
    rig.attachPass(rig.b);
    const pool = rig.pool();
    rig.b.setGro(true);
    rig.attach(rig.b, null);
    expect([pool.dead, pool.destroyCnt]).toEqual([false, 0]);
    rig.b.setGro(false);
    expect(pool.dead).toBe(true);
  });
});

test("as many queues as are asked for, each with a pool; with fewer of them than the peer sends on there is no XDP", () => {
  const rig = new VethRig({}, 3);
  rig.attachPass(rig.b);
  expect(rig.machine.pagePools.pools().filter(({ system }) => !system).length).toBe(3);
  rig.send(rig.a, datagrams(3, 100), 1, 2);
  expect(rig.b.stats.queues.map(({ xdpPackets }) => xdpPackets)).toEqual([0, 0, 3]);
  // A queue that the peer has not: by way of the backlog.
  rig.send(rig.a, datagrams(1, 100), 1, 7);
  expect([rig.received.length, rig.b.stats.queues.map(({ xdpPackets }) => xdpPackets)]).toEqual([4, [0, 0, 3]]);
  expect(rig.end()).toEqual(NOTHING_LEFT);
});

test("a link without queues is misuse; an end that is open is not opened again", () => {
  const rig = new VethRig();
  expect(() => rig.machine.newlink(veth, { rxQueueCount: 0 })).toThrow("@netmem/driver-veth: rxQueueCount = 0: give 1 to 64 queues");
  expect(rig.a.open()).toBe(-EINVAL);
});

test("whatever is sent, attached, detached, read and closed: conserved at every step, every packet delivered as it was or dropped with a count", () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant("send" as const), n: fc.integer({ min: 1, max: 40 }), bytes: fc.integer({ min: 0, max: 1472 }), cpu: fc.nat(1), end: fc.nat(1) }),
    fc.record({ kind: fc.constant("attach" as const), end: fc.nat(1), act: fc.constantFrom(XDP_PASS, XDP_DROP, XDP_TX, -1) }),
    fc.record({ kind: fc.constant("gro" as const), end: fc.nat(1), on: fc.boolean() }),
    fc.record({ kind: fc.constant("read" as const), n: fc.nat(60), cpu: fc.nat(1) }),
  );
  fc.assert(fc.property(fc.array(step, { maxLength: 25 }), fc.constantFrom(...PRESET_NAMES), (steps, preset) => {
    const rig = new VethRig({ preset, nrPages: 8192 });
    const { machine } = rig;
    const ends = [rig.a, rig.b];
    const pools = new Set(machine.pagePools.pools());
    /** Sent and not yet received, each by its bytes, which no other has. */
    const sent = new Set<string>();
    let packets = 0;
    let received = 0;
    const receive = (skb: SkBuff): void => {
      received++;
      expect(sent.delete(String(rig.bytes(skb)))).toBe(true);
    };
    // Two ends that send everything back would do so for ever.
    let sendsBack = -1;
    for (const each of steps) {
      if (each.kind === "send") {
        const frames = Array.from({ length: each.n }, () => udpFrame(testPayload(each.bytes, 1), { ipId: ++packets & 0xffff, sport: packets >> 16 }));
        for (const frame of frames) sent.add(String([...frame.subarray(14)]));
        rig.send(ends[each.end]!, frames, each.cpu);
      } else if (each.kind === "attach") {
        const act = each.act === XDP_TX && sendsBack === 1 - each.end ? XDP_PASS : each.act;
        expect(rig.attach(ends[each.end]!, act < 0 ? null : rig.program(() => act))).toBe(0);
        if (act === XDP_TX) sendsBack = each.end;
        else if (sendsBack === each.end) sendsBack = -1;
      }
      if (each.kind === "gro") expect(ends[each.end]!.setGro(each.on)).toBe(0);
      if (each.kind === "read") {
        rig.softirq(each.cpu, () => {
          for (const skb of rig.received.splice(0, each.n)) {
            receive(skb);
            machine.net.lifetime.skbAttemptDeferFree(skb);
          }
        });
      }
      for (const pool of machine.pagePools.pools()) pools.add(pool);
      expect(conservationFaults(machine, [...pools])).toEqual([]);
    }
    for (const skb of rig.received) receive(skb);
    const lost = ends.reduce((sum, { stats }) => sum + stats.txDropped + stats.waiting + stats.queues.reduce((all, { rxDrops, xdpDrops, ringDrops }) => all + rxDrops + xdpDrops + ringDrops, 0), 0);
    expect([packets, sent.size]).toEqual([received + lost, lost]);
    expect(rig.end()).toEqual(NOTHING_LEFT);
  }), { numRuns: 60 });
});

test("a name is one device's, a NIC's or a link's", () => {
  const machine = createMachine();
  machine.attach(mvneta, { name: "wan" });
  const taken = (name: string): string => `@netmem/machine: device name = ${name}: another device has it`;
  expect(() => machine.newlink(veth, { names: ["lan", "wan"] })).toThrow(taken("wan"));
  expect(() => machine.newlink(veth, { names: ["lan", "lan"] })).toThrow(taken("lan"));
  machine.newlink(veth, { names: ["lan", "peer"] });
  expect(() => machine.attach(mvneta, { name: "peer" })).toThrow(taken("peer"));
});
