import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { KernelPanic } from "@netmem/kernel/api";
import {
  __GFP_COMP, DMA_ATTR_SKIP_CPU_SYNC, DMA_BIDIRECTIONAL, DMA_FROM_DEVICE, DMA_MAPPING_ERROR, DMA_NONE, DMA_TO_DEVICE, GFP_KERNEL, NET_IOV_DMABUF, NUMA_NO_NODE, PAGE_SIZE,
  type Page,
} from "../../src/api/index.ts";
import { createMm } from "../../src/index.ts";
import { device, kernel, kinds, memory, messages, usageErrorOf, type Device } from "../helpers.ts";

function pageOf(mm: Device, order = 0): Page {
  return mm.pages.allocPages(GFP_KERNEL | __GFP_COMP, order, NUMA_NO_NODE)!;
}

/** Maps, and fails the test if there is no room. */
function map(mm: Device, page: Page, offset: number, bytes: number, direction: number): number {
  const dmaAddr = mm.dma.mapPage(page, offset, bytes, direction, DMA_ATTR_SKIP_CPU_SYNC);
  expect(mm.dma.mappingError(dmaAddr)).toBe(false);
  return dmaAddr;
}

/** Of the host's bytes, those at `offset` of the page. */
function bytesOf(page: Page, offset: number, length: number): number[] {
  return [...page.region.bytes.subarray(page.base + offset, page.base + offset + length)];
}

const DIRECTIONS = [DMA_BIDIRECTIONAL, DMA_TO_DEVICE, DMA_FROM_DEVICE] as const;

