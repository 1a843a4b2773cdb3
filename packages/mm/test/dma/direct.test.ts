import { describe, expect, test } from "vitest";
import { EIO } from "@netmem/kernel/api";
import { DMA_BIDIRECTIONAL, DMA_FROM_DEVICE, DMA_MAPPING_ERROR, DMA_TO_DEVICE, GFP_ATOMIC, GFP_DMA, GFP_KERNEL, NET_IOV_DMABUF, NUMA_NO_NODE, PAGE_SIZE } from "../../src/api/index.ts";
import { device, kinds, memory, messages, usageErrorOf } from "../helpers.ts";
import { cpuBytes, cpuFill, deviceBytes, deviceFill, map, pageOf, times } from "./rig.ts";

describe("a coherent device without an IOMMU", () => {
  test("skb-mm row 21: a sync does nothing and need_sync is false, before any bounce", () => {
    const mm = device({ coherent: true, iommu: "off", swiotlb: { slots: 128 } });
    const dmaAddr = map(mm, pageOf(mm), 0, PAGE_SIZE, DMA_FROM_DEVICE);
    mm.dma.syncForCpu(dmaAddr, 0, 64, DMA_FROM_DEVICE);
    mm.dma.syncForDevice(dmaAddr, 0, 64, DMA_FROM_DEVICE);
    expect([mm.dma.needSync, mm.dma.dmaNeedSync(dmaAddr), mm.dma.stats.syncs]).toEqual([false, false, 0]);
  });

  test("skb-mm row 21: 6.1 has no such switch: every sync is executed, and its mistakes are found", () => {
    const mm = device({ coherent: true, iommu: "off", rules: { skipsSyncs: false } });
    const dmaAddr = map(mm, pageOf(mm), 0, PAGE_SIZE, DMA_FROM_DEVICE);
    mm.dma.syncForCpu(dmaAddr, 0, 64, DMA_FROM_DEVICE);
    mm.dma.syncForCpu(dmaAddr, 0, PAGE_SIZE + 1, DMA_FROM_DEVICE);
    expect([mm.dma.stats.syncs, kinds(mm.reports)]).toEqual([1, ["dma-debug-sync-not-allocated"]]);
  });

  test("with every sync checked, as CONFIG_DMA_API_DEBUG does, none is skipped either", () => {
    const mm = device({ coherent: true, iommu: "off", dmaDebug: "every-sync" });
    mm.dma.syncForCpu(map(mm, pageOf(mm), 0, PAGE_SIZE, DMA_FROM_DEVICE), 0, 64, DMA_TO_DEVICE);
    expect([mm.dma.needSync, kinds(mm.reports)]).toEqual([true, ["dma-debug-sync-direction"]]);
  });

  test("a device address is a physical one, the same for each mapping of a byte", () => {
    const mm = device({ coherent: true, iommu: "off" });
    const page = pageOf(mm);
    expect(map(mm, page, 100, 64, DMA_TO_DEVICE)).toBe(page.pfn * PAGE_SIZE + 100);
    expect(map(mm, page, 100, 64, DMA_BIDIRECTIONAL)).toBe(page.pfn * PAGE_SIZE + 100);
  });

  test("nothing stands between it and memory: it reaches what was never mapped, and goes on after the unmap", () => {
    const mm = device({ coherent: true, iommu: "off" });
    const [mapped, other] = [pageOf(mm), pageOf(mm)];
    const dmaAddr = map(mm, mapped, 0, 64, DMA_TO_DEVICE);
    expect([deviceFill(mm, other.pfn * PAGE_SIZE, 4, 9), cpuBytes(other, 0, 5)]).toEqual([true, [9, 9, 9, 9, 0]]);
    mm.dma.unmapPage(dmaAddr, 64, DMA_TO_DEVICE, 0);
    expect([deviceFill(mm, dmaAddr, 2, 7), cpuBytes(mapped, 0, 3), mm.reports.total]).toEqual([true, [7, 7, 0], 0]);
  });

  test.each([0, 1 << 30])("an access to address %i, where there is no memory, faults", (dmaAddr) => {
    const mm = device({ coherent: true, iommu: "off" });
    expect([deviceFill(mm, dmaAddr, 4, 9), mm.bus.read32(dmaAddr), kinds(mm.reports)]).toEqual([false, 0, ["dma-fault", "dma-fault"]]);
    expect(messages(mm.reports)).toContain("there is no memory at this physical address");
  });

  test("it reaches a provider's memory at an address behind the host's", () => {
    const mm = device({ coherent: true, iommu: "off", extraBytes: 16_384 + 2 * PAGE_SIZE });
    const area = mm.createNetIovArea("vram", NET_IOV_DMABUF, 2, false);
    const dmaAddr = mm.dma.mapNetIov(area.niovs[1]!, PAGE_SIZE, DMA_FROM_DEVICE, 0);
    expect([deviceFill(mm, dmaAddr + 1, 2, 5), [...area.region.bytes.subarray(PAGE_SIZE, PAGE_SIZE + 4)]]).toEqual([true, [0, 5, 5, 0]]);
  });
});

