import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { PresetName } from "@netmem/machine";
import { PAGE_SIZE, type Page } from "@netmem/mm/api";
import { skbHeadFrag, type TcpSocket } from "@netmem/net-core/api";
import { tcpFrame, testPayload, type TcpHeader } from "@netmem/testkit";
import { InetRig } from "./inet-rig.ts";

const FIN = 0x01, SYN = 0x02, ACK = 0x10;
const NOTHING_LEFT = { skbs: 0, pages: 0, reports: [] };
const STREAM = testPayload(1 << 16, 9);
const HELLO = tcpFrame(new Uint8Array(0), { seq: 1000, flags: SYN });
/** SKB_MAX_ORDER(0, 0). */
const MOST_BYTES = PAGE_SIZE - 320;

function segment(from: number, to: number, header: TcpHeader = {}): Uint8Array {
  return tcpFrame(STREAM.subarray(from, to), { seq: (1001 + from) >>> 0, ...header });
}

/** Payload lies in a page of its own, so that no segment is copied behind another's. */
const IN_HEAD = 54;

/** Segments of `bytes` each, one behind the other. */
function segments(count: number, bytes: number, from: number = 0): Uint8Array[] {
  return Array.from({ length: count }, (_, i) => segment(from + i * bytes, from + (i + 1) * bytes));
}

function stream(to: number, from: number = 0): number[] {
  return [...STREAM.subarray(from, to)];
}

function connected(rcvbufBytes: number, preset: PresetName = "6.18"): { readonly rig: InetRig; readonly socket: TcpSocket } {
  const rig = new InetRig({ preset });
  const sockets = rig.tcp(2000, { rcvbufBytes });
  rig.receive([HELLO]);
  if (sockets.length === 0) throw new Error("not connected");
  return { rig, socket: sockets[0]! };
}

/** One that these frames fill to the brim: all are taken, and the next finds no room. */
function full(frames: readonly Uint8Array[], preset: PresetName = "6.18"): { readonly rig: InetRig; readonly socket: TcpSocket } {
  const measured = connected(1 << 20, preset);
  measured.rig.receive(frames, IN_HEAD);
  const filled = connected(measured.socket.rmemAlloc() - 1, preset);
  filled.rig.receive(frames, IN_HEAD);
  expect([filled.socket.drops(), filled.rig.machine.net.inet.stats.tcpRcvCollapsed]).toEqual([0, 0]);
  return filled;
}

/** Of the packets that wait: bytes, and whether they lie in pages. */
function waiting(socket: TcpSocket): readonly (readonly [number, boolean])[] {
  return socket.packets().map((skb) => [skb.len, skbHeadFrag(skb) || skb.dataLen > 0] as const);
}

