import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { CHECKSUM_UNNECESSARY, SKB_GSO_UDP_L4, skbRegion, type UdpSocket, type UdpSocketOptions } from "@netmem/net-core/api";
import { internetChecksum, testPayload, udpFrame, type InetHeader } from "@netmem/testkit";
import type { PresetName } from "@netmem/machine";
import { GroRig, LAYOUTS } from "./gro-rig.ts";

const HEADERS = 42;
const PORT = 2000;

/** A device with GRO, and a socket whose datagrams may come merged, unless said otherwise. */
class UdpGroRig extends GroRig {
  readonly socket: UdpSocket;
  readonly #user = this.rig.machine.mm.payload.adoptRegion("user", new Uint8Array(1 << 17), true);

  constructor({ preset = "6.18", ...options }: Partial<UdpSocketOptions> & { readonly preset?: PresetName } = {}) {
    super(1000, preset);
    this.socket = this.bind({ gro: true, ...options });
  }

  bind(options: Partial<UdpSocketOptions> = {}): UdpSocket {
    const socket = this.rig.machine.net.inet.udpBind({ name: "udp", port: PORT, ...options });
    if (typeof socket === "number") throw new Error(`refused: ${socket}`);
    return socket;
  }

  /** What comes goes to sockets. */
  deliver(): this {
    const { net } = this.rig.machine;
    net.receive.setProtocol(net.inet);
    return this;
  }

