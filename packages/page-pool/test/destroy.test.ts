import { expect, test } from "vitest";
import { NSEC_PER_SEC } from "@netmem/kernel/api";
import type { Page } from "@netmem/mm/api";
import { NetDevice } from "@netmem/xdp/api";
import { PoolRig } from "./rig.ts";

test("pp-xdp row 41: in flight counts across the wrap at 2^32", () => {
  const rig = new PoolRig();
  const pool = rig.create();
  Object.assign(pool, { holdCnt: 5, releaseCnt: -2 });
  expect(pool.inflight()).toBe(7);
});

test("pp-xdp row 42: hold 1, release 2 reads 0 to a user, and −1 with a report at teardown", () => {
  const rig = new PoolRig();
  const pool = rig.create();
  Object.assign(pool, { holdCnt: 1, releaseCnt: 2 });
  expect(pool.inflight()).toBe(0);
  pool.destroy();
  expect(rig.kinds()).toEqual(["pp-negative-inflight"]);
  expect(rig.events.at(-1)).toBe("pool -1 1 2 1");
});

test("pp-xdp row 43: with every page back, destroy frees at once: disconnect, then gone from the list", () => {
  const rig = new PoolRig();
  const pool = rig.create();
  const order: string[] = [];
  pool.useXdpMem(9, () => void order.push(`disconnect, listed ${rig.pools.pools().length}`));
  pool.recycleDirect(rig.take(pool, 1)[0]!);
  pool.destroy();
  expect(pool.dead).toBe(false);
  pool.unuseXdpMem();
  expect(order).toEqual(["disconnect, listed 1"]);
  expect([pool.dead, rig.pools.pools().length, rig.dma.liveMappings()]).toEqual([true, 0, 0]);
  expect(rig.mm.pages.freePages()).toBe(rig.mm.pages.nrPages);
});

test("pp-xdp row 44: with one page held destroy waits, unmaps it now without touching it, and its late put does not unmap again", () => {
  const rig = new PoolRig();
  const pool = rig.create();
  const page = rig.take(pool, 1)[0]!;
  const { dmaAddr } = page;
  pool.destroy();
  expect([pool.dead, pool.inflight(), rig.dma.liveMappings(), page.dmaAddr]).toEqual([false, 1, 0, dmaAddr]);
  pool.putFullNetmem(page, false);
  rig.kernel.scheduler.runFor(NSEC_PER_SEC);
  expect([pool.dead, rig.dma.stats.unmaps, rig.kinds().length]).toEqual([true, 64, 0]);
});

test("pp-xdp row 45: retried each second; warned from 60 s on, each 60 s, unless a user can see the pool", () => {
  const warnings = (netdev: NetDevice | null, mutesVisibleStalls: boolean): number[] => {
    const rig = new PoolRig({ mutesVisibleStalls });
    const pool = rig.create({ netdev });
    rig.take(pool, 1);
    pool.destroy();
    rig.kernel.scheduler.runFor(130 * NSEC_PER_SEC);
    expect(pool.destroyCnt).toBe(131);
    return rig.kernel.reports.reports.map((report) => report.timeNs / NSEC_PER_SEC);
  };
  expect(warnings(null, true)).toEqual([60, 120]);
  expect(warnings(new NetDevice("eth0", 1), true)).toEqual([]);
  expect(warnings(new NetDevice("eth0", 1), false)).toEqual([60, 120]);
});

test("pp-xdp row 46: a negative count is given up: the first retry does not re-arm, the pool is never freed", () => {
  const rig = new PoolRig();
  const pool = rig.create();
  Object.assign(pool, { releaseCnt: 1 });
  pool.destroy();
  rig.kernel.scheduler.runFor(10 * NSEC_PER_SEC);
  expect([pool.destroyCnt, pool.dead]).toEqual([2, false]);
});

test("pp-xdp row 47: registered with XDP, the first destroy only lowers the user count", () => {
  const rig = new PoolRig();
  const pool = rig.create();
  pool.useXdpMem(1, () => {});
  pool.destroy();
  expect([pool.destroyCnt, pool.dead]).toEqual([0, false]);
});

test("pp-xdp row 48: after destroy a put never lands in the cache, wherever it runs", () => {
  const rig = new PoolRig();
  const pool = rig.create({}, 0);
  const page = rig.take(pool, 1)[0]!;
  pool.destroy();
  rig.napi.listOwner = 0;
  rig.softirq(0, () => pool.putFullNetmem(page, false));
  expect([pool.stats.cached, pool.stats.ring, pool.cacheCount]).toEqual([0, 1, 0]);
});

test("pp-xdp row 49: a ring page with a second reference at scrub is reported, and released anyway", () => {
  const rig = new PoolRig();
  const pool = rig.create();
  const page = rig.take(pool, 1)[0]!;
  pool.putFullNetmem(page, false);
  rig.mm.pages.getPage(page);
  pool.destroy();
  expect(rig.kinds()).toEqual(["pp-ring-refcnt"]);
  expect([pool.dead, page.refcount]).toEqual([true, 1]);
});

test("destroying a freed pool again, or more often than it has users, is a report", () => {
  const rig = new PoolRig();
  const pool = rig.create();
  pool.destroy();
  pool.destroy();
  const held = rig.create();
  rig.take(held, 1);
  held.destroy();
  held.destroy();
  expect(rig.kinds()).toEqual(["pp-use-after-destroy", "pp-use-after-destroy"]);
});

test("a freed pool hands nothing out and takes nothing in: both are reports, and no page is lost", () => {
  const rig = new PoolRig();
  const pool = rig.create();
  pool.destroy();
  expect(pool.allocPages(0)).toBeNull();
  const stray = rig.mm.pages.allocPages(0, 0, -1)!;
  stray.ppRefCount = 1;
  pool.putFullNetmem(stray, true);
  expect(rig.kinds()).toEqual(["pp-use-after-destroy", "pp-use-after-destroy"]);
  expect([pool.holdCnt, rig.mm.pages.freePages()]).toEqual([0, rig.mm.pages.nrPages]);
});

test("registering a pool with XDP a second time is a report: the first id will never be given back", () => {
  const rig = new PoolRig();
  const pool = rig.create();
  pool.useXdpMem(1, () => {});
  pool.useXdpMem(2, () => {});
  expect(rig.kinds()).toEqual(["pp-registered-twice"]);
});

test("switching direct recycling off while the NAPI runs is a report", () => {
  const rig = new PoolRig();
  const pool = rig.create();
  rig.napi.listOwner = 1;
  pool.disableDirectRecycling();
  expect(rig.kinds()).toEqual(["pp-napi-running"]);
});

test("without DMA tracking, a page still out keeps its mapping until it comes home", () => {
  const rig = new PoolRig({ tracksDma: false });
  const pool = rig.create();
  const page = rig.take(pool, 1)[0] as Page;
  pool.destroy();
  expect(rig.dma.liveMappings()).toBe(1);
  pool.putFullNetmem(page, false);
  rig.kernel.scheduler.runFor(NSEC_PER_SEC);
  expect([pool.dead, rig.dma.liveMappings()]).toEqual([true, 0]);
});
