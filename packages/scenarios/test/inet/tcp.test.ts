import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { EAGAIN, ECONNRESET } from "@netmem/kernel/api";
import { PAGE_SIZE } from "@netmem/mm/api";
import { SKB_DROP_REASON_NO_SOCKET, SKB_DROP_REASON_TCP_FLAGS } from "@netmem/net-core/api";
import { tcpFrame, testPayload, type TcpHeader } from "@netmem/testkit";
import { InetRig } from "./inet-rig.ts";

const FIN = 0x01, SYN = 0x02, RST = 0x04, ACK = 0x10;
const NOTHING_LEFT = { skbs: 0, pages: 0, reports: [] };
const STREAM = testPayload(1 << 16, 7);

/** Bytes `from` to `to` of the stream, whose first has the number 1001. */
function segment(from: number, to: number, header: TcpHeader = {}): Uint8Array {
  return tcpFrame(STREAM.subarray(from, to), { seq: (1001 + from) >>> 0, ...header });
}

const HELLO = tcpFrame(new Uint8Array(0), { seq: 1000, flags: SYN });

function stream(to: number, from: number = 0): number[] {
  return [...STREAM.subarray(from, to)];
}

function one(rig: InetRig, frames: readonly Uint8Array[], headBytes?: number) {
  const sockets = rig.tcp(2000);
  rig.receive(frames, headBytes);
  expect(sockets.length).toBe(1);
  return sockets[0]!;
}

describe.each([["in one piece", undefined], ["headers in the head, payload in a frag", 54]] as const)("segments received %s", (_what, headBytes) => {
  test("are one stream, coalesced in the queue, read in any pieces, up to its end", () => {
    const rig = new InetRig();
    const socket = one(rig, [HELLO, segment(0, 1000), segment(1000, 2000), segment(2000, 2500, { flags: FIN | ACK })], headBytes);
    expect([socket.available(), socket.packets().length]).toEqual([2500, 1]);
    expect([rig.read(socket, 700), rig.read(socket, 1000), rig.read(socket), rig.read(socket)]).toEqual([stream(700), stream(1700, 700), stream(2500, 1700), []]);
    expect(rig.end()).toEqual(NOTHING_LEFT);
  });

  test("out of order wait for what is missing, coalesced too", () => {
    const rig = new InetRig();
    const socket = one(rig, [HELLO, segment(3000, 4000), segment(1000, 2000), segment(2000, 3000), segment(5000, 6000)], headBytes);
    expect([socket.available(), socket.outOfOrder(), rig.read(socket)]).toEqual([0, 4000, -EAGAIN]);
    rig.receive([segment(0, 1000)], headBytes);
    expect([socket.available(), socket.outOfOrder(), rig.readAll(socket)]).toEqual([4000, 1000, stream(4000)]);
    rig.receive([segment(4000, 5000)], headBytes);
    expect([rig.readAll(socket), socket.outOfOrder()]).toEqual([stream(6000, 4000), 0]);
    expect(rig.end()).toEqual(NOTHING_LEFT);
  });

  test.each([
    ["again, all of it", [segment(0, 1000), segment(0, 1000)]], ["again, and more", [segment(0, 1000), segment(500, 2000)]], ["around what was ahead", [segment(1000, 1500), segment(500, 2000), segment(0, 500)]],
    ["beginning as what was ahead does, and longer", [segment(1000, 1500), segment(1000, 2000), segment(0, 1000)]], ["within what was ahead", [segment(1000, 2000), segment(1200, 1500), segment(0, 1000)]],
    ["over two that were ahead", [segment(1000, 1500), segment(1600, 2000), segment(900, 2000), segment(0, 950)]], ["over the end of what was ahead", [segment(500, 1500), segment(1000, 2000), segment(0, 700)]],
  ] as const)("%s: each byte once", (_case, frames) => {
    const rig = new InetRig();
    const socket = one(rig, [HELLO, ...frames], headBytes);
    const got = rig.readAll(socket, 333);
    expect(got).toEqual(stream(got.length));
    expect([got.length, socket.outOfOrder()]).toEqual([Math.max(...frames.map((frame) => frame.length - 54 + new DataView(frame.buffer).getUint32(38) - 1001)), 0]);
    socket.close();
    expect(rig.end()).toEqual(NOTHING_LEFT);
  });
});

