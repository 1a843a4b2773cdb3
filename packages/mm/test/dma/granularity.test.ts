import { expect, test } from "vitest";
import { createKernel } from "@netmem/kernel";
import { createMm } from "../../src/index.ts";
import { DMA_FROM_DEVICE, PAGE_SIZE } from "../../src/api/index.ts";

function mapped(bytes: number) {
  const kernel = createKernel({ nrCpus: 1, seed: 1, reports: "collect" });
  const mm = createMm(kernel, { nrPages: 8, minFreePages: 0, extraBytes: PAGE_SIZE });
  const { dma, bus } = mm.attachDevice({ name: "nic", coherent: false, aperturePages: 16 });
  const page = mm.pages.allocPages(0, 0, -1)!;
  return { kernel, dma, bus, dmaAddr: dma.mapPage(page, 0, bytes, DMA_FROM_DEVICE, 0), wire: mm.payload.addRegion("wire", PAGE_SIZE, true) };
}

test("the IOMMU sees I/O pages: what lies behind a mapping in the same page is open, the next page is not", () => {
  const { kernel, bus, dmaAddr, wire } = mapped(128);
  expect(bus.write(dmaAddr, wire, 0, 2048)).toBe(true);
  expect(kernel.reports.total).toBe(0);
  expect(bus.write(dmaAddr + PAGE_SIZE - 64, wire, 0, 128)).toBe(false);
  expect(kernel.reports.counts()).toEqual([{ kind: "dma-fault", count: 1 }]);
});

test("a sync that is refused is reported, and does not count as one", () => {
  const { kernel, dma, dmaAddr } = mapped(128);
  dma.syncForCpu(dmaAddr, 0, 129, DMA_FROM_DEVICE);
  dma.syncForCpu(dmaAddr, 0, 128, DMA_FROM_DEVICE);
  expect([dma.stats.syncs, kernel.reports.counts()]).toEqual([1, [{ kind: "dma-debug-sync-not-allocated", count: 1 }]]);
});

test("a mapping that leaves its memory, or is empty, is refused", () => {
  const { dma } = mapped(128);
  const kernel = createKernel({ nrCpus: 1, seed: 1, reports: "collect" });
  const page = createMm(kernel, { nrPages: 1 }).pages.allocPages(0, 0, -1)!;
  expect([dma.mapPage(page, 0, 0, DMA_FROM_DEVICE, 0), dma.mapPage(page, 4000, 200, DMA_FROM_DEVICE, 0)]).toEqual([-1, -1]);
});
