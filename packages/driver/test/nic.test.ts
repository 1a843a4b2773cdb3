import { expect, test } from "vitest";
import { createKernel } from "@netmem/kernel";
import { createMm } from "@netmem/mm";
import { GFP_KERNEL, DMA_FROM_DEVICE, DMA_TO_DEVICE, type Page } from "@netmem/mm/api";
import { ModelledNic } from "../src/index.ts";
import type { FrameSource, RxDescFormat, TxDescFormat } from "../src/api/index.ts";

const FORMAT: RxDescFormat = { sizeBytes: 16, statusWord: 0, sizeWord: 1, sizeShift: 16, addressWord: 2, firstBit: 1, lastBit: 2, errorBit: 4, prefixBytes: 2, fcsBytes: 4 };
const TX_FORMAT: TxDescFormat = { sizeBytes: 16, commandWord: 0, sizeWord: 1, sizeShift: 16, addressWord: 2, firstBit: 1, lastBit: 2 };
const ENTRIES = 8;
const BUFFER = 1000;

/** A NIC with posted buffers and a source of `lengths`, driven by hand as a driver would. */
function setUp(lengths: readonly number[], lossless: boolean = true, format: RxDescFormat = FORMAT) {
  const kernel = createKernel({ nrCpus: 1, seed: 1, reports: "collect" });
  const mm = createMm(kernel, { nrPages: 64, extraBytes: 65_536 });
  const { dma, bus } = mm.attachDevice({ name: "nic", coherent: true, aperturePages: 128 });
  const nic = new ModelledNic(kernel, bus, { name: "nic", rxQueueCount: 1, rxDescFormat: format, txDescFormat: TX_FORMAT });
  const queue = nic.rxQueues[0]!;
  const ring = dma.allocCoherent(ENTRIES * FORMAT.sizeBytes, GFP_KERNEL)!;
  const region = mm.payload.addRegion("wire", 65_536, true);
  region.bytes.fill(0xaa);
  let next = 0;
  const source: FrameSource = {
    region, lossless,
    peekBytes: () => lengths[next] ?? -1,
    peekOffset: () => 64,
    advance: () => void next++,
  };
  const pages: Page[] = [];
  const word = (descriptor: number, index: number): number => (ring.base + descriptor * FORMAT.sizeBytes) / 4 + index;
  const post = (descriptor: number, direction: number = DMA_FROM_DEVICE): void => {
    const page = mm.pages.allocPages(0, 0, -1)!;
    pages[descriptor] = page;
    ring.region.words[word(descriptor, FORMAT.addressWord)] = dma.mapPage(page, 0, 4096, direction, 0);
  };
  let irqs = 0;
  nic.requestIrq(0, 0, () => void irqs++);
  queue.configure(ring.dmaAddr, ENTRIES, BUFFER);
  const status = (descriptor: number): number => ring.region.words[word(descriptor, FORMAT.statusWord)]!;
  const size = (descriptor: number): number => ring.region.words[word(descriptor, FORMAT.sizeWord)]! >>> 16;
  return { kernel, mm, dma, nic, queue, source, pages, post, status, size, irqs: () => irqs, sent: () => next, run: () => kernel.scheduler.runFor(0) };
}

test("a frame is written behind its prefix, the descriptor says first and last, and its size counts the checksum", () => {
  const rig = setUp([60]);
  rig.post(0);
  rig.queue.addNonOccupied(1);
  rig.queue.start();
  rig.queue.enableIrq();
  rig.nic.connect(rig.source);
  rig.run();
  expect([rig.status(0), rig.size(0), rig.queue.occupied(), rig.irqs()]).toEqual([FORMAT.firstBit | FORMAT.lastBit, 66, 1, 1]);
  const page = rig.pages[0]!;
  expect([...page.region.bytes.subarray(page.base, page.base + 64)]).toEqual([...Array.from({ length: 62 }, () => 0xaa), 0, 0]);
});

test("a frame larger than a buffer takes several descriptors; the middle has neither mark", () => {
  const rig = setUp([2500]);
  for (let i = 0; i < 3; i++) rig.post(i);
  rig.queue.addNonOccupied(3);
  rig.queue.start();
  rig.nic.connect(rig.source);
  rig.run();
  expect([rig.status(0), rig.status(1), rig.status(2), rig.size(0)]).toEqual([FORMAT.firstBit, 0, FORMAT.lastBit, 2506]);
  expect(rig.queue.occupied()).toBe(3);
});

test("a frame of no bytes, by a NIC that puts none in front, completes without a transfer and without a fault", () => {
  const rig = setUp([0, 60], true, { ...FORMAT, prefixBytes: 0 });
  for (let i = 0; i < 2; i++) rig.post(i);
  rig.queue.addNonOccupied(2);
  rig.queue.start();
  rig.nic.connect(rig.source);
  rig.run();
  expect([rig.status(0), rig.size(0), rig.size(1), rig.nic.stats.faults, rig.dma.stats.faults, rig.kernel.reports.counts()]).toEqual([FORMAT.firstBit | FORMAT.lastBit, 4, 64, 0, 0, []]);
});

test("a lossless wire waits for descriptors, and goes on when the doorbell rings", () => {
  const rig = setUp([60, 60, 60]);
  rig.post(0);
  rig.queue.addNonOccupied(1);
  rig.queue.start();
  rig.nic.connect(rig.source);
  rig.run();
  expect([rig.sent(), rig.nic.stats.overruns]).toEqual([1, 0]);
  for (let i = 1; i < 3; i++) rig.post(i);
  rig.queue.addNonOccupied(2);
  rig.run();
  expect([rig.sent(), rig.nic.stats.frames]).toEqual([3, 3]);
});

test("a wire that does not wait loses the frame when the ring is full, and it is counted", () => {
  const rig = setUp([60, 60, 60], false);
  rig.post(0);
  rig.queue.addNonOccupied(1);
  rig.queue.start();
  rig.nic.connect(rig.source);
  rig.run();
  expect([rig.sent(), rig.nic.stats.frames, rig.nic.stats.overruns]).toEqual([3, 1, 2]);
});

test("a buffer that is not mapped for writing: DMA fault, error bit, and not one byte changed", () => {
  const rig = setUp([60]);
  rig.post(0, DMA_TO_DEVICE);
  rig.queue.addNonOccupied(1);
  rig.queue.start();
  rig.nic.connect(rig.source);
  rig.run();
  expect(rig.kernel.reports.counts()).toEqual([{ kind: "dma-fault", count: 1 }]);
  expect([rig.status(0) & FORMAT.errorBit, rig.nic.stats.faults, rig.nic.stats.frames]).toEqual([FORMAT.errorBit, 1, 0]);
  const page = rig.pages[0]!;
  expect(page.region.bytes.subarray(page.base, page.base + 4096).every((byte) => byte === 0)).toBe(true);
});

test("a stopped queue takes nothing; an occupied one interrupts as soon as it may", () => {
  const rig = setUp([60]);
  rig.post(0);
  rig.queue.addNonOccupied(1);
  rig.nic.connect(rig.source);
  rig.run();
  expect(rig.sent()).toBe(0);
  rig.queue.start();
  rig.run();
  expect([rig.sent(), rig.irqs()]).toEqual([1, 0]);
  rig.queue.enableIrq();
  rig.run();
  expect(rig.irqs()).toBe(1);
});

test("posting more descriptors than the ring has is a report", () => {
  const rig = setUp([]);
  rig.queue.addNonOccupied(ENTRIES + 1);
  expect(rig.kernel.reports.counts()).toEqual([{ kind: "nic-ring-overcommitted", count: 1 }]);
});
