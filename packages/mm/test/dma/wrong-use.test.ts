import { describe, expect, test } from "vitest";
import { DMA_FROM_DEVICE, DMA_MAPPING_ERROR, GFP_KERNEL, NUMA_NO_NODE, PAGE_SIZE, type Page } from "../../src/api/index.ts";
import { device, kinds, usageErrorOf, type Device } from "../helpers.ts";
import { cpuBytes, cpuFill, deviceFill, map, pageOf, times } from "./rig.ts";

/** What holds without a record of mappings, and where none is asked. */
function unrecorded(more: Parameters<typeof device>[0] = {}): Device {
  return device({ dmaDebug: "off", ...more });
}

describe("dmaDebug off: a driver's mistake is reported, and harms nobody else", () => {
  test("a list unmapped twice gives no address out twice", () => {
    const mm = unrecorded();
    const list = mm.dma.allocSgTable(1);
    Object.assign(list[0]!, { page: pageOf(mm), offset: 0, lengthBytes: 100 });
    mm.dma.mapSg(list, 1, DMA_FROM_DEVICE, 0);
    mm.dma.unmapSg(list, 1, DMA_FROM_DEVICE, 0);
    mm.dma.unmapSg(list, 1, DMA_FROM_DEVICE, 0);
    const addresses = Array.from({ length: 60 }, () => mm.dma.mapPage(pageOf(mm), 0, 64, DMA_FROM_DEVICE, 0)).filter((dmaAddr) => dmaAddr !== DMA_MAPPING_ERROR);
    expect([new Set(addresses).size, kinds(mm.reports)]).toEqual([addresses.length, ["dma-unmap-nothing"]]);
  });

  test("an unmap that is longer than its mapping leaves the next one alone; so does one that is shorter", () => {
    const mm = unrecorded();
    const [a, b] = [mm.dma.mapPage(pageOf(mm), 0, PAGE_SIZE, DMA_FROM_DEVICE, 0), mm.dma.mapPage(pageOf(mm), 0, PAGE_SIZE, DMA_FROM_DEVICE, 0)];
    expect(b - a).toBe(PAGE_SIZE);
    mm.dma.unmapPage(a, 2 * PAGE_SIZE, DMA_FROM_DEVICE, 0);
    const block = mm.dma.mapPage(pageOf(mm, 1), 0, 2 * PAGE_SIZE, DMA_FROM_DEVICE, 0);
    mm.dma.unmapPage(block, PAGE_SIZE, DMA_FROM_DEVICE, 0);
    mm.dma.unmapPage(block + PAGE_SIZE, PAGE_SIZE, DMA_FROM_DEVICE, 0);
    expect([deviceFill(mm, a, 10, 1), deviceFill(mm, b, 10, 1), deviceFill(mm, block + PAGE_SIZE, 10, 1)]).toEqual([true, true, true]);
    expect([kinds(mm.reports), mm.dma.liveMappings()]).toEqual([times(3, 0).map(() => "dma-unmap-nothing"), 3]);
    for (const [dmaAddr, bytes] of [[a, PAGE_SIZE], [b, PAGE_SIZE], [block, 2 * PAGE_SIZE]] as const) mm.dma.unmapPage(dmaAddr, bytes, DMA_FROM_DEVICE, 0);
    expect([mm.reports.total, mm.dma.liveMappings()]).toEqual([3, 0]);
  });

  test("a sync that reaches beyond its I/O pages touches nobody's memory", () => {
    const mm = unrecorded({ cpuCache: true });
    const [first, page] = [pageOf(mm), pageOf(mm)];
    cpuFill(first, 0, 64, 5);
    const dmaAddr = mm.dma.mapPage(page, 0, 100, DMA_FROM_DEVICE, 0);
    mm.dma.syncForCpu(dmaAddr, 0, 2 * PAGE_SIZE, DMA_FROM_DEVICE);
    mm.dma.syncForCpu(dmaAddr, 0, -5, DMA_FROM_DEVICE);
    expect([cpuBytes(first, 0, 64), kinds(mm.reports)]).toEqual([times(64, 5), ["dma-sync-nothing", "dma-sync-nothing"]]);
  });

  test.each([{}, { swiotlb: { slots: 128 }, forceBounce: true }])("a direct device never has fewer than no mapping: %j", (more) => {
    const mm = unrecorded({ coherent: true, iommu: "off", ...more });
    const dmaAddr = mm.dma.mapPage(pageOf(mm), 0, 64, DMA_FROM_DEVICE, 0);
    mm.dma.unmapPage(dmaAddr, 64, DMA_FROM_DEVICE, 0);
    mm.dma.unmapPage(dmaAddr, 64, DMA_FROM_DEVICE, 0);
    expect([mm.dma.liveMappings(), kinds(mm.reports)]).toEqual([0, ["dma-unmap-nothing"]]);
  });
});