describe("a socket that is short of room (tcp_prune_queue, tcp_collapse)", () => {
  test("copies what it has into as few heads as it takes: pages go home before anybody reads, nothing is dropped, and no byte is another", () => {
    const { rig, socket } = full(segments(9, 500));
    expect(waiting(socket)).toEqual([[4500, true]]);
    const { frags, nrFrags, headPage } = socket.packets()[0]!.shinfo!;
    const held = [headPage!, ...frags.slice(0, nrFrags).map(({ netmem }) => netmem as Page)];
    rig.receive(segments(1, 500, 4500), IN_HEAD);
    // The first is full, and what comes is copied behind the second, which has room.
    expect(waiting(socket)).toEqual([[MOST_BYTES, false], [4500 - MOST_BYTES + 500, false]]);
    expect([held.length, held.every(({ refcount }) => refcount === 0)]).toEqual([10, true]);
    expect([socket.drops(), rig.machine.net.inet.stats.tcpRcvCollapsed, socket.available()]).toEqual([0, 1, 5000]);
    expect(socket.rmemAlloc()).toBe(socket.packets().reduce((sum, { truesize }) => sum + truesize, 0));
    expect([rig.readAll(socket, 999), socket.rmemAlloc()]).toEqual([stream(5000), 0]);
    expect(rig.end()).toEqual(NOTHING_LEFT);
  });

  test("leaves out what was read", () => {
    const { rig, socket } = full(segments(4, 300));
    expect(rig.read(socket, 450)).toEqual(stream(450));
    rig.receive(segments(1, 300, 1200), IN_HEAD);
    const [first] = socket.packets();
    expect([first!.seq - 1001, first!.endSeq - 1001]).toEqual([450, 1500]);
    expect(rig.readAll(socket)).toEqual(stream(1500, 450));
    expect(rig.end()).toEqual(NOTHING_LEFT);
  });

  test("does not copy the end of the stream, nor what is before it and no neighbour's", () => {
    const { rig, socket } = full([...segments(2, 300), segment(700, 900, { flags: FIN | ACK })]);
    rig.receive([segment(600, 700)], IN_HEAD);
    expect([rig.readAll(socket), rig.read(socket), rig.machine.net.inet.stats.tcpRcvCollapsed]).toEqual([stream(900), [], 1]);
    expect(rig.end()).toEqual(NOTHING_LEFT);
  });

  test.each([["6.1", 1, 0], ["6.8", 0, 1], ["6.18", 0, 1]] as const)("%s: segments that fill their frames are bloated by half the buffer (up to 6.5), and not by what was measured of them", (preset, collapsed, drops) => {
    const { rig, socket } = full(segments(4, 1448), preset);
    rig.receive(segments(1, 1448, 4 * 1448), IN_HEAD);
    expect([rig.machine.net.inet.stats.tcpRcvCollapsed, socket.drops()]).toEqual([collapsed, drops]);
    expect(rig.readAll(socket)).toEqual(stream((5 - drops) * 1448));
    expect(rig.end()).toEqual(NOTHING_LEFT);
  });

  test("where nothing waits it takes what comes, however large: without it nobody would ever read on (sk_forced_mem_schedule)", () => {
    for (const preset of ["5.14", "6.8", "6.18"] as const) {
      const { rig, socket } = connected(10, preset);
      rig.receive(segments(1, 1000), IN_HEAD);
      expect([rig.readAll(socket), socket.drops()]).toEqual([stream(1000), 0]);
      rig.receive([...segments(1, 500, 1000), ...segments(1, 500, 1500)], IN_HEAD);
      expect([rig.readAll(socket), socket.drops()]).toEqual([stream(1500, 1000), 1]);
      socket.close();
      expect(rig.end()).toEqual(NOTHING_LEFT);
    }
  });

  test.each([["6.1", 3, 2], ["6.18", 4, 2]] as const)("%s: and tells its reader as it drops (sk_data_ready), and from 6.6 on before it takes what is too large", (preset, times, drops) => {
    const { rig, socket } = connected(10, preset);
    let told = 0;
    socket.setDataReady(() => void told++);
    rig.receive(segments(3, 500), IN_HEAD);
    expect([told, socket.drops()]).toEqual([times, drops]);
    socket.close();
  });

  test.each([["6.1", 1], ["6.8", 0], ["6.18", 0]] as const)("%s: a reader that makes room when it is told saves the segment from 6.6 on; one that closes loses it", (preset, drops) => {
    const { rig, socket } = connected(10, preset);
    rig.receive(segments(1, 500), IN_HEAD);
    const got: number[] = [];
    socket.setDataReady(() => void got.push(...rig.readAll(socket)));
    rig.receive(segments(1, 500, 500), IN_HEAD);
    expect([got, socket.drops()]).toEqual([stream(drops === 0 ? 1000 : 500), drops]);
    socket.close();
    const { rig: other, socket: closing } = connected(10, preset);
    other.receive(segments(1, 500), IN_HEAD);
    closing.setDataReady(() => closing.close());
    other.receive(segments(1, 500, 500), IN_HEAD);
    expect([closing.packets(), other.end()]).toEqual([[], NOTHING_LEFT]);
  });

  test.each([["6.1", true], ["6.8", false], ["6.18", false]] as const)("%s: what is next makes what is ahead give way from 6.6 on, though nothing waits to be read (e2142825c120)", (preset, stays) => {
    const ahead = [segment(1000, 1300)];
    const { rig, socket } = full(ahead, preset);
    rig.receive(segments(1, 300), IN_HEAD);
    expect([socket.available(), socket.outOfOrder()]).toEqual([300, stays ? 300 : 0]);
    socket.close();
    expect(rig.end()).toEqual(NOTHING_LEFT);
  });

  test.each([["6.8", 0], ["6.18", 1]] as const)("%s: there must be room for a segment's bytes, too, from 6.18 on; before, until it is full", (preset, drops) => {
    const frames = [segment(1000, 2000), segment(3000, 4000)];
    const { rig: measured, socket: other } = connected(1 << 20, preset);
    measured.receive(frames, IN_HEAD);
    const { rig, socket } = connected(other.rmemAlloc() + 999, preset);
    rig.receive([...frames, segment(5000, 6000)], IN_HEAD);
    expect([socket.drops(), rig.machine.net.inet.stats.tcpRcvCollapsed]).toEqual([drops, 0]);
    socket.close();
    expect(rig.end()).toEqual(NOTHING_LEFT);
  });
});

