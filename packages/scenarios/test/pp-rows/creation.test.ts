import { expect } from "vitest";
import { E2BIG, EINVAL, EOPNOTSUPP } from "@netmem/kernel/api";
import { DMA_BIDIRECTIONAL, DMA_TO_DEVICE } from "@netmem/mm/api";
import { PP_FLAG_ALLOW_UNREADABLE_NETMEM, PP_FLAG_DMA_MAP, PP_FLAG_DMA_SYNC_DEV } from "@netmem/page-pool/api";
import { BEFORE_6_18, row } from "./row.ts";

row(1, "pool_size 0 gives a ring of 1024, 20000 one of 16384", (bench) => {
  expect([0, 20_000, 100_000, 7].map((poolSize) => bench.create({ poolSize }).ringSize)).toEqual([1024, 16_384, 16_384, 7]);
}, {
  presets: BEFORE_6_18, why: "up to 6.17 sizes are taken as they are, and beyond 32768 refused with -E2BIG", body: (bench) => {
    expect([0, 20_000, 32_768, 7].map((poolSize) => bench.create({ poolSize }).ringSize)).toEqual([1024, 20_000, 32_768, 7]);
    expect(bench.refusal({ poolSize: 32_769 })).toEqual({ errno: -E2BIG, kinds: ["pp-create-failed"] });
  },
});

row(2, "flag bit 4 is -EINVAL", (bench) => {
  expect(bench.refusal({ flags: 1 << 4 })).toEqual({ errno: -EINVAL, kinds: ["pp-create-failed"] });
  expect(bench.machine.kernel.reports.reports[0]!.message).toContain("gave up with errno -22: flags = 0x10: 0x10 is no PP_FLAG of this kernel");
});

row(3, "DMA_MAP with DMA_TO_DEVICE is -EINVAL", (bench) => {
  expect(bench.refusal({ dmaDir: DMA_TO_DEVICE }).errno).toBe(-EINVAL);
  expect(bench.machine.kernel.reports.reports[0]!.message).toContain("dmaDir = 1: PP_FLAG_DMA_MAP takes DMA_FROM_DEVICE or DMA_BIDIRECTIONAL");
  expect(bench.refusal({ dmaDir: DMA_BIDIRECTIONAL }).errno).toBeNull();
  expect(bench.refusal({ flags: 0, dev: null, dmaDir: DMA_TO_DEVICE }).errno).toBeNull();
});

row(4, "DMA_SYNC_DEV without DMA_MAP, or with max_len 0, is -EINVAL", (bench) => {
  expect(bench.refusal({ flags: PP_FLAG_DMA_SYNC_DEV }).errno).toBe(-EINVAL);
  expect(bench.refusal({ maxLen: 0 }).errno).toBe(-EINVAL);
  expect(bench.machine.kernel.reports.reports.at(-1)!.message).toContain("maxLen = 0: PP_FLAG_DMA_SYNC_DEV needs the bytes to sync");
  expect(bench.refusal({ maxLen: 0, flags: PP_FLAG_DMA_MAP }).errno).toBeNull();
});

row(5, "a provider without dma_map and dma_sync is -EOPNOTSUPP, and the key unchanged", (bench) => {
  for (const flags of [0, PP_FLAG_DMA_MAP]) {
    expect(bench.bind(bench.provider(4), { flags: flags | PP_FLAG_ALLOW_UNREADABLE_NETMEM })).toBe(-EOPNOTSUPP);
  }
  expect([bench.pagePools.providers.count(), bench.dev.rxQueues[0]!.memoryProvider]).toEqual([0, null]);
});

row(6, "a provider's init error is the pool's, with one more warning, and the key unchanged", (bench) => {
  const refusing = Object.assign(bench.provider(4), { init: () => -7 });
  expect([bench.bind(refusing), bench.kinds(), bench.pagePools.providers.count()]).toEqual([-7, ["mp-init-failed", "pp-create-failed"], 0]);
  expect(bench.machine.kernel.reports.reports[0]!.message).toBe("page_pool_init() mem-provider init failed -7");
  expect([typeof bench.bind(bench.provider(4)), bench.pagePools.providers.count()]).toEqual(["object", 1]);
});
