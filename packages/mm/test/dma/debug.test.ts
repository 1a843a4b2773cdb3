import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { CONTEXT_HARDIRQ } from "@netmem/kernel/api";
import {
  __GFP_COMP, __GFP_DMA, DMA_ATTR_SKIP_CPU_SYNC, DMA_BIDIRECTIONAL, DMA_DEBUG_KINDS, DMA_FROM_DEVICE, DMA_MAPPING_ERROR, DMA_TO_DEVICE, GFP_ATOMIC, GFP_KERNEL, PAGE_SIZE, type CoherentMemory,
} from "../../src/api/index.ts";
import { device, kinds, messages } from "../helpers.ts";
import { map, pageOf } from "./rig.ts";

describe("mappings", () => {
  test("skb-mm row 31: an unmap of what was never tested with dma_mapping_error is an error of its own", () => {
    const mm = device();
    const dmaAddr = mm.dma.mapPage(pageOf(mm), 0, 1000, DMA_FROM_DEVICE, 0);
    mm.dma.unmapPage(dmaAddr, 1000, DMA_FROM_DEVICE, 0);
    expect(mm.reports.reports).toMatchObject([{ kind: "dma-debug-error-unchecked", owner: "eth0", message: expect.stringContaining("failed to check map error: 1000 bytes mapped as page") }]);
    expect(mm.dma.liveMappings()).toBe(0);
  });

  test("skb-mm row 31: of two mappings of one address each must be tested", () => {
    const mm = device({ coherent: true, iommu: "off" });
    const page = pageOf(mm);
    const first = map(mm, page, 0, 64, DMA_TO_DEVICE);
    const second = mm.dma.mapPage(page, 0, 64, DMA_TO_DEVICE, 0);
    expect(second).toBe(first);
    mm.dma.unmapPage(first, 64, DMA_TO_DEVICE, 0);
    mm.dma.unmapPage(second, 64, DMA_TO_DEVICE, 0);
    expect(kinds(mm.reports)).toEqual(["dma-debug-error-unchecked"]);
  });

  test("skb-mm row 30: of several mappings at one address the one that agrees is undone; with none that does it is memory not allocated", () => {
    const mm = device({ coherent: true, iommu: "off" });
    const page = pageOf(mm);
    map(mm, page, 0, 64, DMA_TO_DEVICE);
    const dmaAddr = map(mm, page, 0, 128, DMA_TO_DEVICE);
    mm.dma.unmapPage(dmaAddr, 256, DMA_TO_DEVICE, 0);
    expect([kinds(mm.reports), mm.dma.liveMappings()]).toEqual([["dma-debug-not-allocated"], 2]);
    mm.dma.unmapPage(dmaAddr, 64, DMA_TO_DEVICE, 0);
    mm.dma.unmapPage(dmaAddr, 128, DMA_TO_DEVICE, 0);
    expect([mm.reports.total, mm.dma.liveMappings()]).toEqual([1, 0]);
  });

  test("skb-mm row 32: two FROM mappings that begin in one cache line are an error; TO and TO are none", () => {
    const mm = device();
    const page = pageOf(mm);
    map(mm, page, 0, 32, DMA_FROM_DEVICE);
    map(mm, page, 32, 32, DMA_FROM_DEVICE);
    expect(mm.reports.reports).toMatchObject([{ kind: "dma-debug-overlap", message: expect.stringContaining("overlapping mappings aren't supported") }]);
    map(mm, page, 1024, 32, DMA_TO_DEVICE);
    map(mm, page, 1024, 32, DMA_TO_DEVICE);
    expect(mm.reports.total).toBe(1);
  });

  test("skb-mm row 32: only the line of the first byte is looked at: an overlap further on is not detected", () => {
    const mm = device();
    const page = pageOf(mm);
    map(mm, page, 0, 256, DMA_FROM_DEVICE);
    map(mm, page, 128, 64, DMA_FROM_DEVICE);
    expect(mm.reports.total).toBe(0);
  });

  test("skb-mm row 32: SKIP_CPU_SYNC is trusted, and so is a machine that bounces small buffers", () => {
    const mm = device();
    const page = pageOf(mm);
    map(mm, page, 0, 256, DMA_FROM_DEVICE);
    map(mm, page, 0, 256, DMA_FROM_DEVICE, DMA_ATTR_SKIP_CPU_SYNC);
    const bouncing = device({ iommu: "off", swiotlb: { slots: 128 } });
    const other = pageOf(bouncing);
    map(bouncing, other, 0, 256, DMA_FROM_DEVICE);
    map(bouncing, other, 0, 256, DMA_FROM_DEVICE);
    expect([mm.reports.total, bouncing.reports.total]).toEqual([0, 0]);
  });

  test("a line is free again once all its mappings are undone", () => {
    const mm = device();
    const page = pageOf(mm);
    for (let i = 0; i < 5; i++) mm.dma.unmapPage(map(mm, page, 0, 64, DMA_FROM_DEVICE), 64, DMA_FROM_DEVICE, 0);
    expect(mm.reports.total).toBe(0);
  });

  test("more than seven further mappings of a line are being leaked, whatever their attributes", () => {
    const mm = device();
    const page = pageOf(mm);
    for (let i = 0; i < 8; i++) map(mm, page, 0, 64, DMA_FROM_DEVICE, DMA_ATTR_SKIP_CPU_SYNC);
    expect(mm.reports.total).toBe(0);
    map(mm, page, 0, 64, DMA_FROM_DEVICE, DMA_ATTR_SKIP_CPU_SYNC);
    expect(mm.reports.reports).toMatchObject([{ kind: "dma-debug-overlap-limit", message: expect.stringContaining("exceeded 7 overlapping mappings") }]);
  });

  test("devices are told apart: the same address of another is not allocated", () => {
    const mm = device();
    const other = mm.attachDevice({ name: "eth1", coherent: false, aperturePages: 64 });
    const dmaAddr = map(mm, pageOf(mm), 0, 64, DMA_FROM_DEVICE);
    other.dma.unmapPage(dmaAddr, 64, DMA_FROM_DEVICE, 0);
    expect([mm.reports.reports[0], mm.dma.liveMappings()]).toMatchObject([{ kind: "dma-debug-not-allocated", owner: "eth1" }, 1]);
  });

  test("property: the record grows with the mappings, and forgets each when it is undone", () => {
    fc.assert(fc.property(fc.array(fc.integer({ min: 1, max: 9000 }), { minLength: 1, maxLength: 300, size: "max" }), (sizes) => {
      const mm = device({ coherent: true, iommu: "off", nrPages: 1024 });
      const block = pageOf(mm, 9);
      const mapped = sizes.map((bytes, i) => ({ dmaAddr: map(mm, block, i * 4096, bytes, DMA_TO_DEVICE), bytes }));
      for (const { dmaAddr, bytes } of mapped) mm.dma.syncForDevice(dmaAddr, bytes - 1, 1, DMA_TO_DEVICE);
      for (const { dmaAddr, bytes } of mapped) mm.dma.unmapPage(dmaAddr, bytes, DMA_TO_DEVICE, 0);
      mm.dma.unbind();
      expect([mm.reports.total, mm.dma.liveMappings()]).toEqual([0, 0]);
    }));
  });
});