describe("the device's accesses", () => {
  test.each([DMA_FROM_DEVICE, DMA_BIDIRECTIONAL])("under direction %i the device writes the mapped bytes and none beside them", (direction) => {
    const mm = device();
    const page = pageOf(mm);
    const dmaAddr = map(mm, page, 100, 1000, direction);
    expect(mm.bus.write(dmaAddr + 2, mm.staging, 0, 3)).toBe(true);
    expect(bytesOf(page, 100, 7)).toEqual([0, 0, 0xee, 0xee, 0xee, 0, 0]);
  });

  test.each([DMA_TO_DEVICE, DMA_BIDIRECTIONAL])("under direction %i the device reads the mapped bytes", (direction) => {
    const mm = device();
    const page = pageOf(mm);
    page.region.bytes.set([1, 2, 3], page.base + 100);
    expect(mm.bus.read(map(mm, page, 100, 3, direction), mm.staging, 8, 3)).toBe(true);
    expect([...mm.staging.bytes.subarray(7, 12)]).toEqual([0xee, 1, 2, 3, 0xee]);
  });

  test("skb-mm row 27: a device that writes through a DMA_TO_DEVICE mapping faults, and memory is unchanged", () => {
    const mm = device();
    const page = pageOf(mm);
    const dmaAddr = map(mm, page, 0, PAGE_SIZE, DMA_TO_DEVICE);
    expect([mm.bus.write(dmaAddr, mm.staging, 0, 64), mm.bus.write32(dmaAddr, -1)]).toEqual([false, false]);
    expect(bytesOf(page, 0, 64)).toEqual(Array(64).fill(0));
    expect([kinds(mm.reports), mm.dma.stats.faults]).toEqual([["dma-fault", "dma-fault"], 2]);
    expect(messages(mm.reports)).toContain("DMA write of 64 bytes refused: the mapping does not allow this direction");
  });

  test("skb-mm row 27: a device that reads through a DMA_FROM_DEVICE mapping faults, and gets nothing", () => {
    const mm = device();
    const dmaAddr = map(mm, pageOf(mm), 0, PAGE_SIZE, DMA_FROM_DEVICE);
    expect([mm.bus.read(dmaAddr, mm.staging, 0, 64), mm.bus.read32(dmaAddr)]).toEqual([false, 0]);
    expect(mm.staging.bytes.every((byte) => byte === 0xee)).toBe(true);
    expect([kinds(mm.reports), mm.dma.stats.faults]).toEqual([["dma-fault", "dma-fault"], 2]);
  });

  test("skb-mm row 28: a device that writes after the unmap faults, and memory is unchanged", () => {
    const mm = device();
    const page = pageOf(mm);
    const dmaAddr = map(mm, page, 0, PAGE_SIZE, DMA_FROM_DEVICE);
    mm.dma.unmapPage(dmaAddr, PAGE_SIZE, DMA_FROM_DEVICE, 0);
    expect(mm.bus.write(dmaAddr, mm.staging, 0, 4)).toBe(false);
    expect(bytesOf(page, 0, 4)).toEqual([0, 0, 0, 0]);
    expect(mm.reports.reports[0]).toMatchObject({ kind: "dma-fault", object: `device eth0 address 0x${dmaAddr.toString(16)}`, owner: "eth0" });
    expect(messages(mm.reports)).toContain("no live mapping covers it");
  });

  test("a write over the end of a mapping into an I/O page without one faults, and not even its first part is written", () => {
    const mm = device();
    const page = pageOf(mm, 1);
    const dmaAddr = map(mm, page, 0, PAGE_SIZE, DMA_FROM_DEVICE);
    expect(mm.bus.write(dmaAddr + 4000, mm.staging, 0, 97)).toBe(false);
    expect(bytesOf(page, 4000, 200)).toEqual(Array(200).fill(0));
  });

  test("an overrun within the I/O page does not fault: that is the IOMMU's granule", () => {
    const mm = device();
    expect(mm.bus.write(map(mm, pageOf(mm), 0, 100, DMA_FROM_DEVICE), mm.staging, 0, PAGE_SIZE)).toBe(true);
  });

  test("an access across two mappings that lie side by side is refused if one of them does not allow it", () => {
    const mm = device();
    const [a, b] = [map(mm, pageOf(mm), 0, PAGE_SIZE, DMA_FROM_DEVICE), map(mm, pageOf(mm), 0, PAGE_SIZE, DMA_TO_DEVICE)];
    expect(b).toBe(a + PAGE_SIZE);
    expect(mm.bus.write(a, mm.staging, 0, 2 * PAGE_SIZE)).toBe(false);
  });

  test("an access across two mappings that lie side by side reaches the memory of each", () => {
    const mm = device();
    const [low, high] = [pageOf(mm), pageOf(mm)];
    const dmaAddr = map(mm, high, 0, PAGE_SIZE, DMA_BIDIRECTIONAL);
    expect(map(mm, low, 0, PAGE_SIZE, DMA_BIDIRECTIONAL)).toBe(dmaAddr + PAGE_SIZE);
    mm.staging.bytes.set([1, 2, 3, 4]);
    expect(mm.bus.write(dmaAddr + PAGE_SIZE - 2, mm.staging, 0, 4)).toBe(true);
    expect([bytesOf(high, PAGE_SIZE - 2, 2), bytesOf(low, 0, 2)]).toEqual([[1, 2], [3, 4]]);
    expect(mm.bus.read(dmaAddr + PAGE_SIZE - 2, mm.staging, 8, 4)).toBe(true);
    expect([...mm.staging.bytes.subarray(8, 12)]).toEqual([1, 2, 3, 4]);
  });

  test("a mapping of several pages is reached across its I/O pages, byte for byte", () => {
    const mm = device();
    const page = pageOf(mm, 2);
    const dmaAddr = map(mm, page, 1000, 10_000, DMA_BIDIRECTIONAL);
    for (let i = 0; i < 10_000; i++) mm.staging.bytes[i] = i % 251;
    expect(mm.bus.write(dmaAddr, mm.staging, 0, 10_000)).toBe(true);
    expect(bytesOf(page, 1000, 10_000)).toEqual([...mm.staging.bytes.subarray(0, 10_000)]);
    mm.staging.bytes.fill(0);
    expect(mm.bus.read(dmaAddr + 4000, mm.staging, 0, 5000)).toBe(true);
    expect([...mm.staging.bytes.subarray(0, 5000)]).toEqual(bytesOf(page, 5000, 5000));
  });

  test("words are written and read where their address says, in either direction", () => {
    const mm = device();
    const dmaAddr = map(mm, pageOf(mm), 0, PAGE_SIZE, DMA_BIDIRECTIONAL);
    expect(mm.bus.write32(dmaAddr + 8, -559038737)).toBe(true);
    expect([mm.bus.read32(dmaAddr + 4), mm.bus.read32(dmaAddr + 8)]).toEqual([0, -559038737]);
  });

  test.each([
    ["null", 0, 4], ["negative", -4096, 4], ["of no length", 4096, 0], ["beyond the aperture", 64 << 12, 4], ["over the aperture's end", (64 << 12) - 2, 4],
    ["of 4 GiB", 4096, 2 ** 32], ["just below 4 GiB long", 4096, 2 ** 32 - 4096], ["above 4 GiB", 2 ** 32 + 4096, 4],
  ])("an access at an address or of a length that is %s faults", (_what, dmaAddr, length) => {
    const mm = device();
    expect(map(mm, pageOf(mm), 0, PAGE_SIZE, DMA_BIDIRECTIONAL)).toBe(4096);
    expect(mm.bus.write(dmaAddr, mm.staging, 0, length)).toBe(false);
    expect(mm.bus.read(dmaAddr, mm.staging, 0, length)).toBe(false);
    expect(mm.dma.stats.faults).toBe(2);
  });

  test("one device does not reach memory through another's mapping", () => {
    const mm = device();
    const other = mm.attachDevice({ name: "eth1", coherent: false, aperturePages: 64 });
    const dmaAddr = map(mm, pageOf(mm), 0, PAGE_SIZE, DMA_FROM_DEVICE);
    expect(other.bus.write(dmaAddr, mm.staging, 0, 4)).toBe(false);
    expect([mm.dma.stats.faults, other.dma.stats.faults]).toEqual([0, 1]);
  });

  test("the device reaches device memory that the CPU may not read", () => {
    const mm = device({ extraBytes: 16_384 + PAGE_SIZE });
    const area = mm.createNetIovArea("vram", NET_IOV_DMABUF, 1, false);
    const dmaAddr = mm.dma.mapNetIov(area.niovs[0]!, PAGE_SIZE, DMA_FROM_DEVICE, 0);
    expect(mm.bus.write(dmaAddr + 1, mm.staging, 0, 2)).toBe(true);
    expect([...area.region.bytes.subarray(0, 4)]).toEqual([0, 0xee, 0xee, 0]);
  });

  test("with mappings over 300 regions each address still reaches its own", () => {
    const mm = device({ aperturePages: 1024, extraBytes: 16_384 + 300 * PAGE_SIZE });
    const areas = Array.from({ length: 300 }, (_, i) => mm.createNetIovArea(`area ${i}`, NET_IOV_DMABUF, 1, true));
    const addresses = areas.map((area) => mm.dma.mapNetIov(area.niovs[0]!, PAGE_SIZE, DMA_FROM_DEVICE, 0));
    for (const [i, dmaAddr] of addresses.entries()) {
      mm.bus.write(dmaAddr, mm.staging, 0, 1);
      expect(areas[i]!.region.bytes[0]).toBe(0xee);
    }
  });
});

