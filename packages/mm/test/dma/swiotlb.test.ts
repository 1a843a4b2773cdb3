import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { DMA_ATTR_SKIP_CPU_SYNC, DMA_BIDIRECTIONAL, DMA_FROM_DEVICE, DMA_MAPPING_ERROR, DMA_TO_DEVICE, GFP_KERNEL, NUMA_NO_NODE, PAGE_SIZE } from "../../src/api/index.ts";
import { device, kinds, type Device } from "../helpers.ts";
import { onCpu } from "../page-alloc/rig.ts";
import { cpuBytes, cpuFill, deviceBytes, deviceFill, map, pageOf, times } from "./rig.ts";

/** A coherent device, every mapping of which is bounced. */
function bounced(slots = 128, more: Parameters<typeof device>[0] = {}): Device {
  return device({ coherent: true, iommu: "off", forceBounce: true, swiotlb: { slots }, ...more });
}

describe("what moves when", () => {
  test("skb-mm row 22: the first bounce on a device makes all its later syncs execute", () => {
    const mm = device({ coherent: true, iommu: "off", dmaMaskBits: 23, nrPages: 1100, swiotlb: { slots: 128 } });
    const pages = Array.from({ length: 1100 }, () => mm.pages.allocPages(GFP_KERNEL, 0, NUMA_NO_NODE)!);
    const low = map(mm, pages.find((page) => page.pfn < 2048)!, 0, 64, DMA_FROM_DEVICE);
    mm.dma.syncForCpu(low, 0, 64, DMA_FROM_DEVICE);
    expect([mm.dma.needSync, mm.dma.stats.syncs]).toEqual([false, 0]);
    const high = map(mm, pages.find((page) => page.pfn >= 2048)!, 0, 64, DMA_FROM_DEVICE);
    mm.dma.syncForCpu(low, 0, 64, DMA_FROM_DEVICE);
    expect([mm.dma.needSync, mm.dma.stats.syncs, mm.dma.stats.bounces]).toEqual([true, 1, 1]);
    // Each address is asked for, too: of a coherent device only what is bounced needs it.
    expect([mm.dma.dmaNeedSync(low), mm.dma.dmaNeedSync(high)]).toEqual([false, true]);
  });

  test("skb-mm row 23: FROM_DEVICE, and the device writes half: after the unmap the first half is new and the rest as it was", () => {
    const mm = bounced();
    const page = pageOf(mm);
    cpuFill(page, 0, 200, 1);
    const dmaAddr = map(mm, page, 0, 200, DMA_FROM_DEVICE);
    deviceFill(mm, dmaAddr, 100, 9);
    expect(cpuBytes(page, 0, 200)).toEqual(times(200, 1));
    mm.dma.unmapPage(dmaAddr, 200, DMA_FROM_DEVICE, 0);
    expect(cpuBytes(page, 0, 200)).toEqual([...times(100, 9), ...times(100, 1)]);
  });

  test("skb-mm row 24: unmapped with SKIP_CPU_SYNC and without a sync before, the original is as it was", () => {
    const mm = bounced();
    const page = pageOf(mm);
    const dmaAddr = map(mm, page, 0, 64, DMA_FROM_DEVICE, DMA_ATTR_SKIP_CPU_SYNC);
    deviceFill(mm, dmaAddr, 64, 9);
    mm.dma.unmapPage(dmaAddr, 64, DMA_FROM_DEVICE, DMA_ATTR_SKIP_CPU_SYNC);
    expect(cpuBytes(page, 0, 64)).toEqual(times(64, 0));
  });

  test("hazard H4: a forgotten sync shows the old bytes; the sync brings the new ones, in its range only", () => {
    const mm = bounced();
    const page = pageOf(mm);
    const dmaAddr = map(mm, page, 0, 256, DMA_FROM_DEVICE);
    deviceFill(mm, dmaAddr, 256, 9);
    expect(cpuBytes(page, 0, 4)).toEqual(times(4, 0));
    mm.dma.syncForCpu(dmaAddr, 64, 64, DMA_FROM_DEVICE);
    expect(cpuBytes(page, 0, 256)).toEqual([...times(64, 0), ...times(64, 9), ...times(128, 0)]);
  });

  test("skb-mm row 25: TO_DEVICE, and the CPU writes after the map without for_device: the device reads the old bytes", () => {
    const mm = bounced();
    const page = pageOf(mm);
    cpuFill(page, 0, 64, 1);
    const dmaAddr = map(mm, page, 0, 64, DMA_TO_DEVICE);
    cpuFill(page, 0, 64, 2);
    expect(deviceBytes(mm, dmaAddr, 64)).toEqual(times(64, 1));
    mm.dma.syncForDevice(dmaAddr, 0, 64, DMA_TO_DEVICE);
    expect(deviceBytes(mm, dmaAddr, 64)).toEqual(times(64, 2));
  });

  test("for_device of FROM_DEVICE and for_cpu of TO_DEVICE copy nothing", () => {
    const mm = bounced();
    const [a, b] = [pageOf(mm), pageOf(mm)];
    const from = map(mm, a, 0, 64, DMA_FROM_DEVICE);
    cpuFill(a, 0, 64, 5);
    mm.dma.syncForDevice(from, 0, 64, DMA_FROM_DEVICE);
    expect(deviceBytes(mm, from, 64)).toEqual(times(64, 0));
    const to = map(mm, b, 0, 64, DMA_TO_DEVICE);
    deviceFill(mm, to, 64, 7);
    mm.dma.syncForCpu(to, 0, 64, DMA_TO_DEVICE);
    mm.dma.unmapPage(to, 64, DMA_TO_DEVICE, 0);
    expect(cpuBytes(b, 0, 64)).toEqual(times(64, 0));
  });
});

