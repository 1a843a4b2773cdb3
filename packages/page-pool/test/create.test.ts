import { expect, test } from "vitest";
import { E2BIG, EINVAL, ENOMEM, UsageError } from "@netmem/kernel/api";
import { DMA_TO_DEVICE } from "@netmem/mm/api";
import { PP_FLAG_ALLOW_UNREADABLE_NETMEM, PP_FLAG_DMA_MAP, PP_FLAG_DMA_SYNC_DEV, PP_FLAG_SYSTEM_POOL, type PagePoolParams } from "../src/api/index.ts";
import { createSystemPools } from "../src/index.ts";
import { PoolRig } from "./rig.ts";

test.each<[Partial<PagePoolParams>, number, string]>([
  [{ flags: 0x31 }, -EINVAL, "flags = 0x31: 0x30 is no PP_FLAG of this kernel"],
  [{ poolSize: 32_769 }, -E2BIG, "poolSize = 32769: at most 32768"],
  [{ dmaDir: DMA_TO_DEVICE }, -EINVAL, "dmaDir = 1: PP_FLAG_DMA_MAP takes DMA_FROM_DEVICE or DMA_BIDIRECTIONAL"],
  [{ flags: PP_FLAG_DMA_SYNC_DEV }, -EINVAL, "flags = 0x2: PP_FLAG_DMA_SYNC_DEV needs PP_FLAG_DMA_MAP"],
  [{ maxLen: 0 }, -EINVAL, "maxLen = 0: PP_FLAG_DMA_SYNC_DEV needs the bytes to sync"],
  [{ order: 11 }, -EINVAL, "order = 11: at most 10"],
  // Of several faults the first in the kernel's order is the one that is named.
  [{ flags: 1 << 4 | PP_FLAG_DMA_MAP, poolSize: 40_000, dmaDir: DMA_TO_DEVICE, order: 11 }, -EINVAL, "flags = 0x11"],
  [{ poolSize: 40_000, dmaDir: DMA_TO_DEVICE, order: 11 }, -E2BIG, "poolSize = 40000"],
  [{ dmaDir: DMA_TO_DEVICE, maxLen: 0, order: 11 }, -EINVAL, "dmaDir = 1"],
])("a refusal names its parameter and value: %j", (params, errno, why) => {
  const rig = new PoolRig({ clampsRing: false });
  expect(rig.pools.create(rig.params(params))).toBe(errno);
  expect(rig.kernel.reports.reports.map(({ kind, message }) => [kind, message.slice(0, message.indexOf(why) + why.length)])).toEqual([
    ["pp-create-failed", `page_pool_create_percpu() gave up with errno ${errno}: ${why}`],
  ]);
  expect(rig.pools.pools()).toEqual([]);
});

test.each<[Partial<PagePoolParams>, RegExp]>([
  [{ order: 1.5 }, /page-pool: order = 1\.5/], [{ order: Number.NaN }, /order = NaN/], [{ maxLen: -5 }, /maxLen = -5/], [{ poolSize: -1 }, /poolSize = -1/],
  [{ nid: -2 }, /nid = -2: give a memory node from 0 to 0, or NUMA_NO_NODE/], [{ nid: 1 }, /nid = 1: give a memory node from 0 to 0/], [{ flags: 2 ** 33 }, /flags = 8589934592: give a whole number from 0 to 2\^32 - 1/],
  [{ offset: 256 }, /offset \+ maxLen = 4352: stay within the 4096 bytes of a buffer/],
  [{ dev: null }, /dev = null: PP_FLAG_DMA_MAP needs the device to map for/],
  [{ flags: PP_FLAG_ALLOW_UNREADABLE_NETMEM }, /netdev = null: PP_FLAG_ALLOW_UNREADABLE_NETMEM needs the device/],
])("what no C caller could pass, or lies outside a buffer, is misuse: %j", (params, message) => {
  const rig = new PoolRig();
  expect(() => rig.pools.create(rig.params(params))).toThrow(UsageError);
  expect(() => rig.pools.create(rig.params(params))).toThrow(message);
});

test("a CPU that the machine does not have, or a queue that the device does not have, is misuse", () => {
  const rig = new PoolRig();
  expect(() => rig.create({}, 2)).toThrow(/cpuid = 2: give -1 or a CPU from 0 to 1/);
  expect(() => rig.create({ flags: PP_FLAG_ALLOW_UNREADABLE_NETMEM, netdev: rig.dev, queueIdx: 3 })).toThrow(/queueIdx = 3: rig0 has queues 0 to 0/);
});

test("the parameters are the pool's from its creation on: what their giver does to them later changes nothing", () => {
  const rig = new PoolRig();
  const params = { ...rig.params() };
  const pool = rig.pools.create(params);
  if (typeof pool === "number") throw new Error("refused");
  const page = rig.take(pool, 1)[0]!;
  Object.assign(params, { order: 1, dmaDir: DMA_TO_DEVICE, maxLen: 1 });
  rig.mm.pages.getPage(page);
  pool.putFullNetmem(page, false);
  expect([rig.kinds(), rig.dma.liveMappings(), pool.params.order]).toEqual([[], 63, 0]);
});

test("without syncs, what would be synced is not looked at", () => {
  expect(new PoolRig().create({ flags: PP_FLAG_DMA_MAP, offset: 256 }).params.offset).toBe(256);
});

