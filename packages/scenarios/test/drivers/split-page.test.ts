import { expect, test } from "vitest";
import { splitPage } from "@netmem/driver-split-page";
import { createMachine } from "@netmem/machine";
import { PAGE_SIZE, type Page } from "@netmem/mm/api";
import { XDP_FLAGS_DRV_MODE, type SkBuff } from "@netmem/net-core/api";
import { testFrame } from "@netmem/testkit";
import { MEM_TYPE_PAGE_SHARED, XDP_DROP, XDP_PASS, type XdpProg } from "@netmem/xdp/api";
import { NOTHING_LEFT, driverRig, wire, type DriverRig } from "./driver-rig.ts";

const RING = 64;
/** Descriptors that wait for a page before any gets one. @kernel IXGBE_RX_BUFFER_WRITE */
const REFILL_BATCH = 16;
/** References that the driver takes of a page at a time. @kernel USHRT_MAX, as ixgbe_alloc_mapped_page has it */
const BIAS = 65_535;

/** Frames of 60 bytes, and whatever `take` does with each. */
function receive(rig: DriverRig, count: number, take: (skb: SkBuff) => void): void {
  rig.machine.net.receive.setProtocol({ packetRcv: take });
  rig.send(wire(Array.from({ length: count }, (_, i) => testFrame(60, i))));
}

test("two packets share a page, in halves that take turns; read promptly, a ring's pages serve for ever: one map each, two syncs a packet", () => {
  const rig = driverRig(splitPage, { ring: RING });
  const { net } = rig.machine;
  const halves = new Map<Page, number[]>();
  const { stats } = rig.device.dma;
  const before = { maps: stats.maps, syncs: stats.syncs };
  receive(rig, 5000, (skb) => {
    const page = skb.shinfo!.headPage!;
    halves.set(page, [...(halves.get(page) ?? []), skb.head % PAGE_SIZE]);
    net.lifetime.consumeSkb(skb);
  });
  expect([halves.size, [...halves.values()].every((turns) => turns.every((at, i) => at === (i % 2) * (PAGE_SIZE / 2)))]).toEqual([RING - 1, true]);
  expect([stats.maps - before.maps, stats.syncs - before.syncs]).toEqual([0, 2 * 5000]);
  // Each packet took a reference of the driver's: it holds what it took less those.
  expect([...halves].every(([page, turns]) => page.refcount === BIAS - turns.length)).toBe(true);
  expect(rig.end()).toEqual(NOTHING_LEFT);
});

test("both halves held cost the driver its page: unmapped, replaced, and freed by whoever frees the last packet in it", () => {
  const rig = driverRig(splitPage, { ring: RING });
  const { machine, device } = rig;
  const held: SkBuff[] = [];
  receive(rig, 2 * RING, (skb) => void held.push(skb));
  const pages = new Set(held.map((skb) => skb.shinfo!.headPage!));
  // Each page took two packets and was given up at the second; what is mapped is what is posted.
  const mapped = device.dma.stats.maps - device.dma.stats.unmaps;
  expect([pages.size, mapped <= RING - 1, mapped > RING - 1 - REFILL_BATCH]).toEqual([RING, true, true]);
  for (const skb of held) machine.net.lifetime.consumeSkb(skb);
  expect(rig.end()).toEqual(NOTHING_LEFT);
});

test("dropped by a program a packet costs no reference and its half is used again; under no design does a page come from a pool", () => {
  const rig = driverRig(splitPage, { ring: RING });
  const { machine, device } = rig;
  device.netif.dev.mtu = 1500;
  const prog = machine.xdp.programs.bpfProgLoad("drop", () => XDP_DROP, false) as XdpProg;
  expect(machine.net.xdpAttachment.devXdpAttach(device.netif.dev, prog, XDP_FLAGS_DRV_MODE, null)).toBe(0);
  const posted = machine.mm.pages.pages.filter(({ refcount }) => refcount === BIAS);
  receive(rig, 300, () => { throw new Error("passed"); });
  expect([posted.length, posted.every(({ refcount }) => refcount === BIAS)]).toEqual([RING - 1, true]);
  expect([device.netif.dev.rxQueues[0]!.xdpRxq.mem.type, machine.pagePools.pools().filter(({ system }) => !system)]).toEqual([MEM_TYPE_PAGE_SHARED, []]);
  expect(rig.end()).toEqual(NOTHING_LEFT);
});

test("what the program left is the packet: both ends moved, metadata in front", () => {
  const rig = driverRig(splitPage, { ring: RING });
  const { machine, device } = rig;
  device.netif.dev.mtu = 1500;
  const prog = machine.xdp.programs.bpfProgLoad("cut", (ctx) => {
    ctx.adjustHead(-8);
    ctx.adjustTail(-10);
    ctx.adjustMeta(-4);
    return XDP_PASS;
  }, false) as XdpProg;
  expect(machine.net.xdpAttachment.devXdpAttach(device.netif.dev, prog, XDP_FLAGS_DRV_MODE, null)).toBe(0);
  const got: unknown[] = [];
  receive(rig, 3, (skb) => {
    got.push([skb.len, skb.shinfo!.metaLen]);
    machine.net.lifetime.consumeSkb(skb);
  });
  expect(got).toEqual(Array.from({ length: 3 }, () => [60 + 8 - 10 - 14, 4]));
  expect(rig.end()).toEqual(NOTHING_LEFT);
});

test("a program needs frames of one half; a ring of another size is refused", () => {
  const rig = driverRig(splitPage, { ring: RING });
  const prog = rig.machine.xdp.programs.bpfProgLoad("any", () => XDP_PASS, true) as XdpProg;
  expect(rig.machine.net.xdpAttachment.devXdpAttach(rig.device.netif.dev, prog, XDP_FLAGS_DRV_MODE, null)).toBe(-22);
  for (const rxRingSize of [63, 8193, 64.5, Number.NaN]) expect(() => createMachine().attach(splitPage, { rxRingSize })).toThrow(/driver-split-page: rxRingSize/);
});