test("SYN and FIN in one begin no connection, where somebody listens and where nobody does", () => {
  const reasons: number[] = [];
  const rig = new InetRig({ probes: { skb: { freed: (_skb, reason) => void reasons.push(reason), groReceiveEntry: () => undefined, received: () => undefined, polled: () => undefined } } });
  const streams = rig.tcp(2000);
  rig.receive([tcpFrame(testPayload(1, 1), { flags: SYN | FIN }), tcpFrame(testPayload(1, 1), { flags: SYN | FIN, dport: 2001 })]);
  const { stats } = rig.machine.net.inet;
  expect([streams.length, stats.tcpNotTaken, stats.tcpNoPorts, reasons]).toEqual([0, 1, 1, [SKB_DROP_REASON_TCP_FLAGS, SKB_DROP_REASON_NO_SOCKET]]);
});

test("a connection met under way begins where it is met; a reset of none is nobody's", () => {
  const rig = new InetRig();
  const sockets = rig.tcp(2000);
  rig.receive([segment(0, 100, { flags: RST }), segment(500, 600), segment(0, 100)]);
  expect([sockets.length, rig.read(sockets[0]!), sockets[0]!.drops()]).toEqual([1, stream(600, 500), 1]);
  expect(rig.end()).toEqual(NOTHING_LEFT);
});

test("data in a SYN is the stream's first", () => {
  const rig = new InetRig();
  const socket = one(rig, [tcpFrame(STREAM.subarray(0, 100), { seq: 1000, flags: SYN }), segment(100, 200)]);
  expect(rig.readAll(socket)).toEqual(stream(200));
});

test("a reset of another number than the next is somebody else's, and dropped", () => {
  const rig = new InetRig();
  const socket = one(rig, [HELLO, segment(0, 100), tcpFrame(new Uint8Array(0), { seq: 0x7000_0000, flags: RST }), segment(100, 200)]);
  expect([rig.read(socket), rig.machine.net.inet.stats.tcpNotTaken]).toEqual([stream(200), 1]);
});

test.each([["FIN", segment(100, 100, { flags: FIN | ACK })], ["RST", segment(100, 100, { flags: RST })]])("after a %s the same addresses and ports begin anew with a SYN", (_what, last) => {
  const rig = new InetRig();
  const sockets = rig.tcp(2000);
  rig.receive([HELLO, segment(0, 100), last, tcpFrame(new Uint8Array(0), { seq: 5000, flags: SYN }), tcpFrame(STREAM.subarray(0, 50), { seq: 5001 })]);
  expect([sockets.length, rig.readAll(sockets[0]!), rig.readAll(sockets[1]!)]).toEqual([2, stream(100), stream(50)]);
  for (const socket of sockets) socket.close();
  expect(rig.end()).toEqual(NOTHING_LEFT);
});

test.each([
  ["a SYN with data within the connection", segment(100, 200, { flags: SYN | ACK })], ["the first SYN again", HELLO], ["a segment that acknowledges nothing", segment(100, 200, { flags: 0 })],
  ["a FIN that acknowledges nothing", segment(100, 200, { flags: FIN })],
] as const)("%s is no part of the stream (tcp_validate_incoming, tcp_rcv_established)", (_what, frame) => {
  const rig = new InetRig();
  const socket = one(rig, [HELLO, segment(0, 100), frame]);
  expect([rig.readAll(socket), socket.drops(), rig.machine.net.inet.stats.tcpNotTaken]).toEqual([stream(100), 1, 1]);
  rig.receive([segment(100, 200)]);
  expect(rig.readAll(socket)).toEqual(stream(200, 100));
  expect(rig.end()).toEqual(NOTHING_LEFT);
});

test("what has no bytes and no SYN begins no connection: not the last ACK of one that was closed, nor a hundred of nobody", () => {
  const rig = new InetRig();
  const sockets = rig.tcp(2000);
  rig.receive([HELLO, segment(0, 100), segment(100, 100, { flags: FIN | ACK })]);
  rig.readAll(sockets[0]!);
  sockets[0]!.close();
  rig.receive([segment(101, 101), segment(100, 100, { flags: FIN | ACK }), ...Array.from({ length: 100 }, (_, i) => segment(0, 0, { sport: 5000 + i }))]);
  expect([sockets.length, rig.machine.net.inet.stats.tcpNoPorts]).toEqual([1, 102]);
  expect(rig.end()).toEqual(NOTHING_LEFT);
});

/** What a segment is charged here: a page and the structs. */
const [CHARGE] = (() => {
  const rig = new InetRig();
  const socket = one(rig, [HELLO, segment(0, 100)]);
  const charged = socket.rmemAlloc();
  socket.close();
  return [charged];
})();