describe("mapping and unmapping", () => {
  test("maps and unmaps are counted, and the probe sees each with its page frame", () => {
    const log: unknown[] = [];
    const machine = kernel();
    const { reports } = machine;
    const mm = createMm(machine, {
      nrPages: 4, dmaProbe: { map: (...args) => log.push(["map", ...args]), unmap: (...args) => log.push(["unmap", ...args]) },
    });
    const { dma } = mm.attachDevice({ name: "eth0", coherent: false, aperturePages: 8 });
    const page = mm.pages.allocPages(GFP_KERNEL, 0, NUMA_NO_NODE)!;
    const dmaAddr = dma.mapPage(page, 256, 1000, DMA_FROM_DEVICE, 0);
    expect([dma.liveMappings(), dma.mappingError(dmaAddr)]).toEqual([1, false]);
    dma.unmapPage(dmaAddr, 1000, DMA_FROM_DEVICE, 0);
    expect([dma.liveMappings(), dma.stats]).toMatchObject([0, { maps: 1, unmaps: 1, syncs: 0, faults: 0 }]);
    expect(log).toEqual([["map", "eth0", dmaAddr, page.pfn, DMA_FROM_DEVICE], ["unmap", "eth0", dmaAddr, page.pfn, DMA_FROM_DEVICE]]);
    expect(reports.total).toBe(0);
  });

  test("a mapping takes no page reference", () => {
    const mm = device();
    const page = pageOf(mm);
    map(mm, page, 0, PAGE_SIZE, DMA_FROM_DEVICE);
    expect(page.refcount).toBe(1);
  });

  test.each([DMA_NONE, -1])("a mapping of direction %i is a bug", (direction) => {
    const mm = device();
    expect(() => mm.dma.mapPage(pageOf(mm), 0, 64, direction, 0)).toThrow(KernelPanic);
    expect(kinds(mm.reports)).toEqual(["dma-bad-direction"]);
  });

  test.each([0, 100])("a mapping of no bytes at offset %i is an error and keeps no I/O page", (offset) => {
    const mm = device();
    expect(mm.dma.mapPage(pageOf(mm), offset, 0, DMA_FROM_DEVICE, 0)).toBe(DMA_MAPPING_ERROR);
    expect([mm.dma.liveMappings(), mm.dma.stats.maps]).toEqual([0, 0]);
  });

  test("skb-mm row 30: an unmap of another size is reported", () => {
    const mm = device();
    const dmaAddr = map(mm, pageOf(mm), 0, 1000, DMA_FROM_DEVICE);
    mm.dma.unmapPage(dmaAddr, 999, DMA_FROM_DEVICE, 0);
    expect(mm.reports.reports).toMatchObject([{ kind: "dma-debug-size", message: "device driver frees DMA memory with different size: mapped 1000 bytes, unmapped 999" }]);
    expect(mm.dma.liveMappings()).toBe(0);
  });

  test("skb-mm row 30: an unmap of another direction is reported", () => {
    const mm = device();
    const dmaAddr = map(mm, pageOf(mm), 0, 1000, DMA_FROM_DEVICE);
    mm.dma.unmapPage(dmaAddr, 1000, DMA_TO_DEVICE, 0);
    expect(mm.reports.reports).toMatchObject([
      { kind: "dma-debug-direction", message: "device driver frees DMA memory with different direction: mapped with DMA_FROM_DEVICE, unmapped with DMA_TO_DEVICE" },
    ]);
  });

  test("skb-mm row 30: a second unmap is reported as memory not allocated, and changes nothing", () => {
    const mm = device();
    const dmaAddr = map(mm, pageOf(mm), 0, 1000, DMA_FROM_DEVICE);
    mm.dma.unmapPage(dmaAddr, 1000, DMA_FROM_DEVICE, 0);
    mm.dma.unmapPage(dmaAddr, 1000, DMA_FROM_DEVICE, 0);
    expect(mm.reports.reports).toMatchObject([{ kind: "dma-debug-not-allocated", message: "device driver tries to free DMA memory it has not allocated: 1000 bytes" }]);
    expect([mm.dma.liveMappings(), mm.dma.stats.unmaps]).toEqual([0, 1]);
  });

  test.each([8, -8])("an unmap %i bytes beside the mapping's address is reported, and leaves it and its neighbours mapped", (beside) => {
    const mm = device();
    const [a, b] = [map(mm, pageOf(mm), 16, 4080, DMA_FROM_DEVICE), map(mm, pageOf(mm), 0, PAGE_SIZE, DMA_FROM_DEVICE)];
    mm.dma.unmapPage(a + beside, 4080, DMA_FROM_DEVICE, 0);
    expect(messages(mm.reports)).toBe("device driver tries to free DMA memory it has not allocated: 4080 bytes");
    expect([mm.dma.liveMappings(), mm.bus.write(a, mm.staging, 0, 4), mm.bus.write(b, mm.staging, 0, 4)]).toEqual([2, true, true]);
  });

  test.each([["DMA_MAPPING_ERROR", DMA_MAPPING_ERROR, "dma-debug-invalid-address"], ["null", 0, "dma-debug-not-allocated"], ["beyond the aperture", 1 << 30, "dma-debug-not-allocated"]])("an unmap of an address that is %s is reported", (_what, dmaAddr, kind) => {
    const mm = device();
    mm.dma.unmapPage(dmaAddr, PAGE_SIZE, DMA_FROM_DEVICE, 0);
    expect(kinds(mm.reports)).toEqual([kind]);
  });

  test("skb-mm row 34: a driver unbound with 3 live mappings is a leak of 3", () => {
    const mm = device();
    for (let i = 0; i < 3; i++) map(mm, pageOf(mm), 0, 64, DMA_FROM_DEVICE);
    mm.dma.unbind();
    expect(mm.reports.reports).toMatchObject([{ kind: "dma-leak", object: "device eth0", owner: "eth0", message: expect.stringContaining("count 3; one of them is address 0x") }]);
  });

  test("a driver unbound without live mappings, its coherent memory freed too, is no report", () => {
    const mm = device();
    mm.dma.unmapPage(map(mm, pageOf(mm), 0, 64, DMA_FROM_DEVICE), 64, DMA_FROM_DEVICE, 0);
    mm.dma.freeCoherent(mm.dma.allocCoherent(4096, GFP_KERNEL));
    mm.dma.unbind();
    expect(mm.reports.total).toBe(0);
  });

  test("coherent memory that a driver leaves behind is a leak like a mapping", () => {
    const mm = device();
    mm.dma.allocCoherent(4096, GFP_KERNEL);
    mm.dma.unbind();
    expect(mm.reports.reports).toMatchObject([{ kind: "dma-leak", message: expect.stringContaining("4096 bytes, mapped with DMA_BIDIRECTIONAL as coherent") }]);
  });
});

