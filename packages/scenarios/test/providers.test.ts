import { describe, expect, test } from "vitest";
import { EBUSY, EEXIST, EFAULT, EINVAL, ENETDOWN, ENODATA, ENOENT, ENOMEM, EOPNOTSUPP, ERANGE, NSEC_PER_SEC } from "@netmem/kernel/api";
import { GFP_ATOMIC, type NetIov } from "@netmem/mm/api";
import type { PagePool, ProviderPool } from "@netmem/page-pool/api";
import { ETHTOOL_TCP_DATA_SPLIT_DISABLED, ETHTOOL_TCP_DATA_SPLIT_ENABLED, type NetDevice } from "@netmem/xdp/api";
import { QueuePools } from "./queue-pools.ts";
import { PoolBench, refs } from "./pp-rows/pool-bench.ts";
import { PP_FLAG_ALLOW_UNREADABLE_NETMEM, PP_FLAG_DMA_MAP, PP_FLAG_DMA_SYNC_DEV } from "@netmem/page-pool/api";

const UNREADABLE = PP_FLAG_DMA_MAP | PP_FLAG_DMA_SYNC_DEV | PP_FLAG_ALLOW_UNREADABLE_NETMEM;

/** A device that is up, splits headers, and whose four queues can be restarted. */
function queues(preset: "6.18" | "5.14" = "6.18") {
  const bench = new PoolBench(preset);
  const { dev } = bench;
  dev.up = true;
  dev.hdsConfig = ETHTOOL_TCP_DATA_SPLIT_ENABLED;
  const ops = new QueuePools(bench.pagePools, (queueIdx) => bench.params({ flags: UNREADABLE, napi: null, netdev: dev, queueIdx }));
  dev.queueMgmtOps = ops;
  return { bench, dev, ops, providers: bench.pagePools.providers };
}