describe("out of room", () => {
  /** Room for seven: each is taken while no more than six are there, and its bytes fit. */
  const SEVEN = 6 * CHARGE + 100;
  const odd = (i: number): Uint8Array => segment(100 + 200 * i, 200 + 200 * i);

  test("of what is ahead nothing gives way to what lies behind it; to what lies before it the last do (the packetdrill test of tcp_prune_ofo_queue)", () => {
    const again = new InetRig();
    const sockets = again.tcp(2000, { rcvbufBytes: SEVEN });
    again.receive([HELLO, ...[0, 1, 2, 3, 4, 5, 6].map(odd)]);
    expect([sockets[0]!.outOfOrder(), sockets[0]!.drops()]).toEqual([700, 0]);
    // Behind all: it is the one that goes.
    again.receive([odd(7)]);
    expect([sockets[0]!.outOfOrder(), sockets[0]!.drops(), again.machine.net.inet.stats.tcpRcvbufErrors]).toEqual([700, 1, 1]);
    // The next one: the last makes way.
    again.receive([segment(0, 100)]);
    expect([again.readAll(sockets[0]!), sockets[0]!.outOfOrder(), sockets[0]!.drops()]).toEqual([stream(200), 500, 2]);
    again.receive([segment(200, 300), segment(400, 500), segment(600, 700), segment(800, 900), segment(1000, 1100)]);
    expect(again.readAll(sockets[0]!)).toEqual(stream(1200, 200));
    expect(again.end()).toEqual(NOTHING_LEFT);
  });

  test.each([["6.18", 100], ["6.1", 0]] as const)("%s: to what is ahead, too, and lies before others, those give way; before 6.2 they did to any", (preset, kept) => {
    const rig = new InetRig({ preset });
    const sockets = rig.tcp(2000, { rcvbufBytes: SEVEN });
    rig.receive([HELLO, ...[0, 1, 2, 3, 4, 5, 6].map(odd), odd(7)]);
    const before = sockets[0]!.packets().map(({ seq }) => seq - 1001);
    // The seventh is still there where the eighth did not push it out.
    expect(before.includes(100 + 200 * 6) ? 100 : 0).toBe(kept);
    sockets[0]!.close();
    expect(rig.end()).toEqual(NOTHING_LEFT);
  });

  test.each([["6.18", []], ["6.8", -EAGAIN]] as const)("%s: a FIN alone, which is next, needs none from 6.10 on", (preset, end) => {
    const rig = new InetRig({ preset });
    const sockets = rig.tcp(2000, { rcvbufBytes: 100 });
    rig.receive([HELLO, segment(0, 100), segment(100, 200), segment(100, 100, { flags: FIN | ACK })]);
    expect([sockets[0]!.drops(), rig.readAll(sockets[0]!), rig.read(sockets[0]!)]).toEqual([end === -EAGAIN ? 2 : 1, stream(100), end]);
    sockets[0]!.close();
    expect(rig.end()).toEqual(NOTHING_LEFT);
  });
});

test("closed as it is accepted, the segment that opened it is gone, too", () => {
  const rig = new InetRig();
  rig.tcp(2000, { accept: (socket) => socket.close() });
  rig.receive([segment(0, 100)]);
  expect(rig.end()).toEqual(NOTHING_LEFT);
});

test("what lies behind a FIN that was ahead is no part of the stream", () => {
  const rig = new InetRig();
  const socket = one(rig, [HELLO, segment(100, 200, { flags: FIN | ACK }), tcpFrame(STREAM.subarray(201, 301), { seq: 1001 + 201 }), segment(0, 100)]);
  expect([rig.readAll(socket), rig.read(socket)]).toEqual([stream(200), []]);
  expect(rig.end()).toEqual(NOTHING_LEFT);
});

test("every segment that is not kept is counted: no room, there already, not to be taken", () => {
  const rig = new InetRig();
  const sockets = rig.tcp(2000, { rcvbufBytes: 5000 });
  rig.receive([HELLO, segment(0, 100), segment(0, 100), segment(2000, 2100), segment(3000, 3100), segment(100, 100, { flags: RST }), segment(100, 200)]);
  const { tcpRepeats, tcpRcvbufErrors, tcpNotTaken } = rig.machine.net.inet.stats;
  expect([tcpRepeats, tcpRcvbufErrors, tcpNotTaken, sockets[0]!.drops()]).toEqual([1, 1, 1, 3]);
  sockets[0]!.close();
});

