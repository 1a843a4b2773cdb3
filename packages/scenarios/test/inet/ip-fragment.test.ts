import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { NSEC_PER_SEC } from "@netmem/kernel/api";
import { GFP_ATOMIC } from "@netmem/mm/api";
import { skbRegion } from "@netmem/net-core/api";
import { internetChecksum, ipFragments, testPayload, udpFrame } from "@netmem/testkit";
import { VethRig } from "../veth/veth-rig.ts";
import { InetRig } from "./inet-rig.ts";

const NOTHING_LEFT = { skbs: 0, pages: 0, reports: [] };
const PAYLOAD = testPayload(4000, 3);
const PIECES = ipFragments(udpFrame(PAYLOAD, { fragOff: 0 }));

/** Of a piece: its bytes, said to be others of the datagram's, `words` of eight bytes on. */
function withOffset(piece: Uint8Array, words: number, more: boolean): Uint8Array {
  const copy = piece.slice();
  const view = new DataView(copy.buffer);
  view.setUint16(16, copy.length - 14);
  view.setUint16(20, (more ? 0x2000 : 0) | words);
  view.setUint16(24, 0);
  let sum = 0;
  for (let at = 14; at < 34; at += 2) sum += view.getUint16(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  view.setUint16(24, 0xffff - sum);
  return copy;
}

test("a datagram of 4000 bytes comes in three pieces, in any order and any number of each, and is read as it was sent", () => {
  expect(PIECES.map(({ length }) => length)).toEqual([1514, 1514, 34 + 8 + 4000 - 2 * 1480]);
  const orders = fc.array(fc.nat(2), { maxLength: 6 }).chain((more) => fc.shuffledSubarray([0, 1, 2, ...more].map((piece, i) => piece + 3 * i), { minLength: 3 + more.length }));
  fc.assert(fc.property(orders, fc.integer({ min: 34, max: 1600 }), (order, headBytes) => {
    const rig = new InetRig();
    const socket = rig.udp(2000);
    rig.receive(order.map((n) => PIECES[n % 3]!), headBytes);
    const read = rig.read(socket, 5000);
    expect(read).toEqual([...PAYLOAD]);
    // What of the repetitions came after it was whole waits for the rest, in vain.
    rig.machine.kernel.scheduler.runFor(31 * NSEC_PER_SEC);
    socket.close();
    expect(rig.end()).toEqual(NOTHING_LEFT);
  }), { numRuns: 60 });
});

test("several datagrams at a time are told apart by their number, their addresses and their protocol", () => {
  const rig = new InetRig();
  const socket = rig.udp(2000);
  const datagrams = [{ ipId: 1 }, { ipId: 2 }, { ipId: 1, saddr: 0x0a00_0009 }].map((header, i) => ipFragments(udpFrame(testPayload(2000, i + 1), { fragOff: 0, ...header })));
  rig.receive([0, 1].flatMap((piece) => datagrams.map((pieces) => pieces[piece]!)));
  expect([1, 2, 3].map(() => rig.read(socket, 3000))).toEqual([1, 2, 3].map((seed) => [...testPayload(2000, seed)]));
  expect(rig.machine.net.inet.stats).toMatchObject({ ipReasmReqds: 6, ipReasmOks: 3, ipReasmFails: 0, udpInDatagrams: 3 });
  socket.close();
  expect(rig.end()).toEqual(NOTHING_LEFT);
});

describe("what does not become a datagram is freed, and counted", () => {
  test("pieces wait half a minute for the rest; meanwhile they are somebody's", () => {
    const rig = new InetRig();
    rig.receive(PIECES.slice(0, 2));
    expect(rig.machine.net.holders().map(({ kind, name, packets }) => [kind, name, packets.length])).toEqual([["ip-fragments", expect.stringMatching(/^\d+ to 10\.0\.0\.2 from 10\.0\.0\.1$/), 2]]);
    rig.machine.kernel.scheduler.runFor(29 * NSEC_PER_SEC);
    expect(rig.machine.net.lifetime.stats.live).toBe(2);
    rig.machine.kernel.scheduler.runFor(2 * NSEC_PER_SEC);
    expect(rig.machine.net.inet.stats).toMatchObject({ ipReasmReqds: 2, ipReasmOks: 0, ipReasmFails: 1 });
    expect(rig.end()).toEqual(NOTHING_LEFT);
  });

  test.each([
    ["overlaps another", [PIECES[0]!, withOffset(PIECES[1]!, 100, true)]],
    ["ends elsewhere than another last one", [PIECES[2]!, withOffset(PIECES[2]!, 400, false)]],
    ["lies behind the end", [PIECES[2]!, withOffset(PIECES[1]!, 1000, true)]],
    ["has no bytes", [PIECES[0]!, withOffset(udpFrame(new Uint8Array(0)).subarray(0, 34), 185, true)]],
  ])("one that %s takes all others with it", (_what, pieces) => {
    const rig = new InetRig();
    rig.receive(pieces);
    expect(rig.machine.net.lifetime.stats.live).toBe(0);
    expect(rig.end()).toEqual(NOTHING_LEFT);
  });

  test("a datagram longer than any may be", () => {
    const rig = new InetRig();
    const piece = (offset: number, more: boolean): Uint8Array => withOffset(PIECES[0]!, offset / 8, more);
    rig.receive([...Array.from({ length: 44 }, (_, i) => piece(i * 1480, true)), piece(44 * 1480, false)]);
    expect(rig.machine.net.inet.stats).toMatchObject({ ipReasmReqds: 45, ipReasmOks: 0, ipReasmFails: 1 });
    expect(rig.end()).toEqual(NOTHING_LEFT);
  });

  test("pieces beyond four megabytes", () => {
    const rig = new InetRig({ nrPages: 4096 });
    const starts = Array.from({ length: 1200 }, (_, i) => ipFragments(udpFrame(PAYLOAD, { fragOff: 0, ipId: i }))[0]!);
    rig.receive(starts);
    const { ipReasmFails } = rig.machine.net.inet.stats;
    expect(ipReasmFails > 0 && rig.machine.net.lifetime.stats.live === 1200 - ipReasmFails).toBe(true);
    rig.machine.kernel.scheduler.runFor(31 * NSEC_PER_SEC);
    expect(rig.end()).toEqual(NOTHING_LEFT);
  });
});

/** A piece with Record Route, an option that only the first one has. */
function withRecordRoute(piece: Uint8Array): Uint8Array {
  const longer = new Uint8Array(piece.length + 8);
  longer.set(piece.subarray(0, 34));
  longer.set([7, 7, 4], 34);
  longer.set(piece.subarray(34), 42);
  longer[14] = 0x47;
  const view = new DataView(longer.buffer);
  view.setUint16(16, longer.length - 14);
  view.setUint16(24, 0);
  view.setUint16(24, internetChecksum(longer, 14, 42));
  return longer;
}

function withTos(piece: Uint8Array, tos: number): Uint8Array {
  const copy = piece.slice();
  const view = new DataView(copy.buffer);
  copy[15] = tos;
  view.setUint16(24, 0);
  view.setUint16(24, internetChecksum(copy, 14, 34));
  return copy;
}

test.each([["the first piece last", [2, 1, 0]], ["the first piece first", [0, 1, 2]], ["the first in the middle", [1, 0, 2]]])("an option that the first piece alone has is the datagram's, %s", (_what, order) => {
  const rig = new InetRig();
  const socket = rig.udp(2000);
  const pieces = [withRecordRoute(PIECES[0]!), PIECES[1]!, PIECES[2]!];
  rig.receive(order.map((piece) => pieces[piece]!));
  expect(rig.read(socket, 5000)).toEqual([...PAYLOAD]);
  expect(rig.end()).toEqual(NOTHING_LEFT);
});

test("a first piece that has a list of packets itself goes on with it, in front of the others, and shares it with nobody (inet_frag_reasm_prepare)", () => {
  for (const tapped of [false, true]) {
    const rig = new InetRig();
    const socket = rig.udp(2000);
    const first = rig.skb(PIECES[0]!.subarray(0, 500));
    const member = rig.skb(PIECES[0]!.subarray(500));
    const { edit, lifetime, receive } = rig.machine.net;
    edit.skbPush(member, 14);
    first.shinfo!.fragList = member;
    first.len += member.len;
    first.dataLen += member.len;
    first.truesize += member.truesize;
    const clone = tapped ? lifetime.skbClone(first, GFP_ATOMIC)! : null;
    receive.netifReceiveSkb(first);
    rig.receive(PIECES.slice(1));
    const [queued] = socket.packets();
    expect([queued!.shinfo!.fragList!.len, queued!.shinfo!.fragList!.next !== null]).toEqual([PIECES[0]!.length - 500, true]);
    expect(rig.read(socket, 5000)).toEqual([...PAYLOAD]);
    if (clone !== null) {
      expect([member.next, clone.len]).toEqual([null, PIECES[0]!.length - 14]);
      lifetime.consumeSkb(clone);
    }
    expect(rig.end()).toEqual(NOTHING_LEFT);
  }
});

test("a piece again within what came in one run is a repetition, of whatever length; over the border of two runs it is an attack (inet_frag_queue_insert)", () => {
  const again = withOffset(PIECES[0]!, 92, true);
  const inOrder = new InetRig();
  const socket = inOrder.udp(2000);
  inOrder.receive([PIECES[0]!, PIECES[1]!, again, PIECES[2]!]);
  expect([inOrder.read(socket, 5000), inOrder.machine.net.inet.stats.ipReasmFails]).toEqual([[...PAYLOAD], 0]);
  expect(inOrder.end()).toEqual(NOTHING_LEFT);
  const backwards = new InetRig();
  backwards.receive([PIECES[1]!, PIECES[0]!, again]);
  expect([backwards.machine.net.lifetime.stats.live, backwards.machine.net.inet.stats.ipReasmFails]).toEqual([0, 1]);
  expect(backwards.end()).toEqual(NOTHING_LEFT);
});

test("between two pieces of a datagram its sender may send 64 of others: what waits after more belongs to another (ip_frag_too_far)", () => {
  const two = (ipId: number): Uint8Array[] => ipFragments(udpFrame(testPayload(2000, ipId), { fragOff: 0, ipId }));
  const run = (others: number): { read: number; fails: number } => {
    const rig = new InetRig();
    const socket = rig.udp(2000);
    const [first, second] = two(1) as [Uint8Array, Uint8Array];
    rig.receive([first, ...Array.from({ length: others }, (_, i) => two(2 + i)[0]!), second]);
    const read = socket.length();
    const fails = rig.machine.net.inet.stats.ipReasmFails;
    socket.close();
    rig.machine.kernel.scheduler.runFor(31 * NSEC_PER_SEC);
    expect(rig.end()).toEqual(NOTHING_LEFT);
    return { read, fails };
  };
  expect([run(63), run(64)]).toEqual([{ read: 1, fails: 0 }, { read: 0, fails: 1 }]);
});

test.each([["ECT(0) and CE", [2, 3, 2], 3], ["ECT(1) in all", [1, 1, 1], 1], ["CE in all", [3, 3, 3], 3], ["none in all", [0, 0, 0], 0], ["none and CE", [0, 3, 0], null], ["none and ECT(0)", [0, 0, 2], null]])("what pieces say of congestion, %s, the datagram does, or it is dropped (ip_frag_ecn_table)", (_what, marks, expected) => {
  const rig = new InetRig();
  const socket = rig.udp(2000);
  rig.receive(PIECES.map((piece, i) => withTos(piece, marks[i]!)));
  const [skb] = socket.packets();
  expect(skb === undefined ? null : skbRegion(skb).bytes[skb.networkHeader + 1]).toBe(expected);
  expect(rig.machine.net.inet.stats.ipReasmFails).toBe(expected === null ? 1 : 0);
  socket.close();
  expect(rig.end()).toEqual(NOTHING_LEFT);
});

/** The capture g-leak-socket-holds: twenty such datagrams held twenty pages at tear-down. */
test("over a veth with a program, a piece of 1514 bytes has a page of its own, into which that of 362 is copied: a page a datagram, home when it is closed", () => {
  const rig = new VethRig();
  rig.attachPass(rig.b);
  const pool = rig.pool();
  const { net } = rig.machine;
  net.receive.setProtocol(net.inet);
  const socket = net.inet.udpBind({ name: "7702", port: 2000 });
  if (typeof socket === "number") throw new Error("refused");
  for (let i = 0; i < 20; i++) rig.send(rig.a, ipFragments(udpFrame(testPayload(1800, i), { fragOff: 0, ipId: i })));
  // One more is the pool's own, which fragments are cut from.
  const out = (): number => pool.inflight() - pool.cacheCount - pool.ringCount() - (pool.fragPage === null ? 0 : 1);
  expect([socket.length(), out()]).toEqual([20, 20]);
  socket.close();
  rig.machine.kernel.rcu.rcuBarrier();
  expect(out()).toBe(0);
  expect(rig.end()).toEqual(NOTHING_LEFT);
});