describe("masks", () => {
  test("memory beyond the mask, with nothing to bounce through, is an error and one report", () => {
    const mm = device({ coherent: true, iommu: "off", dmaMaskBits: 23, nrPages: 1100 });
    const pages = Array.from({ length: 1100 }, () => mm.pages.allocPages(GFP_KERNEL, 0, NUMA_NO_NODE)!);
    const low = pages.find((page) => page.pfn < 2048)!;
    const high = pages.filter((page) => page.pfn >= 2048);
    expect(mm.dma.mappingError(mm.dma.mapPage(low, 0, 64, DMA_FROM_DEVICE, 0))).toBe(false);
    expect(high.slice(0, 3).map((page) => mm.dma.mapPage(page, 0, 64, DMA_FROM_DEVICE, 0))).toEqual(times(3, DMA_MAPPING_ERROR));
    expect(mm.reports.reports).toMatchObject([{ kind: "dma-unreachable", object: `device eth0 address 0x${(high[0]!.pfn * PAGE_SIZE).toString(16)}`, message: expect.stringContaining("mask 0x7fffff") }]);
  });

  test("a device whose mask nobody set maps nothing: report, and an error", () => {
    const mm = device({ dmaMaskBits: 0 });
    expect([mm.dma.mapPage(pageOf(mm), 0, 64, DMA_FROM_DEVICE, 0), mm.dma.allocCoherent(64, GFP_KERNEL), kinds(mm.reports)]).toEqual([DMA_MAPPING_ERROR, null, ["dma-no-mask", "dma-no-mask"]]);
  });

  test("a mask that reaches no memory is refused, and one that does is taken", () => {
    const mm = device({ coherent: true, iommu: "off", dmaMaskBits: 0 });
    expect([mm.dma.setMask(20), mm.dma.setMask(32)]).toEqual([-EIO, 0]);
    map(mm, pageOf(mm), 0, 64, DMA_FROM_DEVICE);
    expect(usageErrorOf(() => mm.dma.setMask(65)).option).toBe("DMA mask bits of eth0");
  });

  test("coherent memory comes from as low a zone as the mask needs", () => {
    const mm = memory({ nrPages: undefined as never, nodes: [{ zones: [{ name: "DMA", pages: 1024 }, { name: "Normal", pages: 1024 }] }] });
    const { dma } = mm.attachDevice({ name: "eth0", coherent: true, iommu: "off", dmaMaskBits: 23 });
    const ring = dma.allocCoherent(PAGE_SIZE, GFP_KERNEL)!;
    expect([mm.pages.zones[mm.pages.pages[ring.base / PAGE_SIZE]!.zone]!.name, mm.pages.allocPages(GFP_ATOMIC, 0, NUMA_NO_NODE)!.zone, mm.pages.allocPages(GFP_ATOMIC | GFP_DMA, 0, NUMA_NO_NODE)!.zone]).toEqual(["DMA", 1, 0]);
  });
});

test("without the record of mappings an unmap of nothing is still found where hardware would, and memory unharmed", () => {
  const mm = device({ dmaDebug: "off" });
  mm.dma.unmapPage(0x5000, 64, DMA_FROM_DEVICE, 0);
  mm.dma.syncForCpu(0x5000, 0, 64, DMA_FROM_DEVICE);
  const dmaAddr = mm.dma.mapPage(pageOf(mm), 0, 64, DMA_FROM_DEVICE, 0);
  mm.dma.unbind();
  mm.dma.unmapPage(dmaAddr, 64, DMA_FROM_DEVICE, 0);
  expect([kinds(mm.reports), mm.dma.stats.syncs, mm.dma.liveMappings()]).toEqual([["dma-unmap-nothing", "dma-sync-nothing", "dma-leak"], 0, 0]);
});

test.each([
  [{ iommu: "off" as const, aperturePages: 8 }, "aperturePages of eth0"],
  [{ iommu: "off" as const, untrusted: true }, "untrusted of eth0"],
  [{ forceBounce: true }, "forceBounce of eth0"],
  [{ iommu: "soft" as "off" }, "iommu of eth0"],
  [{ dmaMaskBits: 5 }, "dmaMaskBits of eth0"],
  [{ minAlignMask: 6 }, "minAlignMask of eth0"],
  [{ maxSegmentBytes: 0 }, "maxSegmentBytes of eth0"],
  [{ swiotlb: { slots: 100 } }, "swiotlb slots"],
  [{ swiotlb: { slots: 128, areas: 3 } }, "swiotlb areas"],
  [{ swiotlb: { slots: 4096 } }, "swiotlb slots"],
])("%j cannot be, and is refused by name", (options, option) => {
  expect(usageErrorOf(() => device(options))).toMatchObject({ package: "mm", option });
});

test("the CPU's bytes and a coherent device's are the same ones", () => {
  const mm = device({ coherent: true, iommu: "off" });
  const page = pageOf(mm);
  const dmaAddr = map(mm, page, 0, 64, DMA_BIDIRECTIONAL);
  cpuFill(page, 0, 4, 3);
  expect(deviceBytes(mm, dmaAddr, 5)).toEqual([3, 3, 3, 3, 0]);
});
