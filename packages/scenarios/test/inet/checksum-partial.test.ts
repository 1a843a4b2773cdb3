import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { mvneta } from "@netmem/driver-mvneta";
import { veth } from "@netmem/driver-veth";
import { GFP_ATOMIC } from "@netmem/mm/api";
import { CHECKSUM_NONE, CHECKSUM_PARTIAL, SKBFL_SHARED_FRAG, SKB_DROP_REASON_UDP_CSUM, SKB_GSO_TCPV4, skbHeadroom, type SkBuff } from "@netmem/net-core/api";
import { internetChecksum, ipFragments, leaveChecksum, tcpFrame, testPayload, udpFrame } from "@netmem/testkit";
import { XDP_PASS, XDP_TX, type CpuMap } from "@netmem/xdp/api";
import { VethRig } from "../veth/veth-rig.ts";
import { InetRig } from "./inet-rig.ts";

const NOTHING_LEFT = { skbs: 0, pages: 0, reports: [] };
const NEIGHBOUR = new Uint8Array([2, 9, 9, 9, 9, 9]);
const UDP_CHECK = 40;

function hexOf(bytes: ArrayLike<number>): string {
  return Buffer.from(Array.from(bytes)).toString("hex");
}

/** A veth whose second end receives into sockets; the first sends as local sockets do. */
class SocketRig extends VethRig {
  readonly user = this.machine.mm.payload.addRegion("user", 1 << 16, true);
  readonly dropped: readonly number[];
  readonly socket;

  constructor() {
    const dropped: number[] = [];
    super({ probes: { skb: { freed: (_skb, reason) => void dropped.push(reason), groReceiveEntry: () => undefined, received: () => undefined, polled: () => undefined } } });
    this.dropped = dropped;
    this.machine.net.receive.setProtocol(this.machine.net.inet);
    const socket = this.machine.net.inet.udpBind({ name: "udp", port: 2000 });
    if (typeof socket === "number") throw new Error("refused");
    this.socket = socket;
  }

  local(frame: Uint8Array): SkBuff {
    const skb = this.skb(frame);
    if (this.a.dev.hwCsum) leaveChecksum(skb);
    return skb;
  }

  sendLocal(frames: readonly Uint8Array[]): void {
    for (const frame of frames) this.sendSkb(this.a, () => this.local(frame));
  }

  readAll(): string[] {
    const all: string[] = [];
    for (let got = this.socket.recvmsg(this.user, 0, 1 << 16); got >= 0; got = this.socket.recvmsg(this.user, 0, 1 << 16)) all.push(hexOf(this.user.bytes.subarray(0, got)));
    return all;
  }
}

/** Short ones are summed as they come, longer ones as they are read. */
describe.each([40, 700])("real-kernel 3: datagrams of %d bytes whose checksum is left to the device", (bytes) => {
  const payloads = Array.from({ length: 20 }, (_, i) => testPayload(bytes, i));
  const frames = payloads.map((payload, i) => udpFrame(payload, { ipId: i }));

  test.each([["without a program", false], ["through a program that passes them, in the copies that it is given", true]])("%s: a socket has them, unsummed", (_what, hasProgram) => {
    const rig = new SocketRig();
    if (hasProgram) rig.attachPass(rig.b);
    rig.sendLocal(frames);
    expect([rig.readAll(), rig.machine.net.inet.stats.udpCsumErrors]).toEqual([payloads.map(hexOf), 0]);
    rig.socket.close();
    expect(rig.end()).toEqual(NOTHING_LEFT);
  });

  test.each([["left to the device: all are dropped as UDP_CSUM, since a frame knows nothing of it", true], ["written by the sender (ethtool -K tx off): all arrive", false]])("redirected by a cpumap, %s", (_what, hwCsum) => {
    const rig = new SocketRig();
    rig.a.dev.hwCsum = hwCsum;
    const map = rig.machine.xdp.maps.createCpuMap(2) as CpuMap;
    expect(map.mapUpdateElem(1, 192, null, 0)).toBe(0);
    expect(rig.attach(rig.b, rig.program((ctx) => ctx.redirectMap(map, 1, XDP_PASS)))).toBe(0);
    rig.sendLocal(frames);
    rig.machine.kernel.scheduler.runFor(0);
    const { stats } = rig.machine.net.inet;
    expect([rig.readAll(), stats.udpCsumErrors, stats.udpInErrors]).toEqual(hwCsum ? [[], 20, 20] : [payloads.map(hexOf), 0, 0]);
    expect(rig.dropped.filter((reason) => reason === SKB_DROP_REASON_UDP_CSUM).length).toBe(hwCsum ? 20 : 0);
    rig.socket.close();
    rig.attach(rig.b, null);
    expect(rig.end()).toEqual(NOTHING_LEFT);
  });

  test("sent back by XDP_TX they have lost it, too", () => {
    const rig = new VethRig();
    rig.attach(rig.b, rig.program(() => XDP_TX));
    rig.attachPass(rig.a);
    const sums: number[] = [];
    rig.machine.net.receive.setProtocol({ packetRcv: (skb) => {
      sums.push(skb.ipSummed);
      rig.received.push(skb);
    } });
    for (const frame of frames) {
      rig.sendSkb(rig.a, () => {
        const skb = rig.skb(frame);
        leaveChecksum(skb);
        return skb;
      });
    }
    expect(sums).toEqual(frames.map(() => CHECKSUM_NONE));
    expect(rig.end()).toEqual(NOTHING_LEFT);
  });
});

