import { expect, test } from "vitest";
import { GFP_KERNEL, NET_IOV_DMABUF, NET_IOV_IOURING, NUMA_NO_NODE, PAGE_SIZE, PP_SIGNATURE } from "../src/api/index.ts";
import { backingBytes } from "../src/index.ts";
import { kinds, memory, usageErrorOf } from "./helpers.ts";

test("all pages are free at first, each with its own 4 KiB and page frame number", () => {
  const mm = memory({ nrPages: 5 });
  expect([mm.pages.nrPages, mm.pages.freePages()]).toEqual([5, 5]);
  expect(mm.pages.pages.map((page) => page.base)).toEqual([0, 4096, 8192, 12_288, 16_384]);
  expect(new Set(mm.pages.pages.map((page) => page.pfn)).size).toBe(5);
  expect(mm.pages.pages.every((page) => page.pfn > 0)).toBe(true);
});

test("backingBytes is what the pages and the extra bytes take", () => {
  expect([backingBytes({ nrPages: 3 }), backingBytes({ nrPages: 3, extraBytes: 64 })]).toEqual([12_288, 12_352]);
});

test("a backing with fewer bytes is refused, with the number needed", () => {
  const error = usageErrorOf(() => memory({ nrPages: 4, extraBytes: 8, backing: { buffer: new ArrayBuffer(4 * PAGE_SIZE) } }));
  expect(error).toMatchObject({ package: "mm", option: "backing bytes", value: 4 * PAGE_SIZE });
  expect(error.message).toContain(`at least ${4 * PAGE_SIZE + 8}`);
});

test("a backing with more bytes serves regions beyond extraBytes", () => {
  const mm = memory({ nrPages: 1, backing: { buffer: new ArrayBuffer(2 * PAGE_SIZE) } });
  expect(mm.payload.addRegion("more", PAGE_SIZE, true).base).toBe(PAGE_SIZE);
});

test.each([0, -1, 1.5, Number.NaN])("%d pages are refused by name", (nrPages) => {
  expect(usageErrorOf(() => memory({ nrPages }))).toMatchObject({ package: "mm", option: "nrPages", value: nrPages });
});

test.each([-8, 1.5, Number.NaN])("%d extra bytes are refused by name", (extraBytes) => {
  expect(usageErrorOf(() => memory({ extraBytes }))).toMatchObject({ package: "mm", option: "extraBytes", value: extraBytes });
});

test("a net_iov area is a region of its own with a net_iov for each page, in order, owned by nobody", () => {
  const mm = memory({ extraBytes: 3 * PAGE_SIZE });
  const area = mm.createNetIovArea("vram", NET_IOV_IOURING, 3, true);
  expect(area.region).toMatchObject({ name: "vram", cpuReadable: true, base: 64 * PAGE_SIZE });
  expect(area.region.bytes.length).toBe(3 * PAGE_SIZE);
  expect(area.niovs.map((niov) => [niov.index, niov.base, niov.type])).toEqual([[0, 0, 1], [1, 4096, 1], [2, 8192, 1]]);
  for (const niov of area.niovs) {
    expect([niov.area, niov.region]).toEqual([area, area.region]);
    expect(niov).toMatchObject({ isNetIov: true, ppMagic: 0, pp: null, dmaAddr: 0, ppRefCount: 0, memType: 0, memId: 0 });
  }
});

test("an area that the CPU may not read refuses its reads", () => {
  const mm = memory({ extraBytes: PAGE_SIZE });
  const area = mm.createNetIovArea("vram", NET_IOV_DMABUF, 1, false);
  expect(mm.payload.readByte(area.region, 0)).toBe(-1);
  expect(kinds(mm.reports)).toEqual(["unreadable-access"]);
});

test("an area without room in the backing is refused", () => {
  expect(usageErrorOf(() => memory().createNetIovArea("vram", NET_IOV_DMABUF, 1, false)).option).toBe("region vram bytes");
});

test("a page freed with its pool signature is a report unless that check is switched off", () => {
  for (const [checksPoolSignature, expected] of [[undefined, 1], [true, 1], [false, 0]] as const) {
    const mm = memory(checksPoolSignature === undefined ? {} : { rules: { checksPoolSignature } });
    const page = mm.pages.allocPages(GFP_KERNEL, 0, NUMA_NO_NODE)!;
    page.ppMagic = PP_SIGNATURE;
    mm.pages.putPage(page);
    expect(mm.reports.total).toBe(expected);
  }
});

test("two memories share nothing", () => {
  const [a, b] = [memory({ nrPages: 4 }), memory({ nrPages: 4 })];
  const page = a.pages.allocPages(GFP_KERNEL, 0, NUMA_NO_NODE)!;
  page.region.bytes.fill(1);
  a.slab.kmalloc(64, GFP_KERNEL);
  expect([b.pages.freePages(), b.slab.objectsInUse(), b.pages.pages[0]!.region.bytes[0]]).toEqual([4, 0, 0]);
});
