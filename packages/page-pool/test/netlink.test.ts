import { expect, test } from "vitest";
import { ENOENT, EOPNOTSUPP, NSEC_PER_SEC } from "@netmem/kernel/api";
import { MIN_NAPI_ID, NAPIF_STATE_SCHED, NETDEV_UNREGISTER } from "@netmem/xdp/api";
import { PAGE_POOL_ETHTOOL_STRINGS, pagePoolEthtoolStats, type PagePoolInfo } from "../src/api/index.ts";
import { PoolRig } from "./rig.ts";

function listed(rules = {}) {
  const rig = new PoolRig(rules);
  const napi = rig.addNapi();
  const events: string[] = [];
  rig.pools.netlink.subscribe({ notify: (event, info) => void events.push(`${event} ${JSON.stringify(info)}`) });
  return { rig, napi, events };
}

test("a pool with a device is shown: id, ifindex, napi-id, in flight, in bytes too; attributes without a value are left out", () => {
  const { rig, napi } = listed();
  const hidden = rig.create({ netdev: null });
  const pool = rig.create({ netdev: rig.dev, napi, order: 1, maxLen: 8192 });
  const bare = rig.create({ netdev: rig.dev, napi: null });
  rig.take(pool, 3);
  rig.take(hidden, 1);
  expect(rig.pools.netlink.get(pool.id)).toEqual({ id: 2, ifindex: 2, napiId: MIN_NAPI_ID, inflight: 3, inflightMem: 3 * 8192 });
  expect(rig.pools.netlink.dump().map(({ id }) => id)).toEqual([bare.id, pool.id]);
  expect(Object.keys(rig.pools.netlink.get(bare.id))).toEqual(["id", "ifindex", "inflight", "inflightMem"]);
  expect([hidden.id, 99].map((id) => rig.pools.netlink.get(id))).toEqual([-ENOENT, -ENOENT]);
});

test("a pool whose NAPI is taken away shows none; on 6.8 the one it was created with", () => {
  for (const listsNapiOfCreation of [false, true]) {
    const { rig, napi } = listed({ listsNapiOfCreation });
    const pool = rig.create({ netdev: rig.dev, napi });
    napi.state = NAPIF_STATE_SCHED;
    pool.disableDirectRecycling();
    expect((rig.pools.netlink.get(pool.id) as PagePoolInfo).napiId).toBe(listsNapiOfCreation ? MIN_NAPI_ID : undefined);
  }
});

test("stats: the eleven counters beside id and ifindex", () => {
  const { rig } = listed();
  const pool = rig.create({ netdev: rig.dev });
  pool.recycleDirect(rig.take(pool, 1)[0]!);
  const shown = rig.pools.netlink.statsGet(pool.id);
  expect(shown).toMatchObject({ info: { id: 1, ifindex: 2 }, stats: { allocStats: { slow: 1, empty: 1 }, recycleStats: { cached: 1 } } });
  expect(rig.pools.netlink.statsDump()).toEqual([shown]);
  expect(rig.pools.netlink.statsGet(7)).toBe(-ENOENT);
});

test("the eleven in ethtool's order, added to what the caller has", () => {
  const rig = new PoolRig();
  const pool = rig.create();
  Object.assign(pool.allocStats, { fast: 1, slow: 2, slowHighOrder: 3, empty: 4, refill: 5, waive: 6 });
  Object.assign(pool.recycleStats, { cached: 7, cacheFull: 8, ring: 9, ringFull: 10, releasedRefcnt: 11 });
  const stats = rig.pools.createStats();
  expect(pagePoolEthtoolStats(pool.getStats(stats))).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
  expect(pagePoolEthtoolStats(pool.getStats(stats))).toEqual([2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22]);
  expect(PAGE_POOL_ETHTOOL_STRINGS).toEqual([
    "rx_pp_alloc_fast", "rx_pp_alloc_slow", "rx_pp_alloc_slow_ho", "rx_pp_alloc_empty", "rx_pp_alloc_refill", "rx_pp_alloc_waive",
    "rx_pp_recycle_cached", "rx_pp_recycle_cache_full", "rx_pp_recycle_ring", "rx_pp_recycle_ring_full", "rx_pp_recycle_released_ref",
  ]);
});

