import { describe, expect, test } from "vitest";
import { headerSplit } from "@netmem/driver-header-split";
import { PRESET_NAMES, Wire } from "@netmem/machine";
import { CHECKSUM_NONE, CHECKSUM_UNNECESSARY, IPPROTO_TCP, IPPROTO_UDP, skbHeadlen, type TcpSocket } from "@netmem/net-core/api";
import { conservationFaults, tcpFrame, testFrame, testPayload, udpFrame } from "@netmem/testkit";
import { NOTHING_LEFT, asText, frameOf, driverRig, wire } from "../drivers/driver-rig.ts";

describe.each(PRESET_NAMES)("under %s", (preset) => {
  test("of TCP the headers are in the head and the payload in frags; anything else has its first 256 bytes in the head", () => {
    const rig = driverRig(headerSplit, { preset });
    const frames = [
      tcpFrame(testPayload(1448, 1)), tcpFrame(testPayload(9000, 2), { options: new Uint8Array(12).fill(1) }), tcpFrame(new Uint8Array(0)), udpFrame(testPayload(1000, 3)), udpFrame(testPayload(10, 4)), testFrame(700, 5), testFrame(60, 6),
    ];
    const got: { frame: string; head: number; frags: number; summed: number }[] = [];
    rig.machine.net.receive.setProtocol({ packetRcv: (skb) => {
      got.push({ frame: frameOf(rig.machine, skb), head: skbHeadlen(skb) + 14, frags: skb.shinfo!.nrFrags, summed: skb.ipSummed });
      rig.machine.net.lifetime.consumeSkb(skb);
    } });
    rig.send(wire(frames));
    expect(got.map(({ frame }) => frame)).toEqual(frames.map(asText));
    expect(got.map(({ head, frags }) => [head, frags])).toEqual([[54, 1], [66, 3], [54, 0], [256, 1], [52, 0], [256, 1], [60, 0]]);
    expect(got.map(({ summed }) => summed)).toEqual([...Array.from({ length: 5 }, () => CHECKSUM_UNNECESSARY), CHECKSUM_NONE, CHECKSUM_NONE]);
    expect(rig.end()).toEqual(NOTHING_LEFT);
  });
});

test("flows are spread over the queues by their hash, all frames of one to the same; rules come first, and what is no IPv4 goes to queue 0", () => {
  const rig = driverRig(headerSplit, { queues: 4 });
  const { net } = rig.machine;
  rig.device.nic.steering.insertRule({ protocol: IPPROTO_UDP, dport: 53, queue: 3 });
  const queues = new Map<string, Set<number>>();
  net.receive.setProtocol({ packetRcv: (skb) => {
    const frame = frameOf(rig.machine, skb);
    const at = (offset: number): number => frame.charCodeAt(offset);
    const key = at(12) !== 8 ? "other" : at(23) === IPPROTO_TCP ? `tcp ${(at(34) << 8) | at(35)}` : "dns";
    queues.set(key, (queues.get(key) ?? new Set()).add(skb.rxQueue - 1));
    net.lifetime.consumeSkb(skb);
  } });
  const frames: Uint8Array[] = [];
  for (let i = 0; i < 300; i++) frames.push(tcpFrame(testPayload(10, i), { sport: 1000 + (i % 60) }), udpFrame(testPayload(10, i), { sport: 1000 + i, dport: 53 }), testFrame(60, i));
  rig.send(wire(frames));
  const ofTcp = [...queues].filter(([key]) => key.startsWith("tcp")).map(([, set]) => [...set]);
  expect([ofTcp.length, ofTcp.every((set) => set.length === 1), new Set(ofTcp.flat()).size]).toEqual([60, true, 4]);
  expect([[...queues.get("dns")!], [...queues.get("other")!]]).toEqual([[3], [0]]);
  expect(rig.end()).toEqual(NOTHING_LEFT);
});

test("queues are restarted under traffic, one or all of them, again and again: no frame comes twice or changed, no page is lost", () => {
  let restarted = 0;
  let read = 0;
  for (let seed = 1; seed <= 12; seed++) {
    const rig = driverRig(headerSplit, { queues: 3, seed, ring: 32 });
    const { net, kernel, pagePools } = rig.machine;
    const sockets: TcpSocket[] = [];
    net.receive.setProtocol(net.inet);
    net.inet.tcpListen({ name: "tcp", port: null, accept: (socket) => void sockets.push(socket) });
    const frames: Uint8Array[] = [];
    const streams = new Map<number, number[]>();
    for (let i = 0; i < 1200; i++) {
      const sport = 1000 + (i % 10);
      const stream = streams.get(sport) ?? [];
      const payload = testPayload(900 + (i % 7), stream.length + sport);
      frames.push(tcpFrame(payload, { sport, seq: 1 + stream.length }));
      stream.push(...payload);
      streams.set(sport, stream);
    }
    const sending = new Wire(kernel, rig.machine.mm.payload, wire(frames), "back-to-back");
    sending.connect(rig.device.nic);
    // Pools whose pages sockets hold look again for ever: this ends with the wire.
    for (let step = 0; !sending.finished() && kernel.scheduler.step(); step++) {
      if (step > 100_000) throw new Error(`seed ${seed}: stuck after ${sending.sent()} frames`);
      if (step % (17 + seed) === 0) {
        const queue = (step / (17 + seed)) % 4;
        if (queue === 3) {
          rig.device.netif.stop();
          expect(rig.device.netif.open()).toBe(0);
        } else if (pagePools.providers.restartRxq(rig.device.netif.dev, queue) === 0) restarted++;
      }
      if (step % 50 === 0) expect(conservationFaults(rig.machine, pagePools.pools())).toEqual([]);
    }
    kernel.scheduler.runFor(10_000_000);
    // A segment that was lost with its ring leaves a gap; whatever is before it is as it was sent.
    const user = rig.machine.mm.payload.adoptRegion("user", new Uint8Array(2000), true);
    for (const socket of sockets) {
      const stream = streams.get(socket.sport)!;
      const first = socket.packets()[0]!.seq - 1;
      let at = first;
      for (let got = socket.recvmsg(user, 0, 2000); got > 0; got = socket.recvmsg(user, 0, 2000)) {
        expect([...user.bytes.subarray(0, got)]).toEqual(stream.slice(at, at + got));
        at += got;
      }
      read += at - first;
      socket.close();
    }
    kernel.scheduler.runFor(2_000_000_000);
    expect([seed, rig.end()]).toEqual([seed, NOTHING_LEFT]);
  }
  expect([restarted > 50, read > 100_000]).toEqual([true, true]);
});
