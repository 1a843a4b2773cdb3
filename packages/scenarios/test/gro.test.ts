import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { CHECKSUM_NONE, CHECKSUM_UNNECESSARY, SKB_GSO_TCPV4, XDP_FLAGS_SKB_MODE, type SkBuff, type TcpSocket } from "@netmem/net-core/api";
import { internetChecksum, tcpFrame, testPayload, udpFrame, type TcpHeader } from "@netmem/testkit";
import { XDP_PASS } from "@netmem/xdp/api";
import { GroRig, LAYOUTS } from "./gro-rig.ts";

const FIN = 0x01, SYN = 0x02, PSH = 0x08, ACK = 0x10, CWR = 0x80;
const HEADERS = 54;

/** Segments of one connection, `sizes` bytes of payload each. */
function connection(sizes: readonly number[], header: TcpHeader = {}, last: TcpHeader = {}): Uint8Array[] {
  let seq = header.seq ?? 1000;
  return sizes.map((bytes, i) => {
    const frame = tcpFrame(testPayload(bytes, seq), { ipId: 10 + i, ...header, ...(i === sizes.length - 1 ? last : {}), seq });
    seq = (seq + bytes) >>> 0;
    return frame;
  });
}

function payloadOf(frames: readonly Uint8Array[]): number[] {
  return frames.flatMap((frame) => [...frame.subarray(34 + (frame[46]! >> 4) * 4)]);
}

describe.each(LAYOUTS)("segments of one connection, each received as %s", (layout) => {
  test("become one packet: their payload one behind the other, headers that say so, each page still the pool's", () => {
    const gro = new GroRig();
    const frames = connection([1000, 1000, 1000, 400]);
    gro.receiveAs(layout, frames);
    expect(gro.segments()).toEqual([4]);
    const skb = gro.up[0]!;
    const bytes = gro.bytes(skb);
    expect([...gro.payload(skb)]).toEqual(payloadOf(frames));
    expect([skb.shinfo!.gsoSize, skb.shinfo!.gsoType, skb.len, (bytes[2]! << 8) | bytes[3]!, internetChecksum(bytes, 0, 20)]).toEqual([1000, SKB_GSO_TCPV4, 3440, 3440, 0]);
    // Of the pseudo header, not inverted: whoever sends it on adds the rest.
    const pseudo = 0xffff - internetChecksum(bytes, 12, 20, 6 + 3420);
    expect((bytes[36]! << 8) | bytes[37]!).toBe(pseudo);
    expect(gro.end()).toEqual({ lost: 0, reports: [] });
  });

  test("with another address in the Ethernet header, whichever byte it is, are not merged", () => {
    for (let at = 0; at < 12; at++) {
      const gro = new GroRig();
      const frames = connection([100, 100]);
      frames[1]![at]! ^= 0x40;
      gro.receiveAs(layout, frames);
      expect(gro.segments(), `byte ${at}`).toEqual([1, 1]);
      expect(gro.end()).toEqual({ lost: 0, reports: [] });
    }
  });

  test("that are sent on are cut where they were joined", () => {
    const gro = new GroRig();
    const frames = connection([500, 500, 500, 100]);
    gro.receiveAs(layout, frames);
    const skb = gro.up.pop()!;
    const { merge, edit } = gro.rig.machine.net;
    // Back to where the headers begin, whose length is each segment's.
    edit.skbPush(skb, 14);
    edit.skbPull(skb, HEADERS);
    const first = merge.skbSegment(skb, { sg: true, gso: false });
    expect(typeof first).toBe("object");
    const pieces: number[][] = [];
    for (let segment = first as SkBuff | null; segment !== null; segment = segment.next) pieces.push([...gro.bytes(segment).subarray(HEADERS)]);
    expect(pieces).toEqual(frames.map((frame) => [...frame.subarray(HEADERS)]));
  });
});

