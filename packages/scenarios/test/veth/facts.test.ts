import { describe, expect, test } from "vitest";
import { PRESET_NAMES } from "@netmem/machine";
import { GFP_ATOMIC, PAGE_SIZE, type Page } from "@netmem/mm/api";
import { skbHeadFrag, skbRegion, type SkBuff } from "@netmem/net-core/api";
import { testPayload, udpFrame } from "@netmem/testkit";
import { MEM_TYPE_PAGE_POOL, XDP_DROP, XDP_PASS, XDP_TX, type CpuMap } from "@netmem/xdp/api";
import { VethRig } from "./veth-rig.ts";

const NOTHING_LEFT = { skbs: 0, pages: 0, reports: [] };
const HEADROOM = 300;

/** In a page of nobody's pool, with room in front, in one piece: as a program may write it. */
function plain(rig: VethRig, frame: Uint8Array): SkBuff {
  const { net, mm } = rig.machine;
  return filled(rig, net.lifetime.napiBuildSkb(mm.pages.allocPages(GFP_ATOMIC, 0, -1)!, PAGE_SIZE)!, frame);
}

function filled(rig: VethRig, skb: SkBuff, frame: Uint8Array): SkBuff {
  const { edit } = rig.machine.net;
  edit.skbReserve(skb, HEADROOM);
  edit.skbPut(skb, frame.length);
  skbRegion(skb).bytes.set(frame, skb.data);
  skb.macHeader = skb.data;
  return skb;
}

describe("what makes a packet one that is copied for its program, each for itself", () => {
  const frame = udpFrame(testPayload(200, 1));
  test.each([
    ["nothing", false, (rig: VethRig) => plain(rig, frame)],
    ["another user of it", true, (rig: VethRig, later: (() => void)[]) => {
      const skb = plain(rig, frame);
      rig.machine.net.lifetime.skbGet(skb);
      later.push(() => rig.machine.net.lifetime.consumeSkb(skb));
      return skb;
    }],
    ["a clone", true, (rig: VethRig, later: (() => void)[]) => {
      const skb = plain(rig, frame);
      const clone = rig.machine.net.lifetime.skbClone(skb, GFP_ATOMIC)!;
      later.push(() => rig.machine.net.lifetime.consumeSkb(clone));
      return skb;
    }],
    ["a head that is no page's", true, (rig: VethRig) => {
      const skb = filled(rig, rig.machine.net.lifetime.allocSkb(1024, GFP_ATOMIC)!, frame);
      expect(skbHeadFrag(skb)).toBe(false);
      return skb;
    }],
    ["a frag", true, (rig: VethRig) => {
      const { mm, net } = rig.machine;
      const skb = plain(rig, frame.subarray(0, 100));
      const page = mm.pages.allocPages(GFP_ATOMIC, 0, -1)!;
      page.region.bytes.set(frame.subarray(100), page.base);
      net.edit.skbAddRxFrag(skb, page, 0, frame.length - 100, PAGE_SIZE);
      return skb;
    }],
  ] as const)("%s", (_what, isCopied, make) => {
    const rig = new VethRig();
    rig.attachPass(rig.b);
    const later: (() => void)[] = [];
    rig.sendSkb(rig.a, () => make(rig, later));
    expect([rig.pool().holdCnt > 0, rig.received.map((skb) => [skb.ppRecycle, rig.bytes(skb)])]).toEqual([isCopied, [[isCopied, [...frame.subarray(14)]]]]);
    for (const free of later) free();
    expect(rig.end()).toEqual(NOTHING_LEFT);
  });
});

