import { describe, expect, test, vi } from "vitest";
import { TASK_SLEEP } from "@netmem/kernel/api";
import { PRESETS, PRESET_NAMES, type PresetName } from "@netmem/machine";
import { NETDEV_TX_OK, NETDEV_XDP_ACT_NDO_XMIT, NET_XMIT_DROP, XDP_PASS, XDP_TX, type DevMap } from "@netmem/xdp/api";
import { GFP_ATOMIC, PAGE_SIZE } from "@netmem/mm/api";
import type { SkBuff } from "@netmem/net-core/api";
import { tcpFrame, testFrame, testPayload, udpFrame } from "@netmem/testkit";
import { vethOf } from "../../src/world.ts";
import { VethRig } from "./veth-rig.ts";

const NOTHING_LEFT = { skbs: 0, pages: 0, reports: [] };
const SEGMENTS = Array.from({ length: 4 }, (_, i) => tcpFrame(testPayload(1000, i), { seq: 1 + 1000 * i, ipId: i }));

/** All in one softirq, so that one poll has them. */
function sendTogether(rig: VethRig, frames: readonly Uint8Array[]): number[] {
  const answers: number[] = [];
  rig.softirq(0, () => {
    for (const frame of frames) answers.push(rig.machine.net.transmit.devDirectXmit(rig.skb(frame), rig.a.dev, 0));
  });
  return answers;
}

/** In a process, which may sleep. */
function asProcess(rig: VethRig, work: () => void): void {
  const { scheduler } = rig.machine.kernel;
  const task = scheduler.spawn({ name: "script", cpu: 0, run: () => {
    work();
    return TASK_SLEEP;
  } });
  scheduler.runFor(0);
  scheduler.remove(task);
}

describe.each(PRESET_NAMES)("%s", (preset: PresetName) => {
  const is618 = preset === "6.18";

  test(is618 ? "a program leaves GRO as it was, off: segments go up one by one (ethtool -k on a 6.18.44 says so, and c-tcp-bulk, in which as many go up as came)" : "up to 6.8 a program brings GRO with it: segments are merged", () => {
    const rig = new VethRig({ preset });
    rig.attachPass(rig.b);
    sendTogether(rig, SEGMENTS);
    expect([rig.b.dev.gro, rig.received.map((skb) => skb.len)]).toEqual(is618 ? [false, [1040, 1040, 1040, 1040]] : [true, [4040]]);
    rig.attach(rig.b, null);
    expect(rig.b.dev.gro).toBe(false);
    expect(rig.end()).toEqual(NOTHING_LEFT);
  });

  test(`a packet for which the ring has no room ${preset === "6.8" || is618 ? "is told of (NET_XMIT_DROP)" : "is said to be sent, up to 6.6"}; ${is618 ? "nobody is woken" : "up to 6.15 its receiver is woken"}`, () => {
    const rig = new VethRig({ preset });
    rig.b.setGro(true);
    rig.a.dev.gsoSoftware = false;
    rig.attach(rig.a, rig.program(() => XDP_TX));
    // Nobody tells a peer that has GRO and no program of what is sent back, and it fills b's ring.
    rig.send(rig.b, Array.from({ length: 256 }, (_, i) => udpFrame(testPayload(100, i))));
    expect(rig.b.stats.waiting).toBe(256);
    const [answer] = sendTogether(rig, [udpFrame(testPayload(100, 1))]);
    expect(answer).toBe(preset === "6.8" || is618 ? NET_XMIT_DROP : NETDEV_TX_OK);
    expect([rig.a.stats.txDropped, rig.b.stats.waiting, rig.received.length]).toEqual(is618 ? [1, 256, 0] : [1, 0, 256]);
    expect(rig.end()).toEqual(NOTHING_LEFT);
  });

  test(is618 ? "what a poll sends back and redirects leaves before what GRO holds goes up" : preset === "6.8" ? "up to 6.17 what a poll sends back leaves when it is complete, what it redirects before" : "up to 6.1 what a poll sends back and redirects leaves when it is complete", () => {
    const order: string[] = [];
    const rig = new VethRig({ preset, probes: { xdp: {
      memConnect: () => undefined, memDisconnect: () => undefined, xdpException: () => undefined, xdpRedirect: () => undefined, xdpCpumapEnqueue: () => undefined, xdpCpumapKthread: () => undefined,
      xdpBulkTx: (dev, sent, drops, err) => void order.push(`${dev.name} sends back ${sent} ${drops} ${err}`),
      xdpDevmapXmit: () => void order.push("redirects"),
    } } });
    rig.machine.net.receive.setProtocol({ packetRcv: (skb) => {
      order.push("up");
      rig.received.push(skb);
    } });
    const { machine } = rig;
    const other = machine.newlink(vethOf(preset)).ends;
    for (const end of other) end.open();
    rig.attachPass(other[1]);
    rig.attachPass(rig.a);
    const map = machine.xdp.maps.createDevMap(1) as DevMap;
    expect(map.mapUpdateElem(0, other[0].dev.ifindex, null, 0)).toBe(0);
    rig.b.setGro(true);
    let n = 0;
    rig.attach(rig.b, rig.program((ctx) => [XDP_PASS, XDP_TX, ctx.redirectMap(map, 0, 0)][n++]!));
    sendTogether(rig, [SEGMENTS[0]!, udpFrame(testPayload(100, 1)), udpFrame(testPayload(100, 2))]);
    const back = `${rig.b.dev.name} sends back 1 0 0`;
    // Then come the two that others received.
    expect(order).toEqual([...(is618 ? ["redirects", back, "up"] : preset === "6.8" ? ["redirects", "up", back] : ["up", back, "redirects"]), "up", "up"]);
    expect(rig.end()).toEqual(NOTHING_LEFT);
  });
});

