import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { EAGAIN, ECONNRESET } from "@netmem/kernel/api";
import { tcpFrame, testPayload } from "@netmem/testkit";
import { InetRig } from "./inet-rig.ts";

const FIN = 0x01, RST = 0x04, ACK = 0x10;
const STREAM = testPayload(1 << 16, 3);
const NOTHING_LEFT = { skbs: 0, pages: 0, reports: [] };

function segment(from: number, to: number, flags: number = ACK): Uint8Array {
  return tcpFrame(STREAM.subarray(from, to), { seq: 1 + from, flags });
}

function stream(to: number, from: number = 0): number[] {
  return [...STREAM.subarray(from, to)];
}

function readAll(rig: InetRig, pipe: ReturnType<InetRig["machine"]["net"]["inet"]["createPipe"]>, bytes: number = 1 << 16): number[] {
  const got = pipe.read(rig.user, 0, bytes);
  return got < 0 ? [] : [...rig.user.bytes.subarray(0, got)];
}

describe.each([["in one piece", undefined], ["headers in the head, payload in a frag", 54]] as const)("segments received %s", (_what, headBytes) => {
  test("go into the pipe by their pages, a reference each; their packets are gone, and the pages live until they are read", () => {
    const rig = new InetRig();
    const sockets = rig.tcp(2000);
    rig.receive([segment(0, 1000), segment(1000, 2000), segment(2000, 2500)], headBytes);
    const pipe = rig.machine.net.inet.createPipe();
    const [socket] = sockets;
    const pages = rig.machine.mm.pages.freePages();
    expect([socket!.spliceRead(pipe, 1 << 16), pipe.bytes(), socket!.available()]).toEqual([2500, 2500, 0]);
    rig.machine.flushDeferred();
    expect([rig.machine.net.lifetime.stats.live, pipe.buffers() > 0, rig.machine.mm.pages.freePages() - pages >= 0]).toEqual([0, true, true]);
    expect([readAll(rig, pipe, 700), readAll(rig, pipe), pipe.buffers(), pipe.read(rig.user, 0, 10)]).toEqual([stream(700), stream(2500, 700), 0, -EAGAIN]);
    pipe.close();
    expect(rig.end()).toEqual(NOTHING_LEFT);
  });
});

test("the head of a packet that a tap has, too, is copied; its page is not held", () => {
  const rig = new InetRig();
  const tap = rig.machine.net.sockets.openTap({ name: "tap" });
  rig.machine.net.receive.addTap(tap);
  const sockets = rig.tcp(2000);
  rig.receive([segment(0, 3000), segment(3000, 6000)]);
  const head = sockets[0]!.packets()[0]!.shinfo!.headPage!;
  const before = head.refcount;
  const pipe = rig.machine.net.inet.createPipe();
  expect([sockets[0]!.spliceRead(pipe, 2000), head.refcount, readAll(rig, pipe)]).toEqual([2000, before, stream(2000)]);
  expect([sockets[0]!.spliceRead(pipe, 1 << 16), readAll(rig, pipe)]).toEqual([4000, stream(6000, 2000)]);
  pipe.close();
  tap.close();
  expect(rig.end()).toEqual(NOTHING_LEFT);
});

test("a pipe that is full takes no more until it is read; closed, it lets go of all", () => {
  const rig = new InetRig();
  const sockets = rig.tcp(2000);
  for (let i = 0; i < 30; i++) rig.receive([segment(100 * i, 100 * i + 100)], 54);
  const pipe = rig.machine.net.inet.createPipe();
  expect([sockets[0]!.spliceRead(pipe, 1 << 16), pipe.buffers(), sockets[0]!.spliceRead(pipe, 1 << 16)]).toEqual([1600, 16, -EAGAIN]);
  expect([readAll(rig, pipe, 150), sockets[0]!.spliceRead(pipe, 1 << 16)]).toEqual([stream(150), 100]);
  pipe.close();
  expect([pipe.bytes(), rig.readAll(sockets[0]!)]).toEqual([0, stream(3000, 1700)]);
  expect(rig.end()).toEqual(NOTHING_LEFT);
});

test("the end of the stream is 0, a reset its errno, nothing yet -EAGAIN", () => {
  const rig = new InetRig();
  const sockets = rig.tcp(null);
  const pipe = rig.machine.net.inet.createPipe();
  rig.receive([segment(0, 10), tcpFrame(STREAM.subarray(0, 10), { seq: 1, sport: 9 })]);
  expect([sockets[0]!.spliceRead(pipe, 5), sockets[0]!.spliceRead(pipe, 5), sockets[0]!.spliceRead(pipe, 5)]).toEqual([5, 5, -EAGAIN]);
  rig.receive([segment(10, 10, FIN | ACK), tcpFrame(new Uint8Array(0), { seq: 11, sport: 9, flags: RST })]);
  expect([sockets[0]!.spliceRead(pipe, 5), sockets[1]!.spliceRead(pipe, 50), sockets[1]!.spliceRead(pipe, 50)]).toEqual([0, 10, -ECONNRESET]);
  pipe.close();
  expect(rig.end()).toEqual(NOTHING_LEFT);
});

test("spliced and read in any pieces, beside ordinary reads: the stream's bytes, each once", () => {
  const step = fc.record({ kind: fc.constantFrom("receive", "splice", "read", "recv"), bytes: fc.integer({ min: 1, max: 5000 }), split: fc.boolean() });
  fc.assert(fc.property(fc.array(step, { maxLength: 60 }), fc.boolean(), (steps, tapped) => {
    const rig = new InetRig();
    const tap = rig.machine.net.sockets.openTap({ name: "tap" });
    if (tapped) rig.machine.net.receive.addTap(tap);
    const sockets = rig.tcp(2000);
    const pipe = rig.machine.net.inet.createPipe();
    let sent = 0;
    let inPipe: number[] = [];
    const got: number[] = [];
    for (const { kind, bytes, split } of steps) {
      if (kind === "receive" && sent < 40_000) {
        const to = sent + Math.min(bytes, 1448);
        rig.receive([segment(sent, to)], split ? 54 : undefined);
        sent = to;
      } else if (sockets.length === 0) continue;
      else if (kind === "splice") {
        const from = got.length + inPipe.length;
        const moved = sockets[0]!.spliceRead(pipe, bytes);
        if (moved > 0) inPipe = inPipe.concat(stream(from + moved, from));
      } else if (kind === "read" || pipe.bytes() > 0) {
        const some = readAll(rig, pipe, bytes);
        expect(some).toEqual(inPipe.splice(0, some.length));
        got.push(...some);
      } else {
        const some = rig.read(sockets[0]!, bytes);
        if (typeof some !== "number") got.push(...some);
      }
      expect(pipe.bytes()).toBe(inPipe.length);
    }
    got.push(...readAll(rig, pipe));
    if (sockets.length > 0) got.push(...rig.readAll(sockets[0]!));
    expect(got).toEqual(stream(sent));
    pipe.close();
    tap.close();
    expect(rig.end()).toEqual(NOTHING_LEFT);
  }), { numRuns: 100 });
});
