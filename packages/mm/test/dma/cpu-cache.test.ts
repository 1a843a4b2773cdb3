import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { DMA_ATTR_SKIP_CPU_SYNC, DMA_BIDIRECTIONAL, DMA_FROM_DEVICE, DMA_TO_DEVICE, GFP_KERNEL, PAGE_SIZE } from "../../src/api/index.ts";
import { device, type Device } from "../helpers.ts";
import { cpuBytes, cpuFill, deviceBytes, deviceFill, map, pageOf, times } from "./rig.ts";

const IOMMUS = ["off", "strict"] as const;

/** A device that does not see the CPU's cache. */
function incoherent(iommu: "off" | "strict"): Device {
  return device({ iommu, cpuCache: true, coherent: false });
}

describe.each(IOMMUS)("a non-coherent device, IOMMU %s", (iommu) => {
  test("hazard H1: what the device wrote is stale to the CPU until for_cpu, range by range", () => {
    const mm = incoherent(iommu);
    const page = pageOf(mm);
    const dmaAddr = map(mm, page, 0, PAGE_SIZE, DMA_FROM_DEVICE);
    deviceFill(mm, dmaAddr, 256, 9);
    expect(cpuBytes(page, 0, 256)).toEqual(times(256, 0));
    mm.dma.syncForCpu(dmaAddr, 64, 128, DMA_FROM_DEVICE);
    expect(cpuBytes(page, 0, 256)).toEqual([...times(64, 0), ...times(128, 9), ...times(64, 0)]);
  });

  test("hazard H1: an unmap brings the bytes; one with SKIP_CPU_SYNC leaves the stale ones", () => {
    const mm = incoherent(iommu);
    const [a, b] = [pageOf(mm), pageOf(mm)];
    for (const [page, attrs] of [[a, 0], [b, DMA_ATTR_SKIP_CPU_SYNC]] as const) {
      const dmaAddr = map(mm, page, 0, 128, DMA_FROM_DEVICE);
      deviceFill(mm, dmaAddr, 128, 9);
      mm.dma.unmapPage(dmaAddr, 128, DMA_FROM_DEVICE, attrs);
    }
    expect([cpuBytes(a, 0, 128), cpuBytes(b, 0, 128)]).toEqual([times(128, 9), times(128, 0)]);
  });

  test("hazard H2: a line that the CPU dirtied after the hand-over is evicted over the device's bytes", () => {
    const mm = incoherent(iommu);
    const page = pageOf(mm);
    const dmaAddr = map(mm, page, 0, 256, DMA_FROM_DEVICE);
    cpuFill(page, 64, 8, 5);
    expect(mm.cpuCache!.dirtyLines(page.region, page.base, 256)).toBe(1);
    deviceFill(mm, dmaAddr, 256, 9);
    mm.dma.syncForCpu(dmaAddr, 0, 256, DMA_FROM_DEVICE);
    expect(cpuBytes(page, 0, 256)).toEqual([...times(64, 9), ...times(8, 5), ...times(56, 0), ...times(128, 9)]);
  });

  test("hazard H3: a neighbour in the device's line: its write destroys what the device put there, and the next line is unharmed", () => {
    const mm = incoherent(iommu);
    const page = pageOf(mm);
    // The device's buffer ends in the middle of a line; the CPU uses the rest of that line.
    const dmaAddr = map(mm, page, 0, 96, DMA_FROM_DEVICE);
    deviceFill(mm, dmaAddr, 96, 9);
    cpuFill(page, 96, 32, 3);
    mm.dma.syncForCpu(dmaAddr, 0, 96, DMA_FROM_DEVICE);
    expect(cpuBytes(page, 0, 128)).toEqual([...times(64, 9), ...times(32, 0), ...times(32, 3)]);
    // A buffer that begins and ends on lines has no such neighbour.
    const clean = map(mm, page, 256, 128, DMA_FROM_DEVICE);
    deviceFill(mm, clean, 128, 8);
    cpuFill(page, 384, 32, 3);
    mm.dma.syncForCpu(clean, 0, 128, DMA_FROM_DEVICE);
    expect(cpuBytes(page, 256, 160)).toEqual([...times(128, 8), ...times(32, 3)]);
  });

  test("hazard H5: re-armed without for_device after the CPU changed it, the buffer is spoilt by what the CPU wrote", () => {
    const mm = incoherent(iommu);
    const page = pageOf(mm);
    const dmaAddr = map(mm, page, 0, PAGE_SIZE, DMA_BIDIRECTIONAL);
    const receive = (value: number): number[] => {
      deviceFill(mm, dmaAddr, 128, value);
      mm.dma.syncForCpu(dmaAddr, 0, 128, DMA_BIDIRECTIONAL);
      return cpuBytes(page, 0, 128);
    };
    expect(receive(1)).toEqual(times(128, 1));
    // XDP rewrites the first bytes, and drops the packet; the driver forgets the sync.
    cpuFill(page, 0, 16, 0x42);
    expect(receive(2).slice(0, 64)).toEqual([...times(16, 0x42), ...times(48, 1)]);
    cpuFill(page, 0, 16, 0x43);
    mm.dma.syncForDevice(dmaAddr, 0, 128, DMA_BIDIRECTIONAL);
    expect(receive(3)).toEqual(times(128, 3));
  });

  test("TO_DEVICE: what the CPU writes after the map is not what the device reads, until for_device or an eviction", () => {
    const mm = incoherent(iommu);
    const page = pageOf(mm);
    cpuFill(page, 0, 128, 1);
    const dmaAddr = map(mm, page, 0, 128, DMA_TO_DEVICE);
    cpuFill(page, 0, 128, 2);
    expect(deviceBytes(mm, dmaAddr, 128)).toEqual(times(128, 1));
    expect(mm.cpuCache!.evict(page.region, page.base, 64)).toBe(1);
    expect(deviceBytes(mm, dmaAddr, 128)).toEqual([...times(64, 2), ...times(64, 1)]);
    mm.dma.syncForDevice(dmaAddr, 0, 128, DMA_TO_DEVICE);
    expect([deviceBytes(mm, dmaAddr, 128), mm.cpuCache!.memoryByte(page.region, page.base)]).toEqual([times(128, 2), 2]);
  });

  test("mapped with SKIP_CPU_SYNC the device reads what was in memory before", () => {
    const mm = incoherent(iommu);
    const page = pageOf(mm);
    cpuFill(page, 0, 64, 1);
    expect(deviceBytes(mm, map(mm, page, 0, 64, DMA_TO_DEVICE, DMA_ATTR_SKIP_CPU_SYNC), 64)).toEqual(times(64, 0));
  });

  test("coherent memory is seen by both at once, words and bytes, and after it is freed its page is like any other", () => {
    const mm = incoherent(iommu);
    const ring = mm.dma.allocCoherent(PAGE_SIZE, GFP_KERNEL)!;
    mm.bus.write32(ring.dmaAddr + 8, 0x01020304);
    ring.write32(12, 7);
    expect([ring.read32(8), mm.bus.read32(ring.dmaAddr + 12), mm.bus.read32(ring.dmaAddr + 8)]).toEqual([0x01020304, 7, 0x01020304]);
    mm.dma.freeCoherent(ring);
    const page = pageOf(mm);
    const dmaAddr = map(mm, page, 0, 64, DMA_FROM_DEVICE);
    deviceFill(mm, dmaAddr, 64, 9);
    expect(cpuBytes(page, 16, 4)).toEqual(times(4, 0));
  });

  test("property: a driver that syncs what moves sees what a coherent one sees", () => {
    const step = fc.record({ what: fc.constantFrom("receive", "rewrite", "send"), from: fc.integer({ min: 0, max: 20 }), lines: fc.integer({ min: 1, max: 8 }), value: fc.integer({ min: 1, max: 255 }) });
    fc.assert(fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const mm = incoherent(iommu);
      const page = pageOf(mm);
      const model = new Uint8Array(PAGE_SIZE);
      const dmaAddr = map(mm, page, 0, PAGE_SIZE, DMA_BIDIRECTIONAL);
      for (const { what, from, lines, value } of steps) {
        const [start, bytes] = [from * 64, lines * 64];
        if (what === "receive") {
          deviceFill(mm, dmaAddr + start, bytes, value);
          mm.dma.syncForCpu(dmaAddr, start, bytes, DMA_BIDIRECTIONAL);
          model.fill(value, start, start + bytes);
        } else if (what === "rewrite") {
          // Any bytes, but handed back by whole lines.
          cpuFill(page, start + 3, bytes - 5, value);
          model.fill(value, start + 3, start + bytes - 2);
          mm.dma.syncForDevice(dmaAddr, start, bytes, DMA_BIDIRECTIONAL);
        } else expect(deviceBytes(mm, dmaAddr + start, bytes)).toEqual([...model.subarray(start, start + bytes)]);
        expect(Buffer.compare(page.region.bytes.subarray(page.base, page.base + PAGE_SIZE), model)).toBe(0);
      }
    }));
  });
});

