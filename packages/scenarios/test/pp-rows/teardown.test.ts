import { expect } from "vitest";
import { NSEC_PER_SEC } from "@netmem/kernel/api";
import { GFP_ATOMIC, type NetIov } from "@netmem/mm/api";
import type { PagePool, ProviderPool } from "@netmem/page-pool/api";
import type { PoolBench } from "./pool-bench.ts";
import { BEFORE_6_18, row } from "./row.ts";

/** Sets counters that only long runs reach. */
function count(pool: PagePool, hold: number, release: number): void {
  Object.assign(pool, { holdCnt: hold | 0, releaseCnt: release | 0 });
}

row(41, "hold 5, release 0xFFFFFFFE: 7 in flight", (bench) => {
  const pool = bench.create();
  count(pool, 5, 0xfffffffe);
  expect(pool.inflight()).toBe(7);
});

row(42, "hold 1, release 2: 0 to whoever asks; -1 and a report when it is strict", (bench) => {
  const pool = bench.create();
  count(pool, 1, 2);
  expect([pool.inflight(), bench.kinds()]).toEqual([0, []]);
  pool.destroy();
  expect([bench.kinds(), bench.trace("page_pool_release")]).toEqual([["pp-negative-inflight"], [`page_pool_release: page_pool=${pool.id} inflight=-1 hold=1 release=2 cnt=1`]]);
});

row(43, "all pages back: destroy frees at once, in the order disconnect, unlist, uninit", (bench) => {
  const steps: string[] = [];
  const provider = bench.provider(2);
  const listed = (): boolean => bench.pagePools.pools().some(({ memoryProvider }) => memoryProvider === provider);
  const pool = bench.bind(Object.assign(provider, { destroy: (of: ProviderPool) => void steps.push(`uninit, listed ${listed()}, in flight ${of.holdCnt - of.releaseCnt}`) })) as PagePool;
  pool.useXdpMem(9, () => void steps.push(`disconnect, listed ${listed()}`));
  pool.recycleDirect(bench.takeNiov(pool));
  pool.destroy();
  pool.unuseXdpMem();
  expect([steps, pool.dead, pool.memId]).toEqual([["disconnect, listed true", "uninit, listed false, in flight 0"], true, 0]);
});

row(44, "one page held: destroy waits, unmaps it now; its late put does not unmap it again", (bench) => {
  const pool = bench.create();
  const page = bench.take(pool, 1)[0]!;
  pool.destroy();
  expect([pool.dead, pool.inflight(), bench.dma.liveMappings(), pool.dmaSync]).toEqual([false, 1, 0, false]);
  pool.putFullNetmem(page, false);
  bench.machine.kernel.scheduler.runFor(NSEC_PER_SEC);
  expect([pool.dead, bench.dma.stats.unmaps, bench.kinds()]).toEqual([true, 64, []]);
}, {
  presets: BEFORE_6_18, why: "before 6.16 its mapping stays until it comes home", body: (bench) => {
    const pool = bench.create();
    const page = bench.take(pool, 1)[0]!;
    pool.destroy();
    expect([pool.dead, pool.inflight(), bench.dma.liveMappings()]).toEqual([false, 1, 1]);
    pool.putFullNetmem(page, false);
    bench.machine.kernel.scheduler.runFor(NSEC_PER_SEC);
    expect([pool.dead, bench.dma.liveMappings(), bench.kinds()]).toEqual([true, 0, []]);
  },
});

/** Seconds at which a pool with one page out is warned of, and the first warning. */
function stalls(bench: PoolBench, listed: boolean): { readonly at: readonly number[]; readonly first: string | undefined } {
  const pool = bench.create({ netdev: listed ? bench.dev : null });
  bench.take(pool, 1);
  pool.destroy();
  const { reports, clock, scheduler } = bench.machine.kernel;
  const [from, seen] = [clock.nowNs, reports.reports.length];
  scheduler.runFor(130 * NSEC_PER_SEC);
  expect(pool.destroyCnt).toBe(131);
  const warnings = reports.reports.slice(seen).filter(({ object }) => object === `page_pool ${pool.id}`);
  return { at: warnings.map(({ timeNs }) => (timeNs - from) / NSEC_PER_SEC), first: warnings[0]?.message };
}