test("GRO that is asked for while a device is down comes with it; its peer can send frames to it no earlier", () => {
  const rig = new VethRig();
  const isTarget = (): boolean => (rig.a.dev.xdpFeatures & NETDEV_XDP_ACT_NDO_XMIT) !== 0;
  rig.b.stop();
  expect([rig.b.setGro(true), rig.b.dev.gro, isTarget()]).toEqual([0, true, false]);
  // Up, it has NAPI; but only the peer's own coming up looks for it.
  expect([rig.b.open(), isTarget()]).toEqual([0, false]);
  rig.a.stop();
  expect([rig.a.open(), isTarget()]).toEqual([0, true]);
  expect([rig.b.setGro(false), isTarget(), rig.b.setGro(true), isTarget()]).toEqual([0, false, 0, true]);
  // A program comes and goes, and it stays.
  rig.attachPass(rig.b);
  expect([rig.attach(rig.b, null), isTarget(), rig.b.setGro(false), isTarget()]).toEqual([0, true, 0, false]);
  expect(rig.end()).toEqual(NOTHING_LEFT);
});

test("a link that goes: its ends go down without a program, so that a last poll passes up what it would have sent back", () => {
  const rig = new VethRig();
  rig.attach(rig.a, rig.program(() => XDP_TX));
  rig.attachPass(rig.b);
  const send = (): void => {
    for (let i = 0; i < 3; i++) rig.machine.net.transmit.devDirectXmit(rig.skb(udpFrame(testPayload(100, i))), rig.b.dev, 0);
    // Nobody has polled them yet.
    expect(rig.a.stats.waiting).toBe(3);
  };
  asProcess(rig, send);
  expect([rig.received.length, rig.a.stats.queues[0]!.xdpTx]).toEqual([3, 3]);
  rig.free();
  asProcess(rig, () => {
    send();
    rig.dellink();
  });
  expect([rig.received.length, rig.a.stats.queues[0]!.xdpTx, rig.a.stats.queues[0]!.xdpTxErr, rig.received.every(({ dev }) => dev === rig.a.dev)]).toEqual([3, 3, 0, true]);
  expect(rig.end()).toEqual(NOTHING_LEFT);
});

