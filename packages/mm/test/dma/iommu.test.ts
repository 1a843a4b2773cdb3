import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { NSEC_PER_MSEC } from "@netmem/kernel/api";
import { DMA_ATTR_SKIP_CPU_SYNC, DMA_BIDIRECTIONAL, DMA_FROM_DEVICE, DMA_MAPPING_ERROR, DMA_TO_DEVICE, GFP_KERNEL, NUMA_NO_NODE, PAGE_SIZE, type Page, type Scatterlist } from "../../src/api/index.ts";
import { device, kinds, messages, usageErrorOf, type Device } from "../helpers.ts";
import { cpuBytes, cpuFill, deviceBytes, deviceFill, map, pageOf, times } from "./rig.ts";

describe("deferred invalidation", () => {
  test("skb-mm row 29: after the unmap and before the flush a device's write lands in the page, whoever has it by then", () => {
    const mm = device({ iommu: "deferred" });
    const page = pageOf(mm);
    const dmaAddr = map(mm, page, 0, PAGE_SIZE, DMA_FROM_DEVICE);
    mm.dma.unmapPage(dmaAddr, PAGE_SIZE, DMA_FROM_DEVICE, 0);
    mm.pages.putPage(page);
    const next = mm.pages.allocPages(GFP_KERNEL, 0, NUMA_NO_NODE)!;
    expect([next, deviceFill(mm, dmaAddr, 4, 9), cpuBytes(next, 0, 4)]).toEqual([page, true, [9, 9, 9, 9]]);
    expect([mm.dma.stats.staleAccesses, mm.reports.total]).toEqual([1, 0]);
  });

  test("after 10 ms the queue is flushed, and the device faults", () => {
    const mm = device({ iommu: "deferred" });
    const dmaAddr = map(mm, pageOf(mm), 0, PAGE_SIZE, DMA_FROM_DEVICE);
    mm.dma.unmapPage(dmaAddr, PAGE_SIZE, DMA_FROM_DEVICE, 0);
    mm.kernel.scheduler.runFor(9 * NSEC_PER_MSEC);
    expect(deviceFill(mm, dmaAddr, 4, 9)).toBe(true);
    mm.kernel.scheduler.runFor(2 * NSEC_PER_MSEC);
    expect([deviceFill(mm, dmaAddr, 4, 9), kinds(mm.reports)]).toEqual([false, ["dma-fault"]]);
  });

  test("a queue of 256 ranges that is full is flushed at once", () => {
    const mm = device({ iommu: "deferred", aperturePages: 512 });
    const page = pageOf(mm);
    const addresses: number[] = [];
    for (let i = 0; i <= 256; i++) {
      const dmaAddr = map(mm, page, 0, 64, DMA_TO_DEVICE);
      addresses.push(dmaAddr);
      mm.dma.unmapPage(dmaAddr, 64, DMA_TO_DEVICE, 0);
    }
    expect(mm.bus.read(addresses[0]!, mm.staging, 0, 4)).toBe(false);
    expect(mm.bus.read(addresses[256]!, mm.staging, 0, 4)).toBe(true);
  });

  test("an address is not given out again before it is flushed; out of addresses, the queue is flushed for one", () => {
    const mm = device({ iommu: "deferred", aperturePages: 8 });
    const page = pageOf(mm);
    for (let i = 0; i < 30; i++) {
      const dmaAddr = map(mm, page, 0, 64, DMA_TO_DEVICE);
      mm.dma.unmapPage(dmaAddr, 64, DMA_TO_DEVICE, 0);
    }
    const runs = device({ iommu: "deferred", aperturePages: 64 });
    for (let i = 0; i < 30; i++) {
      const block = runs.dma.mapPage(pageOf(runs, 1), 0, 2 * PAGE_SIZE, DMA_TO_DEVICE, 0);
      expect(runs.dma.mappingError(block)).toBe(false);
      runs.dma.unmapPage(block, 2 * PAGE_SIZE, DMA_TO_DEVICE, 0);
    }
    expect([mm.reports.total, runs.reports.total]).toEqual([0, 0]);
  });

  test("a second unmap before the flush is found all the same", () => {
    const mm = device({ iommu: "deferred", dmaDebug: "off" });
    const dmaAddr = mm.dma.mapPage(pageOf(mm), 0, 64, DMA_FROM_DEVICE, 0);
    mm.dma.unmapPage(dmaAddr, 64, DMA_FROM_DEVICE, 0);
    mm.dma.unmapPage(dmaAddr, 64, DMA_FROM_DEVICE, 0);
    expect(kinds(mm.reports)).toEqual(["dma-unmap-nothing"]);
  });
});