row(45, "retried each second; warned of from 60 s on, each 60 s, if no user can see the pool", (bench) => {
  expect(stalls(bench, false)).toEqual({ at: [60, 120], first: `page_pool_release_retry() stalled pool shutdown: id ${bench.pagePools.pools().at(-1)!.id}, 1 inflight 60 sec` });
  expect(stalls(bench, true).at).toEqual([]);
  // Its device gone, loopback has it; and when that goes, nobody.
  const orphan = bench.create({ netdev: bench.dev });
  bench.take(orphan, 1);
  orphan.destroy();
  const { net, kernel } = bench.machine;
  net.unregisterNetdev(bench.dev);
  const seen = kernel.reports.total;
  kernel.scheduler.runFor(70 * NSEC_PER_SEC);
  const others = kernel.reports.reports.slice(seen).filter(({ object }) => object === `page_pool ${orphan.id}`);
  net.unregisterNetdev(net.loopback);
  kernel.scheduler.runFor(NSEC_PER_SEC);
  const now = kernel.reports.reports.slice(seen).filter(({ object }) => object === `page_pool ${orphan.id}`);
  expect([others.length, now.map(({ kind }) => kind)]).toEqual([0, ["pp-stalled-shutdown"]]);
}, {
  presets: ["stock", "v3-2021", "5.14", "6.1"], why: "before 6.8 every stalled pool is warned of, without its id", body: (bench) => {
    expect(stalls(bench, false)).toEqual({ at: [60, 120], first: "page_pool_release_retry() stalled pool shutdown 1 inflight 60 sec" });
    expect(stalls(bench, true).at).toEqual([60, 120]);
  },
});

row(46, "a negative count ends the retries, and the pool is never freed", (bench) => {
  const pool = bench.create();
  count(pool, 0, 1);
  pool.destroy();
  bench.machine.kernel.scheduler.runFor(10 * NSEC_PER_SEC);
  expect([pool.destroyCnt, pool.dead]).toEqual([2, false]);
}, {
  presets: BEFORE_6_18, why: "before 6.15 it is retried for ever", body: (bench) => {
    const pool = bench.create();
    count(pool, 0, 1);
    pool.destroy();
    bench.machine.kernel.scheduler.runFor(10 * NSEC_PER_SEC);
    expect([pool.destroyCnt, pool.dead, bench.kinds().filter((kind) => kind === "pp-negative-inflight").length]).toEqual([11, false, 11]);
  },
});

row(47, "registered with XDP, the first destroy only lowers user_cnt", (bench) => {
  const pool = bench.create();
  const { rxqs } = bench.machine.xdp;
  const { xdpRxq } = bench.dev.rxQueues[0]!;
  rxqs.xdpRxqInfoReg(xdpRxq, bench.dev, 0);
  rxqs.xdpRxqInfoRegMemModel(xdpRxq, pool.memType, pool);
  expect(pool.userCnt).toBe(2);
  pool.destroy();
  expect([pool.userCnt, pool.destroyCnt, pool.dead]).toEqual([1, 0, false]);
  expect(bench.take(pool, 1)[0]).not.toBeNull();
  rxqs.xdpRxqInfoUnreg(xdpRxq);
  expect([pool.userCnt, pool.destroyCnt]).toEqual([0, 1]);
});

row(48, "after destroy nothing that comes home lands in the cache", (bench) => {
  const pool = bench.create({}, 0);
  const [page, freed] = bench.take(pool, 2);
  pool.destroy();
  expect([pool.cpuid, pool.napi]).toEqual([-1, null]);
  bench.napi.listOwner = 0;
  bench.softirq(0, () => pool.putFullNetmem(page!, false));
  bench.softirq(0, () => pool.returnSkbNetmem(freed!, true));
  expect([pool.recycleStats.cached, pool.recycleStats.ring, pool.cacheCount]).toEqual([0, 2, 0]);
});

row(49, "a ring page with two references at scrub is reported, and released all the same", (bench) => {
  const pool = bench.create();
  const page = bench.take(pool, 1)[0]!;
  pool.putFullNetmem(page, false);
  bench.machine.mm.pages.getPage(page);
  pool.destroy();
  expect([bench.kinds(), pool.dead, page.refcount]).toEqual([["pp-ring-refcnt"], true, 1]);
});