describe("behind an IOMMU", () => {
  test("once a device needs syncs every address may need one, and asking about none does no harm", () => {
    const mm = device({ coherent: true, dmaDebug: "every-sync", swiotlb: { slots: 128 } });
    const other = mm.attachDevice({ name: "eth1", coherent: true, iommu: "off" });
    expect([mm.dma.dmaNeedSync(-1), mm.dma.dmaNeedSync(0x5000), other.bus.read32(0)]).toEqual([true, true, 0]);
    expect(kinds(mm.reports)).toEqual(["dma-fault"]);
    expect(other.bus.read32(8)).toBe(0);
  });

  test("a device of few address lines gets addresses it can drive, single pages and blocks", () => {
    const mm = device({ dmaMaskBits: 16 });
    const ends = [0, 1].map((order) => map(mm, pageOf(mm, order), 0, PAGE_SIZE << order, DMA_FROM_DEVICE) + (PAGE_SIZE << order) - 1);
    expect(ends.every((end) => end < 2 ** 16)).toBe(true);
  });

  test("a narrower mask holds from its setting on, mappings or not; where physical memory lies does not matter", () => {
    const mm = device();
    expect(mm.dma.setMask(14)).toBe(0);
    const addresses = [1, 2, 3].map(() => mm.dma.mapPage(pageOf(mm), 0, 64, DMA_FROM_DEVICE, 0));
    expect(addresses.map((dmaAddr) => dmaAddr >> 12)).toEqual([1, 2, 3]);
    expect(mm.dma.mapPage(pageOf(mm), 0, 64, DMA_FROM_DEVICE, 0)).toBe(DMA_MAPPING_ERROR);
    for (const dmaAddr of addresses) {
      expect(mm.dma.mappingError(dmaAddr)).toBe(false);
      mm.dma.unmapPage(dmaAddr, 64, DMA_FROM_DEVICE, 0);
    }
    expect([mm.dma.setMask(32), map(mm, pageOf(mm), 0, 64, DMA_FROM_DEVICE) > 0, mm.dma.setMask(13)]).toEqual([0, true, 0]);
    for (let i = 0; i < 3; i++) expect(mm.dma.mapPage(pageOf(mm), 0, 64, DMA_FROM_DEVICE, 0) >> 13 <= 0).toBe(true);
  });
});

test("a range that is none is refused: before its page, of no whole number of bytes", () => {
  const mm = device();
  const page: Page = mm.pages.allocPages(GFP_KERNEL, 1, NUMA_NO_NODE)!;
  const second = mm.pages.pages[page.pfn - mm.pages.pages[0]!.pfn + 1]!;
  for (const [offset, bytes] of [[-64, 64], [0.5, 64], [0, 1.5], [0, Number.NaN]] as const) expect(mm.dma.mapPage(second, offset, bytes, DMA_FROM_DEVICE, 0)).toBe(DMA_MAPPING_ERROR);
  expect(kinds(mm.reports)).toEqual(times(4, 0).map(() => "dma-bad-range"));
});

test("what does not fit into a region is refused, and its neighbour unharmed", () => {
  const mm = device({ extraBytes: 32_768 });
  const [small, neighbour] = [mm.payload.addRegion("small", 8, true), mm.payload.addRegion("neighbour", 64, true)];
  const dmaAddr = map(mm, pageOf(mm), 0, 64, DMA_FROM_DEVICE);
  const ring = mm.dma.allocCoherent(64, GFP_KERNEL)!;
  const calls = [
    (): unknown => mm.payload.copy(small, 0, mm.staging, 0, 16), (): unknown => mm.payload.copy(small, -1, mm.staging, 0, 1), (): unknown => mm.bus.read(ring.dmaAddr, small, 4, 8),
    (): unknown => mm.bus.write(dmaAddr, small, 0, 9), (): unknown => ring.read32(64), (): unknown => void ring.write32(4096, 1), (): unknown => void ring.write32(2, 1),
  ];
  for (const call of calls) expect(usageErrorOf(call).message).toMatch(/it has 8 bytes|give a multiple of 4 within its 64 bytes/);
  expect([...neighbour.bytes]).toEqual(times(64, 0));
});