/** Maps pages until there is no room; the addresses, in order. */
function fillAperture(mm: Device): number[] {
  const addresses: number[] = [];
  for (;;) {
    const page = pageOf(mm);
    const dmaAddr = mm.dma.mapPage(page, 0, PAGE_SIZE, DMA_FROM_DEVICE, 0);
    if (mm.dma.mappingError(dmaAddr)) {
      mm.pages.putPage(page);
      return addresses;
    }
    addresses.push(dmaAddr);
  }
}

describe("the aperture", () => {
  test("full, it answers DMA_MAPPING_ERROR without a report, and has room again after an unmap", () => {
    const mm = device({ aperturePages: 16 });
    const addresses = fillAperture(mm);
    expect([mm.dma.liveMappings(), mm.dma.stats.maps]).toEqual([addresses.length, addresses.length]);
    mm.dma.unmapPage(addresses[3]!, PAGE_SIZE, DMA_FROM_DEVICE, 0);
    expect(fillAperture(mm)).toEqual([addresses[3]]);
    expect(mm.reports.total).toBe(0);
  });

  test("the smallest aperture, of two I/O pages, maps one page: the other stands for no address", () => {
    expect(fillAperture(device({ aperturePages: 2 }))).toEqual([PAGE_SIZE]);
  });

  test("no two live mappings share an address, and none is 0", () => {
    const addresses = fillAperture(device({ aperturePages: 64 }));
    expect(new Set(addresses).size).toBe(addresses.length);
    expect(Math.min(...addresses)).toBeGreaterThan(0);
  });

  test("an address comes back as late as possible: after every other one that is free", () => {
    const mm = device({ aperturePages: 16 });
    const first = fillAperture(mm);
    for (const dmaAddr of first.toReversed()) mm.dma.unmapPage(dmaAddr, PAGE_SIZE, DMA_FROM_DEVICE, 0);
    expect(fillAperture(mm)).toEqual(first.toReversed());
  });

  test("blocks of several pages find room again after an unmap", () => {
    const mm = device({ aperturePages: 64 });
    const taken: number[] = [];
    for (;;) {
      const dmaAddr = mm.dma.mapPage(pageOf(mm, 2), 0, 4 * PAGE_SIZE, DMA_FROM_DEVICE, 0);
      if (mm.dma.mappingError(dmaAddr)) break;
      taken.push(dmaAddr);
    }
    expect(taken.length).toBeGreaterThan(0);
    mm.dma.unmapPage(taken[0]!, 4 * PAGE_SIZE, DMA_FROM_DEVICE, 0);
    map(mm, pageOf(mm, 2), 0, 4 * PAGE_SIZE, DMA_FROM_DEVICE);
  });

  test.each([1, 0, 1.5, 1 << 19])("an aperture of %d I/O pages is refused", (aperturePages) => {
    expect(usageErrorOf(() => device({ aperturePages }))).toMatchObject({ package: "mm", option: "aperturePages of eth0", value: aperturePages });
  });
});