/** veth1 receives, eth0 sends on. */
function router(mtu: number) {
  const rig = new VethRig();
  const { machine } = rig;
  const out: Uint8Array[] = [];
  const eth = machine.attach(mvneta, {});
  eth.netif.open();
  eth.netif.dev.mtu = mtu;
  const region = machine.mm.payload.addRegion("out", 1 << 16, true);
  eth.nic.connectSink({ region, offset: () => 0, roomBytes: () => 1 << 16, frameSent: (bytes) => void out.push(region.bytes.slice(0, bytes)) });
  machine.net.receive.setProtocol(machine.net.inet);
  expect(machine.net.inet.routeAdd({ destination: 0, prefixLength: 0, dev: eth.netif.dev, neighbour: NEIGHBOUR })).toBe(0);
  const sendLocal = (frame: Uint8Array): void => {
    rig.sendSkb(rig.a, () => {
      const skb = rig.skb(frame);
      leaveChecksum(skb);
      return skb;
    });
    machine.kernel.scheduler.runFor(0);
  };
  return { rig, out, sendLocal };
}

describe("forwarded to a NIC that does not sum", () => {
  test.each([["udp", udpFrame(testPayload(333, 1))], ["tcp", tcpFrame(testPayload(333, 2))]])("%s leaves with the checksum that its sender would have written", (_what, frame) => {
    const { rig, out, sendLocal } = router(1500);
    sendLocal(frame);
    // Behind TTL and the IP header's own checksum all is as it was meant.
    expect(out.map((sent) => hexOf(sent.subarray(26)))).toEqual([hexOf(frame.subarray(26))]);
    expect(rig.end()).toEqual(NOTHING_LEFT);
  });

  test("whoever has a clone has the bytes as they came: the sum is written into another head", () => {
    const { rig, out, sendLocal } = router(1500);
    const tap = rig.machine.net.sockets.openTap({ name: "tap" });
    rig.machine.net.receive.addTap(tap, rig.b.dev);
    const frame = udpFrame(testPayload(333, 1));
    sendLocal(frame);
    const tapped = tap.packets()[0]!;
    const seen = Uint8Array.from(rig.bytes(tapped));
    expect([hexOf(out[0]!.subarray(26)), seen.length]).toEqual([hexOf(frame.subarray(26)), frame.length]);
    // The sum of the pseudo header is all there is.
    expect((seen[40]! << 8) | seen[41]!).toBe(0xffff - internetChecksum(new Uint8Array([...frame.subarray(26, 34), 0, 17, frame[38]!, frame[39]!])));
    tap.close();
    expect(rig.end()).toEqual(NOTHING_LEFT);
  });

  test("what the next MTU has no room for is summed before it is cut", () => {
    const { rig, out, sendLocal } = router(576);
    const frame = udpFrame(testPayload(1400, 3), { fragOff: 0 });
    sendLocal(frame);
    expect(out.map((piece) => hexOf(piece.subarray(34)))).toEqual(ipFragments(frame, 576).map((piece) => hexOf(piece.subarray(34))));
    expect(out.length).toBe(3);
    expect(rig.end()).toEqual(NOTHING_LEFT);
  });
});