describe("what is ahead (tcp_collapse_ofo_queue)", () => {
  test("is copied where it is several packets without a gap, or fills a page; a single one that is small stays", () => {
    const overlapping = [segment(1000, 1300), segment(1290, 1600), segment(1590, 1900)];
    const { rig, socket } = full([...overlapping, ...segments(13, 300, 3000), segment(8000, 8100)]);
    expect(waiting(socket)).toEqual([[300, true], [310, true], [310, true], [3900, true], [100, true]]);
    rig.receive([segment(9000, 9100)], IN_HEAD);
    expect([waiting(socket), socket.drops()]).toEqual([[[900, false], [MOST_BYTES, false], [3900 - MOST_BYTES, false], [100, true], [100, true]], 0]);
    for (const [from, to] of [[0, 1000], [1900, 3000], [6900, 8000], [8100, 9000]] as const) {
      rig.receive([segment(from, to)], IN_HEAD);
      expect(rig.readAll(socket)[0]).toBe(STREAM[from]);
    }
    expect([socket.drops(), rig.end()]).toEqual([0, NOTHING_LEFT]);
  });

  test("what overlaps is copied once", () => {
    const { rig, socket } = full([segment(1000, 1300), segment(1200, 1500), segment(1400, 1700), segment(1600, 1900)]);
    rig.receive([segment(3000, 3100)], IN_HEAD);
    expect(waiting(socket)).toEqual([[900, false], [100, true]]);
    rig.receive([segment(0, 1000)], IN_HEAD);
    expect(rig.readAll(socket)).toEqual(stream(1900));
    socket.close();
    expect(rig.end()).toEqual(NOTHING_LEFT);
  });

  test("many small ones that stand alone end it: an eighth of the buffer is not looked at again and again", () => {
    const { rig, socket } = full([...Array.from({ length: 3 }, (_, i) => segment(1000 + 200 * i, 1100 + 200 * i)), ...segments(4, 300, 3000)]);
    rig.receive([segment(9000, 9100)], IN_HEAD);
    expect([rig.machine.net.inet.stats.tcpRcvCollapsed, socket.drops()]).toEqual([0, 1]);
    socket.close();
    expect(rig.end()).toEqual(NOTHING_LEFT);
  });
});