describe("binding a provider to a queue", () => {
  const faults: readonly [string, number, (dev: NetDevice) => void][] = [
    ["no queue management", -EOPNOTSUPP, (dev) => void (dev.queueMgmtOps = null)],
    ["leased", -EBUSY, (dev) => void (dev.rxQueues[1]!.leased = true)],
    ["tcp-data-split off", -EINVAL, (dev) => void (dev.hdsConfig = ETHTOOL_TCP_DATA_SPLIT_DISABLED)],
    ["hds-thresh", -EINVAL, (dev) => void (dev.hdsThresh = 1)],
    ["XDP program", -EEXIST, (dev) => void (dev.xdpProgCount = 1)],
    ["another provider", -EEXIST, (dev) => void (dev.rxQueues[1]!.memoryProvider = { nlFill: () => ({}), uninstall: () => {} })],
    ["AF_XDP", -EBUSY, (dev) => void (dev.rxQueues[1]!.xskBound = true)],
  ];

  test.each(faults)("%s: %i, nothing bound, the queue left alone", (_what, errno, make) => {
    const { bench, dev, ops, providers } = queues();
    make(dev);
    const before = dev.rxQueues[1]!.memoryProvider;
    expect([providers.openRxq(dev, 1, bench.provider(2)), dev.rxQueues[1]!.memoryProvider === before, ops.calls]).toEqual([errno, true, []]);
  });

  test("what is bound has not a provider's operations: its pool is refused with -EFAULT, and a line that says so", () => {
    const { bench, dev } = queues();
    dev.rxQueues[1]!.memoryProvider = { nlFill: () => ({}), uninstall: () => {} };
    expect(bench.refusal({ flags: UNREADABLE, napi: null, netdev: dev, queueIdx: 1 })).toEqual({ errno: -EFAULT, kinds: ["pp-create-failed"] });
    expect(bench.machine.kernel.reports.reports[0]!.message).toContain("queueIdx = 1");
  });

  test("a queue that is not there: -ERANGE", () => {
    const { bench, dev, providers } = queues();
    expect([providers.openRxq(dev, 4, bench.provider(2)), providers.openRxq(dev, -1, bench.provider(2)), providers.restartRxq(dev, 9)]).toEqual([-ERANGE, -ERANGE, -ERANGE]);
  });

  test("of several refusals the first in the kernel's order answers", () => {
    for (let first = 0; first < faults.length; first++) {
      const { bench, dev, providers } = queues();
      for (const [, , make] of faults.slice(first)) make(dev);
      expect(providers.openRxq(dev, 1, bench.provider(2))).toBe(faults[first]![1]);
    }
  });

  test("the queue is rebuilt with a pool of the provider's, stopped, started, and the old memory freed; closed, it has pages again", () => {
    const { bench, dev, ops, providers } = queues();
    providers.restartRxq(dev, 1);
    const ordinary = ops.running(1)!;
    ops.calls.length = 0;
    const provider = bench.provider(4);
    expect([providers.openRxq(dev, 1, provider), ops.calls, ordinary.dead, providers.count()]).toEqual([0, ["alloc", "stop", "start", "free"], true, 1]);
    const pool = ops.running(1)!;
    expect([pool.memoryProvider === provider, provider.pools.length, providers.check(dev.rxQueues[1]!)]).toEqual([true, 1, 0]);
    providers.closeRxq(dev, 1, provider);
    expect([pool.dead, provider.pools.length, provider.free.length, ops.running(1)!.memoryProvider, bench.kinds(), bench.dma.liveMappings()]).toEqual([true, 0, 4, null, [], 0]);
  });

  test("a driver that makes no pool for the provider: -ENODATA, and what it made is freed", () => {
    const { bench, dev, providers } = queues();
    const deaf = new QueuePools(bench.pagePools, () => bench.params({ netdev: dev }));
    dev.queueMgmtOps = deaf;
    const pools = bench.pagePools.pools().length;
    expect([providers.openRxq(dev, 1, bench.provider(2)), deaf.calls, dev.rxQueues[1]!.memoryProvider, bench.pagePools.pools().length]).toEqual([-ENODATA, ["alloc", "free"], null, pools]);
  });

  test.each<[string, number, string[], boolean]>([
    ["alloc", 1, ["alloc"], true], ["stop", 1, ["alloc", "stop", "free"], true], ["start", 1, ["alloc", "stop", "start", "start", "free"], true],
    ["start", 2, ["alloc", "stop", "start", "start", "free", "free"], false],
  ])("the driver fails at %s (%i times): -ENOMEM, nothing bound, and the old memory runs again if it can", (call, times, calls, runs) => {
    const { bench, dev, ops, providers } = queues();
    providers.restartRxq(dev, 1);
    const old = ops.running(1)!;
    ops.calls.length = 0;
    ops.failures.set(call, { errno: -ENOMEM, from: 1, times });
    expect([providers.openRxq(dev, 1, bench.provider(2)), ops.calls, dev.rxQueues[1]!.memoryProvider, ops.running(1) === old, old.dead]).toEqual([-ENOMEM, calls, null, runs, !runs]);
    expect(bench.kinds()).toEqual(runs ? [] : ["rxq-restart-failed"]);
  });

  test("while the interface is down nothing is stopped or started", () => {
    const { bench, dev, ops, providers } = queues();
    dev.up = false;
    expect([providers.openRxq(dev, 1, bench.provider(2)), ops.calls, dev.rxQueues[1]!.memoryProvider === null]).toEqual([0, ["alloc", "free"], false]);
  });

  test("closed for another than is bound: a report, and the binding stays", () => {
    const { bench, dev, providers } = queues();
    const provider = bench.provider(2);
    providers.openRxq(dev, 1, provider);
    providers.closeRxq(dev, 1, bench.provider(2));
    providers.closeRxq(dev, 7, provider);
    expect([bench.kinds(), dev.rxQueues[1]!.memoryProvider === provider]).toEqual([["mp-close-mismatch", "mp-close-mismatch"], true]);
  });

  test("closed while nothing is bound: a report too, as long as the device is there", () => {
    const { bench, dev, providers } = queues();
    providers.closeRxq(dev, 1, bench.provider(2));
    expect(bench.kinds()).toEqual(["mp-close-mismatch"]);
  });

  test("a driver that cannot restart the queue as it is closed: a report with the errno, and nothing is bound any more", () => {
    const { bench, dev, ops, providers } = queues();
    const provider = bench.provider(2);
    providers.openRxq(dev, 1, provider);
    ops.failures.set("alloc", { errno: -ENOMEM, from: 2, times: 1 });
    providers.closeRxq(dev, 1, provider);
    const { reports } = bench.machine.kernel.reports;
    expect([bench.kinds(), dev.rxQueues[1]!.memoryProvider]).toEqual([["mp-close-failed"], null]);
    expect(reports[0]!.message).toContain("errno -12");
  });

  test("a driver that says that its interface is down has not failed: the binding is gone without a report", () => {
    const { bench, dev, ops, providers } = queues();
    const provider = bench.provider(2);
    providers.openRxq(dev, 1, provider);
    ops.failures.set("alloc", { errno: -ENETDOWN, from: 2, times: 1 });
    providers.closeRxq(dev, 1, provider);
    expect([bench.kinds(), dev.rxQueues[1]!.memoryProvider]).toEqual([[], null]);
  });

  test("a driver that makes its pool for another queue of the same provider: -ENODATA", () => {
    const { bench, dev, providers } = queues();
    const provider = bench.provider(4);
    dev.queueMgmtOps = new QueuePools(bench.pagePools, () => bench.params({ flags: UNREADABLE, napi: null, netdev: dev, queueIdx: 1 }));
    expect([providers.openRxq(dev, 1, provider), providers.openRxq(dev, 2, provider), dev.rxQueues[2]!.memoryProvider]).toEqual([0, -ENODATA, null]);
  });

  test("the device is unregistered while bound: the provider forgets it, and closing later says nothing", () => {
    const { bench, dev, providers } = queues();
    const provider = bench.provider(2);
    providers.openRxq(dev, 1, provider);
    const boundWhenTold: unknown[] = [];
    bench.machine.xdp.notifiers.registerNetdeviceNotifier({ netdeviceEvent: () => void boundWhenTold.push(dev.rxQueues[1]!.memoryProvider) });
    providers.openRxq(dev, 3, provider);
    bench.machine.net.unregisterNetdev(dev);
    expect([dev.rxQueues.map(({ memoryProvider }) => memoryProvider), dev.up, boundWhenTold, dev.loopback!.up]).toEqual([[null, null, null, null], false, [null], true]);
    providers.closeRxq(dev, 1, provider);
    expect(bench.kinds()).toEqual([]);
    bench.machine.net.unregisterNetdev(dev);
    expect(bench.kinds()).toEqual(["netdev-unregistered"]);
  });

  test("netlink shows whose memory it is", () => {
    const { bench, dev, ops, providers } = queues();
    providers.openRxq(dev, 1, bench.provider(2, { dmabuf: 17 }));
    providers.openRxq(dev, 2, bench.provider(2));
    const { netlink } = bench.pagePools;
    expect([netlink.get(ops.running(1)!.id), netlink.get(ops.running(2)!.id)]).toMatchObject([{ ifindex: dev.ifindex, dmabuf: 17 }, { ioUring: {} }]);
    expect(netlink.get(99)).toBe(-ENOENT);
  });
});