describe("slots", () => {
  test("skb-mm row 26: with every slot taken a mapping is an error, and no slot is lost", () => {
    const mm = bounced(128);
    const pages = Array.from({ length: 64 }, () => pageOf(mm));
    const addresses = pages.map((page) => map(mm, page, 0, PAGE_SIZE, DMA_FROM_DEVICE));
    expect([mm.dma.mapPage(pages[0]!, 0, 64, DMA_TO_DEVICE, 0), mm.dma.stats.bounceFull]).toEqual([DMA_MAPPING_ERROR, 1]);
    for (const dmaAddr of addresses) mm.dma.unmapPage(dmaAddr, PAGE_SIZE, DMA_FROM_DEVICE, 0);
    for (const page of pages) map(mm, page, 0, PAGE_SIZE, DMA_FROM_DEVICE);
    expect([mm.dma.stats.bounces, mm.reports.total]).toEqual([128, 0]);
  });

  test("one mapping takes at most 128 slots in a row, 256 KiB", () => {
    const mm = bounced(256, { nrPages: 256 });
    const block = pageOf(mm, 7);
    const dmaAddr = map(mm, block, 0, 128 * 2048, DMA_FROM_DEVICE);
    mm.dma.unmapPage(dmaAddr, 128 * 2048, DMA_FROM_DEVICE, 0);
    expect(mm.dma.mapPage(block, 0, 128 * 2048 + 1, DMA_FROM_DEVICE, 0)).toBe(DMA_MAPPING_ERROR);
  });

  test("less where an alignment must be kept: the slots before the buffer count too", () => {
    const mm = bounced(128, { minAlignMask: 1023 });
    const page = pageOf(mm);
    const dmaAddr = map(mm, page, 1000, 2048, DMA_FROM_DEVICE);
    expect(dmaAddr & 1023).toBe(1000);
    deviceFill(mm, dmaAddr, 2048, 4);
    mm.dma.unmapPage(dmaAddr, 2048, DMA_FROM_DEVICE, 0);
    expect([cpuBytes(page, 999, 3), cpuBytes(page, 3046, 4)]).toEqual([[0, 4, 4], [4, 4, 0, 0]]);
    expect(mm.reports.total).toBe(0);
  });

  test("a page or more begins at a page, and needs no place beside it", () => {
    const mm = bounced(128);
    const block = pageOf(mm, 1);
    const first = map(mm, block, 0, 64, DMA_TO_DEVICE);
    const [a, b] = [map(mm, block, 2048, PAGE_SIZE, DMA_TO_DEVICE), map(mm, block, 100, PAGE_SIZE + 1, DMA_TO_DEVICE)];
    expect([a - first, b - first]).toEqual([2 * 2048, 4 * 2048]);
  });

  test("less than a page takes the next slots, wherever they lie", () => {
    const mm = bounced(128);
    const page = pageOf(mm);
    const first = map(mm, page, 0, 64, DMA_TO_DEVICE);
    expect(map(mm, page, 0, PAGE_SIZE - 1, DMA_TO_DEVICE) - first).toBe(2048);
  });

  test("bits above a slot are kept by the choice of slots, as hv_netvsc asks for with 4095", () => {
    const mm = bounced(128, { minAlignMask: 4095 });
    const page = pageOf(mm);
    const addresses = [2148, 100, 2300, 4000].map((offset) => map(mm, page, offset, 90, DMA_FROM_DEVICE));
    expect(addresses.map((dmaAddr) => dmaAddr & 4095)).toEqual([2148, 100, 2300, 4000]);
    deviceFill(mm, addresses[3]!, 90, 5);
    for (const dmaAddr of addresses) mm.dma.unmapPage(dmaAddr, 90, DMA_FROM_DEVICE, 0);
    expect([cpuBytes(page, 3999, 2), cpuBytes(page, 4089, 2)]).toEqual([[0, 5], [5, 0]]);
    expect(mm.reports.total).toBe(0);
  });

  test("no mapping lies in two segments, though the slots on both sides of the border are free", () => {
    const mm = bounced(256, { nrPages: 256 });
    const block = pageOf(mm, 7);
    for (let i = 0; i < 129; i++) mm.dma.unmapPage(map(mm, block, 0, 64, DMA_TO_DEVICE), 64, DMA_TO_DEVICE, 0);
    const at130 = map(mm, block, 0, PAGE_SIZE, DMA_TO_DEVICE);
    map(mm, block, 0, 124 * 2048, DMA_TO_DEVICE);
    map(mm, block, 0, 127 * 2048, DMA_TO_DEVICE);
    // Free are 127, the last of its segment, 128 and 129.
    expect(map(mm, block, 0, 3000, DMA_TO_DEVICE)).toBe(at130 - 2 * 2048);
    expect(mm.dma.mapPage(block, 0, 3000, DMA_TO_DEVICE, 0)).toBe(DMA_MAPPING_ERROR);
    map(mm, block, 0, 2048, DMA_TO_DEVICE);
  });

  test("each CPU has an area, and helps itself from the others' when that is full", () => {
    const mm = bounced(256, { swiotlb: { slots: 256, areas: 2 } });
    const page = pageOf(mm);
    const first = map(mm, page, 0, 64, DMA_TO_DEVICE);
    // The rig has one CPU; its number is all that an area is chosen by.
    mm.kernel.context.cpu = 1;
    const second = map(mm, page, 0, 64, DMA_TO_DEVICE);
    expect(second - first).toBe(128 * 2048);
    mm.kernel.context.cpu = 0;
    onCpu(mm.kernel, 0, () => {
      for (let i = 0; i < 254; i++) map(mm, page, 0, 64, DMA_TO_DEVICE);
    });
    expect(mm.dma.mapPage(page, 0, 64, DMA_TO_DEVICE, 0)).toBe(DMA_MAPPING_ERROR);
  });

  test("a mapping does not cross the device's boundary", () => {
    const mm = bounced(128, { segmentBoundary: 8191 });
    const page = pageOf(mm, 1);
    for (let i = 0; i < 10; i++) {
      const dmaAddr = map(mm, page, 0, 5000, DMA_TO_DEVICE);
      expect(dmaAddr >> 13).toBe((dmaAddr + 4999) >> 13);
    }
  });

  test("a copy longer than the mapping is cut off, and reported once", () => {
    const mm = bounced(128, { dmaDebug: "off" });
    const page = pageOf(mm);
    const dmaAddr = mm.dma.mapPage(page, 0, 100, DMA_FROM_DEVICE, 0);
    deviceFill(mm, dmaAddr, 300, 9);
    mm.dma.syncForCpu(dmaAddr, 0, 300, DMA_FROM_DEVICE);
    mm.dma.syncForCpu(dmaAddr, 0, 300, DMA_FROM_DEVICE);
    expect([cpuBytes(page, 98, 4), kinds(mm.reports)]).toEqual([[9, 9, 0, 0], ["swiotlb-overflow"]]);
  });

  test("where it may grow, a mapping that finds it full gets a buffer of its own from the page allocator, given back at unmap", () => {
    const mm = bounced(128, { swiotlb: { slots: 128, dynamic: true } });
    const pages = Array.from({ length: 32 }, () => pageOf(mm));
    for (let i = 0; i < 128; i++) map(mm, pages[i % 32]!, 0, 64, DMA_TO_DEVICE);
    const free = mm.pages.freePages();
    const dmaAddr = map(mm, pages[0]!, 0, PAGE_SIZE, DMA_FROM_DEVICE, DMA_ATTR_SKIP_CPU_SYNC);
    expect(mm.pages.freePages()).toBe(free - 1);
    deviceFill(mm, dmaAddr, PAGE_SIZE, 8);
    mm.dma.unmapPage(dmaAddr, PAGE_SIZE, DMA_FROM_DEVICE, 0);
    expect([mm.pages.freePages(), cpuBytes(pages[0]!, 0, 2)]).toEqual([free, [8, 8]]);
  });

  test("small buffers of a device without coherence are bounced: their cache lines may be shared", () => {
    const mm = device({ iommu: "off", swiotlb: { slots: 128 } });
    const page = pageOf(mm);
    map(mm, page, 0, 65, DMA_FROM_DEVICE);
    map(mm, page, 256, 64, DMA_FROM_DEVICE);
    map(mm, page, 512, 130, DMA_FROM_DEVICE);
    map(mm, page, 1024, 10, DMA_TO_DEVICE);
    // The bucket decides: 60 and 100 bytes lie in buckets of 64 and 128, which no one shares a line of.
    map(mm, page, 2048, 60, DMA_FROM_DEVICE);
    map(mm, page, 2304, 100, DMA_FROM_DEVICE);
    expect([mm.dma.stats.bounces, mm.reports.total]).toEqual([1, 0]);
    map(mm, page, 2560, 32, DMA_FROM_DEVICE);
    expect(mm.dma.stats.bounces).toBe(2);
  });
});