test("a coherent device of the same machine reads and writes through the cache: nothing is ever stale", () => {
  const mm = device({ cpuCache: true, coherent: true, iommu: "off" });
  const page = pageOf(mm);
  const dmaAddr = map(mm, page, 0, 128, DMA_BIDIRECTIONAL);
  cpuFill(page, 0, 64, 3);
  expect(deviceBytes(mm, dmaAddr, 64)).toEqual(times(64, 3));
  deviceFill(mm, dmaAddr, 64, 4);
  mm.bus.write32(dmaAddr + 64, -1);
  expect([cpuBytes(page, 0, 64), cpuBytes(page, 64, 5)]).toEqual([times(64, 4), [255, 255, 255, 255, 0]]);
  expect(mm.cpuCache!.memoryByte(page.region, page.base)).toBe(4);
});

test("bounced and not coherent: the cache first, then the buffer; the buffer first, then the cache", () => {
  const mm = device({ cpuCache: true, coherent: false, iommu: "off", forceBounce: true, swiotlb: { slots: 128 } });
  const page = pageOf(mm);
  cpuFill(page, 0, 128, 1);
  const dmaAddr = map(mm, page, 0, 128, DMA_BIDIRECTIONAL);
  expect(deviceBytes(mm, dmaAddr, 128)).toEqual(times(128, 1));
  deviceFill(mm, dmaAddr, 128, 2);
  mm.dma.syncForCpu(dmaAddr, 0, 128, DMA_BIDIRECTIONAL);
  expect(cpuBytes(page, 0, 128)).toEqual(times(128, 2));
  cpuFill(page, 0, 128, 3);
  mm.dma.syncForDevice(dmaAddr, 0, 128, DMA_BIDIRECTIONAL);
  expect(deviceBytes(mm, dmaAddr, 128)).toEqual(times(128, 3));
});