describe("faults", () => {
  test("a driver's handler is asked first, with address and kind of access, and may keep it to itself", () => {
    const mm = device();
    const seen: unknown[] = [];
    mm.dma.setFaultHandler((dmaAddr, isWrite) => {
      seen.push([dmaAddr, isWrite]);
      return isWrite;
    });
    deviceFill(mm, 0x5000, 4, 1);
    mm.bus.read(0x6000, mm.staging, 0, 4);
    expect([seen, kinds(mm.reports), mm.dma.stats.faults]).toEqual([[[0x5000, true], [0x6000, false]], ["dma-fault"], 2]);
  });
});

describe("untrusted devices", () => {
  test("a buffer that does not fill its page is bounced, and the device sees zeroes beside it, not its neighbours", () => {
    const mm = device({ coherent: true, untrusted: true, swiotlb: { slots: 128 } });
    const page = pageOf(mm);
    cpuFill(page, 0, PAGE_SIZE, 0x77);
    const dmaAddr = map(mm, page, 100, 50, DMA_TO_DEVICE);
    expect([dmaAddr & 4095, deviceBytes(mm, dmaAddr, 60)]).toEqual([0, [...times(50, 0x77), ...times(10, 0)]]);
    mm.dma.unmapPage(dmaAddr, 50, DMA_TO_DEVICE, 0);
    expect(mm.dma.stats).toMatchObject({ bounces: 1, maps: 1, unmaps: 1 });
  });

  test.each([[0, 0], [2047, 1148], [4095, 3196]])("with minAlignMask %i what an earlier buffer left in the slots is zeroed on both sides", (minAlignMask, inPage) => {
    const mm = device({ coherent: true, untrusted: true, minAlignMask, aperturePages: 1024, swiotlb: { slots: 128 } });
    const block = pageOf(mm, 6);
    cpuFill(block, 0, 64 * PAGE_SIZE, 0x77);
    // All slots once, so that each holds somebody's bytes.
    const all = map(mm, block, 1, 64 * PAGE_SIZE - 2, DMA_TO_DEVICE);
    mm.dma.unmapPage(all, 64 * PAGE_SIZE - 2, DMA_TO_DEVICE, 0);
    const dmaAddr = map(mm, block, 3196, 50, DMA_TO_DEVICE);
    expect(dmaAddr & 4095).toBe(inPage);
    const page = deviceBytes(mm, dmaAddr - inPage, PAGE_SIZE);
    expect(page.flatMap((byte, i) => (byte === 0x77 ? [i] : []))).toEqual(Array.from({ length: 50 }, (_, i) => inPage + i));
    mm.dma.unmapPage(dmaAddr, 50, DMA_TO_DEVICE, 0);
    for (let i = 0; i < 200; i++) mm.dma.unmapPage(map(mm, block, 3196, 50, DMA_TO_DEVICE), 50, DMA_TO_DEVICE, 0);
    // No slot was lost.
    map(mm, block, 1, 64 * PAGE_SIZE - 2, DMA_TO_DEVICE);
    expect(mm.reports.total).toBe(0);
  });

  test("the zeroes end with the page: a neighbour in the bounce buffer keeps its bytes", () => {
    const mm = device({ coherent: true, untrusted: true, aperturePages: 1024, swiotlb: { slots: 128 } });
    const page = pageOf(mm);
    cpuFill(page, 0, PAGE_SIZE, 0x77);
    const addresses = Array.from({ length: 64 }, () => map(mm, page, 100, 50, DMA_TO_DEVICE));
    mm.dma.unmapPage(addresses[9]!, 50, DMA_TO_DEVICE, 0);
    map(mm, page, 200, 4000 - 200, DMA_TO_DEVICE);
    expect(deviceBytes(mm, addresses[10]!, 50)).toEqual(times(50, 0x77));
  });

  test("what it writes comes back at unmap, and only as much as was mapped", () => {
    const mm = device({ coherent: true, untrusted: true, swiotlb: { slots: 128 } });
    const page = pageOf(mm);
    cpuFill(page, 0, PAGE_SIZE, 1);
    const dmaAddr = map(mm, page, 100, 50, DMA_FROM_DEVICE);
    deviceFill(mm, dmaAddr, 200, 9);
    mm.dma.unmapPage(dmaAddr, 50, DMA_FROM_DEVICE, 0);
    expect(cpuBytes(page, 99, 53)).toEqual([1, ...times(50, 9), 1, 1]);
  });

  test("whole pages are mapped as they are", () => {
    const mm = device({ coherent: true, untrusted: true, swiotlb: { slots: 128 } });
    map(mm, pageOf(mm), 0, PAGE_SIZE, DMA_FROM_DEVICE);
    expect(mm.dma.stats.bounces).toBe(0);
  });

  test("without a bounce buffer it is an error and a report", () => {
    const mm = device({ untrusted: true });
    expect([mm.dma.mapPage(pageOf(mm), 0, 50, DMA_FROM_DEVICE, 0), kinds(mm.reports)]).toEqual([DMA_MAPPING_ERROR, ["dma-unreachable"]]);
  });

  test("a full bounce buffer keeps no address, and full addresses keep no slot", () => {
    const mm = device({ coherent: true, untrusted: true, aperturePages: 4, swiotlb: { slots: 128 } });
    const pages = [pageOf(mm), pageOf(mm), pageOf(mm), pageOf(mm)];
    const mapped = pages.slice(0, 3).map((page) => map(mm, page, 0, 100, DMA_FROM_DEVICE));
    expect(mm.dma.mapPage(pages[3]!, 0, 100, DMA_FROM_DEVICE, 0)).toBe(DMA_MAPPING_ERROR);
    for (const dmaAddr of mapped) mm.dma.unmapPage(dmaAddr, 100, DMA_FROM_DEVICE, 0);
    for (let i = 0; i < 200; i++) mm.dma.unmapPage(map(mm, pages[3]!, 0, 100, DMA_FROM_DEVICE), 100, DMA_FROM_DEVICE, 0);
    expect(mm.reports.total).toBe(0);
  });
});

