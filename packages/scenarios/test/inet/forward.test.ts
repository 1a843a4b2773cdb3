import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { mvneta } from "@netmem/driver-mvneta";
import { EEXIST, EINVAL, ENOENT } from "@netmem/kernel/api";
import { createMachine, Wire, wireBytes, type PresetName, type WireFrame } from "@netmem/machine";
import { SKB_CONSUMED, SKB_DROP_REASON_IP_INVALID_DEST, SKB_DROP_REASON_IP_INVALID_SOURCE, SKB_DROP_REASON_IP_LOCALNET, SKB_DROP_REASON_NOT_SPECIFIED, type SkBuff } from "@netmem/net-core/api";
import { internetChecksum, ipFragments, tcpFrame, testPayload, udpFrame } from "@netmem/testkit";
import { capture } from "../captured.ts";
import { InetRig } from "./inet-rig.ts";

const NEIGHBOUR = new Uint8Array([2, 9, 9, 9, 9, 9]);

/** What leaves eth1 of what arrives at eth0. */
function forwarded(frames: readonly WireFrame[], options: { readonly gro?: boolean; readonly mtu?: number; readonly tap?: boolean; readonly preset?: PresetName } = {}) {
  /** Of packets that were not consumed. */
  const reasons: number[] = [];
  const freed = (_skb: SkBuff, reason: number): void => void (reason !== SKB_CONSUMED && reasons.push(reason));
  const machine = createMachine({ preset: options.preset ?? "6.18", probes: { skb: { freed, groReceiveEntry: () => undefined, received: () => undefined, polled: () => undefined } }, nrPages: 16_384, extraBytes: 2 * wireBytes(frames) + (1 << 20) });
  const { net, mm, kernel } = machine;
  const [from, to] = [machine.attach(mvneta, { rxRingSize: 512 }), machine.attach(mvneta, { rxRingSize: 512 })];
  for (const { netif } of [from, to]) {
    netif.dev.mtu = options.mtu ?? 9000;
    netif.open();
  }
  from.netif.dev.gro = options.gro ?? false;
  net.receive.setProtocol(net.inet);
  const tap = net.sockets.openTap({ name: "tap" });
  if (options.tap === true) net.receive.addTap(tap);
  expect(net.inet.routeAdd({ destination: 0, prefixLength: 0, dev: to.netif.dev, neighbour: NEIGHBOUR })).toBe(0);
  const region = mm.payload.addRegion("out", 1 << 16, true);
  const out: Uint8Array[] = [];
  to.nic.connectSink({ region, offset: () => 0, roomBytes: () => 1 << 16, frameSent: (bytes) => void out.push(region.bytes.slice(0, bytes)) });
  new Wire(kernel, mm.payload, frames, "back-to-back").connect(from.nic);
  while (kernel.scheduler.step());
  tap.close();
  const dropped = net.transmit.stats.dropped;
  const { stats } = net.inet;
  machine.shutdown();
  return { out, dropped, stats, reasons, mac: to.netif.dev.devAddr, live: net.lifetime.stats.live, inflight: machine.pagePools.pools().filter(({ system }) => !system).reduce((sum, pool) => sum + pool.inflight(), 0), reports: kernel.reports.counts() };
}

/** What a router makes of a frame. */
function routed(frame: Uint8Array, mac: Uint8Array): Uint8Array {
  const total = (frame[16]! << 8) | frame[17]!;
  const copy = frame.slice(0, 14 + total);
  copy.set(NEIGHBOUR, 0);
  copy.set(mac, 6);
  copy[22] = copy[22]! - 1;
  copy.fill(0, 24, 26);
  const check = internetChecksum(copy, 14, 34);
  copy[24] = check >> 8;
  copy[25] = check & 0xff;
  return copy;
}

function wire(frames: readonly Uint8Array[]): WireFrame[] {
  return frames.map((bytes) => ({ bytes, offset: 0, lengthBytes: bytes.length, arrivalNs: 0 }));
}

/** Frames of each connection, in order. */
function byConnection(frames: readonly Uint8Array[]): Map<string, string[]> {
  const connections = new Map<string, string[]>();
  for (const frame of frames) {
    const key = Buffer.from(frame.subarray(26, 38)).toString("hex") + frame[23];
    connections.set(key, [...(connections.get(key) ?? []), Buffer.from(frame).toString("hex")]);
  }
  return connections;
}