  /** What a read gives, and how long each of its datagrams is. */
  read(socket: UdpSocket = this.socket): { readonly bytes: number[]; readonly gsoSize: number } | number {
    const got = socket.recvmsg(this.#user, 0, 1 << 17);
    return got < 0 ? got : { bytes: [...this.#user.bytes.subarray(0, got)], gsoSize: socket.gsoSize() };
  }

  /** As a user takes them apart. */
  datagrams(socket: UdpSocket = this.socket): number[][] {
    const all: number[][] = [];
    for (let read = this.read(socket); typeof read !== "number"; read = this.read(socket)) {
      const { bytes, gsoSize } = read;
      for (let at = 0; at === 0 || at < bytes.length; at += gsoSize || bytes.length || 1) all.push(bytes.slice(at, gsoSize === 0 ? undefined : at + gsoSize));
    }
    return all;
  }
}

/** Datagrams of one flow, `sizes` bytes of payload each. */
function flow(sizes: readonly number[], header: InetHeader = {}, last: InetHeader = {}): Uint8Array[] {
  return sizes.map((bytes, i) => udpFrame(testPayload(bytes, 1 + i), { dport: PORT, ipId: 10 + i, ...header, ...(i === sizes.length - 1 ? last : {}) }));
}

function payloads(frames: readonly Uint8Array[]): number[][] {
  return frames.map((frame) => [...frame.subarray(HEADERS)]);
}

describe.each(LAYOUTS)("datagrams of one flow, each received as %s", (layout) => {
  test("become one packet (udp_gro_receive_segment, udp_gro_complete): their payload one behind the other, headers that say so", () => {
    const gro = new UdpGroRig();
    const frames = flow([300, 300, 300, 120]);
    gro.receiveAs(layout, frames);
    expect(gro.segments()).toEqual([4]);
    const skb = gro.up[0]!;
    const bytes = gro.bytes(skb);
    expect([...bytes.subarray(28)]).toEqual(payloads(frames).flat());
    expect([skb.shinfo!.gsoSize, skb.shinfo!.gsoType, skb.len, (bytes[2]! << 8) | bytes[3]!, (bytes[24]! << 8) | bytes[25]!, internetChecksum(bytes, 0, 20)]).toEqual([300, SKB_GSO_UDP_L4, 1048, 1048, 1028, 0]);
    // Of the pseudo header, not inverted: whoever sends it on adds the rest.
    expect((bytes[26]! << 8) | bytes[27]!).toBe(0xffff - internetChecksum(bytes, 12, 20, 17 + 1028));
    expect(gro.end()).toEqual({ lost: 0, reports: [] });
  });

  test("are read together by the socket that asked (udp_cmsg_recv): a read is one packet, and counted as one", () => {
    const gro = new UdpGroRig().deliver();
    const frames = flow([300, 300, 300, 120]);
    gro.receiveAs(layout, frames);
    expect([gro.socket.length(), gro.read(), gro.read()]).toEqual([1, { bytes: payloads(frames).flat(), gsoSize: 300 }, -11]);
    gro.receiveAs(layout, flow([90]));
    expect([gro.read(), gro.rig.machine.net.inet.stats.udpInDatagrams]).toEqual([{ bytes: [...testPayload(90, 1)], gsoSize: 0 }, 2]);
    expect(gro.end()).toEqual({ lost: 0, reports: [] });
  });

  test("that were merged for a socket which closed before they went up are each its successor's, with headers of their own (udp_unexpected_gso)", () => {
    const gro = new UdpGroRig().deliver();
    const frames = flow([300, 300, 120]);
    let next: UdpSocket | null = null;
    gro.rig.inPoll(() => {
      for (const frame of frames) gro.rig.machine.net.receive.napiGroReceive(gro.rig.napi, gro.skb(frame, layout));
      gro.socket.close();
      next = gro.bind();
    });
    expect(next!.length()).toBe(3);
    for (const [i, skb] of next!.packets().entries()) {
      // Its header lies in front of it.
      const { bytes } = skbRegion(skb);
      expect([skb.len, (bytes[skb.data - 4]! << 8) | bytes[skb.data - 3]!, skb.shinfo!.gsoSize]).toEqual([frames[i]!.length - 42, frames[i]!.length - 34, 0]);
    }
    expect([gro.datagrams(next!), gro.rig.machine.net.inet.stats.udpInDatagrams]).toEqual([payloads(frames), 3]);
    expect(gro.end()).toEqual({ lost: 0, reports: [] });
  });
});

describe("on a device that merges what is to be sent on (rx-udp-gro-forwarding)", () => {
  const frames = flow([300, 300, 120]);

  test.each([["no socket at all", false], ["sockets, and this is none's", true]])("with %s datagrams of a flow are merged", (_what, othersAsk) => {
    const gro = new UdpGroRig({ port: othersAsk ? PORT + 1 : PORT });
    if (!othersAsk) gro.socket.close();
    gro.receive(...frames);
    gro.rig.dev.groUdpFwd = true;
    gro.receive(...frames);
    expect([gro.segments(), gro.up.at(-1)!.shinfo!.gsoType, gro.up.at(-1)!.shinfo!.gsoSize]).toEqual([[1, 1, 1, 3], SKB_GSO_UDP_L4, 308 - 8]);
    expect(gro.end()).toEqual({ lost: 0, reports: [] });
  });

  test("a socket that did not ask gets each by itself: merged where nobody asks, and cut before it is queued; not merged where somebody does, and it is looked up", () => {
    for (const othersAsk of [false, true]) {
      const gro = new UdpGroRig({ gro: false }).deliver();
      if (othersAsk) gro.bind({ port: PORT + 1, gro: true });
      gro.rig.dev.groUdpFwd = true;
      gro.receive(...frames);
      expect([gro.rig.machine.net.receive.stats.groMerged, gro.socket.length(), gro.datagrams()]).toEqual([othersAsk ? 0 : 2, 3, payloads(frames)]);
      expect(gro.end()).toEqual({ lost: 0, reports: [] });
    }
  });
});

test("closed as the first of them is said to be there, a socket is told of no more, and keeps none", () => {
  const gro = new UdpGroRig().deliver();
  let next: UdpSocket | null = null;
  let told = 0;
  gro.rig.inPoll(() => {
    for (const frame of flow([300, 300, 120])) gro.rig.machine.net.receive.napiGroReceive(gro.rig.napi, gro.skb(frame));
    gro.socket.close();
    next = gro.bind({ dataReady: () => {
      told++;
      next!.close();
    } });
  });
  // Found before it was closed, it is given the others, too, until a grace period is over.
  expect([told, next!.length()]).toEqual([1, 3]);
  expect([gro.end(), next!.length(), next!.rmemAlloc()]).toEqual([{ lost: 0, reports: [] }, 0, 0]);
});

test("without room for them they are lost, each counted (udp_rcv_segment)", () => {
  const gro = new UdpGroRig().deliver();
  const { net, mm } = gro.rig.machine;
  let next: UdpSocket | null = null;
  gro.rig.inPoll(() => {
    for (const frame of flow([300, 300, 120])) net.receive.napiGroReceive(gro.rig.napi, gro.skb(frame));
    gro.socket.close();
    next = gro.bind();
    mm.faults.failFunction("skbuffAlloc").arm({});
  });
  expect([next!.length(), next!.drops(), net.inet.stats.udpInErrors]).toEqual([0, 3, 3]);
});

test.each([
  ["another port", [100, 100], { sport: 7 }], ["another address", [100, 100], { saddr: 9 }], ["a longer one", [100, 101], {}], ["another TTL", [100, 100], { ttl: 9 }],
  ["an IP id out of turn", [100, 100], { ipId: 500 }], ["may be fragmented", [100, 100], { fragOff: 0 }],
] as const)("%s: not merged, in order all the same", (_what, sizes, last) => {
  const gro = new UdpGroRig();
  const frames = flow(sizes, {}, last);
  gro.receive(...frames);
  expect(gro.segments()).toEqual([1, 1]);
  expect(gro.up.map((skb) => [...gro.bytes(skb)])).toEqual(frames.map((frame) => [...frame.subarray(14)]));
  expect(gro.end()).toEqual({ lost: 0, reports: [] });
});

test.each([["6.8", [2]], ["6.18", [1, 1]]] as const)("%s: IP headers that differ keep datagrams apart from 6.9 on (5babae777c61)", (preset, segments) => {
  for (const last of [{ ttl: 9 }, { ipId: 500 }, { fragOff: 0 }]) {
    const gro = new UdpGroRig({ preset });
    gro.receive(...flow([100, 100], {}, last));
    expect(gro.segments()).toEqual(segments);
  }
});

test("one that is shorter is the last of a packet, and so is the 64th (UDP_GRO_CNT_MAX)", () => {
  const gro = new UdpGroRig();
  gro.receive(...flow([100, 100, 40, 100, 100]));
  expect(gro.segments()).toEqual([3, 2]);
  const many = new UdpGroRig();
  many.receive(...flow(Array.from({ length: 150 }, () => 18)));
  expect(many.segments()).toEqual([64, 64, 22]);
  expect(many.end()).toEqual({ lost: 0, reports: [] });
});

test("what is merged stays below 64 KiB", () => {
  const gro = new UdpGroRig();
  gro.receive(...flow(Array.from({ length: 50 }, () => 1400)));
  expect([gro.segments(), gro.up.every(({ len }) => len + 14 < 65_536)]).toEqual([[46, 4], true]);
});

/** With the UDP header changed, the checksum being none. */
function edited(at: number, ...bytes: readonly number[]): Uint8Array {
  const frame = udpFrame(testPayload(100, 1), { dport: PORT });
  frame.set(bytes, at);
  return frame;
}

test.each([
  ["no checksum", edited(40, 0, 0)], ["a wrong checksum", edited(60, 0xde, 0xad)], ["a length beyond the packet", edited(38, 0, 200)], ["a length short of the packet", edited(38, 0, 50)], ["nothing in it", udpFrame(new Uint8Array(0), { dport: PORT })],
  ["padded", new Uint8Array([...udpFrame(testPayload(1, 1), { dport: PORT }), 0, 0, 0])], ["a piece of a datagram", udpFrame(testPayload(100, 1), { dport: PORT, fragOff: 0x2000 })], ["cut short in the header", udpFrame(testPayload(100, 1), { dport: PORT }).subarray(0, 38)],
])("%s: each goes up by itself, as it came", (_what, frame) => {
  const gro = new UdpGroRig();
  gro.receive(frame, frame);
  expect([gro.segments(), gro.up.map((skb) => [...gro.bytes(skb)])]).toEqual([[1, 1], [[...frame.subarray(14)], [...frame.subarray(14)]]]);
  expect(gro.end()).toEqual({ lost: 0, reports: [] });
});

describe("a socket that did not ask", () => {
  test("gets each datagram as it came, whether another asked or not, and summed (skb_gro_checksum_validate_zero_check)", () => {
    for (const gro of [new UdpGroRig({ gro: false }), new UdpGroRig({ port: 7 })]) {
      gro.receive(...flow([100, 100]));
      expect([gro.segments(), gro.up.map(({ ipSummed }) => ipSummed)]).toEqual([[1, 1], [CHECKSUM_UNNECESSARY, CHECKSUM_UNNECESSARY]]);
    }
  });

  test("and one that closes asks no more; closed twice it does not take another's wish with it", () => {
    const gro = new UdpGroRig();
    const other = gro.bind({ port: 9, gro: true });
    for (let i = 0; i < 2; i++) gro.socket.close();
    gro.bind();
    gro.receive(...flow([100, 100]), ...flow([100, 100], { dport: 9 }));
    expect(gro.segments()).toEqual([1, 1, 2]);
    other.close();
    gro.up.length = 0;
    gro.receive(...flow([100, 100], { dport: 9 }));
    expect(gro.segments()).toEqual([1, 1]);
  });
});

test("what is sent on is cut where it was joined: the frames as they came, but for TTL and addresses (__udp_gso_segment)", () => {
  const gro = new UdpGroRig().deliver();
  const { net } = gro.rig.machine;
  const out = net.registerNetdev("out", 1);
  Object.assign(out, { up: true, mtu: 328 });
  const sent: number[][] = [];
  net.transmit.setStartXmit(out, { startXmit: (skb) => {
    const bytes = gro.bytes(skb);
    expect([internetChecksum(bytes, 14, 34), internetChecksum(bytes, 34, bytes.length, 17 + bytes.length - 34 + [26, 28, 30, 32].reduce((sum, at) => sum + (bytes[at]! << 8) + bytes[at + 1]!, 0))]).toEqual([0, 0]);
    sent.push([...bytes]);
    net.lifetime.consumeSkb(skb);
    return 0;
  } });
  net.inet.routeAdd({ destination: 0, prefixLength: 0, dev: out, neighbour: new Uint8Array(6) });
  const frames = flow([300, 300, 300, 120]);
  gro.receive(...frames);
  expect([sent.length, net.inet.stats.ipForwDatagrams]).toEqual([4, 1]);
  expect(sent.map((frame) => frame.slice(HEADERS))).toEqual(payloads(frames));
  expect(sent.map((frame) => (frame[18]! << 8) | frame[19]!)).toEqual([10, 11, 12, 13]);
  // One byte less, and no segment fits.
  out.mtu = 327;
  gro.receive(...frames);
  expect([sent.length, net.inet.stats.ipFragFails]).toEqual([4, 1]);
  expect(gro.end()).toEqual({ lost: 0, reports: [] });
});

test("property: whatever comes, in whatever layout, to sockets that asked or not: each datagram whole, each flow's in order, every page home", () => {
  const datagram = fc.record({ flow: fc.nat(5), bytes: fc.oneof({ weight: 4, arbitrary: fc.constant(200) }, { weight: 1, arbitrary: fc.nat(250) }), layout: fc.constantFrom(...LAYOUTS), newId: fc.nat(9), lateRead: fc.boolean() });
  let merged = 0;
  fc.assert(fc.property(fc.constantFrom<PresetName>("5.14", "6.8", "6.18"), fc.array(fc.array(datagram, { maxLength: 60, size: "max" }), { maxLength: 5, size: "max" }), (preset, polls) => {
    const gro = new UdpGroRig({ preset, rcvbufBytes: 1 << 24 }).deliver();
    const plain = gro.bind({ port: PORT + 1, rcvbufBytes: 1 << 24 });
    const sent = new Map<UdpSocket, number[][]>([[gro.socket, []], [plain, []]]);
    const got = new Map<UdpSocket, number[][]>([[gro.socket, []], [plain, []]]);
    let serial = 0;
    const ids = new Map<number, number>();
    for (const poll of polls) {
      const received = poll.map(({ flow: sport, bytes, layout, newId }) => {
        const dport = PORT + (sport & 1);
        const ipId = newId === 0 ? 5 : (ids.get(sport) ?? 0) + 1;
        ids.set(sport, ipId);
        // Its first bytes are its flow's.
        const payload = new Uint8Array([sport, ...testPayload(bytes + 4, ++serial)]);
        sent.get(sport & 1 ? plain : gro.socket)!.push([...payload]);
        return { frame: udpFrame(payload, { sport, dport, ipId }), layout };
      });
      gro.rig.inPoll(() => {
        for (const { frame, layout } of received) gro.rig.machine.net.receive.napiGroReceive(gro.rig.napi, gro.skb(frame, layout));
      });
      if (poll.some(({ lateRead }) => lateRead)) for (const [socket, all] of got) all.push(...gro.datagrams(socket));
    }
    merged += gro.rig.machine.net.receive.stats.groMerged;
    for (const [socket, all] of got) {
      all.push(...gro.datagrams(socket));
      for (let sport = 0; sport < 6; sport++) expect(all.filter(([first]) => first === sport)).toEqual(sent.get(socket)!.filter(([first]) => first === sport));
      socket.close();
    }
    gro.rig.machine.flushDeferred();
    expect(gro.end()).toEqual({ lost: 0, reports: [] });
  }), { numRuns: 80 });
  expect(merged).toBeGreaterThan(800);
});