describe("lists", () => {
  function listOf(mm: Device, entries: readonly (readonly [Page, number, number])[]): Scatterlist[] {
    const list = mm.dma.allocSgTable(entries.length);
    for (const [i, [page, offset, bytes]] of entries.entries()) Object.assign(list[i]!, { page, offset, lengthBytes: bytes });
    return list;
  }

  /** Three pages apart, the first ending and the second beginning at a page's edge. */
  function three(mm: Device): Scatterlist[] {
    const [a, b, c] = [pageOf(mm), pageOf(mm), pageOf(mm)];
    return listOf(mm, [[c, 3000, 1096], [a, 0, PAGE_SIZE], [b, 100, 200]]);
  }

  test("behind an IOMMU entries that meet at page edges become one segment; the device reads them in order", () => {
    const mm = device({ coherent: true });
    const list = three(mm);
    for (const [i, { page, offset, lengthBytes }] of list.entries()) cpuFill(page!, offset, lengthBytes, i + 1);
    expect(mm.dma.mapSg(list, 3, DMA_TO_DEVICE, 0)).toBe(2);
    expect(list.map((entry) => entry.dmaLengthBytes)).toEqual([1096 + PAGE_SIZE, 200, 0]);
    expect(deviceBytes(mm, list[0]!.dmaAddress + 1094, 4)).toEqual([1, 1, 2, 2]);
    expect(deviceBytes(mm, list[1]!.dmaAddress, 200)).toEqual(times(200, 3));
    mm.dma.unmapSg(list, 3, DMA_TO_DEVICE, 0);
    expect([mm.dma.liveMappings(), mm.bus.read(list[0]!.dmaAddress, mm.staging, 0, 1), mm.dma.stats]).toMatchObject([0, false, { maps: 2, unmaps: 2 }]);
  });

  test("a segment does not grow beyond what the device takes, nor over its boundary", () => {
    for (const options of [{ maxSegmentBytes: PAGE_SIZE }, { segmentBoundary: PAGE_SIZE - 1 }]) {
      const mm = device({ coherent: true, ...options });
      expect(mm.dma.mapSg(three(mm), 3, DMA_TO_DEVICE, 0)).toBe(3);
    }
  });

  test("without one each entry has its own address", () => {
    const mm = device({ coherent: true, iommu: "off" });
    const list = three(mm);
    expect(mm.dma.mapSg(list, 3, DMA_TO_DEVICE, 0)).toBe(3);
    expect(list.map(({ dmaAddress, page, offset }) => dmaAddress - page!.pfn * PAGE_SIZE - offset)).toEqual([0, 0, 0]);
    mm.dma.unmapSg(list, 3, DMA_TO_DEVICE, 0);
    expect([mm.dma.liveMappings(), mm.reports.total]).toEqual([0, 0]);
  });

  test("all or nothing: a list that does not fit leaves nothing mapped and no address taken", () => {
    const mm = device({ aperturePages: 16, coherent: true });
    expect([mm.dma.mapSg(three(mm), 3, DMA_TO_DEVICE, 0), mm.dma.liveMappings()]).toEqual([0, 0]);
    const full = device({ coherent: true, iommu: "off", forceBounce: true, swiotlb: { slots: 128 } });
    const pages = Array.from({ length: 62 }, () => pageOf(full));
    for (let i = 0; i < 126; i++) map(full, pages[i % 62]!, 0, 64, DMA_TO_DEVICE);
    const list = listOf(full, [[pages[0]!, 0, 2048], [pages[1]!, 0, 2048], [pages[2]!, 0, 2048]]);
    expect(full.dma.mapSg(list, 3, DMA_TO_DEVICE, 0)).toBe(0);
    expect([map(full, pages[0]!, 0, 64, DMA_TO_DEVICE), map(full, pages[0]!, 0, 64, DMA_TO_DEVICE)].length).toBe(2);
  });

  test("what is synced over several pages of a segment reaches each page's own memory", () => {
    const mm = device({ cpuCache: true });
    const list = three(mm);
    mm.dma.mapSg(list, 3, DMA_FROM_DEVICE, 0);
    deviceFill(mm, list[0]!.dmaAddress, 1096 + PAGE_SIZE, 6);
    mm.dma.syncSgForCpu(list, 3, DMA_FROM_DEVICE);
    expect([cpuBytes(list[0]!.page!, 3000, 1096), cpuBytes(list[1]!.page!, 0, PAGE_SIZE)]).toEqual([times(1096, 6), times(PAGE_SIZE, 6)]);
    expect(mm.reports.total).toBe(0);
  });

  test("a list unmapped or synced with another number of entries, an entry too long, one over a boundary: each a report of its own", () => {
    const mm = device({ coherent: true, iommu: "off", maxSegmentBytes: 1000, segmentBoundary: 2047, rules: { skipsSyncs: false } });
    const list = listOf(mm, [[pageOf(mm), 0, 1001], [pageOf(mm), 2000, 100], [pageOf(mm), 0, 64]]);
    mm.dma.mapSg(list, 3, DMA_TO_DEVICE, 0);
    expect(kinds(mm.reports)).toEqual(["dma-debug-sg-segment", "dma-debug-sg-boundary"]);
    mm.dma.syncSgForDevice(list, 2, DMA_TO_DEVICE);
    mm.dma.unmapSg(list, 1, DMA_TO_DEVICE, 0);
    expect(kinds(mm.reports).slice(2)).toEqual(["dma-debug-sg-count", "dma-debug-sg-count", "dma-debug-sg-count"]);
    expect(messages(mm.reports)).toContain("mapped 3, unmapped 1");
    expect(mm.dma.liveMappings()).toBe(2);
  });

  test("a list of no entries, more than there are, or without pages is refused by name", () => {
    const mm = device();
    expect(usageErrorOf(() => mm.dma.mapSg([], 0, DMA_TO_DEVICE, 0)).option).toBe("nents of eth0");
    expect(usageErrorOf(() => mm.dma.mapSg(mm.dma.allocSgTable(1), 2, DMA_TO_DEVICE, 0)).option).toBe("nents of eth0");
    expect(usageErrorOf(() => mm.dma.mapSg(mm.dma.allocSgTable(1), 1, DMA_TO_DEVICE, 0)).option).toBe("page of sg entry 0 of eth0");
    expect(usageErrorOf(() => mm.dma.allocSgTable(0)).option).toBe("nents of eth0");
    expect([mm.dma.mapSg(listOf(mm, [[pageOf(mm), 0, 0]]), 1, DMA_TO_DEVICE, DMA_ATTR_SKIP_CPU_SYNC), kinds(mm.reports)]).toEqual([0, ["dma-bad-range"]]);
  });
});