test("property: mapped, synced and unmapped in any order, bounce buffers carry just the bytes of each mapping", () => {
  const step = fc.record({ what: fc.constantFrom("map", "map", "write", "sync", "unmap"), at: fc.nat(), bytes: fc.integer({ min: 1, max: 3000 }), direction: fc.constantFrom(DMA_FROM_DEVICE, DMA_BIDIRECTIONAL), offset: fc.integer({ min: 0, max: 900 }) });
  fc.assert(fc.property(fc.array(step, { maxLength: 120, size: "max" }), fc.constantFrom(0, 511, 4095), (steps, minAlignMask) => {
    const mm = bounced(128, { minAlignMask });
    const free = Array.from({ length: 48 }, () => pageOf(mm));
    const live: { readonly page: (typeof free)[number]; readonly dmaAddr: number; readonly bytes: number; readonly direction: number; readonly offset: number; readonly device: Uint8Array; readonly cpu: Uint8Array }[] = [];
    for (const [i, { what, at, bytes, direction, offset }] of steps.entries()) {
      const mapping = live[at % Math.max(1, live.length)];
      if (what === "map" && free.length > 0) {
        const page = free[0]!;
        const dmaAddr = mm.dma.mapPage(page, offset, bytes, direction, 0);
        if (mm.dma.mappingError(dmaAddr)) continue;
        free.shift();
        const cpu = page.region.bytes.slice(page.base, page.base + PAGE_SIZE);
        live.push({ page, dmaAddr, bytes, direction, offset, cpu, device: cpu.slice(offset, offset + bytes) });
      } else if (mapping === undefined) continue;
      else if (what === "write") {
        const from = bytes % mapping.bytes;
        deviceFill(mm, mapping.dmaAddr + from, mapping.bytes - from, i & 0xff);
        mapping.device.fill(i & 0xff, from);
      } else if (what === "sync") {
        const from = bytes % mapping.bytes;
        mm.dma.syncForCpu(mapping.dmaAddr, from, mapping.bytes - from, mapping.direction);
        mapping.cpu.set(mapping.device.subarray(from), mapping.offset + from);
      } else if (what === "unmap") {
        mm.dma.unmapPage(mapping.dmaAddr, mapping.bytes, mapping.direction, 0);
        mapping.cpu.set(mapping.device, mapping.offset);
        live.splice(live.indexOf(mapping), 1);
        free.push(mapping.page);
        expect(Buffer.compare(mapping.page.region.bytes.subarray(mapping.page.base, mapping.page.base + PAGE_SIZE), mapping.cpu)).toBe(0);
      }
      for (const { page, cpu } of live) expect(Buffer.compare(page.region.bytes.subarray(page.base, page.base + PAGE_SIZE), cpu)).toBe(0);
    }
    expect(mm.reports.total).toBe(0);
  }));
});
