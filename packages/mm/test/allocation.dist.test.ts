import { expect, test } from "vitest";
import { createKernel } from "@netmem/kernel";
import { createMm } from "@netmem/mm";
import { DMA_FROM_DEVICE, GFP_ATOMIC, NUMA_NO_NODE, PAGE_SIZE, type Page, type SlabObject } from "@netmem/mm/api";

/** Less than one object or boxed number for each call; the test runner allocates now and then. */
const BYTES_PER_CALL = 4;

const kernel = createKernel({ nrCpus: 2, seed: 1, reports: "collect" });
const mm = createMm(kernel, { nrPages: 8192, pcp: { batch: 63, high: 500 }, swiotlb: { slots: 1024 } });
const strict = mm.attachDevice({ name: "strict", coherent: false }).dma;
const deferred = mm.attachDevice({ name: "deferred", coherent: true, iommu: "deferred" }).dma;
const bounced = mm.attachDevice({ name: "bounced", coherent: true, iommu: "off", forceBounce: true }).dma;
const page = mm.pages.allocPages(GFP_ATOMIC, 0, NUMA_NO_NODE)!;
const bulk: (Page | null)[] = Array.from({ length: 64 }, () => null);
const objects: (SlabObject | null)[] = Array.from({ length: 40 }, () => null);
const cache = mm.frags.createCache();

const CALLS: readonly (readonly [string, () => void])[] = [
  ["a page taken and freed", () => mm.pages.putPage(mm.pages.allocPages(GFP_ATOMIC, 0, NUMA_NO_NODE)!)],
  ["a block of order 3 taken and freed", () => mm.pages.freePagesOrder(mm.pages.allocPages(GFP_ATOMIC, 3, NUMA_NO_NODE)!, 3)],
  ["a block of order 5, past the per-CPU lists", () => mm.pages.freePagesOrder(mm.pages.allocPages(GFP_ATOMIC, 5, NUMA_NO_NODE)!, 5)],
  ["64 pages in bulk", () => {
    mm.pages.allocPagesBulk(GFP_ATOMIC, NUMA_NO_NODE, 64, bulk);
    for (let i = 0; i < 64; i++) {
      mm.pages.putPage(bulk[i]!);
      bulk[i] = null;
    }
  }],
  ["a fragment", () => {
    mm.frags.pageFragAllocAlign(cache, 704, GFP_ATOMIC, 64);
    mm.frags.pageFragFree(cache.page!);
  }],
  ["40 objects over three slabs", () => {
    for (let i = 0; i < 40; i++) objects[i] = mm.slab.kmalloc(512, GFP_ATOMIC);
    for (let i = 0; i < 40; i++) mm.slab.kfree(objects[i]!);
  }],
  ["a block of 16 KiB by kmalloc", () => mm.slab.kfree(mm.slab.kmalloc(16_384, GFP_ATOMIC)!)],
  ...[strict, deferred, bounced].map((dma): readonly [string, () => void] => [`map, test, sync and unmap by ${dma.name}`, () => {
    const dmaAddr = dma.mapPage(page, 0, PAGE_SIZE, DMA_FROM_DEVICE, 0);
    if (dma.mappingError(dmaAddr)) throw new Error("no room");
    dma.syncForCpu(dmaAddr, 0, 64, DMA_FROM_DEVICE);
    dma.unmapPage(dmaAddr, PAGE_SIZE, DMA_FROM_DEVICE, 0);
  }]),
];

test.each(CALLS)("%s leaves no garbage", (_name, call) => {
  for (let i = 0; i < 30_000; i++) call();
  // The engine compiles beside us, and late on a busy machine: what allocates for good does so in each of the rounds.
  let least = Infinity;
  for (let round = 0; round < 40 && least >= BYTES_PER_CALL; round++) {
    globalThis.gc!();
    const heap = process.memoryUsage().heapUsed;
    for (let i = 0; i < 20_000; i++) call();
    least = Math.min(least, (process.memoryUsage().heapUsed - heap) / 20_000);
  }
  expect(least).toBeLessThan(BYTES_PER_CALL);
  expect(kernel.reports.reports.slice(0, 1)).toEqual([]);
});
