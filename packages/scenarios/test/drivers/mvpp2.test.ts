import { describe, expect, test } from "vitest";
import { mvpp2 } from "@netmem/driver-mvpp2";
import { PRESET_NAMES, Wire, createMachine } from "@netmem/machine";
import { IPPROTO_TCP, XDP_FLAGS_DRV_MODE, type SkBuff } from "@netmem/net-core/api";
import type { PagePool } from "@netmem/page-pool/api";
import { conservationFaults, tcpFrame, testFrame, testPayload } from "@netmem/testkit";
import { XDP_PASS, type XdpProg } from "@netmem/xdp/api";
import { NOTHING_LEFT, frameOf, driverRig, wire, type DriverRig } from "./driver-rig.ts";

/** Buffers of each kind. @kernel MVPP2_BM_SHORT_BUF_NUM, MVPP2_BM_LONG_BUF_NUM */
const SHORT = 2048;
const LONG = 1024;

function poolsOf({ machine, device }: DriverRig): PagePool[] {
  return machine.pagePools.pools().filter(({ netdev, destroyCnt }) => netdev === device.netif.dev && destroyCnt === 0);
}

describe.each(PRESET_NAMES)("under %s", (preset) => {
  test("a frame of up to 126 bytes is in a short buffer, any longer in a long one; the hardware always has as many of each as at first", () => {
    const rig = driverRig(mvpp2, { preset });
    const { machine, device } = rig;
    const [short, long] = poolsOf(rig) as [PagePool, PagePool];
    const truesizes: number[] = [];
    const waiting: SkBuff[] = [];
    machine.net.receive.setProtocol({ packetRcv: (skb) => {
      waiting.push(skb);
      truesizes.push(skb.truesize);
    } });
    rig.send(wire([60, 126, 127, 1514].map((length, i) => testFrame(length, i))));
    expect([truesizes[0] === truesizes[1], truesizes[2] === truesizes[3], truesizes[2]! - truesizes[0]!]).toEqual([true, true, 1664 - 128]);
    expect([device.nic.bufferPools[0]!.buffers(), device.nic.bufferPools[1]!.buffers()]).toEqual([SHORT, LONG]);
    const before = [short.recycleStats.ring, long.recycleStats.ring];
    for (const skb of waiting) machine.net.lifetime.consumeSkb(skb);
    // The stock design has let the pages go as the skbs were marked. No instance is named, so that whoever recycles does it by the ring.
    const home = preset === "stock" ? 0 : 2;
    expect([short.recycleStats.ring - before[0]!, long.recycleStats.ring - before[1]!]).toEqual([home, home]);
    expect(rig.end()).toEqual(NOTHING_LEFT);
  });
});

test("each of four queues has pools of its own, and its flows' pages are from them", () => {
  const rig = driverRig(mvpp2, { queues: 4, pages: 16_384 });
  const { machine } = rig;
  const pools = poolsOf(rig);
  expect(pools.length).toBe(8);
  const seen = new Set<string>();
  let right = 0;
  machine.net.receive.setProtocol({ packetRcv: (skb) => {
    const queue = skb.rxQueue - 1;
    seen.add(`${queue}`);
    // Short and long of the first queue, of the second, …
    if (pools.findIndex((pool) => skb.shinfo!.headPage!.pp === pool) === 2 * queue + (skb.len + 16 > 128 ? 1 : 0)) right++;
    machine.net.lifetime.consumeSkb(skb);
  } });
  rig.send(wire(Array.from({ length: 400 }, (_, i) => tcpFrame(testPayload(i % 2 === 0 ? 10 : 900, i), { sport: 1000 + (i % 50) }))));
  expect([right, seen.size]).toEqual([400, 4]);
  expect(rig.end()).toEqual(NOTHING_LEFT);
});

test("no memory for the next buffer: the frame is dropped and its buffer goes back into the hardware, which never runs dry", () => {
  const rig = driverRig(mvpp2);
  const { machine, device } = rig;
  const { failPageAlloc } = machine.mm.faults;
  const held: SkBuff[] = [];
  machine.net.receive.setProtocol({ packetRcv: (skb) => void held.push(skb) });
  failPageAlloc.arm({});
  const frames = 3000;
  rig.send(wire(Array.from({ length: frames }, (_, i) => testFrame(60, i))));
  failPageAlloc.disarm();
  // What the pool had in its cache served some; the others were dropped, and none lost twice.
  expect([held.length < frames, held.length + device.netif.dev.rxDropped, device.nic.bufferPools[0]!.buffers()]).toEqual([true, frames, SHORT]);
  expect(conservationFaults(machine, machine.pagePools.pools())).toEqual([]);
  for (const skb of held) machine.net.lifetime.consumeSkb(skb);
  expect(rig.end()).toEqual(NOTHING_LEFT);
});