describe("the reference provider", () => {
  test("refuses large pages, another direction and a device without room for its area", () => {
    const { bench } = queues();
    expect(bench.bind(bench.provider(2), { order: 1 })).toBe(-7);
    const provider = bench.provider(2);
    expect(typeof bench.bind(provider)).toBe("object");
    const elsewhere = bench.machine.mm.attachDevice({ name: "elsewhere", coherent: true, aperturePages: 64 }).dma;
    expect(bench.bind(provider, { dev: elsewhere }, 1)).toBe(-EINVAL);
    const other = new PoolBench("6.18");
    expect(other.bind(other.provider(2), { dmaDir: 0 })).toBe(-EOPNOTSUPP);
    const full = new PoolBench("6.18");
    full.machine.mm.faults.failDmaMap.arm({ nth: 2 });
    expect([full.bind(full.provider(3)), full.dma.liveMappings()]).toEqual([-ENOMEM, 0]);
  });

  test("what the user holds is in flight after its queue has closed, and the pool dies with the last one back", () => {
    const { bench, dev, ops, providers } = queues();
    const provider = bench.provider(3);
    providers.openRxq(dev, 0, provider);
    const pool = ops.running(0)!;
    const niov = bench.takeNiov(pool);
    provider.giveToUser(niov);
    pool.putFullNetmem(niov, false);
    providers.closeRxq(dev, 0, provider);
    expect([pool.dead, pool.inflight(), provider.free.length, niov.ppRefCount]).toEqual([false, 1, 2, 1]);
    // The user's last reference, without a pool left that would ask for it: as io_uring scrubs at its end.
    provider.userRefs[niov.index] = 0;
    pool.putFullNetmem(niov, false);
    bench.machine.kernel.scheduler.runFor(NSEC_PER_SEC);
    expect([pool.dead, provider.free.length, bench.kinds()]).toEqual([true, 3, []]);
  });

  test("two pools of one area: what comes back from the wrong one's user goes to its own", () => {
    const { bench, dev, ops, providers } = queues();
    const provider = bench.provider(2);
    providers.openRxq(dev, 0, provider);
    const first = ops.running(0)!;
    const [a, b] = [bench.takeNiov(first), bench.takeNiov(first)];
    provider.giveToUser(a);
    first.putFullNetmem(a, false);
    provider.userReturns(a);
    providers.openRxq(dev, 1, provider);
    const second = ops.running(1)!;
    expect(bench.softirq(0, () => second.allocNetmems(GFP_ATOMIC))).toBeNull();
    expect([first.ringItems().map((netmem) => (netmem as NetIov).index), second.inflight()]).toEqual([[a.index], 0]);
    first.putFullNetmem(b, false);
    expect(bench.kinds()).toEqual([]);
  });

  test("an area is mapped once for all its pools, until the last of them is gone", () => {
    const { bench, dev, ops, providers } = queues();
    const provider = bench.provider(3);
    const before = bench.dma.liveMappings();
    const mapped = (): number => bench.dma.liveMappings() - before;
    providers.openRxq(dev, 0, provider);
    providers.openRxq(dev, 1, provider);
    expect(mapped()).toBe(3);
    providers.closeRxq(dev, 0, provider);
    expect([mapped(), ops.running(1)!.memoryProvider === provider, provider.area.niovs.every(({ dmaAddr }) => dmaAddr > 0)]).toEqual([3, true, true]);
    providers.closeRxq(dev, 1, provider);
    expect([mapped(), provider.area.niovs.map(({ dmaAddr }) => dmaAddr)]).toEqual([0, [0, 0, 0]]);
  });

  test("what the user gives back goes first, synced for the device, and is one reference less; the rest follows into the cache", () => {
    const { bench, dev, ops, providers } = queues();
    const provider = bench.provider(8);
    providers.openRxq(dev, 0, provider);
    const pool = ops.running(0)!;
    const [a, b] = [bench.takeNiov(pool), bench.takeNiov(pool)];
    while (pool.cacheCount > 0) bench.takeNiov(pool);
    for (const niov of [a, b]) {
      provider.giveToUser(niov);
      pool.putFullNetmem(niov, false);
      provider.userReturns(niov);
    }
    provider.free.push(bench.provider(1).area.niovs[0]!);
    const { syncs } = bench.dma.stats;
    expect(bench.takeNiov(pool) === a).toBe(true);
    expect([provider.userRefs[a.index], provider.userRefs[b.index], pool.cacheCount, provider.free.length, bench.dma.stats.syncs - syncs]).toEqual([0, 0, 1, 1, 2]);
  });

  test("it never asks for more room than the cache has: what is left over stays where it was", () => {
    const bench = new PoolBench("6.18", { extraBytes: 300 * 4096 });
    const provider = bench.provider(200);
    const pool = bench.bind(provider) as PagePool;
    const niovs = Array.from({ length: 200 }, () => bench.takeNiov(pool));
    expect(bench.kinds()).toEqual([]);
    for (const niov of niovs) {
      provider.giveToUser(niov);
      pool.putFullNetmem(niov, false);
      provider.userReturns(niov);
    }
    bench.takeNiov(pool);
    expect([bench.kinds(), 200 - provider.refillRing.length - pool.cacheCount]).toEqual([[], 1]);
  });

  test("malformed returns, of what the user never had or had given back already, are skipped", () => {
    const { bench, dev, ops, providers } = queues();
    const provider = bench.provider(1);
    providers.openRxq(dev, 0, provider);
    const pool = ops.running(0)!;
    const niov = bench.takeNiov(pool);
    provider.userReturns(niov);
    expect([bench.softirq(0, () => pool.allocNetmems(GFP_ATOMIC)), provider.refillRing.length, pool.inflight()]).toEqual([null, 0, 1]);
    // Another area's, of the same index as one that the user does have.
    provider.giveToUser(niov);
    provider.userReturns(bench.provider(1).area.niovs[0]!);
    expect([bench.softirq(0, () => pool.allocNetmems(GFP_ATOMIC)), provider.userRefs[0], refs(niov)]).toEqual([null, 1, "1/2"]);
    provider.userReturns(niov);
    expect(bench.softirq(0, () => pool.allocNetmems(GFP_ATOMIC))).toBeNull();
    pool.putFullNetmem(niov, false);
    expect(pool.ringCount()).toBe(1);
  });

  test("fragments of device memory", () => {
    const { bench, dev, ops, providers } = queues();
    providers.openRxq(dev, 0, bench.provider(2));
    const pool = ops.running(0)!;
    const frag = bench.pagePools.createFrag();
    const cut = (): readonly [NetIov, number] => {
      const netmem = bench.softirq(0, () => pool.allocFragNetmem(frag, 2048, GFP_ATOMIC)) as NetIov;
      return [netmem, frag.offset];
    };
    const [a, b, c] = [cut(), cut(), cut()];
    expect([a[0] === b[0], b[1], c[0] === a[0], c[1]]).toEqual([true, 2048, false, 0]);
    for (const [netmem] of [a, b, c]) pool.putFullNetmem(netmem, false);
    expect([pool.ringItems().length, pool.inflight()]).toEqual([1, 2]);
    pool.destroy();
    expect([pool.dead, bench.kinds()]).toEqual([true, []]);
  });
});

