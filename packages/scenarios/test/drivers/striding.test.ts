import { describe, expect, test } from "vitest";
import { striding } from "@netmem/driver-striding";
import { PRESET_NAMES, Wire } from "@netmem/machine";
import type { PagePool } from "@netmem/page-pool/api";
import type { SkBuff } from "@netmem/net-core/api";
import { testFrame } from "@netmem/testkit";
import { NOTHING_LEFT, frameOf, driverRig, wire, type DriverRig } from "./driver-rig.ts";

const PAGES = 16;
/** With Ethernet's MTU: two strides a page. */
const STRIDES = 2 * PAGES;

interface Received {
  readonly rig: DriverRig;
  readonly pool: PagePool;
  readonly skbs: SkBuff[];
  readonly send: (lengths: readonly number[]) => void;
}

function receiving(mtu: number, preset: (typeof PRESET_NAMES)[number] = "6.18", ring: number = 64): Received {
  const rig = driverRig(striding, { preset, mtu, ring });
  const skbs: SkBuff[] = [];
  rig.machine.net.receive.setProtocol({ packetRcv: (skb) => void skbs.push(skb) });
  const pool = rig.machine.pagePools.pools().find(({ netdev }) => netdev === rig.device.netif.dev)!;
  return { rig, pool, skbs, send: (lengths) => rig.send(wire(lengths.map((length, i) => testFrame(length, i)))) };
}

function free({ rig, skbs }: Received, order: (a: number, b: number) => number = (a, b) => a - b): void {
  for (const i of skbs.map((_skb, at) => at).toSorted(order)) rig.machine.net.lifetime.consumeSkb(skbs[i]!);
  skbs.length = 0;
}

test("packets of Ethernet's size are a stride each, two to a page, and the stride is their head", () => {
  const received = receiving(1500);
  received.send([60, 1514, 1000]);
  const [first, second, third] = received.skbs;
  expect(received.skbs.map(({ shinfo, truesize, ppRecycle }) => [shinfo!.nrFrags, truesize, ppRecycle])).toEqual([[0, 2304, true], [0, 2304, true], [0, 2304, true]]);
  expect([first!.shinfo!.headPage === second!.shinfo!.headPage, second!.shinfo!.headPage === third!.shinfo!.headPage]).toEqual([true, false]);
  free(received);
  expect(received.rig.end()).toEqual(NOTHING_LEFT);
});

test("longer ones take as many strides of 64 bytes as they need: 256 bytes are copied into a head, the rest are frags, and packets lie behind each other in a page", () => {
  const received = receiving(9000);
  received.send([9014, 60, 4352]);
  expect(received.skbs.map(({ len, dataLen, shinfo }) => [len + 14, dataLen, Array.from({ length: shinfo!.nrFrags }, (_, i) => [shinfo!.frags[i]!.offset, shinfo!.frags[i]!.sizeBytes])])).toEqual([
    [9014, 9014 - 256, [[256, 3840], [0, 4096], [0, 822]]],
    [60, 0, []],
    // 141 strides of 64 bytes, and one: the third begins at 9088, its frags 256 bytes on.
    [4352, 4096, [[9088 + 256 - 2 * 4096, 3 * 4096 - 9344], [0, 4096 - (3 * 4096 - 9344)]]],
  ]);
  free(received);
  expect(received.rig.end()).toEqual(NOTHING_LEFT);
});

test("a descriptor's pages have all their holders from the start: a packet costs none, and those not used are taken back when the descriptor is done", () => {
  const received = receiving(1500);
  received.send([100]);
  const page = received.skbs[0]!.shinfo!.headPage!;
  expect([page.ppRefCount, page.refcount]).toEqual([64, 1]);
  received.send(Array.from({ length: STRIDES - 1 }, () => 100));
  // 32 packets of 16 pages: two each.
  expect(received.skbs.map(({ shinfo }) => shinfo!.headPage!.ppRefCount)).toEqual(Array.from({ length: STRIDES }, () => 2));
  free(received);
  expect(received.rig.end()).toEqual(NOTHING_LEFT);
});

describe.each([["in order", (a: number, b: number) => a - b], ["backwards", (a: number, b: number) => b - a], ["every other one first", (a: number, b: number) => (a % 2) - (b % 2) || a - b]] as const)("freed %s", (_order, order) => {
  test.each(PRESET_NAMES)("%s: every page is home, or was given up as its descriptor was done", (preset) => {
    const received = receiving(1500, preset);
    for (let round = 0; round < 4; round++) {
      received.send(Array.from({ length: STRIDES }, (_, i) => 60 + i));
      free(received, order);
    }
    const { releasedRefcnt } = received.pool.recycleStats;
    // Without fragments a page that a packet still has when its descriptor is done is lost to its pool.
    expect(releasedRefcnt).toBe(["stock", "v3-2021", "5.14"].includes(preset) ? 4 * PAGES : 0);
    expect(received.rig.end()).toEqual(NOTHING_LEFT);
  });
});

test("a packet that the rest of a descriptor has no room for is in the next one; what is left is filler, and its pages go home with it", () => {
  const received = receiving(60_000);
  // 64 KiB a descriptor: one and a half packets.
  received.send([40_000, 40_000, 40_000]);
  expect([received.skbs.map(({ len }) => len + 14), received.skbs.map(({ shinfo }) => shinfo!.frags[0]!.offset)]).toEqual([[40_000, 40_000, 40_000], [256, 256, 256]]);
  free(received);
  expect(received.rig.end()).toEqual(NOTHING_LEFT);
});

test("packets outlive the interface: their pages are home when they are freed, and the pool is freed then", () => {
  for (const mtu of [1500, 9000]) {
    const received = receiving(mtu);
    received.send(Array.from({ length: 40 }, (_, i) => 300 + 13 * i));
    const bytes = received.skbs.map((skb) => frameOf(received.rig.machine, skb));
    received.rig.device.netif.stop();
    const out = received.pool.inflight();
    expect([out > 0, received.skbs.map((skb) => frameOf(received.rig.machine, skb))]).toEqual([true, bytes]);
    free(received, (a, b) => b - a);
    received.rig.machine.kernel.scheduler.runFor(2_000_000_000);
    expect([received.pool.dead, received.rig.end()]).toEqual([true, NOTHING_LEFT]);
  }
});

test("what is longer than the interface's MTU is not taken, and counted; the wire goes on", () => {
  const received = receiving(1500);
  received.send([1514, 9014, 1514]);
  expect([received.skbs.map(({ len }) => len), received.rig.device.nic.stats.overruns]).toEqual([[1500, 1500], 1]);
  free(received);
});

test("without memory for a whole descriptor it stays empty, and what was got for it goes back; once there is some, packets come again", () => {
  const received = receiving(1500);
  const { mm, kernel } = received.rig.machine;
  mm.faults.failPageAlloc.arm({});
  // Every page that comes home can be posted again; those that are kept cannot.
  const sending = new Wire(kernel, mm.payload, wire(Array.from({ length: 400 }, (_, i) => testFrame(100, i))), "back-to-back");
  sending.connect(received.rig.device.nic);
  kernel.scheduler.runFor(10_000_000);
  const before = received.skbs.length;
  expect(before).toBeLessThan(400);
  mm.faults.failPageAlloc.disarm();
  kernel.scheduler.runFor(10_000_000);
  expect([received.skbs.length, sending.finished()]).toEqual([400, true]);
  free(received);
  expect(received.rig.end()).toEqual(NOTHING_LEFT);
});