test("a frame longer than any buffer is lost in the hardware, and counted; those around it are not", () => {
  const rig = driverRig(mvpp2);
  const { machine, device } = rig;
  const lengths: number[] = [];
  machine.net.receive.setProtocol({ packetRcv: (skb) => {
    lengths.push(skb.len + 14);
    machine.net.lifetime.consumeSkb(skb);
  } });
  rig.send(wire([testFrame(100, 1), testFrame(mvpp2.maxFrameBytes + 1, 2), testFrame(9000, 3), testFrame(mvpp2.maxFrameBytes, 4)]));
  expect([lengths, device.nic.stats.overruns]).toEqual([[100, mvpp2.maxFrameBytes], 2]);
  expect(rig.end()).toEqual(NOTHING_LEFT);
});

test("taken down with received frames that nobody polled, their buffers are home; stopped from its own poll, too", () => {
  const rig = driverRig(mvpp2);
  const { machine, device } = rig;
  let packets = 0;
  machine.net.receive.setProtocol({ packetRcv: (skb) => {
    machine.net.lifetime.consumeSkb(skb);
    if (++packets === 5) device.netif.stop();
  } });
  new Wire(machine.kernel, machine.mm.payload, wire(Array.from({ length: 40 }, (_, i) => testFrame(200, i))), "back-to-back").connect(device.nic);
  machine.kernel.scheduler.runFor(0);
  // Packets go up in batches of eight.
  expect([packets, conservationFaults(machine, machine.pagePools.pools())]).toEqual([8, []]);
  // Disabling an instance from its own poll cannot end; that is reported.
  expect(machine.kernel.reports.counts().map(({ kind }) => kind)).toEqual(["napi-disable-running"]);
  machine.kernel.scheduler.runFor(3_000_000_000);
  expect(poolsOf(rig).length).toBe(0);
});

test("what the program left is the packet, even if it grew beyond the buffer's share of the page", () => {
  const rig = driverRig(mvpp2);
  const { machine, device } = rig;
  device.netif.dev.mtu = 1500;
  const prog = machine.xdp.programs.bpfProgLoad("grow", (ctx) => {
    ctx.adjustTail(900);
    ctx.adjustHead(-20);
    ctx.adjustMeta(-8);
    return XDP_PASS;
  }, false) as XdpProg;
  expect(machine.net.xdpAttachment.devXdpAttach(device.netif.dev, prog, XDP_FLAGS_DRV_MODE, null)).toBe(0);
  const got: unknown[] = [];
  machine.net.receive.setProtocol({ packetRcv: (skb) => {
    got.push([skb.len, skb.shinfo!.metaLen, frameOf(machine, skb).length]);
    machine.net.lifetime.consumeSkb(skb);
  } });
  rig.send(wire([tcpFrame(testPayload(10, 1))]));
  expect(got).toEqual([[64 + 900 + 20 - 14, 8, 64 + 900 + 20]]);
  expect(rig.end()).toEqual(NOTHING_LEFT);
});

test("refused: a program on frames of more than a page, a ring of another size, more queues than pools", () => {
  const rig = driverRig(mvpp2);
  const prog = rig.machine.xdp.programs.bpfProgLoad("any", () => XDP_PASS, true) as XdpProg;
  expect(rig.machine.net.xdpAttachment.devXdpAttach(rig.device.netif.dev, prog, XDP_FLAGS_DRV_MODE, null)).toBe(-95);
  for (const rxRingSize of [31, 1025, 32.5]) expect(() => createMachine().attach(mvpp2, { rxRingSize })).toThrow(/driver-mvpp2: rxRingSize/);
  expect(() => createMachine().attach(mvpp2, { rxQueueCount: 5 })).toThrow(/mvpp2 has 1 to 4 receive queues/);
  expect(() => rig.device.nic.rxQueues[0]!.setBufferPools(0, 8)).toThrow(/buffer pool = 8: this NIC has 8/);
  rig.device.nic.steering.insertRule({ protocol: IPPROTO_TCP, queue: 0 });
});