describe("syncs", () => {
  test("skb-mm row 21: for a coherent device needSync is false, and syncs do nothing and are not counted", () => {
    const mm = device({ coherent: true });
    const dmaAddr = map(mm, pageOf(mm), 0, PAGE_SIZE, DMA_FROM_DEVICE);
    mm.dma.syncForCpu(dmaAddr, 0, PAGE_SIZE, DMA_FROM_DEVICE);
    mm.dma.syncForDevice(dmaAddr, 0, PAGE_SIZE + 1, DMA_TO_DEVICE);
    expect([mm.dma.needSync, mm.dma.stats.syncs, mm.reports.total]).toEqual([false, 0, 0]);
  });

  test("for a non-coherent device needSync is true, and any range of the mapping is synced in silence", () => {
    const mm = device();
    const dmaAddr = map(mm, pageOf(mm, 1), 100, 5000, DMA_FROM_DEVICE);
    mm.dma.syncForCpu(dmaAddr, 0, 5000, DMA_FROM_DEVICE);
    mm.dma.syncForCpu(dmaAddr, 4999, 1, DMA_FROM_DEVICE);
    mm.dma.syncForDevice(dmaAddr, 128, 1500, DMA_FROM_DEVICE);
    expect([mm.dma.needSync, mm.dma.stats.syncs, mm.reports.total]).toEqual([true, 3, 0]);
  });

  test.each([[0, 1001], [1000, 1], [500, 501], [-1, 10]])("skb-mm row 33: a sync from %i over %i bytes of a mapping of 1000 is of memory not allocated", (offset, bytes) => {
    const mm = device();
    mm.dma.syncForCpu(map(mm, pageOf(mm), 64, 1000, DMA_FROM_DEVICE), offset, bytes, DMA_FROM_DEVICE);
    expect(mm.reports.reports).toMatchObject([{ kind: "dma-debug-sync-not-allocated", owner: "eth0" }]);
    expect(messages(mm.reports)).toContain("tries to sync DMA memory it has not allocated");
  });

  test("skb-mm row 33: a sync that starts within the mapping is held to the same end", () => {
    const mm = device();
    const dmaAddr = map(mm, pageOf(mm), 64, 1000, DMA_FROM_DEVICE);
    mm.dma.syncForCpu(dmaAddr + 100, 0, 900, DMA_FROM_DEVICE);
    expect(mm.reports.total).toBe(0);
    mm.dma.syncForCpu(dmaAddr + 100, 0, 901, DMA_FROM_DEVICE);
    mm.dma.syncForCpu(dmaAddr - 10, 0, 20, DMA_FROM_DEVICE);
    expect(kinds(mm.reports)).toEqual(["dma-debug-sync-not-allocated", "dma-debug-sync-not-allocated"]);
  });

  test("a sync after the unmap is of memory not allocated", () => {
    const mm = device();
    const dmaAddr = map(mm, pageOf(mm), 0, 1000, DMA_FROM_DEVICE);
    mm.dma.unmapPage(dmaAddr, 1000, DMA_FROM_DEVICE, 0);
    mm.dma.syncForDevice(dmaAddr, 0, 64, DMA_FROM_DEVICE);
    expect(messages(mm.reports)).toContain("tries to sync DMA memory it has not allocated");
  });

  const WRONG = "dma-debug-sync-direction";
  test.each([
    [DMA_FROM_DEVICE, DMA_TO_DEVICE, [WRONG, WRONG, "dma-debug-sync-write-only"]],
    [DMA_TO_DEVICE, DMA_FROM_DEVICE, [WRONG, "dma-debug-sync-read-only", WRONG]],
    [DMA_FROM_DEVICE, DMA_BIDIRECTIONAL, [WRONG, WRONG, "dma-debug-sync-write-only"]],
    [DMA_TO_DEVICE, DMA_BIDIRECTIONAL, [WRONG, "dma-debug-sync-read-only", WRONG]],
  ])("a mapping of direction %i synced with direction %i for the CPU and for the device is %j", (mapped, synced, expected) => {
    const mm = device();
    const dmaAddr = map(mm, pageOf(mm), 0, 1000, mapped);
    mm.dma.syncForCpu(dmaAddr, 0, 64, synced);
    mm.dma.syncForDevice(dmaAddr, 0, 64, synced);
    expect(kinds(mm.reports)).toEqual(expected);
  });

  test.each(DIRECTIONS)("a DMA_BIDIRECTIONAL mapping may be synced with direction %i", (direction) => {
    const mm = device();
    const dmaAddr = map(mm, pageOf(mm), 0, 1000, DMA_BIDIRECTIONAL);
    mm.dma.syncForCpu(dmaAddr, 0, 64, direction);
    mm.dma.syncForDevice(dmaAddr, 0, 64, direction);
    expect(mm.reports.total).toBe(0);
  });

  test("memory that the device may only read, synced as such for the CPU, is nothing to do and no mistake", () => {
    // The specification calls it one; check_sync asks for a sync direction other than DMA_TO_DEVICE before it complains.
    const mm = device();
    mm.dma.syncForCpu(map(mm, pageOf(mm), 0, 1000, DMA_TO_DEVICE), 0, 64, DMA_TO_DEVICE);
    expect(mm.reports.total).toBe(0);
  });
});