test("a reset ends it: what is in order can be read, then the error once; what was ahead stays until it is closed (tcp_reset, tcp_done)", () => {
  const rig = new InetRig();
  const socket = one(rig, [HELLO, segment(0, 100), segment(200, 300), segment(100, 100, { flags: RST }), segment(100, 200)]);
  expect([rig.read(socket), rig.read(socket), rig.read(socket), socket.outOfOrder()]).toEqual([stream(100), -ECONNRESET, [], 100]);
  socket.close();
  expect(rig.end()).toEqual(NOTHING_LEFT);
});

test("behind a FIN comes nothing; a FIN that was ahead ends it when its time comes", () => {
  const rig = new InetRig();
  const socket = one(rig, [HELLO, segment(100, 200, { flags: FIN | ACK }), segment(300, 400), segment(0, 100), segment(201, 300)]);
  expect([rig.readAll(socket), rig.read(socket), socket.outOfOrder()]).toEqual([stream(200), [], 0]);
  expect(rig.end()).toEqual(NOTHING_LEFT);
});

test("a FIN by itself", () => {
  const rig = new InetRig();
  const socket = one(rig, [HELLO, segment(0, 100), segment(100, 100, { flags: FIN | ACK })]);
  expect([socket.available(), rig.read(socket), rig.read(socket)]).toEqual([100, stream(100), []]);
  expect(rig.end()).toEqual(NOTHING_LEFT);
});

test("a segment that waited for another came when it came, not when it was its turn", () => {
  const rig = new InetRig();
  const socket = one(rig, [HELLO, segment(100, 200)]);
  rig.machine.kernel.scheduler.runFor(5_000_000_000);
  rig.receive([segment(300, 400)]);
  rig.receive([segment(0, 50)]);
  expect(socket.packets().map(({ seq, tstamp }) => [seq - 1001, tstamp])).toEqual([[0, 5_000_000_000], [100, 0], [300, 5_000_000_000]]);
  socket.close();
});

test("numbers go over the top", () => {
  const rig = new InetRig();
  const base = 0xffff_ff00;
  const at = (from: number, to: number): Uint8Array => tcpFrame(STREAM.subarray(from, to), { seq: (base + from) >>> 0 });
  const socket = one(rig, [at(0, 200), at(400, 600), at(200, 400)]);
  expect(rig.readAll(socket)).toEqual(stream(600));
});

test("a wrong checksum, and headers that are cut, are dropped and counted; the stream goes on when they come again", () => {
  const rig = new InetRig();
  const bad = segment(0, 100);
  bad[60] = bad[60]! ^ 1;
  const sockets = rig.tcp(2000);
  const long = segment(0, 100);
  long[46] = 0xf0;
  rig.receive([HELLO, bad, segment(100, 200), segment(0, 100)]);
  expect([rig.machine.net.inet.stats.tcpCsumErrors, rig.machine.net.inet.stats.tcpInErrs, rig.readAll(sockets[0]!)]).toEqual([1, 1, stream(200)]);
  rig.receive([long]);
  expect(rig.machine.net.inet.stats.tcpInErrs).toBe(2);
  expect(rig.end()).toEqual(NOTHING_LEFT);
});

test("beyond its buffer a segment is dropped; what is next has precedence over what is ahead", () => {
  const rig = new InetRig();
  const sockets = rig.tcp(2000, { rcvbufBytes: 2 * CHARGE + 1000 });
  rig.receive([HELLO, segment(1000, 1100), segment(2000, 2100), segment(3000, 3100), segment(4000, 4100)]);
  const socket = sockets[0]!;
  expect([socket.outOfOrder(), socket.drops()]).toEqual([300, 1]);
  rig.receive([segment(0, 1000)]);
  expect([socket.available(), socket.outOfOrder()]).toEqual([1100, 100]);
  socket.close();
  expect(rig.end()).toEqual(NOTHING_LEFT);
});

