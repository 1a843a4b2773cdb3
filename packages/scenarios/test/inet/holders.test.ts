import { expect, test } from "vitest";
import { mvneta } from "@netmem/driver-mvneta";
import { createMachine, pageHolders, Wire, wireBytes, type PageHolder } from "@netmem/machine";
import { GFP_ATOMIC } from "@netmem/mm/api";
import { skbRegion, type TcpSocket } from "@netmem/net-core/api";
import { NETDEV_TX_OK } from "@netmem/xdp/api";
import { tcpFrame, testPayload, udpFrame } from "@netmem/testkit";
import { VethRig } from "../veth/veth-rig.ts";
import { InetRig } from "./inet-rig.ts";

/** Without the time. */
function who(holders: readonly PageHolder[]): string[] {
  return holders.map(({ kind, name, packets, pages, poolPages }) => `${kind} ${name}: ${packets} packets, ${pages} pages, ${poolPages} of a pool`).toSorted();
}

test("a socket, a tap and a pipe are told apart, each since it took its oldest", () => {
  const rig = new InetRig();
  const { machine } = rig;
  const udp = machine.net.inet.udpBind({ name: "udp", port: 53 });
  const sockets: readonly TcpSocket[] = rig.tcp(80);
  const tap = machine.net.sockets.openTap({ name: "tcpdump" });
  expect(pageHolders(machine)).toEqual([]);
  machine.kernel.scheduler.runFor(5000);
  rig.receive([udpFrame(testPayload(100, 1), { dport: 53 }), udpFrame(testPayload(100, 2), { dport: 53 })]);
  machine.kernel.scheduler.runFor(1000);
  machine.net.receive.addTap(tap);
  rig.receive([tcpFrame(testPayload(1000, 3), { dport: 80 })], 54);
  const pipe = machine.net.inet.createPipe();
  machine.kernel.scheduler.runFor(1000);
  tap.close();
  sockets[0]!.spliceRead(pipe, 400);
  const spliced = pageHolders(machine);
  expect(who(spliced)).toEqual(["pipe pipe: 0 packets, 1 pages, 0 of a pool", "socket tcp 80 10.0.0.2:80 from 10.0.0.1:1000: 1 packets, 2 pages, 0 of a pool", "socket udp: 2 packets, 2 pages, 0 of a pool"]);
  expect(spliced.toSorted((a, b) => a.kind.localeCompare(b.kind) || a.name.localeCompare(b.name)).map(({ since }) => since)).toEqual([7000, 6000, 5000]);
  // A packet that is found no more, since its connection was closed, is nobody's.
  sockets[0]!.close();
  if (typeof udp !== "number") udp.close();
  pipe.close();
  expect(who(pageHolders(machine))).toEqual(["socket udp, closed: 2 packets, 2 pages, 0 of a pool"]);
  machine.kernel.rcu.rcuBarrier();
  expect(pageHolders(machine)).toEqual([]);
  expect(rig.end()).toEqual({ skbs: 0, pages: 0, reports: [] });
});

test("a tap that nobody reads holds what a socket has long read", () => {
  const rig = new InetRig();
  const { machine } = rig;
  const socket = machine.net.inet.udpBind({ name: "udp", port: 53 });
  const tap = machine.net.sockets.openTap({ name: "tcpdump" });
  machine.net.receive.addTap(tap);
  rig.receive([udpFrame(testPayload(100, 1), { dport: 53 })]);
  if (typeof socket === "number") throw new Error("refused");
  expect(socket.recvmsg(rig.user, 0, 100)).toBe(100);
  machine.flushDeferred();
  expect(who(pageHolders(machine))).toEqual(["tap tcpdump: 1 packets, 1 pages, 0 of a pool"]);
  tap.close();
  socket.close();
  expect(rig.end()).toEqual({ skbs: 0, pages: 0, reports: [] });
});

test("a mapping holds pages whose packets are gone", () => {
  const rig = new InetRig();
  const { machine } = rig;
  const { userMappings, pages } = machine.mm;
  const area = userMappings.mmap(8192, "reader");
  machine.kernel.scheduler.runFor(3000);
  const page = pages.allocPages(GFP_ATOMIC, 0, -1)!;
  userMappings.vmInsertPages(area, area.vmStart, [page], 0, 1);
  pages.putPage(page);
  expect(pageHolders(machine)).toEqual([{ kind: "mapping", name: "reader", packets: 0, pages: 1, poolPages: 0, since: 3000 }]);
  userMappings.munmap(area);
  expect(pageHolders(machine)).toEqual([]);
  expect(rig.end()).toEqual({ skbs: 0, pages: 0, reports: [] });
});

test("what was read on another CPU waits for the one that built it", () => {
  const rig = new InetRig();
  const { machine } = rig;
  const socket = machine.net.inet.udpBind({ name: "udp", port: 53 });
  if (typeof socket === "number") throw new Error("refused");
  rig.receive([udpFrame(testPayload(100, 1), { dport: 53 })]);
  const reader = machine.kernel.scheduler.spawn({ name: "reader", cpu: 1, run: () => {
    socket.recvmsg(rig.user, 0, 100);
    return 0;
  } });
  machine.kernel.scheduler.runFor(10);
  expect(who(pageHolders(machine))).toEqual(["deferred-free cpu 0: 1 packets, 1 pages, 0 of a pool"]);
  machine.kernel.scheduler.remove(reader);
  socket.close();
  machine.flushDeferred();
  expect(rig.end()).toEqual({ skbs: 0, pages: 0, reports: [] });
});