test.each([
  ["a gap", [1000, 1000], { seq: 5000 }], ["another port", [1000, 1000], { sport: 7 }], ["another address", [1000, 1000], { saddr: 9 }], ["another acknowledgement", [1000, 1000], { ack: 77 }],
  ["another window", [1000, 1000], { window: 9 }], ["another TTL", [1000, 1000], { ttl: 9 }], ["options that differ", [1000, 1000], { options: new Uint8Array([1, 1, 1, 1]) }],
  ["SYN beside ACK", [1000, 1000], { flags: SYN | ACK }], ["CWR", [1000, 1000], { flags: CWR | ACK }], ["an IP id out of turn", [1000, 1000], { ipId: 500 }], ["may be fragmented", [1000, 1000], { fragOff: 0 }], ["a larger one", [1000, 1001], {}],
  ["nothing in it", [1000, 0], {}],
] as const)("%s: not merged, in order all the same", (_what, sizes, last) => {
  const gro = new GroRig();
  const frames = connection(sizes, {}, last);
  if ("seq" in last) frames[1] = tcpFrame(testPayload(1000, 1), { ipId: 11, seq: 5000 });
  gro.receive(...frames);
  expect(gro.segments()).toEqual([1, 1]);
  expect(gro.up.map((skb) => [...gro.bytes(skb)])).toEqual(frames.map((frame) => [...frame.subarray(14)]));
  expect(gro.up.map((skb) => skb.shinfo!.gsoSize)).toEqual([0, 0]);
  expect(gro.end()).toEqual({ lost: 0, reports: [] });
});

test.each([
  ["one that is shorter", [1000, 400, 1000], {}, [2, 1]], ["PSH", [1000, 1000], { flags: PSH | ACK }, [2]], ["FIN", [1000, 1000], { flags: FIN | ACK }, [2]],
] as readonly (readonly [string, readonly number[], TcpHeader, readonly number[]])[])("%s ends the packet", (_what, sizes, last, expected) => {
  const gro = new GroRig();
  const frames = connection(sizes, {}, last);
  let atEnd = -1;
  gro.rig.inPoll(() => {
    for (const frame of frames) gro.rig.machine.net.receive.napiGroReceive(gro.rig.napi, gro.skb(frame));
    atEnd = gro.up.length;
  });
  // Fewer than a batch: they go up as the poll completes.
  expect([gro.segments(), atEnd]).toEqual([expected, 0]);
  if (expected.length === 1) expect(gro.bytes(gro.up[0]!)[33]).toBe(last.flags);
  expect(gro.end()).toEqual({ lost: 0, reports: [] });
});

test.each([["the same", [10, 10, 10], [3]], ["counted up", [10, 11, 12], [3]], ["the same, then counted up", [10, 10, 11], [2, 1]], ["counted up, then the same", [10, 11, 11], [2, 1]], ["over the top", [65_535, 0, 1], [3]]] as const)("IP ids %s", (_what, ids, expected) => {
  const gro = new GroRig();
  gro.receive(...ids.map((ipId, i) => tcpFrame(testPayload(100, i), { ipId, seq: 1 + 100 * i })));
  expect(gro.segments()).toEqual(expected);
});

test.each([["6.8", [1, 1, 1]], ["6.18", [3]]] as const)("%s: the same IP id in what may be fragmented is no obstacle from 6.18 on (f095a358faf2)", (preset, expected) => {
  const gro = new GroRig(1000, preset);
  gro.receive(...[0, 1, 2].map((i) => tcpFrame(testPayload(100, i), { ipId: 7, fragOff: 0, seq: 1 + 100 * i })));
  expect(gro.segments()).toEqual(expected);
});

test("a sequence number goes over the top", () => {
  const gro = new GroRig();
  gro.receive(...connection([1000, 1000, 1000], { seq: 0xffff_fc00 }));
  expect(gro.segments()).toEqual([3]);
});

test.each([["TCP's checksum", 14 + 20 + 20 + 5], ["IP's checksum", 14 + 10]])("%s is wrong: the packet is not held, and whoever comes next may say so", (_what, at) => {
  const gro = new GroRig();
  const frames = connection([1000, 1000]);
  frames[1]![at] = frames[1]![at]! ^ 1;
  gro.receive(...frames);
  expect([gro.segments(), gro.up.map(({ ipSummed }) => ipSummed)]).toEqual([[1, 1], [CHECKSUM_NONE, CHECKSUM_UNNECESSARY]]);
  expect(gro.end()).toEqual({ lost: 0, reports: [] });
});

