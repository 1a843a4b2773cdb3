import fc from "fast-check";
import { expect, test } from "vitest";
import { createKernel } from "@netmem/kernel";
import { createMm } from "@netmem/mm";
import { NET_IOV_DMABUF, PAGE_PFMEMALLOC_BIT, PAGE_SIZE, type Netmem, type Page } from "@netmem/mm/api";
import { XDP_OPTIONS_6_18, createXdp } from "../src/index.ts";
import {
  MAX_SKB_FRAGS, MEM_TYPE_PAGE_ORDER0, MEM_TYPE_PAGE_POOL, SKB_SHARED_INFO_BYTES, XDP_FLAGS_FRAGS_PF_MEMALLOC, XDP_FLAGS_FRAGS_UNREADABLE, XDP_FLAGS_HAS_FRAGS, XDP_FRAME_BYTES,
  XDP_METALEN_MAX,
  XDP_PACKET_HEADROOM, xdpBuffHasFrags, xdpDataHardEnd, xdpDataMetaUnsupported, xdpGetBuffLen, xdpGetFrameLen, xdpMetalenInvalid, type MemModel, type XdpBuff,
} from "../src/api/index.ts";

const HARD_END = PAGE_SIZE - SKB_SHARED_INFO_BYTES;

function setUp(nrPages: number = 64) {
  const kernel = createKernel({ nrCpus: 1, seed: 1, reports: "collect" });
  const mm = createMm(kernel, { nrPages, minFreePages: 0, extraBytes: PAGE_SIZE });
  const xdp = createXdp(kernel, mm, XDP_OPTIONS_6_18);
  const home: Netmem[] = [];
  const model: MemModel = {
    memType: MEM_TYPE_PAGE_POOL, memId: 1, returnNetmem: (netmem) => void home.push(netmem), returnSkbNetmem: () => {}, refSkbNetmem: () => {}, returnNetmemBulk: () => {}, releaseNetmem: () => {}, useXdpMem: () => {}, unuseXdpMem: () => {},
  };
  const dev = xdp.structs.createNetDevice("eth0", 7, 1);
  const { xdpRxq } = dev.rxQueues[0]!;
  xdp.rxqs.xdpRxqInfoReg(xdpRxq, dev, 0);
  xdp.rxqs.xdpRxqInfoRegMemModel(xdpRxq, MEM_TYPE_PAGE_POOL, model);
  const page = (): Page => Object.assign(mm.pages.allocPages(0, 0, -1)!, { pp: model });
  const buff = xdp.structs.createXdpBuff(xdpRxq);
  xdp.buffs.xdpInitBuff(buff, PAGE_SIZE);
  return { kernel, mm, xdp, buff, home, page, dev, model, kinds: () => kernel.reports.reports.map(({ kind }) => kind) };
}

/** Metadata of `metasize` bytes in front of the packet. */
function withMeta(buff: XdpBuff, metasize: number): void {
  buff.dataMeta = buff.data - metasize;
}

test("a prepared buffer: data behind the headroom, no metadata, tailroom up to the shared info", () => {
  const { xdp, buff, page } = setUp();
  const head = page();
  xdp.buffs.xdpPrepareBuff(buff, head, 0, XDP_PACKET_HEADROOM, 60, true);
  expect([buff.head === head, buff.dataHardStart, buff.dataMeta, buff.data, buff.dataEnd, xdpDataHardEnd(buff), xdpGetBuffLen(buff), xdpDataMetaUnsupported(buff), xdpBuffHasFrags(buff)]).toEqual([
    true, 0, 256, 256, 316, HARD_END, 60, false, false,
  ]);
  xdp.buffs.xdpPrepareBuff(buff, head, 2048, 128, 60, false);
  expect([buff.dataHardStart, buff.data, buff.dataEnd, xdpDataMetaUnsupported(buff)]).toEqual([2048, 2176, 2236, true]);
});