test("memory fails for the pool itself in silence, for counters and ring with a word; no pool is left, no id used", () => {
  const outcomes = [1, 2, 3, 4].map((nth) => {
    const rig = new PoolRig();
    rig.mm.faults.failSlab.arm({ nth });
    const pool = rig.pools.create(rig.params());
    const later = rig.mm.faults.failSlab;
    later.disarm();
    return [typeof pool === "number" ? pool : "created", rig.kernel.reports.reports[0]?.message.replace(/^.*: /, ""), rig.create().id];
  });
  expect(outcomes).toEqual([
    [-ENOMEM, undefined, 1], [-ENOMEM, "no memory for its recycle counters", 1], [-ENOMEM, "no memory for a ring of 1024", 1], ["created", undefined, 2],
  ]);
});

test("memory is asked for before orders and providers are looked at, as in the kernel", () => {
  const rig = new PoolRig();
  rig.mm.faults.failSlab.arm({ nth: 3 });
  expect(rig.pools.create(rig.params({ order: 11 }))).toBe(-ENOMEM);
  rig.mm.faults.failSlab.disarm();
  expect([rig.pools.create(rig.params({ order: 11 })), typeof rig.pools.create(rig.params({ order: 10 }))]).toEqual([-EINVAL, "object"]);
});

test("the counters are a set a CPU, the ring a pointer a slot: that is what a fault point weighs", () => {
  const least = (bytes: number): unknown => {
    const rig = new PoolRig();
    rig.mm.faults.failSlab.arm({ space: bytes });
    return typeof rig.pools.create(rig.params({ poolSize: 16 }));
  };
  // Struct 2048, counters 2 × 40, ring 16 × 8: with room for all but one byte of the last, that fails.
  expect([least(2048 + 80 + 128), least(2048 + 80 + 127)]).toEqual(["object", "number"]);
});

test("any allocation can be made to fail, as error injection does, one from a full cache too", () => {
  const rig = new PoolRig();
  const pool = rig.create();
  rig.take(pool, 1);
  rig.mm.faults.failFunction("allocNetmems").arm({ nth: 2 });
  expect(rig.take(pool, 3).map((page) => page === null)).toEqual([false, true, false]);
  expect(pool.allocStats.fast).toBe(2);
});

test("the init callback sees each netmem once, marked and not yet counted", () => {
  const rig = new PoolRig();
  const seen: string[] = [];
  const pool = rig.create({ initCallback: (netmem) => void seen.push(`${netmem.ppRefCount} ${rig.pools.pools()[0]!.holdCnt}`) });
  pool.recycleDirect(rig.take(pool, 1)[0]!);
  rig.take(pool, 1);
  expect(seen).toEqual(Array.from({ length: 64 }, (_, i) => `1 ${i}`));
});

test("system pools: one a CPU, of its node, 256 slots, no device, one set of recycle counters for all", () => {
  const rig = new PoolRig();
  const pools = createSystemPools(rig.kernel, rig.pools, rig.registry);
  if (typeof pools === "number") throw new Error("refused");
  expect(pools.map(({ cpuid, nid, ringSize, system, memId, userCnt, netdev }) => [cpuid, nid, ringSize, system, memId, userCnt, netdev])).toEqual([
    [0, 0, 256, true, 1, 2, null], [1, 0, 256, true, 2, 2, null],
  ]);
  const [first, second] = pools as [typeof pools[0], typeof pools[0]];
  const ordinary = rig.create();
  for (const pool of [first, second, ordinary]) pool.recycleDirect(rig.take(pool, 1)[0]!);
  expect([first.recycleStats.cached, second.recycleStats.cached, ordinary.recycleStats.cached, first.allocStats.slow]).toEqual([2, 2, 1, 1]);
});

test("system pools: when one cannot be had, those before it are given back", () => {
  const rig = new PoolRig();
  rig.mm.faults.failSlab.arm({ nth: 3 });
  expect(createSystemPools(rig.kernel, rig.pools, rig.registry)).toBe(-ENOMEM);
  expect([rig.pools.pools(), rig.registry.registerMemModel(2, rig.create())]).toEqual([[], 2]);
});

test("system pools: when one cannot be registered, it is given back like those before it", () => {
  const rig = new PoolRig();
  let registered = 0;
  const refusing = { registerMemModel: (...args: Parameters<typeof rig.registry.registerMemModel>) => (registered++ === 1 ? -ENOMEM : rig.registry.registerMemModel(...args)) };
  expect([createSystemPools(rig.kernel, rig.pools, { ...rig.registry, ...refusing }), rig.pools.pools()]).toEqual([-ENOMEM, []]);
});

test("up to 6.8 PP_FLAG_SYSTEM_POOL is unknown", () => {
  const rig = new PoolRig({ hasSystemPools: false });
  expect(rig.pools.create(rig.params({ flags: PP_FLAG_SYSTEM_POOL }))).toBe(-EINVAL);
});

test("a pool without DMA_MAP maps nothing; one without DMA_SYNC_DEV syncs nothing", () => {
  const rig = new PoolRig();
  expect(rig.take(rig.create({ flags: 0, dev: null }), 1)[0]!.dmaAddr).toBe(0);
  expect(rig.dma.stats.maps).toBe(0);
  rig.take(rig.create({ flags: PP_FLAG_DMA_MAP }), 1);
  expect([rig.dma.stats.maps, rig.dma.stats.syncs]).toEqual([64, 0]);
});
