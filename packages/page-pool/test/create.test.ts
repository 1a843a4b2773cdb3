import { expect, test } from "vitest";
import { E2BIG, EINVAL, EOPNOTSUPP, UsageError } from "@netmem/kernel/api";
import { DMA_BIDIRECTIONAL, DMA_TO_DEVICE } from "@netmem/mm/api";
import { PP_FLAG_ALLOW_UNREADABLE_NETMEM, PP_FLAG_DMA_MAP, PP_FLAG_DMA_SYNC_DEV, type MemoryProvider, type PagePoolParams } from "../src/api/index.ts";
import { PoolRig } from "./rig.ts";

const errno = (params: Partial<PagePoolParams>, rules = {}): unknown => {
  const rig = new PoolRig(rules);
  const pool = rig.pools.create(rig.params(params));
  if (typeof pool !== "number") return "created";
  expect(rig.kinds()).toEqual(["pp-create-failed"]);
  expect(rig.pools.pools()).toEqual([]);
  return pool;
};

const provider = (init: number): MemoryProvider => ({ init: () => init, allocNetmem: () => null, releaseNetmem: () => false, destroy: () => {} });

test("pp-xdp row 1: ring size 0 gives 1024 entries, 20000 is clamped to 16384; before clamping came, more than 32768 was refused", () => {
  const capacity = (poolSize: number): number => {
    const rig = new PoolRig({}, { nrPages: 32 });
    const pool = rig.create({ poolSize });
    const page = rig.take(pool, 1)[0]!;
    // Puts of one page again and again: the ring does not look at what it holds.
    while (pool.stats.ringFull === 0 && pool.stats.ring < 20_000) pool.putFullNetmem(page, false);
    return pool.stats.ring;
  };
  expect(capacity(0)).toBe(1024);
  expect(capacity(20_000)).toBe(16_384);
  expect(capacity(7)).toBe(7);
  expect(errno({ poolSize: 32_769 }, { clampsRing: false })).toBe(-E2BIG);
});

test("pp-xdp row 2: an unknown flag is -EINVAL", () => {
  expect(errno({ flags: 1 << 4 })).toBe(-EINVAL);
});

test("pp-xdp row 3: DMA_MAP with DMA_TO_DEVICE is -EINVAL", () => {
  expect(errno({ dmaDir: DMA_TO_DEVICE })).toBe(-EINVAL);
  expect(errno({ dmaDir: DMA_BIDIRECTIONAL })).toBe("created");
});

test("pp-xdp row 4: DMA_SYNC_DEV without DMA_MAP, or with max_len 0, is -EINVAL", () => {
  expect(errno({ flags: PP_FLAG_DMA_SYNC_DEV })).toBe(-EINVAL);
  expect(errno({ maxLen: 0 })).toBe(-EINVAL);
  expect(errno({ maxLen: 0, flags: PP_FLAG_DMA_MAP })).toBe("created");
});

test("pp-xdp row 5: a provider without both DMA flags is -EOPNOTSUPP, without the unreadable flag -EINVAL", () => {
  expect(errno({ memoryProvider: provider(0), flags: PP_FLAG_DMA_MAP | PP_FLAG_ALLOW_UNREADABLE_NETMEM })).toBe(-EOPNOTSUPP);
  expect(errno({ memoryProvider: provider(0) })).toBe(-EINVAL);
});

test("pp-xdp row 6: a provider's init error is the pool's", () => {
  const flags = PP_FLAG_DMA_MAP | PP_FLAG_DMA_SYNC_DEV | PP_FLAG_ALLOW_UNREADABLE_NETMEM;
  expect(errno({ memoryProvider: provider(-7), flags })).toBe(-7);
  expect(errno({ memoryProvider: provider(0), flags })).toBe("created");
});

test("an order beyond the page allocator's, or mapping without a device, is -EINVAL", () => {
  expect(errno({ order: 11 })).toBe(-EINVAL);
  expect(errno({ dev: null })).toBe(-EINVAL);
});

test.each<[Partial<PagePoolParams>, RegExp]>([
  [{ order: 1.5 }, /page-pool: order = 1\.5/], [{ order: Number.NaN }, /order = NaN/], [{ maxLen: -5 }, /maxLen = -5/], [{ poolSize: -1 }, /poolSize = -1/],
  [{ offset: 256 }, /offset \+ maxLen = 4352: stay within the 4096 bytes of a buffer/],
])("numbers that no C caller could pass, or outside a buffer, are misuse: %j", (params, message) => {
  const rig = new PoolRig();
  expect(() => rig.pools.create(rig.params(params))).toThrow(UsageError);
  expect(() => rig.pools.create(rig.params(params))).toThrow(message);
});

test("a CPU that the machine does not have is misuse", () => {
  expect(() => new PoolRig().create({}, 2)).toThrow(/cpuid = 2: give -1 or a CPU from 0 to 1/);
});