test("pp-xdp row 66: headroom less metadata of 39 is no frame, and the packet stays; 40 is one whose headroom is the metadata", () => {
  for (const metasize of [0, 4, 252]) {
    const { xdp, buff, page } = setUp();
    const head = page();
    xdp.buffs.xdpPrepareBuff(buff, head, 0, XDP_FRAME_BYTES - 1 + metasize, 60, true);
    withMeta(buff, metasize);
    expect([xdp.buffs.xdpConvertBuffToFrame(buff), buff.head === head, buff.dataEnd - buff.data]).toEqual([null, true, 60]);
    xdp.buffs.xdpPrepareBuff(buff, head, 0, XDP_FRAME_BYTES + metasize, 60, true);
    withMeta(buff, metasize);
    const frame = xdp.buffs.xdpConvertBuffToFrame(buff)!;
    expect([frame.headroom, frame.metasize, frame.len, frame.frameSz, buff.head]).toEqual([metasize, metasize, 60, PAGE_SIZE, null]);
  }
});

test("pp-xdp row 67: data one byte over the hard end is a warning that names the driver's fault, and no frame", () => {
  const { xdp, buff, page, kernel } = setUp();
  xdp.buffs.xdpPrepareBuff(buff, page(), 0, XDP_PACKET_HEADROOM, HARD_END - XDP_PACKET_HEADROOM, true);
  buff.dataEnd++;
  expect(xdp.buffs.xdpConvertBuffToFrame(buff)).toBeNull();
  expect(kernel.reports.reports.map(({ kind, owner, message }) => [kind, owner, message])).toEqual([["xdp-missing-tailroom", "eth0", `driver: missing reserved tailroom: data ends at ${HARD_END + 1}, beyond ${HARD_END}`]]);
  buff.dataEnd--;
  expect(xdp.buffs.xdpConvertBuffToFrame(buff)).not.toBeNull();
});

test("pp-xdp row 68: metadata of 252 bytes is valid; 254 and 256 are not", () => {
  expect([0, 4, 252, 253, 254, 256].map((bytes) => xdpMetalenInvalid(bytes, XDP_METALEN_MAX))).toEqual([false, false, false, true, true, true]);
});

test("pp-xdp row 70: an eighteenth fragment is refused, and nothing is changed", () => {
  const { xdp, buff, page, home } = setUp();
  xdp.buffs.xdpPrepareBuff(buff, page(), 0, XDP_PACKET_HEADROOM, 60, true);
  for (let i = 0; i < MAX_SKB_FRAGS; i++) expect(xdp.buffs.xdpBuffAddFrag(buff, page(), 0, 100, PAGE_SIZE)).toBe(true);
  const before = [buff.nrFrags, buff.xdpFragsSize, buff.xdpFragsTruesize, buff.flags];
  expect([xdp.buffs.xdpBuffAddFrag(buff, page(), 0, 100, PAGE_SIZE), [buff.nrFrags, buff.xdpFragsSize, buff.xdpFragsTruesize, buff.flags], before, home]).toEqual([false, before, [17, 1700, 17 * PAGE_SIZE, XDP_FLAGS_HAS_FRAGS], []]);
});

test("pp-xdp row 71: a fragment that follows directly on the last extends it, and gives one reference back", () => {
  const { xdp, buff, page, home } = setUp();
  xdp.buffs.xdpPrepareBuff(buff, page(), 0, XDP_PACKET_HEADROOM, 60, true);
  const shared = page();
  expect(xdp.buffs.xdpBuffAddFrag(buff, shared, 0, 100, 128)).toBe(true);
  expect(xdp.buffs.xdpBuffAddFrag(buff, shared, 100, 50, 128)).toBe(true);
  expect([buff.nrFrags, buff.frags[0]!.sizeBytes, buff.xdpFragsSize, buff.xdpFragsTruesize, home.length, home[0] === shared]).toEqual([1, 150, 150, 256, 1, true]);
  // A hole between them, or another page: a fragment of its own.
  xdp.buffs.xdpBuffAddFrag(buff, shared, 151, 10, 128);
  xdp.buffs.xdpBuffAddFrag(buff, page(), 161, 10, 128);
  expect([buff.nrFrags, home.length, xdpGetBuffLen(buff)]).toEqual([3, 1, 230]);
});