describe("coherent memory", () => {
  test("it is zeroed, whatever its pages held before", () => {
    const mm = device({ nrPages: 4 });
    const dirty = pageOf(mm, 2);
    dirty.region.bytes.fill(0xff);
    mm.pages.putPage(dirty);
    const ring = mm.dma.allocCoherent(4 * PAGE_SIZE, GFP_KERNEL)!;
    expect(ring.region.bytes.subarray(ring.base, ring.base + ring.sizeBytes).every((byte) => byte === 0)).toBe(true);
  });

  test("the device both reads and writes it, over all its pages, and no sync is counted", () => {
    const mm = device();
    const ring = mm.dma.allocCoherent(3 * PAGE_SIZE, GFP_KERNEL)!;
    const last = 3 * PAGE_SIZE - 4;
    expect(mm.bus.write32(ring.dmaAddr + last, 42)).toBe(true);
    expect(ring.region.words[(ring.base + last) >> 2]).toBe(42);
    ring.region.words[ring.base >> 2] = 43;
    expect([mm.bus.read32(ring.dmaAddr), mm.dma.stats.syncs, mm.dma.liveMappings()]).toEqual([43, 0, 0]);
  });

  test.each([-4, 2, 8, 4094, 4096, 2 ** 32, 1.5, Number.NaN, Number.POSITIVE_INFINITY])("the driver reads and writes its words, of which one at offset %d is none: one line says so, and nothing is written", (offset) => {
    for (const ordering of ["strong", "weak"] as const) {
      const mm = device({ ordering });
      const ring = mm.dma.allocCoherent(10, GFP_KERNEL)!;
      const behind = [...ring.region.words];
      for (const refused of [() => ring.read32(offset), () => ring.write32(offset, -1)]) expect(usageErrorOf(refused).message).toContain("give a multiple of 4 within its 10 bytes");
      mm.dma.dmaWmb();
      expect([...ring.region.words]).toEqual(behind);
      ring.write32(4, 5);
      mm.dma.dmaWmb();
      expect([ring.read32(4), ring.region.words[(ring.base >> 2) + 1]]).toEqual([5, 5]);
    }
  });

  test("freed, its pages are back and the device faults", () => {
    const mm = device();
    const ring = mm.dma.allocCoherent(2 * PAGE_SIZE, GFP_KERNEL)!;
    mm.dma.freeCoherent(ring);
    expect([mm.pages.freePages(), mm.bus.write32(ring.dmaAddr, 1)]).toEqual([64, false]);
  });

  test("freed twice it is a report, and neither its pages nor its address are freed twice", () => {
    const mm = device({ aperturePages: 16 });
    const ring = mm.dma.allocCoherent(PAGE_SIZE, GFP_KERNEL)!;
    mm.dma.freeCoherent(ring);
    mm.dma.freeCoherent(ring);
    expect(kinds(mm.reports)).toEqual(["dma-debug-not-allocated"]);
    const addresses = fillAperture(mm);
    expect(new Set(addresses).size).toBe(addresses.length);
  });

  test("it is none of the streaming API's business: an unmap of it is reported and leaves it mapped", () => {
    const mm = device();
    const ring = mm.dma.allocCoherent(PAGE_SIZE, GFP_KERNEL)!;
    mm.dma.unmapPage(ring.dmaAddr, PAGE_SIZE, DMA_BIDIRECTIONAL, 0);
    expect([kinds(mm.reports), mm.bus.write32(ring.dmaAddr, 1)]).toEqual([["dma-debug-function"], true]);
  });

  test.each([65 * PAGE_SIZE, 2 ** 31])("without memory for %d bytes it is null", (bytes) => {
    expect(device().dma.allocCoherent(bytes, GFP_KERNEL)).toBeNull();
  });

  test("without room in the aperture it is null, and its pages are back", () => {
    const mm = device({ aperturePages: 16 });
    expect(mm.dma.allocCoherent(8 * PAGE_SIZE, GFP_KERNEL)).toBeNull();
    expect([mm.pages.freePages(), mm.reports.total]).toEqual([64, 0]);
  });
});