test("many connections are told apart, and each ends by itself", () => {
  const rig = new InetRig({ nrPages: 8192 });
  const sockets = rig.tcp(null);
  for (let round = 0; round < 2; round++) {
    for (let i = 0; i < 600; i++) rig.receive([tcpFrame(STREAM.subarray(10 * round, 10 * round + 10), { sport: i, seq: 1 + 10 * round, saddr: i % 7, dport: i % 3 })]);
  }
  expect([sockets.length, sockets.every((socket, i) => socket.sport === i && socket.saddr === i % 7 && socket.dport === i % 3)]).toEqual([600, true]);
  for (const socket of sockets) {
    expect(rig.readAll(socket)).toEqual(stream(20));
    socket.close();
  }
  rig.receive([tcpFrame(STREAM.subarray(0, 10), { sport: 5, saddr: 5, dport: 2 })]);
  expect(sockets.length).toBe(601);
  sockets[600]!.close();
  expect(rig.end()).toEqual(NOTHING_LEFT);
});

test("whatever is lost, repeated, cut otherwise and reordered: the stream's bytes, each once, and every page home", () => {
  const piece = fc.tuple(fc.nat(19_999), fc.integer({ min: 1, max: 1448 }));
  fc.assert(fc.property(fc.array(piece, { maxLength: 40 }), fc.integer({ min: 60, max: 1448 }), fc.array(fc.nat(), { minLength: 10, maxLength: 10 }), fc.boolean(), fc.nat(3), (noise, mss, order, split, tap) => {
    const rig = new InetRig({ nrPages: 4096 });
    const taps = rig.machine.net.sockets.openTap({ name: "tap" });
    if (tap === 0) rig.machine.net.receive.addTap(taps);
    const frames: Uint8Array[] = [];
    for (let from = 0; from < 20_000; from += mss) frames.push(segment(from, Math.min(20_000, from + mss), from + mss >= 20_000 ? { flags: FIN | ACK } : {}));
    for (const [from, bytes] of noise) frames.push(segment(from, Math.min(20_000, from + bytes)));
    // A shuffle that shrinks to none.
    for (let i = frames.length - 1; i > 0; i--) {
      const j = i - (order[i % order.length]! % (i + 1));
      [frames[i], frames[j]] = [frames[j]!, frames[i]!];
    }
    const sockets = rig.tcp(2000);
    rig.receive([HELLO]);
    const got: number[] = [];
    for (const [i, frame] of frames.entries()) {
      rig.receive([frame], split ? 54 : undefined);
      if (i % 3 === 0) got.push(...rig.readAll(sockets[0]!, 777));
    }
    got.push(...rig.readAll(sockets[0]!));
    expect(got).toEqual(stream(20_000));
    expect([rig.read(sockets[0]!), sockets[0]!.rmemAlloc()]).toEqual([[], 0]);
    taps.close();
    expect(rig.end()).toEqual(NOTHING_LEFT);
  }), { numRuns: 60 });
});

describe("what is ahead (tcp_data_queue_ofo)", () => {
  test("a small segment gives up the page of its frag as it waits, and is charged for less (skb_condense)", () => {
    const rig = new InetRig();
    const sockets = rig.tcp(2000);
    rig.receive([tcpFrame(testPayload(100, 0), { seq: 1000 })]);
    const before = sockets[0]!.rmemAlloc();
    rig.receive([tcpFrame(testPayload(100, 1), { seq: 1200 })], 54, PAGE_SIZE);
    const ahead = sockets[0]!.packets().at(-1)!;
    expect([ahead.shinfo!.nrFrags, ahead.dataLen, sockets[0]!.rmemAlloc() - before]).toEqual([0, 0, 4096 + 256]);
    sockets[0]!.close();
    expect(rig.end()).toEqual(NOTHING_LEFT);
  });

  test("one that grows by coalescing leaves those that it has all bytes of, which are dropped as they would be next (coalesce_done does not merge_right)", () => {
    const rig = new InetRig();
    const sockets = rig.tcp(2000);
    const bytes = testPayload(400, 3);
    const of = (from: number, to: number) => tcpFrame(bytes.subarray(from, to), { seq: 1000 + from });
    rig.receive([of(0, 50), of(100, 200), of(250, 300), of(200, 400)]);
    expect(sockets[0]!.packets().map(({ seq, len }) => [seq - 1000, len])).toEqual([[0, 50], [100, 300], [250, 50]]);
    expect([sockets[0]!.drops(), rig.machine.net.inet.stats.tcpRepeats]).toEqual([0, 0]);
    rig.receive([of(50, 100)]);
    expect([sockets[0]!.drops(), rig.machine.net.inet.stats.tcpRepeats, rig.readAll(sockets[0]!)]).toEqual([1, 1, [...bytes]]);
    sockets[0]!.close();
    expect(rig.end()).toEqual(NOTHING_LEFT);
  });
});