test("a veth without NAPI leaves packets in the backlog, one with NAPI in its ring, and GRO with those it merges", () => {
  const rig = new VethRig();
  const { machine } = rig;
  const frame = tcpFrame(testPayload(100, 1));
  let seen: string[] = [];
  rig.softirq(0, () => {
    machine.net.transmit.devDirectXmit(rig.skb(frame), rig.a.dev, 0);
    seen = who(pageHolders(machine));
  });
  expect(seen).toEqual(["backlog cpu 0: 1 packets, 0 pages, 0 of a pool"]);
  rig.free();
  rig.attachPass(rig.b);
  expect(rig.b.setGro(true)).toBe(0);
  rig.softirq(0, () => {
    expect(machine.net.transmit.devDirectXmit(rig.skb(frame), rig.a.dev, 0)).toBe(NETDEV_TX_OK);
    seen = who(pageHolders(machine));
  });
  expect(seen).toEqual([`ring ${rig.b.dev.name}: 1 packets, 0 pages, 0 of a pool`]);
  rig.b.dev.groFlushTimeoutNs = 1_000_000;
  rig.b.dev.napiDeferHardIrqs = 1;
  rig.softirq(0, () => void machine.net.transmit.devDirectXmit(rig.skb(frame), rig.a.dev, 0));
  expect(who(pageHolders(machine))).toEqual([`gro ${rig.b.dev.name}: 1 packets, 1 pages, 1 of a pool`]);
  machine.kernel.scheduler.runFor(5_000_000);
  expect([pageHolders(machine), rig.received.length > 0]).toEqual([[], true]);
  expect(rig.end()).toEqual({ skbs: 0, pages: 0, reports: [] });
});

test("a device that sends holds what its driver has not taken back", () => {
  const frames = [udpFrame(testPayload(700, 1))].map((bytes) => ({ bytes, offset: 0, lengthBytes: bytes.length, arrivalNs: 0 }));
  const machine = createMachine({ nrPages: 4096, extraBytes: wireBytes(frames) });
  const { net, kernel, mm } = machine;
  const [from, to] = [machine.attach(mvneta), machine.attach(mvneta)];
  for (const { netif } of [from, to]) netif.open();
  net.receive.setProtocol(net.inet);
  net.inet.routeAdd({ destination: 0, prefixLength: 0, dev: to.netif.dev, neighbour: new Uint8Array(6) });
  new Wire(kernel, mm.payload, frames, "back-to-back").connect(from.nic);
  const seen = new Set<string>();
  while (kernel.scheduler.step()) for (const line of who(pageHolders(machine))) seen.add(line);
  expect([...seen]).toEqual(["ring eth1: 1 packets, 1 pages, 1 of a pool"]);
  expect(pageHolders(machine)).toEqual([]);
  machine.shutdown();
  expect([net.lifetime.stats.live, kernel.reports.counts()]).toEqual([0, []]);
});

test("a tap on the device that sends has each frame as it leaves, and its page until it is read; the other device's it has not", () => {
  const frames = [1, 2, 3].map((i) => udpFrame(testPayload(200 * i, i))).map((bytes) => ({ bytes, offset: 0, lengthBytes: bytes.length, arrivalNs: 0 }));
  const machine = createMachine({ nrPages: 4096, extraBytes: wireBytes(frames) + 4096 });
  const { net, kernel, mm } = machine;
  const [from, to] = [machine.attach(mvneta), machine.attach(mvneta)];
  for (const { netif } of [from, to]) netif.open();
  net.receive.setProtocol(net.inet);
  net.inet.routeAdd({ destination: 0, prefixLength: 0, dev: to.netif.dev, neighbour: new Uint8Array([2, 2, 2, 2, 2, 2]) });
  const tap = net.sockets.openTap({ name: "tcpdump" });
  net.receive.addTap(tap, to.netif.dev);
  const sink = mm.payload.addRegion("sink", 4096, true);
  const left: number[][] = [];
  to.nic.connectSink({ region: sink, offset: () => 0, roomBytes: () => 4096, frameSent: (bytes) => void left.push([...sink.bytes.subarray(0, bytes)]) });
  new Wire(kernel, mm.payload, frames, "back-to-back").connect(from.nic);
  while (kernel.scheduler.step());
  expect(who(pageHolders(machine))).toEqual(["tap tcpdump: 3 packets, 3 pages, 3 of a pool"]);
  const tapped = tap.packets().map((skb) => [...skbRegion(skb).bytes.subarray(skb.macHeader, skb.macHeader + skb.len)]);
  expect([tapped, left.length]).toEqual([left, 3]);
  tap.close();
  machine.shutdown();
  expect([net.lifetime.stats.live, kernel.reports.counts()]).toEqual([0, []]);
});