/** What an I/O page opens: the byte in host memory it starts at, and the rights. */
interface ModelPage {
  readonly base: number;
  readonly direction: number;
}

interface ModelMapping {
  readonly dmaAddr: number;
  readonly bytes: number;
  readonly direction: number;
}

const PAGES = 16;

/** The IOMMU as a Map of I/O pages, and memory as an array of bytes. */
class ModelDma {
  readonly table = new Map<number, ModelPage>();
  readonly bytes = new Uint8Array(PAGES * PAGE_SIZE);
  mappings: ModelMapping[] = [];

  map(mapping: ModelMapping, offset: number): void {
    const first = mapping.dmaAddr >>> 12;
    expect(mapping.dmaAddr & 4095).toBe(offset & 4095);
    for (let page = first; page <= (mapping.dmaAddr + mapping.bytes - 1) >>> 12; page++) {
      expect(this.table.has(page)).toBe(false);
      this.table.set(page, { base: (offset & ~4095) + ((page - first) << 12), direction: mapping.direction });
    }
    this.mappings.push(mapping);
  }

  unmap(mapping: ModelMapping): void {
    for (let page = mapping.dmaAddr >>> 12; page <= (mapping.dmaAddr + mapping.bytes - 1) >>> 12; page++) this.table.delete(page);
    this.mappings = this.mappings.filter((other) => other !== mapping);
  }