test("of several queues all have stopped before the first ring is emptied, and all rings are empty before the first pool goes", () => {
  const rig = new VethRig({}, 2);
  rig.b.setGro(true);
  rig.attach(rig.a, rig.program(() => XDP_TX));
  // Sent back into the ring of the CPU that polls, and announced to nobody.
  rig.send(rig.b, [udpFrame(testPayload(100, 1)), udpFrame(testPayload(100, 2))], 0, 0);
  rig.send(rig.b, [udpFrame(testPayload(100, 3))], 1, 1);
  const pools = rig.machine.pagePools.pools().filter(({ system }) => !system).slice(0, 2);
  expect([rig.b.inRings().frames.length, pools.map(({ destroyCnt }) => destroyCnt)]).toEqual([3, [0, 0]]);
  const waitingAsEnds: (readonly number[])[] = [];
  for (const pool of pools) {
    const { destroy } = pool;
    vi.spyOn(pool, "destroy").mockImplementation(() => {
      waitingAsEnds.push([rig.b.stats.waiting, ...rig.b.stats.queues.map(({ ringDrops }) => ringDrops)]);
      destroy.call(pool);
    });
  }
  rig.b.setGro(false);
  expect(waitingAsEnds).toEqual([[0, 2, 1], [0, 2, 1]]);
  expect(rig.end()).toEqual(NOTHING_LEFT);
});

test.each(PRESET_NAMES)("%s: frames of others have structs of this CPU's cache from 6.15, and any before; without structs they are returned and counted", (preset) => {
  const rig = new VethRig({ preset });
  const { lifetime } = rig.machine.net;
  rig.attachPass(rig.b);
  const fromCache = PRESETS[preset].net.framesTakeNapiStructs;
  let cached: SkBuff | null = null;
  rig.softirq(0, () => {
    cached = lifetime.napiBuildSkb(rig.machine.mm.pages.allocPages(GFP_ATOMIC, 0, -1)!, PAGE_SIZE);
    lifetime.napiConsumeSkb(cached!, 1);
    rig.a.dev.xdpOps!.xdpXmit!([rig.frame(testFrame(60, 1))], 1, 1);
  });
  expect(rig.received.map((skb) => skb === cached)).toEqual([fromCache]);
  const point = rig.machine.mm.faults.failFunction("skbuffAlloc");
  rig.softirq(0, () => {
    rig.a.dev.xdpOps!.xdpXmit!([2, 3, 4].map((seed) => rig.frame(testFrame(60, seed))), 3, 1);
    point.arm({ nth: 2, times: 1 });
  });
  point.disarm();
  // The second of three, or none of a batch that asks once.
  expect([rig.received.length, rig.b.stats.queues[0]!.rxDrops]).toEqual(fromCache ? [2, 2] : [4, 0]);
  expect(rig.end()).toEqual(NOTHING_LEFT);
});

test.each(PRESET_NAMES)("%s: a packet that is copied for its program has a struct of this CPU's cache where there is a pool to copy into, from 6.7, and any before", (preset) => {
  const rig = new VethRig({ preset });
  const { lifetime } = rig.machine.net;
  rig.attachPass(rig.b);
  // Put into this CPU's cache, which is last in, first out.
  let cached: SkBuff | null = null;
  rig.softirq(0, () => {
    cached = lifetime.napiBuildSkb(rig.machine.mm.pages.allocPages(GFP_ATOMIC, 0, -1)!, PAGE_SIZE);
    lifetime.napiConsumeSkb(cached!, 1);
    rig.machine.net.transmit.devDirectXmit(rig.skb(udpFrame(testPayload(100, 1))), rig.a.dev, 0);
  });
  expect(rig.received[0] === cached).toBe(preset === "6.8" || preset === "6.18");
  expect(rig.end()).toEqual(NOTHING_LEFT);
});