describe("a provider that breaks its contract is reported, and the pool goes on", () => {
  test.each<[string, (provider: ReturnType<PoolBench["provider"]>) => object, string[]]>([
    ["hands out what it did not count", (provider) => ({ allocNetmems: () => provider.free.pop() ?? null }), ["mp-not-counted"]],
    ["puts what it did not count into the cache", (provider) => ({ allocNetmems: (pool: ProviderPool) => {
      pool.netmemPlaceInCache(provider.free[0]!);
      return null;
    } }), ["mp-not-counted"]],
  ])("it %s", (_what, broken, kinds) => {
    const bench = new PoolBench("6.18");
    const provider = bench.provider(4);
    const pool = bench.bind(Object.assign(provider, broken(provider))) as PagePool;
    expect([bench.softirq(0, () => pool.allocNetmems(GFP_ATOMIC)), bench.kinds(), pool.inflight(), pool.cacheCount]).toEqual([null, kinds, 0, 0]);
  });

  test.each([[{}, "an object, which is neither a netmem nor null"], [undefined, "undefined, which is neither a netmem nor null"], [7, "7, which is neither a netmem nor null"]])("it answers %j: said, and taken as no memory", (answer, said) => {
    const bench = new PoolBench("6.18");
    const pool = bench.bind(Object.assign(bench.provider(2), { allocNetmems: () => answer })) as PagePool;
    expect([bench.softirq(0, () => pool.allocNetmems(GFP_ATOMIC)), bench.kinds(), pool.inflight()]).toEqual([null, ["mp-no-netmem"], 0]);
    expect(bench.machine.kernel.reports.reports[0]!.message).toContain(`allocNetmems answers ${said}: taken as no memory`);
  });

  describe("it throws", () => {
    const thrower = (): never => { throw new TypeError("of its own"); };

    test("in init: the pool is refused with -EFAULT", () => {
      const bench = new PoolBench("6.18");
      expect(bench.bind(Object.assign(bench.provider(2), { init: thrower }))).toBe(-EFAULT);
      expect([bench.kinds(), bench.machine.kernel.reports.reports[0]!.message]).toEqual([["mp-threw", "mp-init-failed", "pp-create-failed"], expect.stringMatching(/^init threw TypeError: of its own: the pool is not made; page_pool \d+: hold 0/)]);
    });

    test("in allocNetmems: no memory, and what it had counted before is in flight", () => {
      const bench = new PoolBench("6.18");
      const provider = bench.provider(4);
      const pool = bench.bind(provider) as PagePool;
      const { allocNetmems } = provider;
      provider.allocNetmems = (of) => {
        const own = provider.free.pop()!;
        of.niovSetPagePool(own);
        of.netmemPlaceInCache(own);
        return thrower();
      };
      expect([bench.softirq(0, () => pool.allocNetmems(GFP_ATOMIC)), bench.kinds(), pool.inflight(), pool.cacheCount]).toEqual([null, ["mp-threw"], 1, 1]);
      provider.allocNetmems = allocNetmems;
      expect(bench.softirq(0, () => pool.allocNetmems(GFP_ATOMIC)) === null).toBe(false);
    });

    test("in releaseNetmem: the buffer counts as its own again, the mark is taken off, and the pool dies as it should; in destroy: all the same", () => {
      const bench = new PoolBench("6.18");
      const provider = bench.provider(2);
      const pool = bench.bind(provider) as PagePool;
      const niov = bench.softirq(0, () => pool.allocNetmems(GFP_ATOMIC))!;
      provider.releaseNetmem = thrower;
      provider.destroy = thrower;
      pool.destroy();
      bench.softirq(0, () => pool.putFullNetmem(niov, false));
      bench.machine.kernel.scheduler.runFor(3_000_000_000);
      expect([pool.inflight(), niov.ppMagic, new Set(bench.kinds())]).toEqual([0, 0, new Set(["mp-threw", "mp-mark-left"])]);
      expect(bench.machine.kernel.reports.reports.filter(({ message }) => message.startsWith("destroy threw")).length).toBe(1);
    });

    test("in nlFill, in uninstall: not shown, and forgotten with the device", () => {
      const { bench, dev, ops, providers } = queues();
      const provider = Object.assign(bench.provider(1), { name: "mine", nlFill: thrower, uninstall: thrower });
      providers.openRxq(dev, 0, provider);
      const { id } = ops.running(0)!;
      expect(bench.machine.pagePools.netlink.get(id)).not.toHaveProperty("dmabuf");
      bench.machine.net.unregisterNetdev(dev);
      expect([dev.rxQueues[0]!.memoryProvider === null, bench.kinds(), bench.machine.kernel.reports.reports.map(({ owner }) => owner)]).toEqual([true, ["mp-threw", "mp-threw"], ["mine", "mine"]]);
    });
  });

  test("it hands out another pool's, or puts its own into the cache a second time", () => {
    const { bench, dev, ops, providers } = queues();
    providers.openRxq(dev, 0, bench.provider(1));
    const theirs = bench.takeNiov(ops.running(0)!);
    const provider = bench.provider(2);
    providers.openRxq(dev, 1, provider);
    const pool = ops.running(1)!;
    provider.allocNetmems = () => theirs;
    expect([bench.softirq(0, () => pool.allocNetmems(GFP_ATOMIC)), bench.kinds(), pool.inflight()]).toEqual([null, ["mp-not-counted"], 0]);
    provider.allocNetmems = (of) => {
      const own = provider.free.pop()!;
      of.niovSetPagePool(own);
      of.netmemPlaceInCache(own);
      of.netmemPlaceInCache(own);
      return null;
    };
    expect([bench.softirq(0, () => pool.allocNetmems(GFP_ATOMIC)), bench.kinds(), pool.cacheCount]).toEqual([null, ["mp-not-counted", "mp-not-counted"], 1]);
  });

  test("it counts one twice, or counts another pool's: refused, and both pools' counts stay true", () => {
    const { bench, dev, ops, providers } = queues();
    const provider = bench.provider(2);
    providers.openRxq(dev, 0, bench.provider(1));
    const first = ops.running(0)!;
    const theirs = bench.takeNiov(first);
    provider.allocNetmems = (of) => {
      const own = provider.free.pop() ?? null;
      if (own === null) of.niovSetPagePool(theirs);
      else for (let i = 0; i < 2; i++) of.niovSetPagePool(own);
      return own ?? theirs;
    };
    providers.openRxq(dev, 1, provider);
    const pool = ops.running(1)!;
    const own = bench.takeNiov(pool);
    expect([bench.kinds(), pool.inflight(), own.pp === pool]).toEqual([["mp-counted-twice"], 1, true]);
    bench.takeNiov(pool);
    expect([bench.softirq(0, () => pool.allocNetmems(GFP_ATOMIC)), bench.kinds(), pool.inflight(), first.inflight(), theirs.pp === first]).toEqual([null, ["mp-counted-twice", "mp-counted-twice", "mp-counted-twice", "mp-not-counted"], 2, 1, true]);
  });

  test("it puts one into the cache and hands it out as well: not taken, so that it is handed out once", () => {
    const bench = new PoolBench("6.18");
    const provider = bench.provider(1);
    const pool = bench.bind(provider) as PagePool;
    provider.allocNetmems = (of) => {
      const own = provider.free.pop() ?? null;
      if (own !== null) of.niovSetPagePool(own);
      if (own !== null) of.netmemPlaceInCache(own);
      return own;
    };
    const given = [1, 2, 3].map(() => bench.softirq(0, () => pool.allocNetmems(GFP_ATOMIC)));
    expect([given.map((netmem) => netmem === provider.area.niovs[0]), bench.kinds(), pool.inflight()]).toEqual([[false, true, false], ["mp-not-counted"], 1]);
  });

  test("it does not take back what it handed out, but says that it may be put: a report, as nobody has it then", () => {
    const bench = new PoolBench("6.18");
    const provider = bench.provider(1);
    const pool = bench.bind(provider) as PagePool;
    provider.releaseNetmem = () => true;
    pool.putFullNetmem(bench.takeNiov(pool), false);
    pool.destroy();
    expect([bench.kinds(), pool.dead]).toEqual([["mp-not-taken"], true]);
  });

  test("a caller that can only use pages is told, and the buffer is back in the pool; released to an skb, it stays the pool's", () => {
    const bench = new PoolBench("6.18");
    const pool = bench.bind(bench.provider(2)) as PagePool;
    expect([bench.softirq(0, () => pool.allocPages(GFP_ATOMIC)), bench.kinds(), pool.inflight(), pool.ringCount() + pool.cacheCount]).toEqual([null, ["netmem-not-a-page"], 2, 2]);
    const niov = bench.takeNiov(pool);
    pool.releaseNetmem(niov);
    expect([bench.kinds(), niov.pp === pool, pool.inflight()]).toEqual([["netmem-not-a-page", "netmem-not-a-page"], true, 2]);
  });

  test("it fills the cache beyond its end: the rest stays its own", () => {
    const bench = new PoolBench("6.18", { extraBytes: 200 * 4096 });
    const provider = bench.provider(140);
    let refused = 0;
    const pool = bench.bind(Object.assign(provider, { allocNetmems: (of: ProviderPool) => {
      for (const niov of provider.area.niovs) {
        of.niovSetPagePool(niov);
        if (!of.netmemPlaceInCache(niov)) refused++;
      }
      return null;
    } })) as PagePool;
    bench.softirq(0, () => pool.allocNetmems(GFP_ATOMIC));
    expect([pool.cacheCount, refused, new Set(bench.kinds()).size, bench.kinds()[0]]).toEqual([128, 12, 1, "mp-cache-full"]);
  });

  test("it takes a buffer back and leaves the pool's mark on: taken off for it", () => {
    const bench = new PoolBench("6.18");
    const provider = bench.provider(1);
    const pool = bench.bind(Object.assign(provider, { releaseNetmem: () => false })) as PagePool;
    const niov = bench.takeNiov(pool);
    pool.putFullNetmem(niov, false);
    pool.destroy();
    expect([bench.kinds(), niov.pp, niov.poolState, pool.dead]).toEqual([["mp-mark-left"], null, 0, true]);
  });
});