  /** Where each byte of the access lies in memory, or null if the device may not have it all. */
  reach(dmaAddr: number, bytes: number, refused: number): number[] | null {
    const reached: number[] = [];
    for (let at = dmaAddr; at < dmaAddr + bytes; at++) {
      const page = this.table.get(at >>> 12);
      if (at < 0 || page === undefined || page.direction === refused) return null;
      reached.push(page.base + (at & 4095));
    }
    return reached;
  }
}

test("property: after any mapping and unmapping the device reaches exactly the bytes that live mappings open to it", () => {
  const step = fc.record({
    what: fc.constantFrom("map", "map", "unmap", "unmap", "write", "read"),
    at: fc.nat(PAGES * PAGE_SIZE - 1),
    // Mostly a page or two, so that addresses of both kinds are in play.
    bytes: fc.oneof(fc.integer({ min: 1, max: 4096 }), fc.integer({ min: 1, max: 9000 })),
    direction: fc.constantFrom(...DIRECTIONS),
    beside: fc.oneof(fc.constant(0), fc.integer({ min: -200, max: 200 }), fc.integer({ min: -5000, max: 9000 })),
  });
  fc.assert(
    fc.property(fc.constantFrom(16, 24, 64), fc.array(step, { maxLength: 100, size: "max" }), (aperturePages, steps) => {
      const mm = device({ nrPages: PAGES, aperturePages });
      const block = pageOf(mm, 4);
      const model = new ModelDma();
      let faults = 0;
      for (const [i, { what, at, bytes, direction, beside }] of steps.entries()) {
        const mapping = model.mappings[at % Math.max(1, model.mappings.length)];
        if (what === "map") {
          const size = Math.min(bytes, PAGES * PAGE_SIZE - at);
          // Lines may be shared here, and so often that the record of them gives up: only what the device reaches is looked at.
          const dmaAddr = mm.dma.mapPage(block, at, size, direction, DMA_ATTR_SKIP_CPU_SYNC);
          if (!mm.dma.mappingError(dmaAddr)) model.map({ dmaAddr, bytes: size, direction }, at);
        } else if (mapping === undefined) {
          continue;
        } else if (what === "unmap") {
          mm.dma.unmapPage(mapping.dmaAddr, mapping.bytes, mapping.direction, 0);
          model.unmap(mapping);
        } else if (what === "write") {
          mm.staging.bytes.fill(i + 1);
          const reached = model.reach(mapping.dmaAddr + beside, bytes, DMA_TO_DEVICE);
          expect(mm.bus.write(mapping.dmaAddr + beside, mm.staging, 3, bytes)).toBe(reached !== null);
          for (const byte of reached ?? []) model.bytes[byte] = i + 1;
          if (reached === null) faults++;
        } else {
          mm.staging.bytes.fill(0xee);
          const reached = model.reach(mapping.dmaAddr + beside, bytes, DMA_FROM_DEVICE);
          expect(mm.bus.read(mapping.dmaAddr + beside, mm.staging, 3, bytes)).toBe(reached !== null);
          const got = Array.from(mm.staging.bytes.subarray(3, 3 + bytes));
          expect(got.every((byte, j) => byte === (reached === null ? 0xee : model.bytes[reached[j]!]))).toBe(true);
          expect([mm.staging.bytes[2], mm.staging.bytes[3 + bytes]]).toEqual([0xee, 0xee]);
          if (reached === null) faults++;
        }
        expect(Buffer.compare(block.region.bytes, model.bytes)).toBe(0);
        expect([mm.dma.liveMappings(), mm.dma.stats.faults, mm.reports.total]).toEqual([model.mappings.length, faults, faults]);
      }
    }),
  );
});

test("a machine without extra bytes has devices all the same", () => {
  const mm = memory();
  expect(mm.attachDevice({ name: "eth0", coherent: true, aperturePages: 8 }).dma.allocCoherent(64, GFP_KERNEL)).not.toBeNull();
});