test("merged by GRO its checksum is left to whoever sends it on: a veth that sends several segments at once passes it so, one that cuts them leaves each segment's, and one that sums nothing gets each summed", () => {
  for (const [gsoSoftware, hwCsum] of [[true, true], [false, true], [true, false], [false, false]] as const) {
    const rig = new InetRig();
    const { net } = rig.machine;
    const { ends } = rig.machine.newlink(veth);
    for (const end of ends) expect(end.open()).toBe(0);
    Object.assign(ends[0].dev, { gsoSoftware, hwCsum });
    const up: { len: number; ipSummed: number; ok: boolean }[] = [];
    net.receive.setProtocol({ packetRcv: (skb) => {
      if (skb.dev === rig.dev) {
        net.edit.skbPush(skb, 14);
        net.transmit.devQueueXmit(skb, ends[0].dev);
        return;
      }
      const bytes = new Uint8Array((skb.len + 7) & ~7);
      net.edit.skbCopyBits(skb, 0, rig.machine.mm.payload.adoptRegion("copy", bytes, true), 0, skb.len);
      const sum = internetChecksum(bytes, 20, skb.len, pseudoOf(bytes, 0, skb.len - 20));
      up.push({ len: skb.len, ipSummed: skb.ipSummed, ok: skb.ipSummed === CHECKSUM_NONE ? sum === 0 : skb.csumStart === skb.transportHeader && skb.csumOffset === 16 });
      net.lifetime.consumeSkb(skb);
    } });
    rig.dev.gro = true;
    const { napi, timers, scheduler } = { ...net, ...rig.machine.kernel };
    const instance = napi.netifNapiAdd(rig.dev, { poll: (own) => {
      for (let i = 0; i < 3; i++) net.receive.napiGroReceive(own, rig.skb(tcpFrame(testPayload(500, i), { seq: 1 + 500 * i, ipId: i })));
      napi.napiCompleteDone(own, 3);
      return 3;
    } }, 64);
    napi.napiEnable(instance);
    timers.modTimer(timers.timerSetup(() => void napi.napiSchedule(instance), 0), 0);
    scheduler.runFor(0);
    const each = { ipSummed: hwCsum ? CHECKSUM_PARTIAL : CHECKSUM_NONE, ok: true };
    expect(up).toEqual(gsoSoftware && hwCsum ? [{ len: 1540, ...each }] : [540, 540, 540].map((len) => ({ len, ...each })));
    expect([net.lifetime.stats.live, rig.machine.kernel.reports.total]).toEqual([0, 0]);
  }
});

/** Of TCP's pseudo header, not folded. */
function pseudoOf(bytes: Uint8Array, ip: number, length: number): number {
  let sum = 6 + length;
  for (let at = ip + 12; at < ip + 20; at += 2) sum += (bytes[at]! << 8) | bytes[at + 1]!;
  return sum;
}

test("sent straight to a device, a packet of several segments that it cannot take whole is dropped (__dev_direct_xmit)", () => {
  for (const [gsoSoftware, hwCsum, received] of [[true, true, 1], [true, false, 0], [false, true, 0]] as const) {
    const rig = new VethRig();
    Object.assign(rig.a.dev, { gsoSoftware, hwCsum });
    rig.sendSkb(rig.a, () => {
      const skb = rig.skb(tcpFrame(testPayload(1000, 1)));
      leaveChecksum(skb);
      Object.assign(skb.shinfo!, { gsoSize: 500, gsoSegs: 2, gsoType: SKB_GSO_TCPV4 });
      return skb;
    });
    expect([rig.received.length, rig.machine.net.transmit.stats.dropped]).toEqual([received, 1 - received]);
    expect(rig.end()).toEqual(NOTHING_LEFT);
  }
});