test.each([
  ["UDP", udpFrame(testPayload(100, 1))], ["a piece of a datagram", tcpFrame(testPayload(100, 1), { fragOff: 0x2000 })], ["not IP", Uint8Array.from(tcpFrame(testPayload(100, 1)), (byte, i) => (i === 12 ? 0x99 : byte))],
  ["IP with options", Uint8Array.from(tcpFrame(testPayload(100, 1)), (byte, i) => (i === 14 ? 0x46 : byte))], ["padded", new Uint8Array([...tcpFrame(testPayload(1, 1)), 0, 0, 0, 0, 0])],
  ["cut short in TCP's header", tcpFrame(testPayload(1, 1)).subarray(0, 40)], ["cut short in IP's", tcpFrame(testPayload(1, 1)).subarray(0, 30)], ["a TCP header longer than the packet", Uint8Array.from(tcpFrame(testPayload(1, 1)), (byte, i) => (i === 46 ? 0xf0 : byte))],
])("%s goes up by itself", (_what, frame) => {
  const gro = new GroRig();
  gro.receive(frame, frame);
  expect([gro.segments(), gro.up.map((skb) => [...gro.bytes(skb)])]).toEqual([[1, 1], [[...frame.subarray(14)], [...frame.subarray(14)]]]);
  expect(gro.end()).toEqual({ lost: 0, reports: [] });
});

test("more than 64 KiB in one packet, where the device says so: no length can say it, and no byte is lost", () => {
  const gro = new GroRig();
  const { net, mm } = gro.rig.machine;
  Object.assign(gro.rig.dev, { groMaxSize: 200_000, groIpv4MaxSize: 200_000 });
  let stream: TcpSocket | null = null;
  net.inet.tcpListen({ name: "tcp", port: null, accept: (socket) => (stream = socket) });
  let largest = 0;
  net.receive.setProtocol({ packetRcv: (skb) => {
    largest = Math.max(largest, skb.len);
    net.inet.packetRcv(skb);
  } });
  const frames = connection(Array.from({ length: 60 }, () => 1400));
  gro.receiveAs("split", frames);
  const user = mm.payload.adoptRegion("user", new Uint8Array(1 << 17), true);
  expect([largest, stream!.recvmsg(user, 0, 1 << 17)]).toEqual([60 * 1400 + 40, 84_000]);
  expect(Buffer.from(user.bytes.subarray(0, 84_000)).equals(Buffer.from(payloadOf(frames)))).toBe(true);
});

test.each([["6.8", [2]], ["6.18", [1, 1]]] as const)("%s: CWR in the first keeps the next away from 6.15 on, when it may count; in the next it always does", (preset, segments) => {
  const [first, second] = connection([1000, 1000], {}) as [Uint8Array, Uint8Array];
  const withCwr = tcpFrame(testPayload(1000, 1000), { seq: 1000, ipId: 10, flags: CWR | ACK });
  const gro = new GroRig(1000, preset);
  gro.receive(withCwr, second);
  expect([gro.segments(), gro.bytes(gro.up[0]!)[33]]).toEqual([segments, CWR | ACK]);
  const other = new GroRig(1000, preset);
  other.receive(first, tcpFrame(testPayload(1000, 1000), { seq: 2000, ipId: 11, flags: CWR | ACK }));
  expect(other.segments()).toEqual([1, 1]);
});

test("before a program for packets nothing is merged: it sees each as it came (netif_elide_gro)", () => {
  const gro = new GroRig();
  const { net, xdp } = gro.rig.machine;
  const seen: number[] = [];
  const prog = xdp.programs.bpfProgLoad("watch", (ctx) => {
    seen.push(ctx.linearBytes);
    return XDP_PASS;
  }, false);
  if (typeof prog === "number") throw new Error("refused");
  expect(net.xdpAttachment.devXdpAttach(gro.rig.dev, prog, XDP_FLAGS_SKB_MODE, null)).toBe(0);
  const frames = connection([1000, 1000, 1000]);
  gro.receive(...frames);
  expect([seen, gro.segments()]).toEqual([frames.map(({ length }) => length), [1, 1, 1]]);
});