test("fragments from the reserves, or of device memory, are known from the packet's flags; a new packet has none", () => {
  const { xdp, buff, page, mm } = setUp();
  xdp.buffs.xdpPrepareBuff(buff, page(), 0, XDP_PACKET_HEADROOM, 60, true);
  xdp.buffs.xdpBuffAddFrag(buff, Object.assign(page(), { ppMagic: PAGE_PFMEMALLOC_BIT }), 0, 10, 10);
  expect(buff.flags).toBe(XDP_FLAGS_HAS_FRAGS | XDP_FLAGS_FRAGS_PF_MEMALLOC);
  xdp.buffs.xdpBuffAddFrag(buff, mm.createNetIovArea("d", NET_IOV_DMABUF, 1, false).niovs[0]!, 0, 10, 10);
  expect(buff.flags).toBe(XDP_FLAGS_HAS_FRAGS | XDP_FLAGS_FRAGS_PF_MEMALLOC | XDP_FLAGS_FRAGS_UNREADABLE);
  xdp.buffs.xdpInitBuff(buff, PAGE_SIZE);
  expect([buff.flags, buff.nrFrags]).toEqual([0, 0]);
});

test("property: a packet that becomes a frame and a packet again is the same packet", () => {
  fc.assert(fc.property(fc.nat(64), fc.nat(63), fc.integer({ min: 14, max: 1500 }), fc.array(fc.integer({ min: 1, max: PAGE_SIZE }), { maxLength: MAX_SKB_FRAGS }), fc.boolean(), (room, metaWords, len, sizes, metaValid) => {
    const { xdp, buff, page, dev, model, kinds } = setUp();
    const metasize = metaValid ? metaWords * 4 : 0;
    const head = page();
    xdp.buffs.xdpPrepareBuff(buff, head, 0, XDP_FRAME_BYTES + metasize + room, len, metaValid);
    if (metaValid) withMeta(buff, metasize);
    const frags = sizes.map((sizeBytes) => ({ netmem: page(), sizeBytes }));
    for (const { netmem, sizeBytes } of frags) xdp.buffs.xdpBuffAddFrag(buff, netmem, 0, sizeBytes, PAGE_SIZE);
    const before = { data: buff.data, end: buff.dataEnd, flags: buff.flags, bytes: xdpGetBuffLen(buff) };
    const frame = xdp.buffs.xdpConvertBuffToFrame(buff)!;
    expect([buff.head, buff.nrFrags, buff.flags, frame.memType, frame.memId, xdpGetFrameLen(frame)]).toEqual([null, 0, 0, MEM_TYPE_PAGE_POOL, 1, before.bytes]);
    const again = xdp.structs.createXdpBuff(dev.rxQueues[0]!.xdpRxq);
    xdp.buffs.xdpConvertFrameToBuff(frame, again);
    expect([again.head === head, again.dataHardStart, again.data, again.dataEnd, again.data - again.dataMeta, again.frameSz, again.flags, xdpGetBuffLen(again)]).toEqual([true, 0, before.data, before.end, metasize, PAGE_SIZE, before.flags, before.bytes]);
    expect(again.frags.slice(0, again.nrFrags).map(({ netmem, sizeBytes }) => [netmem === frags.find((frag) => frag.netmem === netmem)?.netmem, sizeBytes])).toEqual(sizes.map((sizeBytes) => [true, sizeBytes]));
    // A program moved its start; the frame follows.
    again.data += 4;
    expect([xdp.buffs.xdpUpdateFrameFromBuff(again, frame), frame.data, frame.len]).toEqual([0, before.data + 4, len - 4]);
    expect([model.memId, kinds()]).toEqual([1, []]);
  }), { numRuns: 100, seed: 20_180_417 });
});