describe("hazard H6: a weakly ordered machine", () => {
  const DONE = 0;
  const SIZE = 4;

  function ringOf(ordering: "weak" | "strong" = "weak") {
    const mm = device({ ordering });
    return { mm, ring: mm.dma.allocCoherent(PAGE_SIZE, GFP_KERNEL)! };
  }

  /** The device fills a descriptor: the size, and then the done bit. */
  function complete({ mm, ring }: ReturnType<typeof ringOf>, at: number, size: number): void {
    mm.bus.write32(ring.dmaAddr + at + SIZE, size);
    mm.bus.write32(ring.dmaAddr + at + DONE, 1);
  }

  test("the size read after the done bit without dma_rmb is the old one; with it, the new one", () => {
    const rig = ringOf();
    complete(rig, 0, 1514);
    expect([rig.ring.read32(DONE), rig.ring.read32(SIZE)]).toEqual([1, 0]);
    const good = ringOf();
    complete(good, 0, 1514);
    expect(good.ring.read32(DONE)).toBe(1);
    good.mm.dma.dmaRmb();
    expect(good.ring.read32(SIZE)).toBe(1514);
  });

  test("polling the same word makes progress without a barrier", () => {
    const rig = ringOf();
    expect([rig.ring.read32(64 + DONE), rig.ring.read32(DONE)]).toEqual([0, 0]);
    complete(rig, 0, 60);
    expect(rig.ring.read32(DONE)).toBe(1);
  });

  test("a descriptor written without dma_wmb is not there when the device looks; after it, it is, and all at once", () => {
    const { mm, ring } = ringOf();
    ring.write32(8, 0x1000);
    ring.write32(12, 1);
    expect([mm.bus.read32(ring.dmaAddr + 8), ring.read32(8)]).toEqual([0, 0x1000]);
    mm.dma.dmaWmb();
    expect([mm.bus.read32(ring.dmaAddr + 8), mm.bus.read32(ring.dmaAddr + 12)]).toEqual([0x1000, 1]);
  });

  test("register accesses order like readl and writel: no barrier of their own is needed beside them", () => {
    const rig = ringOf();
    rig.ring.write32(8, 5);
    rig.mm.bus.registerWrite();
    expect(rig.mm.bus.read32(rig.ring.dmaAddr + 8)).toBe(5);
    complete(rig, 32, 99);
    rig.mm.bus.registerRead();
    expect([rig.ring.read32(32 + DONE), rig.ring.read32(32 + SIZE)]).toEqual([1, 99]);
  });

  test("a strongly ordered machine shows none of it", () => {
    const rig = ringOf("strong");
    complete(rig, 0, 1514);
    rig.ring.write32(8, 3);
    expect([rig.ring.read32(DONE), rig.ring.read32(SIZE), rig.mm.bus.read32(rig.ring.dmaAddr + 8)]).toEqual([1, 1514, 3]);
  });
});