describe.each(["tcp-download.pcap", "jumbo.pcap", "dns-ping.pcapng"])("%s, forwarded", (name) => {
  const frames = capture(name);
  const ours = frames.map(({ bytes, offset, lengthBytes }) => bytes.subarray(offset, offset + lengthBytes)).filter((frame) => frame[12] === 8 && frame[13] === 0);

  test.each([[false, false], [true, false], [false, true], [true, true]])("GRO %s, tapped %s: every IPv4 frame of each connection leaves as a router makes it, in order", (gro, tap) => {
    const run = forwarded(frames, { gro, tap });
    expect([run.dropped, run.live, run.inflight, run.reports]).toEqual([0, 0, 0, []]);
    expect(byConnection(run.out)).toEqual(byConnection(ours.map((frame) => routed(frame, run.mac))));
    if (gro && name === "tcp-download.pcap") expect(run.stats.ipForwDatagrams).toBeLessThan(ours.length * 0.7);
  });
});

test("merged and cut again, flags are where they were: CWR in the first, PSH and FIN in the last; ids count on, or stay", () => {
  for (const step of [0, 1]) {
    const frames = [0, 1, 2].map((i) => tcpFrame(testPayload(i === 2 ? 400 : 1000, i), { seq: 0xffff_ff00 + 1000 * i, ipId: 0xffff + step * i, flags: i === 2 ? 0x19 : 0x10 }));
    const run = forwarded(wire(frames), { gro: true });
    expect([run.stats.ipForwDatagrams, run.out.map((frame) => [...frame])]).toEqual([1, frames.map((frame) => [...routed(frame, run.mac)])]);
  }
});

test.each([["a TTL of 1", udpFrame(testPayload(10, 1), { ttl: 1 }), { ipInHdrErrors: 1 }], ["longer than the next MTU, and not to be cut", udpFrame(testPayload(1480, 1)), { ipFragFails: 1 }]])("%s: dropped, and counted", (_what, frame, expected) => {
  const run = forwarded(wire([frame]), { mtu: 1500 });
  expect([run.out, run.live, run.inflight]).toEqual([[], 0, 0]);
  expect(run.stats).toMatchObject({ ...expected, ipForwDatagrams: 0 });
});

test("merged on the way, a segment that is longer than the next MTU is dropped all the same", () => {
  const frames = wire([0, 1, 2].map((i) => tcpFrame(testPayload(1000, i), { seq: 1 + 1000 * i, ipId: i })));
  for (const [mtu, left] of [[1039, 0], [1040, 3]] as const) {
    const run = forwarded(frames, { gro: true, mtu });
    expect([run.out.length, run.stats.ipFragFails, run.live]).toEqual([left, left === 0 ? 1 : 0, 0]);
  }
});

