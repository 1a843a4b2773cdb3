import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { NSEC_PER_SEC } from "@netmem/kernel/api";
import { ipFragments, testPayload, udpFrame } from "@netmem/testkit";
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
  fc.assert(fc.property(fc.shuffledSubarray([0, 1, 2, 0, 1, 2].map((piece, i) => piece + 3 * i), { minLength: 6 }), fc.integer({ min: 34, max: 1600 }), (order, headBytes) => {
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
    expect(rig.machine.net.holders().map(({ kind, packets }) => [kind, packets.length])).toEqual([["ip-fragments", 2]]);
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
  expect(out()).toBe(0);
  expect(rig.end()).toEqual(NOTHING_LEFT);
});