test("events: added when listed, changed when teardown has to wait, with the second it began, deleted at the end", () => {
  const { rig, events } = listed();
  const pool = rig.create({ netdev: rig.dev });
  const page = rig.take(pool, 1)[0]!;
  rig.kernel.scheduler.runFor(7.5 * NSEC_PER_SEC);
  pool.destroy();
  expect(rig.pools.netlink.get(pool.id)).toMatchObject({ inflight: 1, detachTime: 7 });
  pool.putFullNetmem(page, false);
  rig.kernel.scheduler.runFor(NSEC_PER_SEC);
  expect(events).toEqual([
    'page-pool-add-ntf {"id":1,"ifindex":2,"inflight":0,"inflightMem":0}',
    'page-pool-change-ntf {"id":1,"ifindex":2,"inflight":1,"inflightMem":4096,"detachTime":7}',
    'page-pool-del-ntf {"id":1,"ifindex":2,"inflight":0,"inflightMem":0,"detachTime":7}',
  ]);
  expect([rig.pools.netlink.dump(), rig.pools.netlink.get(pool.id)]).toEqual([[], -ENOENT]);
});

test("a pool that no user can see makes no events; an unsubscribed listener hears none", () => {
  const { rig, events } = listed();
  rig.create({ netdev: null }).destroy();
  expect(events).toEqual([]);
  const heard: string[] = [];
  const listener = { notify: (event: string) => void heard.push(event) };
  rig.pools.netlink.subscribe(listener);
  rig.create({ netdev: rig.dev });
  rig.pools.netlink.unsubscribe(listener);
  rig.pools.netlink.unsubscribe(listener);
  rig.create({ netdev: rig.dev });
  expect(heard).toEqual(["page-pool-add-ntf"]);
});

test("the device goes: loopback has its pools, without an ifindex, each with an event; loopback goes: nobody, and no event", () => {
  const { rig, events } = listed();
  const lo = rig.structs.createNetDevice("lo", 1, 1);
  rig.dev.loopback = lo;
  const own = rig.create({ netdev: lo });
  const pools = [rig.create({ netdev: rig.dev }), rig.create({ netdev: rig.dev })];
  events.length = 0;
  rig.notifiers.callNetdeviceNotifiers(NETDEV_UNREGISTER, rig.dev);
  expect(events).toEqual([3, 2].map((id) => `page-pool-change-ntf {"id":${id},"inflight":0,"inflightMem":0}`));
  expect([rig.pools.netlink.dump().map(({ id }) => id), pools.map(({ netdev }) => netdev?.name)]).toEqual([[3, 2, own.id], ["lo", "lo"]]);
  events.length = 0;
  rig.notifiers.callNetdeviceNotifiers(NETDEV_UNREGISTER, lo);
  expect([events, rig.pools.netlink.dump(), rig.pools.netlink.get(2), pools.map(({ netdev }) => netdev)]).toEqual([[], [], -ENOENT, [null, null]]);
  for (const pool of pools) pool.destroy();
  expect([events, rig.pools.pools()]).toEqual([[], [own]]);
});

test("devices are listed by ifindex, whatever their first pools' order; other events than UNREGISTER change nothing", () => {
  const { rig } = listed();
  const later = rig.create({ netdev: rig.structs.createNetDevice("rig1", 5, 1) });
  const pool = rig.create({ netdev: rig.dev });
  rig.notifiers.callNetdeviceNotifiers(NETDEV_UNREGISTER - 1, rig.dev);
  expect([rig.pools.netlink.dump().map(({ id }) => id), pool.netdev === rig.dev]).toEqual([[pool.id, later.id], true]);
});

test("users never see a negative count, and showing it is no report", () => {
  const { rig } = listed();
  const pool = rig.create({ netdev: rig.dev });
  Object.assign(pool, { releaseCnt: 3 });
  expect([rig.pools.netlink.get(pool.id), rig.kinds()]).toMatchObject([{ inflight: 0, inflightMem: 0 }, []]);
});

test("up to 6.7 there is no such family", () => {
  const { rig, events } = listed({ listsToUsers: false });
  const pool = rig.create({ netdev: rig.dev });
  expect([rig.pools.netlink.get(pool.id), rig.pools.netlink.statsGet(pool.id), rig.pools.netlink.dump(), rig.pools.netlink.statsDump(), events]).toEqual([-EOPNOTSUPP, -EOPNOTSUPP, [], [], []]);
});

test("ids are handed out in a row, one for each pool that came to be", () => {
  const rig = new PoolRig();
  rig.create().destroy();
  rig.pools.create(rig.params({ flags: 1 << 9 }));
  expect([rig.create().id, rig.create().id, rig.pools.pools().map(({ id }) => id)]).toEqual([2, 3, [2, 3]]);
});