describe("what is longer than the next MTU and may be cut (ip_do_fragment)", () => {
  /** IP payload that pieces say they are, in their places; and what each says of itself. */
  function together(pieces: readonly Uint8Array[]): { readonly payload: number[]; readonly words: readonly (readonly [number, number, boolean])[] } {
    const payload: number[] = [];
    const words = pieces.map((piece) => {
      const header = (piece[14]! & 0xf) * 4;
      const [total, word] = [(piece[16]! << 8) | piece[17]!, (piece[20]! << 8) | piece[21]!];
      expect([internetChecksum(piece, 14, 14 + header), piece.length]).toEqual([0, 14 + total]);
      const offset = (word & 0x1fff) * 8;
      for (let i = 0; i < total - header; i++) payload[offset + i] = piece[14 + header + i]!;
      return [offset, total, (word & 0x2000) !== 0] as const;
    });
    return { payload, words };
  }

  test.each([[1500, [[0, 1500, true], [1480, 1500, true], [2960, 68, false]]], [1499, [[0, 1492, true], [1472, 1492, true], [2944, 84, false]]], [576, [[0, 572, true], [552, 572, true], [1104, 572, true], [1656, 572, true], [2208, 572, true], [2760, 268, false]]]] as const)("at %i bytes: in as many pieces as it takes, of whole words but the last, whose bytes are its own", (mtu, words) => {
    const frame = udpFrame(testPayload(3000, 1), { fragOff: 0, ipId: 77 });
    const run = forwarded(wire([frame]), { mtu });
    expect(together(run.out)).toEqual({ payload: [...frame.subarray(34)], words });
    expect(run.out.every((piece) => ((piece[18]! << 8) | piece[19]!) === 77 && piece[22] === frame[22]! - 1)).toBe(true);
    expect([run.stats.ipForwDatagrams, run.stats.ipFragOks, run.stats.ipFragFails, run.stats.ipFragCreates, run.live, run.inflight, run.reports]).toEqual([1, 1, 0, words.length, 0, 0, []]);
  });

  test("without memory for a piece the datagram is given up, and counted", () => {
    const rig = new InetRig();
    const { net, mm } = rig.machine;
    const out = net.registerNetdev("out", 1);
    out.mtu = 1500;
    net.inet.routeAdd({ destination: 0, prefixLength: 0, dev: out, neighbour: NEIGHBOUR });
    const skb = rig.skb(udpFrame(testPayload(3000, 1), { fragOff: 0 }));
    mm.faults.failFunction("skbuffAlloc").arm({});
    net.receive.netifReceiveSkb(skb);
    expect(net.inet.stats).toMatchObject({ ipForwDatagrams: 1, ipExceedsMtu: 0, ipFragOks: 0, ipFragFails: 1, ipFragCreates: 0 });
    expect(rig.end()).toEqual({ skbs: 0, pages: 0, reports: [] });
  });

  test("a piece is cut again where it lies, and only the datagram's last is the last", () => {
    const frame = udpFrame(testPayload(3000, 1), { fragOff: 0, ipId: 77 });
    const run = forwarded(wire(ipFragments(frame)), { mtu: 1000 });
    const { payload, words } = together(run.out);
    expect([payload, words.map(([offset, , more]) => [offset, more])]).toEqual([[...frame.subarray(34)], [[0, true], [976, true], [1480, true], [2456, true], [2960, false]]]);
  });

  test("options that only the first has are nothing in the others: record route goes, a router alert stays (ip_options_fragment)", () => {
    const plain = udpFrame(testPayload(1600, 1), { fragOff: 0 });
    const options = [7, 7, 4, 0, 0, 0, 0, 148, 4, 0, 0, 1];
    const frame = new Uint8Array([...plain.subarray(0, 34), ...options, ...plain.subarray(34)]);
    frame[14] = 0x48;
    new DataView(frame.buffer).setUint16(16, frame.length - 14);
    frame.fill(0, 24, 26);
    new DataView(frame.buffer).setUint16(24, internetChecksum(frame, 14, 46));
    const run = forwarded(wire([frame]), { mtu: 1500 });
    expect(run.out.map((piece) => [...piece.subarray(34, 46)])).toEqual([options, [1, 1, 1, 1, 1, 1, 1, 148, 4, 0, 0, 1]]);
    expect(together(run.out).payload).toEqual([...plain.subarray(34)]);
    // What a piece that was none's first has, all of its pieces have.
    frame[21] = 100;
    frame.fill(0, 24, 26);
    new DataView(frame.buffer).setUint16(24, internetChecksum(frame, 14, 46));
    expect(forwarded(wire([frame]), { mtu: 1500 }).out.map((piece) => [...piece.subarray(34, 46)])).toEqual([options, options]);
  });

  test("merged segments that are too long are cut apart, and each into pieces (ip_finish_output_gso)", () => {
    const frames = [0, 1, 2].map((i) => tcpFrame(testPayload(1000, i), { seq: 1 + 1000 * i, ipId: i, fragOff: 0 }));
    const run = forwarded(wire(frames), { gro: true, mtu: 600 });
    expect(run.stats.ipForwDatagrams).toBe(1);
    for (const [i, frame] of frames.entries()) expect(together(run.out.filter((piece) => ((piece[18]! << 8) | piece[19]!) === i)).payload).toEqual([...frame.subarray(34)]);
    expect([run.out.length, run.stats.ipFragOks, run.live, run.inflight]).toEqual([6, 3, 0, 0]);
  });

  test("property: whatever its length, and the MTU, the pieces are the datagram", () => {
    fc.assert(fc.property(fc.integer({ min: 0, max: 8000 }), fc.integer({ min: 68, max: 2000 }), (bytes, mtu) => {
      const frame = udpFrame(testPayload(bytes, 1), { fragOff: 0 });
      const run = forwarded(wire([frame]), { mtu });
      const { payload, words } = together(run.out);
      expect([payload, words.every(([, total]) => total <= mtu), words.filter(([, , more]) => !more).length, run.live, run.inflight, run.reports]).toEqual([[...frame.subarray(34)], true, 1, 0, 0, []]);
    }), { numRuns: 60 });
  });
});

test("a device that is gone takes its routes with it", () => {
  const machine = createMachine();
  const dev = machine.net.registerNetdev("a", 1);
  machine.net.inet.routeAdd({ destination: 0, prefixLength: 0, dev, neighbour: NEIGHBOUR });
  machine.net.unregisterNetdev(dev);
  expect(machine.net.inet.routeDel(0, 0)).toBe(-ENOENT);
});

test("addresses may be signed, as a header's are read: it is the same route", () => {
  const machine = createMachine();
  const dev = machine.net.registerNetdev("a", 1);
  const { inet } = machine.net;
  const add = (destination: number): number => inet.routeAdd({ destination, prefixLength: 24, dev, neighbour: NEIGHBOUR });
  expect([add(0xc0a8_0100 | 0), add(0xc0a8_0100), add(0xc0a8_0200), add(0xc0a8_0200 | 0), add(0.5)]).toEqual([0, -EEXIST, 0, -EEXIST, -EINVAL]);
  expect([inet.routeDel(0xc0a8_0100, 24), inet.routeDel(0xc0a8_0200 | 0, 24), inet.routeDel(0xc0a8_0200, 24)]).toEqual([0, 0, -ENOENT]);
});