describe("what a driver may map", () => {
  test("kmalloc'ed memory by its address", () => {
    const mm = device();
    const object = mm.slab.kmalloc(100, GFP_ATOMIC)!;
    const dmaAddr = mm.dma.mapSingle(object.region, object.base, 100, DMA_FROM_DEVICE, 0);
    expect([mm.dma.mappingError(dmaAddr), mm.bus.write(dmaAddr, mm.staging, 0, 100), object.region.bytes[object.base + 99]]).toEqual([false, true, 0xee]);
    mm.dma.unmapPage(dmaAddr, 100, DMA_FROM_DEVICE, 0);
    expect(mm.reports.total).toBe(0);
  });

  test("vmalloc memory is rejected: its pages lie anywhere", () => {
    const mm = device();
    expect([mm.dma.mapSingle(mm.staging, 0, 64, DMA_FROM_DEVICE, 0), kinds(mm.reports), mm.dma.liveMappings()]).toEqual([DMA_MAPPING_ERROR, ["dma-debug-vmalloc"], 0]);
  });

  test.each([["stack", "dma-debug-stack"], ["rodata", "dma-debug-rodata"], ["device", "dma-debug-invalid-area"]] as const)("%s memory is mapped and reported", (kind, report) => {
    const mm = device({ extraBytes: 32_768 });
    const region = mm.payload.addRegion(`some ${kind}`, 64, kind !== "device", kind);
    expect(mm.dma.mappingError(mm.dma.mapSingle(region, 0, 64, DMA_TO_DEVICE, 0))).toBe(false);
    expect(mm.reports.reports).toMatchObject([{ kind: report, object: `device eth0 region some ${kind}`, owner: "eth0" }]);
  });

  test.each([[0, 0], [0, -5], [4000, 65 * PAGE_SIZE], [-8, 8]])("a range from %i over %i bytes is no range of memory: report with both, and an error", (offset, bytes) => {
    const mm = device();
    expect(mm.dma.mapPage(mm.pages.pages[0]!, offset, bytes, DMA_FROM_DEVICE, 0)).toBe(DMA_MAPPING_ERROR);
    expect(mm.reports.reports).toMatchObject([{ kind: "dma-bad-range", object: "device eth0", owner: "eth0", message: expect.stringContaining(`${bytes} bytes at offset ${offset} of region host`) }]);
  });
});