describe("skb_checksum_help", () => {
  /** Sent by a device that sums nothing, which is a veth told so: what its peer receives. */
  function helped(make: (rig: VethRig) => SkBuff): { bytes: string[]; rig: VethRig } {
    const rig = new VethRig();
    rig.a.dev.hwCsum = false;
    rig.sendSkb(rig.a, () => make(rig));
    expect(rig.received.map(({ ipSummed }) => ipSummed)).toEqual(rig.received.map(() => CHECKSUM_NONE));
    return { bytes: rig.received.map((skb) => hexOf(rig.bytes(skb))), rig };
  }

  test("whatever is in head and frags, and whoever copied it: the sum that the sender would have written", () => {
    const copies = ["none", "clone", "skbCopy", "pskbCopy", "skbCopyExpand", "pskbExpandHead"] as const;
    fc.assert(fc.property(fc.integer({ min: 0, max: 1400 }), fc.nat(), fc.boolean(), fc.array(fc.integer({ min: 1, max: 700 }), { maxLength: 4 }), fc.constantFrom(...copies), (bytes, seed, isTcp, cuts, copied) => {
      const frame = isTcp ? tcpFrame(testPayload(bytes, seed)) : udpFrame(testPayload(bytes, seed));
      const { bytes: received, rig } = helped((own) => {
        const { net, mm } = own.machine;
        const { edit, lifetime } = net;
        // A transport's header is linear.
        const inHead = Math.min(frame.length, (isTcp ? 54 : 42) + (cuts[0] ?? frame.length));
        const skb = own.skb(frame.subarray(0, inHead));
        for (let at = inHead, i = 1; at < frame.length; i++) {
          const part = Math.min(frame.length - at, cuts[i] ?? frame.length);
          const page = mm.pages.allocPages(GFP_ATOMIC, 0, -1)!;
          page.region.bytes.set(frame.subarray(at, at + part), page.base + i);
          edit.skbAddRxFrag(skb, page, i, part, 4096);
          at += part;
        }
        leaveChecksum(skb);
        const copy = { none: () => skb, clone: () => lifetime.skbClone(skb, GFP_ATOMIC)!, skbCopy: () => edit.skbCopy(skb, GFP_ATOMIC)!, pskbCopy: () => edit.pskbCopy(skb, skbHeadroom(skb), GFP_ATOMIC)!, skbCopyExpand: () => edit.skbCopyExpand(skb, 64, 8, GFP_ATOMIC)!, pskbExpandHead: () => (edit.pskbExpandHead(skb, 96, 0, GFP_ATOMIC) === 0 ? skb : skb) }[copied]();
        if (copy !== skb) lifetime.consumeSkb(skb);
        return copy;
      });
      expect(received).toEqual([hexOf(frame.subarray(14))]);
      expect(rig.end()).toEqual(NOTHING_LEFT);
    }), { numRuns: 60 });
  });

  test("a UDP sum that comes to 0 is sent as ffff, which is the same; 0 would say that there is none", () => {
    const frame = udpFrame(new Uint8Array(2));
    // These two bytes make up what the rest lacks.
    const view = new DataView(frame.buffer);
    const check = view.getUint16(UDP_CHECK);
    view.setUint16(42, check);
    view.setUint16(UDP_CHECK, 0xffff);
    const { bytes, rig } = helped((own) => {
      const skb = own.skb(frame);
      leaveChecksum(skb);
      return skb;
    });
    expect(bytes).toEqual([hexOf(frame.subarray(14))]);
    rig.end();
  });

  test("frags that others may write to are copied first: what is sent is what was summed", () => {
    const frame = udpFrame(testPayload(300, 1));
    const { rig } = helped((own) => {
      const { edit } = own.machine.net;
      const skb = own.skb(frame.subarray(0, 42));
      const page = own.machine.mm.pages.allocPages(GFP_ATOMIC, 0, -1)!;
      page.region.bytes.set(frame.subarray(42), page.base);
      edit.skbAddRxFrag(skb, page, 0, 300, 4096);
      skb.shinfo!.flags |= SKBFL_SHARED_FRAG;
      leaveChecksum(skb);
      return skb;
    });
    expect([rig.received[0]!.dataLen, hexOf(rig.bytes(rig.received[0]!))]).toEqual([0, hexOf(frame.subarray(14))]);
    expect(rig.end()).toEqual(NOTHING_LEFT);
  });

  test.each([["the CPU cannot read it", (skb: SkBuff) => void (skb.unreadable = true)], ["its checksum has no place in it", (skb: SkBuff) => void (skb.csumOffset = 4000)]])("%s: dropped, and counted", (_what, spoil) => {
    const rig = new VethRig();
    rig.a.dev.hwCsum = false;
    rig.sendSkb(rig.a, () => {
      const skb = rig.skb(udpFrame(testPayload(100, 1)));
      leaveChecksum(skb);
      spoil(skb);
      return skb;
    });
    expect([rig.received.length, rig.machine.net.transmit.stats.dropped]).toEqual([0, 1]);
    expect(rig.end()).toEqual(NOTHING_LEFT);
  });
});