describe("single words, whose page a device remembers", () => {
  test("as soon as it is unmapped they fault, and as soon as the address leads elsewhere they are there", () => {
    const mm = device({ iommu: "strict", aperturePages: 4 });
    const [page, other] = [pageOf(mm), pageOf(mm)];
    const dmaAddr = map(mm, page, 0, PAGE_SIZE, DMA_BIDIRECTIONAL);
    expect([mm.bus.write32(dmaAddr + 8, 7), mm.bus.read32(dmaAddr + 8), mm.bus.write32(dmaAddr + PAGE_SIZE - 4, 9), cpuBytes(page, 8, 1), cpuBytes(page, PAGE_SIZE - 4, 1)]).toEqual([true, 7, true, [7], [9]]);
    mm.dma.unmapPage(dmaAddr, PAGE_SIZE, DMA_BIDIRECTIONAL, 0);
    expect([mm.bus.write32(dmaAddr + 8, 1), mm.bus.read32(dmaAddr + 8), kinds(mm.reports), cpuBytes(page, 8, 1)]).toEqual([false, 0, ["dma-fault", "dma-fault"], [7]]);
    // Few addresses: this one comes round again.
    let again = 0;
    for (let tries = 0; again !== dmaAddr; tries++) {
      again = map(mm, other, 0, PAGE_SIZE, DMA_BIDIRECTIONAL);
      if (tries > 8) throw new Error("the address does not come back");
      if (again !== dmaAddr) mm.dma.unmapPage(again, PAGE_SIZE, DMA_BIDIRECTIONAL, 0);
    }
    expect([mm.bus.write32(dmaAddr + 8, 3), cpuBytes(page, 8, 1), cpuBytes(other, 8, 1)]).toEqual([true, [7], [3]]);
  });

  test("having read one does not let the device write, nor the next page", () => {
    const mm = device({ iommu: "strict" });
    const dmaAddr = map(mm, pageOf(mm), 0, PAGE_SIZE, DMA_TO_DEVICE);
    expect([mm.bus.read32(dmaAddr), mm.bus.write32(dmaAddr, 1), mm.bus.read32(dmaAddr + PAGE_SIZE), mm.bus.read32(dmaAddr - 4)]).toEqual([0, false, 0, 0]);
    expect(kinds(mm.reports)).toEqual(["dma-fault", "dma-fault", "dma-fault"]);
  });

  test("having written one does not let it read; where it may do both, it does, in turn", () => {
    const mm = device({ iommu: "strict" });
    const [written, both] = [map(mm, pageOf(mm), 0, PAGE_SIZE, DMA_FROM_DEVICE), map(mm, pageOf(mm), 0, PAGE_SIZE, DMA_BIDIRECTIONAL)];
    expect([mm.bus.write32(written, 1), mm.bus.read32(written), mm.bus.write32(written, 2)]).toEqual([true, 0, true]);
    expect(kinds(mm.reports)).toEqual(["dma-fault"]);
    expect([mm.bus.write32(both, 3), mm.bus.read32(both), mm.bus.write32(both + 4, 4), mm.bus.read32(both + 4), mm.bus.read32(written)]).toEqual([true, 3, true, 4, 0]);
  });

  test("property: words and bytes of a device are the same memory, whatever is mapped and unmapped in between", () => {
    fc.assert(fc.property(fc.array(fc.tuple(fc.integer({ min: 0, max: 2 }), fc.integer({ min: 0, max: 3 }), fc.integer({ min: 0, max: 1023 }), fc.integer()), { maxLength: 60 }), (steps) => {
      const mm = device({ iommu: "strict", aperturePages: 6 });
      const pages = Array.from({ length: 4 }, () => pageOf(mm));
      const mapped: (number | null)[] = [null, null, null, null];
      const seen: (readonly [number, number])[] = [];
      for (const [what, i, word, value] of steps) {
        const dmaAddr = mapped[i]!;
        if (what === 0) {
          if (dmaAddr === null) mapped[i] = map(mm, pages[i]!, 0, PAGE_SIZE, DMA_BIDIRECTIONAL);
          else mm.dma.unmapPage(dmaAddr, PAGE_SIZE, DMA_BIDIRECTIONAL, 0);
          if (dmaAddr !== null) mapped[i] = null;
        } else if (dmaAddr === null) {
          for (const [old] of seen.filter(([at]) => !mapped.includes(at))) expect(mm.bus.write32(old + 4 * word, 1)).toBe(false);
        } else {
          seen.push([dmaAddr, i]);
          expect(mm.bus.write32(dmaAddr + 4 * word, value)).toBe(true);
          const { region, base } = pages[i]!;
          expect([region.words[(base >> 2) + word], mm.bus.read32(dmaAddr + 4 * word)]).toEqual([value, value]);
        }
      }
    }), { numRuns: 200 });
  });
});