test("a clone is a copy with its metadata room in a page of its own, of no model; what has fragments or does not fit has none", () => {
  const { xdp, buff, page, mm } = setUp();
  const head = page();
  xdp.buffs.xdpPrepareBuff(buff, head, 0, 100, 60, true);
  withMeta(buff, 8);
  head.region.bytes.fill(0x5a, head.base + 92, head.base + 160);
  const frame = xdp.buffs.xdpConvertBuffToFrame(buff)!;
  const free = mm.pages.freePages();
  const clone = xdp.buffs.xdpfClone(frame)!;
  const copied = clone.head as Page;
  expect([clone.memType, clone.memId, clone.len, clone.metasize, clone.frameSz, copied === head, free - mm.pages.freePages()]).toEqual([MEM_TYPE_PAGE_ORDER0, 0, 60, 8, PAGE_SIZE, false, 1]);
  expect([...copied.region.bytes.subarray(copied.base + clone.data - 8, copied.base + clone.data + 60)].every((byte) => byte === 0x5a)).toBe(true);
  xdp.xdpReturn.xdpReturnFrame(clone);
  expect(mm.pages.freePages()).toBe(free);
  frame.len = PAGE_SIZE - XDP_FRAME_BYTES - frame.headroom + 1;
  expect(xdp.buffs.xdpfClone(frame)).toBeNull();
  frame.len = 60;
  frame.flags = XDP_FLAGS_HAS_FRAGS;
  expect(xdp.buffs.xdpfClone(frame)).toBeNull();
  frame.flags = 0;
  mm.faults.failPageAlloc.arm({});
  expect([xdp.buffs.xdpfClone(frame), mm.pages.freePages()]).toEqual([null, free]);
});

test("a frame whose packet went to an skb is free: its struct is the next one's, and holds nothing of the last", () => {
  const { xdp, buff, page } = setUp();
  const take = () => {
    xdp.buffs.xdpPrepareBuff(buff, page(), 0, XDP_PACKET_HEADROOM, 60, true);
    return xdp.buffs.xdpConvertBuffToFrame(buff)!;
  };
  const first = take();
  xdp.buffs.xdpScrubFrame(first);
  expect([first.head, first.nrFrags, first.flags, take() === first]).toEqual([null, 0, 0, true]);
});

test("a frame that is gone is a report, whatever is done with it, and its struct is not handed out twice", () => {
  const { xdp, buff, page, kinds } = setUp();
  const take = () => {
    xdp.buffs.xdpPrepareBuff(buff, page(), 0, XDP_PACKET_HEADROOM, 60, true);
    return xdp.buffs.xdpConvertBuffToFrame(buff)!;
  };
  const frame = take();
  const bulk = xdp.structs.createFrameBulk();
  xdp.xdpReturn.xdpReturnFrame(frame);
  const before = [buff.head, buff.data];
  for (const use of [
    () => xdp.xdpReturn.xdpReturnFrame(frame), () => xdp.xdpReturn.xdpReturnFrameRxNapi(frame), () => xdp.xdpReturn.xdpReturnFrameBulk(frame, bulk),
    () => xdp.buffs.xdpScrubFrame(frame), () => xdp.buffs.xdpConvertFrameToBuff(frame, buff), () => xdp.buffs.xdpfClone(frame),
  ]) use();
  expect([kinds(), bulk.count, [buff.head, buff.data], take() === take()]).toEqual([Array.from({ length: 6 }, () => "xdp-frame-gone"), 0, before, false]);
});

test("a buffer that holds no packet makes no frame, and says so; one of a size that holds nothing is misuse", () => {
  const { xdp, buff, page, kinds } = setUp();
  xdp.buffs.xdpPrepareBuff(buff, page(), 0, XDP_PACKET_HEADROOM, 60, true);
  xdp.buffs.xdpConvertBuffToFrame(buff);
  expect([xdp.buffs.xdpConvertBuffToFrame(buff), kinds()]).toEqual([null, ["xdp-empty-buff"]]);
  for (const frameSz of [-5, SKB_SHARED_INFO_BYTES, Number.NaN, 2 ** 33]) expect(() => xdp.buffs.xdpInitBuff(buff, frameSz)).toThrow(/xdp: frameSz = .*: give the buffer's bytes, more than the 320 of the shared info/);
});