test("as its instance is disabled with no poll to come, what it holds stays; it goes with the instance (napi_disable, netif_napi_del)", () => {
  const gro = new GroRig();
  const { net } = gro.rig.machine;
  gro.rig.dev.groFlushTimeoutNs = 1_000_000;
  const [frame] = connection([500]) as [Uint8Array];
  const napi = net.napi.netifNapiAdd(gro.rig.dev, { poll: (self) => {
    net.receive.napiGroReceive(self, gro.skb(frame));
    net.napi.napiCompleteDone(self, 1);
    return 1;
  } }, 64);
  net.napi.napiEnable(napi);
  net.napi.napiSchedule(napi);
  gro.rig.machine.kernel.scheduler.step();
  const held = (): number => net.holders().filter(({ kind }) => kind === "gro").length;
  expect([gro.up.length, held()]).toEqual([0, 1]);
  net.napi.napiDisable(napi);
  expect([gro.up.length, held()]).toEqual([0, 1]);
  net.napi.netifNapiDel(napi);
  expect([gro.up.length, held(), net.lifetime.stats.live]).toEqual([0, 0, 0]);
});

test.each([[1000, 0, 1], [100, 1, 0]])("with a tick of a %i-th of a second a busy poll that ends with its budget used up passes on %i and holds %i: what came in this tick stays (__busy_poll_stop)", (hz, up, holders) => {
  const gro = new GroRig(hz);
  const { net } = gro.rig.machine;
  Object.assign(gro.rig.dev, { groFlushTimeoutNs: 1_000_000_000, napiDeferHardIrqs: 2 });
  let seq = 1000;
  const napi = net.napi.netifNapiAdd(gro.rig.dev, { poll: (self, budget) => {
    for (let i = 0; i < budget; i++, seq += 100) net.receive.napiGroReceive(self, gro.skb(tcpFrame(testPayload(100, seq), { seq, ipId: seq / 100 })));
    return budget;
  } }, 64);
  net.napi.napiEnable(napi);
  net.napi.napiBusyLoop(napi, () => true, true, 4);
  expect([gro.up.length, net.holders().filter(({ kind }) => kind === "gro").length]).toEqual([up, holders]);
  net.napi.napiDisable(napi);
  net.napi.netifNapiDel(napi);
});

test("a device without GRO merges nothing", () => {
  const gro = new GroRig();
  gro.rig.dev.gro = false;
  gro.receive(...connection([1000, 1000]));
  expect(gro.segments()).toEqual([1, 1]);
});

describe("what is held", () => {
  test("is at most eight packets: the ninth connection sends the one up that was held longest", () => {
    const gro = new GroRig();
    gro.rig.inPoll(() => {
      for (let i = 0; i < 9; i++) gro.rig.machine.net.receive.napiGroReceive(gro.rig.napi, gro.skb(tcpFrame(testPayload(100, i), { sport: i })));
      // One of those would make seven more go up with it.
      for (let i = 9; i < 16; i++) gro.rig.machine.net.receive.napiGroReceive(gro.rig.napi, gro.skb(tcpFrame(testPayload(100, i), { sport: i })));
      expect(gro.up.map((skb) => gro.bytes(skb)[21])).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    });
    expect(gro.up.map((skb) => gro.bytes(skb)[21])).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
  });

  test("goes up in the order in which it was first held, each connection for itself", () => {
    const gro = new GroRig();
    const [a, b] = [connection([100, 100], { sport: 1 }), connection([100, 100], { sport: 2 })];
    gro.receive(a[0]!, b[0]!, b[1]!, a[1]!);
    expect(gro.up.map((skb) => [gro.bytes(skb)[21], skb.gro.count])).toEqual([[1, 2], [2, 2]]);
  });

  test("goes with its instance: no packet and no page is left", () => {
    const gro = new GroRig();
    const { napi, machine } = gro.rig;
    gro.rig.inPoll(() => {
      machine.net.receive.napiGroReceive(napi, gro.skb(connection([100])[0]!));
      machine.net.receive.napiGroReceive(napi, gro.skb(udpFrame(testPayload(10, 1))));
      machine.net.napi.netifNapiDel(napi);
    });
    expect(machine.net.lifetime.stats.live - gro.up.length).toBe(0);
    expect(gro.rig.reportKinds()).toContain("napi-del-enabled");
  });

  test.each([[1000, 0], [250, 1]])("after a poll that used up its budget, HZ %i: what came in this tick stays with short ticks only", (hz, wentUp) => {
    const gro = new GroRig(hz);
    const { machine, dev } = gro.rig;
    const { net, kernel } = machine;
    let polls = 0;
    const napi = net.napi.netifNapiAdd(dev, { poll: (self, budget) => {
      if (++polls === 1) {
        net.receive.napiGroReceive(self, gro.skb(connection([100])[0]!));
        return budget;
      }
      expect(gro.up.length).toBe(wentUp);
      net.napi.napiCompleteDone(self, 0);
      return 0;
    } }, 1);
    net.napi.napiEnable(napi);
    net.napi.napiSchedule(napi);
    kernel.scheduler.runFor(0);
    expect([polls, gro.up.length]).toEqual([2, 1]);
  });

  test("waits for the timer, where the device would rather; then an empty poll sends it up", () => {
    const gro = new GroRig();
    const { machine, dev } = gro.rig;
    dev.groFlushTimeoutNs = 50_000;
    let work = 1;
    const napi = machine.net.napi.netifNapiAdd(dev, { poll: (self) => {
      if (work === 1) machine.net.receive.napiGroReceive(self, gro.skb(connection([100])[0]!));
      const did = work;
      work = 0;
      machine.net.napi.napiCompleteDone(self, did);
      return did;
    } }, 64);
    machine.net.napi.napiEnable(napi);
    machine.net.napi.napiSchedule(napi);
    machine.kernel.scheduler.runFor(0);
    expect(gro.up.length).toBe(0);
    machine.kernel.scheduler.runFor(50_000);
    expect(gro.up.length).toBe(1);
  });
});