describe("sent back, a packet's pages have a plain reference each, so that those a packet has alone leave their pool", () => {
  test("its head: as many pages as packets", () => {
    const rig = new VethRig();
    rig.attachPass(rig.a);
    rig.attach(rig.b, rig.program(() => XDP_TX));
    const pool = rig.pool();
    const frames = Array.from({ length: 10 }, (_, i) => udpFrame(testPayload(2000, i)));
    for (const { dev } of [rig.a, rig.b]) rig.machine.net.devSetMtu(dev, 3000);
    rig.send(rig.a, frames);
    expect([rig.received.map((skb) => rig.bytes(skb)), pool.releaseCnt, rig.received.every((skb) => !skb.ppRecycle && skb.shinfo!.headPage!.pp === null && skb.shinfo!.headPage!.refcount === 1)]).toEqual([frames.map((frame) => [...frame.subarray(14)]), 10, true]);
    expect(rig.end()).toEqual(NOTHING_LEFT);
  });

  test("and its frags", () => {
    const rig = new VethRig({ nrPages: 8192 });
    for (const { dev } of [rig.a, rig.b]) rig.machine.net.devSetMtu(dev, 60_000);
    rig.attachPass(rig.a, true);
    rig.attach(rig.b, rig.program(() => XDP_TX, true));
    const pool = rig.pool();
    const frame = udpFrame(testPayload(20_000, 3));
    rig.send(rig.a, [frame]);
    const [skb] = rig.received;
    const { nrFrags, frags, headPage } = skb!.shinfo!;
    const pages = [headPage!, ...frags.slice(0, nrFrags).map(({ netmem }) => (netmem as Page).head)];
    expect([rig.bytes(skb!), nrFrags > 3, pages.map(({ refcount }) => refcount), pages.filter(({ pp }) => pp === null).length, pool.releaseCnt]).toEqual([[...frame.subarray(14)], true, pages.map(({ pp }) => (pp === null ? 1 : 2)), pool.releaseCnt, pages.length - 1]);
    expect(rig.end()).toEqual(NOTHING_LEFT);
  });
});

test("direct return is off while it polls: a pool's frame that its program sent to a ring that is full goes home through the pool's ring", () => {
  const rig = new VethRig();
  const { xdp, pagePools } = rig.machine;
  const pool = pagePools.create({ flags: 0, order: 0, poolSize: 64, nid: -1, dev: null, netdev: null, napi: null, dmaDir: 0, maxLen: 0, offset: 0 });
  if (typeof pool === "number") throw new Error(`no pool: ${pool}`);
  const rxq = xdp.structs.createXdpRxqInfo();
  expect([xdp.rxqs.xdpRxqInfoReg(rxq, rig.a.dev, 0), xdp.rxqs.xdpRxqInfoRegMemModel(rxq, MEM_TYPE_PAGE_POOL, pool)]).toEqual([0, 0]);
  const map = xdp.maps.createCpuMap(1) as CpuMap;
  expect(map.mapUpdateElem(0, 1, null, 0)).toBe(0);
  rig.attach(rig.b, rig.program((md) => md.redirectMap(map, 0, 0)));
  const pooled = (seed: number) => {
    const buff = xdp.structs.createXdpBuff(rxq);
    xdp.buffs.xdpInitBuff(buff, PAGE_SIZE);
    const page = pool.devAllocPages()!;
    page.region.bytes.set(udpFrame(testPayload(100, seed)), page.base + 256);
    xdp.buffs.xdpPrepareBuff(buff, page, 0, 256, 142, true);
    const frame = xdp.buffs.xdpConvertBuffToFrame(buff)!;
    frame.devRx = rig.a.dev;
    return frame;
  };
  rig.softirq(0, () => void rig.a.dev.xdpOps!.xdpXmit!([pooled(1), pooled(2), pooled(3)], 3, 1));
  // One had room.
  expect([xdp.redirect.stats.cpumapDrops, pool.recycleStats.cached, pool.recycleStats.ring]).toEqual([2, 0, 2]);
  rig.free();
  xdp.rxqs.xdpRxqInfoUnreg(rxq);
  pool.destroy();
  expect(rig.end()).toEqual(NOTHING_LEFT);
});

test.each(PRESET_NAMES)("%s: its pool, from 6.7 on, is of no memory model, and no event tells of one: mem_connect and mem_disconnect do not come", (preset) => {
  const rig = new VethRig({ preset, traceEntries: 4096 });
  rig.attach(rig.b, rig.program(() => XDP_DROP));
  const hasPool = rig.machine.pagePools.pools().some(({ system }) => !system);
  rig.send(rig.a, Array.from({ length: 20 }, (_, i) => udpFrame(testPayload(100, i))));
  rig.attach(rig.b, rig.program(() => XDP_PASS));
  rig.attach(rig.b, null);
  const events = rig.machine.kernel.trace!.records().map(({ kind }) => kind.name);
  expect([hasPool, events.some((name) => name.startsWith("page_pool")), events.filter((name) => name === "mem_connect" || name === "mem_disconnect")]).toEqual([preset === "6.8" || preset === "6.18", hasPool, []]);
  expect(rig.end()).toEqual(NOTHING_LEFT);
});
