import { describe, expect, test } from "vitest";
import { mvneta } from "@netmem/driver-mvneta";
import { EEXIST, EINVAL, ENOENT } from "@netmem/kernel/api";
import { createMachine, Wire, wireBytes, type WireFrame } from "@netmem/machine";
import { internetChecksum, tcpFrame, testPayload, udpFrame } from "@netmem/testkit";
import { capture } from "../captured.ts";

const NEIGHBOUR = new Uint8Array([2, 9, 9, 9, 9, 9]);

/** What leaves eth1 of what arrives at eth0. */
function forwarded(frames: readonly WireFrame[], options: { readonly gro?: boolean; readonly mtu?: number; readonly tap?: boolean } = {}) {
  const machine = createMachine({ nrPages: 16_384, extraBytes: 2 * wireBytes(frames) + (1 << 20) });
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
  return { out, dropped, stats, mac: to.netif.dev.devAddr, live: net.lifetime.stats.live, inflight: machine.pagePools.pools().filter(({ system }) => !system).reduce((sum, pool) => sum + pool.inflight(), 0), reports: kernel.reports.counts() };
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

test.each([["a TTL of 1", udpFrame(testPayload(10, 1), { ttl: 1 }), { ipInHdrErrors: 1 }], ["longer than the next MTU", udpFrame(testPayload(1480, 1)), { ipFragFails: 1 }]])("%s: dropped, and counted", (_what, frame, expected) => {
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

test("a device that is gone takes its routes with it", () => {
  const machine = createMachine();
  const dev = machine.net.registerNetdev("a", 1);
  machine.net.inet.routeAdd({ destination: 0, prefixLength: 0, dev, neighbour: NEIGHBOUR });
  machine.net.unregisterNetdev(dev);
  expect(machine.net.inet.routeDel(0, 0)).toBe(-ENOENT);
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