test.each([["6.8", 1], ["6.18", 0]] as const)("%s: segments that are ahead are measured, too, from 6.17 on, and not bloated by themselves (38d7e4443365)", (preset, collapsed) => {
  const { rig, socket } = full(segments(6, 700, 1000), preset);
  rig.receive([segment(9000, 9100)], IN_HEAD);
  expect(rig.machine.net.inet.stats.tcpRcvCollapsed).toBe(collapsed);
  socket.close();
  expect(rig.end()).toEqual(NOTHING_LEFT);
});

test("what the CPU cannot read is stepped over, and what lies around it copied", () => {
  const { rig, socket } = connected(10_000);
  const { net } = rig.machine;
  for (const [i, frame] of segments(2, 300).entries()) {
    const skb = rig.skb(frame, IN_HEAD);
    skb.unreadable = i === 0;
    net.receive.netifReceiveSkb(skb);
  }
  rig.receive(segments(1, 300, 600), IN_HEAD);
  expect(socket.packets().some(({ unreadable }) => unreadable)).toBe(true);
  expect([rig.readAll(socket), socket.drops()]).toEqual([stream(900), 0]);
  expect(rig.end()).toEqual(NOTHING_LEFT);
});

test("without memory for the copies everything stays as it is", () => {
  const { rig, socket } = full(segments(4, 300));
  const before = waiting(socket);
  const frame = rig.skb(segment(1200, 1500), IN_HEAD);
  const fault = rig.machine.mm.faults.failFunction("skbuffAlloc");
  fault.arm({});
  rig.machine.net.receive.netifReceiveSkb(frame);
  fault.disarm();
  expect([waiting(socket), socket.drops()]).toEqual([before, 1]);
  expect(rig.readAll(socket)).toEqual(stream(1200));
  expect(rig.end()).toEqual(NOTHING_LEFT);
});

test("property: whatever comes to a small buffer, in whatever order, with memory that fails: what is read is the stream, charges are exact, and everything goes home", () => {
  const piece = fc.record({ ahead: fc.nat(6), back: fc.nat(300), bytes: fc.integer({ min: 1, max: 536 }), read: fc.oneof({ weight: 9, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat(5000) }), head: fc.constantFrom(undefined, IN_HEAD, IN_HEAD), fails: fc.nat(4).map((one) => one === 0) });
  let collapsed = 0;
  fc.assert(fc.property(fc.constantFrom<PresetName>("5.14", "6.8", "6.18"), fc.integer({ min: 1, max: 8 }), fc.array(piece, { minLength: 40, maxLength: 120 }), (preset, pages, pieces) => {
    const { rig, socket } = connected(pages * 4400, preset);
    const fault = rig.machine.mm.faults.failFunction("skbuffAlloc");
    const got: number[] = [];
    for (const { ahead, back, bytes, read, head, fails } of pieces) {
      // At what is next, or around it.
      const next = got.length + socket.available();
      const from = Math.max(0, next + (ahead > 2 ? 0 : ahead * 700) - (ahead === 3 ? back : 0));
      if (from + bytes > STREAM.length) continue;
      const skb = rig.skb(segment(from, from + bytes), head);
      if (fails) fault.arm({});
      rig.machine.net.receive.netifReceiveSkb(skb);
      fault.disarm();
      expect(socket.rmemAlloc()).toBe(socket.packets().reduce((sum, { truesize }) => sum + truesize, 0));
      const numbers = socket.packets().map(({ seq }) => seq - 1001).filter((number) => number > got.length + socket.available());
      expect(numbers).toEqual(numbers.toSorted((a, b) => a - b));
      const part = read === 0 ? -1 : rig.read(socket, read);
      if (typeof part !== "number") got.push(...part);
    }
    got.push(...rig.readAll(socket));
    collapsed += rig.machine.net.inet.stats.tcpRcvCollapsed;
    expect(got).toEqual(stream(got.length));
    socket.close();
    expect(rig.end()).toEqual(NOTHING_LEFT);
  }), { numRuns: 60 });
  expect(collapsed).toBeGreaterThan(100);
});