row(50, "release_netmem false: no page is put, released is counted", (bench) => {
  const provider = bench.provider(1);
  const pool = bench.bind(provider, { poolSize: 1 }) as PagePool;
  const niov = bench.takeNiov(pool);
  pool.putFullNetmem(niov, false);
  const { frees } = bench.machine.mm.pages.stats;
  pool.destroy();
  expect([pool.releaseCnt, bench.machine.mm.pages.stats.frees - frees, provider.free, niov.poolState, pool.dead]).toEqual([1, 0, [niov], 0, true]);
});

/** As a user of zcrx: takes what the stack delivers, and gives it back through the refill ring. */
function throughUser(bench: PoolBench, pool: PagePool, provider: { readonly giveToUser: (niov: NetIov) => void; readonly userReturns: (niov: NetIov) => void }): NetIov {
  const niov = bench.takeNiov(pool);
  provider.giveToUser(niov);
  pool.putFullNetmem(niov, false);
  provider.userReturns(niov);
  return niov;
}

row(51, "what a user gives back is in the cache again without a hold; what comes from the free list is held", (bench) => {
  const provider = bench.provider(3);
  const pool = bench.bind(provider) as PagePool;
  const first = throughUser(bench, pool, provider);
  expect([pool.holdCnt, provider.free.length, pool.cacheCount, pool.ringCount()]).toEqual([3, 0, 2, 0]);
  bench.takeNiov(pool);
  bench.takeNiov(pool);
  expect(bench.takeNiov(pool)).toBe(first);
  expect([pool.holdCnt, pool.releaseCnt, pool.inflight(), pool.allocStats.slow, pool.allocStats.empty]).toEqual([3, 0, 3, 0, 2]);
});

row(52, "a pool of device memory syncs in neither direction", (bench) => {
  const pool = bench.bind(bench.provider(2, { syncs: false })) as PagePool;
  const niov = bench.takeNiov(pool);
  pool.dmaSyncNetmemForCpu(niov, 0, 100);
  pool.putFullNetmem(niov, false);
  expect([pool.dmaSync, pool.dmaSyncCpu, bench.dma.stats.syncs]).toEqual([false, false, 0]);
  // Where the provider leaves the bits alone, both happen.
  const synced = bench.bind(bench.provider(1), {}, 1) as PagePool;
  const other = bench.takeNiov(synced);
  synced.dmaSyncNetmemForCpu(other, 0, 100);
  synced.putFullNetmem(other, false);
  expect(bench.dma.stats.syncs).toBe(3);
});

row(53, "hold - release is the number of netmems in cache, ring, open page and hands", (bench) => {
  const pool = bench.create({ poolSize: 8 });
  const frag = bench.pagePools.createFrag();
  const held = new Set(bench.take(pool, 20));
  const hands = [...held];
  bench.putDirect(pool, ...hands.splice(0, 3));
  for (const page of hands.splice(0, 9)) pool.putFullNetmem(page, false);
  if (bench.pagePools.hasFragments) bench.softirq(0, () => pool.allocFrag(frag, 100, GFP_ATOMIC));
  const places = [...pool.cacheItems(), ...pool.ringItems(), ...hands, ...(pool.fragPage === null ? [] : [pool.fragPage])];
  expect([pool.inflight(), new Set(places).size]).toEqual([places.length, places.length]);
  expect(pool.getStats(bench.pagePools.createStats()).recycleStats).toEqual(pool.recycleStats);
});

row(54, "a full ring of 1024: after 15 consumed a produce still fails; after 16, sixteen succeed", (bench) => {
  const ring = bench.machine.kernel.rings.create<number>(1024);
  for (let i = 0; i < 1024; i++) ring.produce(i);
  for (let i = 0; i < 15; i++) ring.consume();
  expect(ring.produce(0)).toBe(false);
  ring.consume();
  expect(Array.from({ length: 17 }, () => ring.produce(0))).toEqual([...Array.from({ length: 16 }, () => true), false]);
});