test("the longest prefix counts; what no route has is ours; a route is there once", () => {
  const machine = createMachine();
  const { inet, receive, lifetime } = machine.net;
  const devs = ["a", "b"].map((name) => machine.net.registerNetdev(name, 1));
  const add = (destination: number, prefixLength: number, dev = devs[0]!): number => inet.routeAdd({ destination, prefixLength, dev, neighbour: NEIGHBOUR });
  expect([add(0x0a00_0000, 8), add(0x0a01_0000, 16, devs[1]!), add(0x0a01_0000, 16), add(0x0a01_0000, 33), add(0x0a01_0001, 16), inet.routeAdd({ destination: 0, prefixLength: 0, dev: devs[0]!, neighbour: new Uint8Array(5) })]).toEqual([0, 0, -EEXIST, -EINVAL, -EINVAL, -EINVAL]);
  const sent: string[] = [];
  for (const dev of devs) {
    dev.up = true;
    machine.net.transmit.setStartXmit(dev, { startXmit: (skb) => (sent.push(dev.name), lifetime.consumeSkb(skb), 0) });
  }
  const socket = inet.udpBind({ name: "s", port: 2000 });
  receive.setProtocol(inet);
  const deliver = (daddr: number): void => {
    const frame = udpFrame(testPayload(10, 1), { daddr });
    const skb = lifetime.allocSkb(200, 0)!;
    machine.net.edit.skbPut(skb, frame.length);
    machine.net.edit.skbStoreBits(skb, 0, machine.mm.payload.adoptRegion("f", new Uint8Array([...frame, ...new Uint8Array(64 - frame.length)]), true), 0, frame.length);
    skb.dev = devs[0]!;
    machine.net.edit.ethTypeTrans(skb);
    receive.netifReceiveSkb(skb);
  };
  for (const daddr of [0x0a01_0203, 0x0a02_0203, 0x0b00_0001]) deliver(daddr);
  expect([sent, typeof socket === "object" && socket.length()]).toEqual([["b", "a"], 1]);
  expect([inet.routeDel(0x0a01_0000, 16), inet.routeDel(0x0a01_0000, 16)]).toEqual([0, -ENOENT]);
  deliver(0x0a01_0203);
  expect(sent).toEqual(["b", "a", "a"]);
});

describe("what no router sends on", () => {
  const to = (saddr: number, daddr: number): Uint8Array => udpFrame(testPayload(20, 1), { saddr, daddr });
  const [here, there, mdns, broadcast, loopback] = [0x0a00_0001, 0x0a00_0202, 0xe000_00fb, 0xffff_ffff, 0x7f00_0001] as const;

  test.each([["a group", here, mdns], ["everybody", here, broadcast], ["nobody, of nobody, as DHCP of old", 0, 0]])("is for %s, and so for us, too", (_to, saddr, daddr) => {
    const run = forwarded(wire([to(saddr, daddr), to(here, there)]));
    expect([run.out.length, run.stats.udpNoPorts, run.stats.ipForwDatagrams, run.stats.ipMartians, run.live, run.inflight]).toEqual([1, 1, 1, 0, 0, 0]);
  });

  test.each([
    ["of a group", mdns, there, SKB_DROP_REASON_IP_INVALID_SOURCE], ["of everybody", broadcast, there, SKB_DROP_REASON_IP_INVALID_SOURCE], ["of network 0", 0x0000_0005, there, SKB_DROP_REASON_IP_INVALID_SOURCE],
    ["for network 0", here, 0x0000_0005, SKB_DROP_REASON_IP_INVALID_DEST], ["for this machine itself", here, loopback, SKB_DROP_REASON_IP_LOCALNET], ["of another machine itself", loopback, there, SKB_DROP_REASON_IP_LOCALNET],
  ])("is %s: dropped, from 6.13 with the reason", (_what, saddr, daddr, reason) => {
    for (const preset of ["6.8", "6.18"] as const) {
      const run = forwarded(wire([to(saddr, daddr), to(here, there)]), { preset });
      expect([run.out.length, run.stats.ipMartians, run.stats.ipForwDatagrams, run.reasons[0], run.live, run.inflight]).toEqual([1, 1, 1, preset === "6.8" ? SKB_DROP_REASON_NOT_SPECIFIED : reason, 0, 0]);
    }
  });

  test("came to a group's MAC address: dropped", () => {
    const frame = to(here, there);
    frame[0] = 1;
    const run = forwarded(wire([frame]));
    expect([run.out.length, run.stats.ipMartians, run.reasons]).toEqual([0, 1, [SKB_DROP_REASON_NOT_SPECIFIED]]);
  });
});