test("what is not held goes up eight at a time, and the rest as the poll completes", () => {
  const gro = new GroRig();
  gro.rig.inPoll(() => {
    for (let i = 1; i <= 19; i++) {
      gro.rig.machine.net.receive.napiGroReceive(gro.rig.napi, gro.skb(udpFrame(testPayload(10, i))));
      expect(gro.up.length).toBe(i - (i % 8));
    }
  });
  expect(gro.up.length).toBe(19);
});

test("whatever comes, in whatever layout: each connection's bytes in order, and the pages all home", () => {
  const segment = fc.record({ flow: fc.nat(11), bytes: fc.oneof(fc.constant(500), fc.nat(600)), skip: fc.boolean(), push: fc.boolean(), layout: fc.constantFrom(...LAYOUTS), bad: fc.nat(9), newId: fc.nat(9) });
  let merged = 0;
  fc.assert(fc.property(fc.array(fc.array(segment, { maxLength: 40 }), { maxLength: 6 }), (polls) => {
    const gro = new GroRig();
    const seqs = new Map<number, number>();
    const ids = new Map<number, number>();
    const sent: number[][][] = Array.from({ length: 12 }, () => []);
    let wrongs = 0;
    for (const poll of polls) {
      const received = poll.map(({ flow, bytes, skip, push, layout, bad, newId }) => {
        const seq = ((seqs.get(flow) ?? 1) + (skip && bad > 5 ? 100 : 0)) >>> 0;
        const ipId = ((ids.get(flow) ?? 0) + (newId === 0 ? 7 : 1)) & 0xffff;
        seqs.set(flow, (seq + bytes) >>> 0);
        ids.set(flow, ipId);
        // One that is wrong is passed on past those that are held: it is known by its TTL.
        const wrong = bad === 0 && bytes > 0;
        const frame = tcpFrame(testPayload(bytes, seq), { seq, sport: flow, flags: push && bad > 7 ? PSH | ACK : ACK, ipId, ttl: wrong ? 1 : 64 });
        if (wrong) {
          frame[54] = frame[54]! ^ 0xff;
          wrongs++;
        } else sent[flow]!.push([...frame.subarray(54)]);
        return { frame, layout };
      });
      gro.rig.inPoll(() => {
        for (const { frame, layout } of received) gro.rig.machine.net.receive.napiGroReceive(gro.rig.napi, gro.skb(frame, layout));
      });
    }
    const got: number[][] = Array.from({ length: 12 }, () => []);
    for (const skb of gro.up) {
      const bytes = gro.bytes(skb);
      expect(((bytes[2]! << 8) | bytes[3]!) === skb.len && internetChecksum(bytes, 0, 20) === 0).toBe(true);
      if (bytes[8] === 1) wrongs--;
      else got[bytes[21]!]!.push(...gro.payload(skb));
      if (skb.shinfo!.gsoSegs > 1) merged++;
    }
    expect([got, wrongs]).toEqual([sent.map((pieces) => pieces.flat()), 0]);
    expect(gro.end()).toEqual({ lost: 0, reports: [] });
  }), { numRuns: 60 });
  expect(merged).toBeGreaterThan(20);
});