describe("coherent memory", () => {
  test("skb-mm row 35: asked for with __GFP_COMP it is null and a warning", () => {
    const mm = device();
    expect([mm.dma.allocCoherent(PAGE_SIZE, GFP_KERNEL | __GFP_COMP), kinds(mm.reports), mm.pages.freePages()]).toEqual([null, ["dma-alloc-comp"], 64]);
  });

  test("skb-mm row 35: 6.1 gives it all the same", () => {
    const mm = device({ rules: { coherentRefusesComp: false } });
    expect([mm.dma.allocCoherent(PAGE_SIZE, GFP_KERNEL | __GFP_COMP) === null, mm.reports.total]).toEqual([false, 0]);
  });

  test("zone flags are stripped", () => {
    const mm = device();
    expect(mm.dma.allocCoherent(PAGE_SIZE, GFP_KERNEL | __GFP_DMA)).not.toBeNull();
  });

  test("freed by a copy of its description with another CPU address it is an error, and goes", () => {
    const mm = device();
    const ring = mm.dma.allocCoherent(PAGE_SIZE, GFP_KERNEL)!;
    const copy: CoherentMemory = { region: ring.region, base: ring.base + 64, dmaAddr: ring.dmaAddr, sizeBytes: ring.sizeBytes, read32: () => 0, write32: () => {} };
    mm.dma.freeCoherent(copy);
    expect([kinds(mm.reports), mm.pages.freePages()]).toEqual([["dma-debug-cpu-address"], 64]);
  });

  test("freed with another size it is an error", () => {
    const mm = device();
    const ring = mm.dma.allocCoherent(100, GFP_KERNEL)!;
    mm.dma.freeCoherent({ region: ring.region, base: ring.base, dmaAddr: ring.dmaAddr, sizeBytes: 99, read32: () => 0, write32: () => {} });
    expect([kinds(mm.reports), messages(mm.reports)]).toEqual([["dma-debug-size"], expect.stringContaining("mapped 100 bytes, unmapped 99")]);
  });

  test("a mapping freed as coherent memory is the wrong function, and stays", () => {
    const mm = device();
    const page = pageOf(mm);
    const dmaAddr = map(mm, page, 0, PAGE_SIZE, DMA_BIDIRECTIONAL);
    mm.dma.freeCoherent({ region: page.region, base: page.base, dmaAddr, sizeBytes: PAGE_SIZE, read32: () => 0, write32: () => {} });
    expect([kinds(mm.reports), mm.dma.liveMappings(), page.refcount]).toEqual([["dma-debug-function"], 1, 1]);
  });

  test("in hardirq its free is reported, and done", () => {
    const mm = device();
    const ring = mm.dma.allocCoherent(64, GFP_KERNEL);
    mm.kernel.context.level = CONTEXT_HARDIRQ;
    mm.dma.freeCoherent(ring);
    expect([kinds(mm.reports), mm.pages.freePages()]).toEqual([["dma-free-in-irq"], 64]);
  });

  test("nothing to free is nothing", () => {
    const mm = device();
    mm.dma.freeCoherent(null);
    expect(mm.reports.total).toBe(0);
  });

  test("a carve-out of the device's own is used first, and what does not fit comes from the rest", () => {
    const mm = device({ carveOutPages: 4 });
    const free = mm.pages.freePages();
    const [a, b] = [mm.dma.allocCoherent(2 * PAGE_SIZE, GFP_KERNEL)!, mm.dma.allocCoherent(PAGE_SIZE, GFP_KERNEL)!];
    expect(mm.pages.freePages()).toBe(free);
    const c = mm.dma.allocCoherent(2 * PAGE_SIZE, GFP_KERNEL)!;
    expect(mm.pages.freePages()).toBe(free - 2);
    mm.dma.freeCoherent(a);
    const d = mm.dma.allocCoherent(100, GFP_KERNEL)!;
    expect([d.base === a.base || d.base === b.base + PAGE_SIZE, mm.pages.freePages()]).toEqual([true, free - 2]);
    for (const memory of [b, c, d]) mm.dma.freeCoherent(memory);
    expect([mm.pages.freePages(), mm.reports.total]).toEqual([free, 0]);
  });

  test.each([0, -1, Number.NaN])("%d bytes of it are refused by name", (bytes) => {
    expect(() => device().dma.allocCoherent(bytes, GFP_KERNEL)).toThrow(expect.objectContaining({ package: "mm", option: "coherent bytes of eth0" }));
  });
});

test("every kind of report that the checks can make is named once", () => {
  expect(new Set(DMA_DEBUG_KINDS).size).toBe(DMA_DEBUG_KINDS.length);
});
