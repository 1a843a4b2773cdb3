import { describe, expect, test } from "vitest";
import { NSEC_PER_SEC } from "@netmem/kernel/api";
import { PRESETS, PRESET_NAMES } from "@netmem/machine";
import { PAGE_SIZE, type Page } from "@netmem/mm/api";
import { MEM_TYPE_PAGE_ORDER0, MEM_TYPE_PAGE_POOL, XDP_PACKET_HEADROOM } from "@netmem/xdp/api";
import { refs } from "../pp-rows/pool-bench.ts";
import { XdpBench, pfns } from "./xdp-bench.ts";

describe.each(PRESET_NAMES)("%s", (preset) => {
  const { xdp: { framesFollowPointer }, pagePool: { bulkMixesPools } } = PRESETS[preset];

  test("pp-xdp row 61: a mem id resolves until the pool's last page is home, and is not issued anew before a grace period has passed", () => {
    const bench = new XdpBench(preset);
    const { registry, rxqs } = bench.machine.xdp;
    const { xdpRxq } = bench.dev.rxQueues[0]!;
    const { id } = xdpRxq.mem;
    const { frame } = bench.frame();
    rxqs.xdpRxqInfoUnreg(xdpRxq);
    bench.pool.destroy();
    expect([bench.pool.dead, registry.lookup(MEM_TYPE_PAGE_POOL, id) === bench.pool]).toEqual([false, true]);
    bench.machine.xdp.xdpReturn.xdpReturnFrame(frame);
    bench.machine.kernel.scheduler.runFor(NSEC_PER_SEC);
    expect([bench.pool.dead, registry.lookup(MEM_TYPE_PAGE_POOL, id), bench.kinds()]).toEqual([true, null, []]);
    expect(bench.trace("mem_connect", "mem_disconnect")).toEqual([`mem_connect: mem_id=${id} mem_type=2 allocator=${bench.pool.id} ifindex=${bench.dev.ifindex}`, `mem_disconnect: mem_id=${id} mem_type=2 allocator=${bench.pool.id}`]);
  });

  test("pp-xdp row 62: while NO_DIRECT is set on this CPU, a return from the poll goes to the ring; other CPUs are not meant", () => {
    const bench = new XdpBench(preset);
    const { xdpReturn } = bench.machine.xdp;
    const [first, second, third] = [bench.frame(), bench.frame(), bench.frame()];
    const before = bench.pool.cacheCount;
    bench.softirq(0, () => {
      xdpReturn.xdpSetReturnFrameNoDirect();
      xdpReturn.xdpReturnFrameRxNapi(first.frame);
    });
    expect([bench.pool.cacheCount - before, bench.ring()]).toEqual([0, pfns(first.pages)]);
    bench.softirq(1, () => xdpReturn.xdpReturnFrameRxNapi(second.frame));
    expect(bench.pool.cacheCount - before).toBe(1);
    bench.softirq(0, () => {
      xdpReturn.xdpClearReturnFrameNoDirect();
      xdpReturn.xdpReturnFrameRxNapi(third.frame);
    });
    expect([bench.pool.cacheCount - before, bench.ring()]).toEqual([2, pfns(first.pages)]);
  });

  test("pp-xdp row 63: a frame with three fragments makes four returns, the head last; only rx_napi says direct", () => {
    const bench = new XdpBench(preset);
    const { xdpReturn, registry } = bench.machine.xdp;
    const lookups = registry.stats.lookups;
    const { frame, pages } = bench.frame(bench.buff, bench.pool, 3);
    bench.softirq(0, () => xdpReturn.xdpReturnFrame(frame));
    expect([bench.ring(), registry.stats.lookups - lookups]).toEqual([pfns([...pages.slice(1), pages[0]!]), framesFollowPointer ? 0 : 4]);
    const direct = bench.frame(bench.buff, bench.pool, 3);
    bench.softirq(0, () => xdpReturn.xdpReturnFrameRxNapi(direct.frame));
    expect(pfns(bench.pool.cacheItems().slice(-4) as Page[])).toEqual(pfns([...direct.pages.slice(1), direct.pages[0]!]));
  });

  test("pp-xdp row 64: of seventeen frames returned in bulk sixteen go home together, and one waits for the flush", () => {
    const bench = new XdpBench(preset);
    const { xdpReturn, structs } = bench.machine.xdp;
    const frames = Array.from({ length: 17 }, () => bench.frame());
    const bulk = structs.createFrameBulk();
    for (const { frame } of frames.slice(0, 16)) xdpReturn.xdpReturnFrameBulk(frame, bulk);
    expect([bulk.count, bench.ring()]).toEqual([16, []]);
    xdpReturn.xdpReturnFrameBulk(frames[16]!.frame, bulk);
    expect([bulk.count, bench.ring()]).toEqual([1, pfns(frames.slice(0, 16).map(({ pages }) => pages[0]!))]);
    xdpReturn.xdpFlushFrameBulk(bulk);
    xdpReturn.xdpFlushFrameBulk(bulk);
    expect([bulk.count, bench.pool.ringCount(), bench.pool.recycleStats.ring, bench.kinds()]).toEqual([0, 17, 17, []]);
  });

  test("a frame whose fragments fill the bulk is flushed in between: nothing is lost, and the head still comes last", () => {
    const bench = new XdpBench(preset);
    const { xdpReturn, structs } = bench.machine.xdp;
    const bulk = structs.createFrameBulk();
    const { frame, pages } = bench.frame(bench.buff, bench.pool, 17);
    xdpReturn.xdpReturnFrameBulk(frame, bulk);
    expect([bulk.count, bench.pool.ringCount()]).toEqual([2, 16]);
    xdpReturn.xdpFlushFrameBulk(bulk);
    expect(bench.ring()).toEqual(pfns([...pages.slice(1), pages[0]!]));
  });

  test("frames of two pools in one bulk: mixed from 6.14 on; before, another pool's flushes what waits", () => {
    const bench = new XdpBench(preset);
    const { xdpReturn, structs } = bench.machine.xdp;
    const other = bench.create({ napi: null });
    const elsewhere = bench.queue(1, other);
    const bulk = structs.createFrameBulk();
    const waiting: number[] = [];
    const { stats } = bench.machine.xdp.registry;
    const lookups = stats.lookups;
    const frames = ([[bench.buff, bench.pool], [elsewhere, other], [elsewhere, other], [bench.buff, bench.pool]] as const).map(([buff, pool]) => bench.frame(buff, pool).frame);
    for (const frame of frames) {
      xdpReturn.xdpReturnFrameBulk(frame, bulk);
      waiting.push(bulk.count);
    }
    xdpReturn.xdpFlushFrameBulk(bulk);
    expect(stats.lookups - lookups).toBe(bulkMixesPools ? 0 : 3);
    // By the next batch the id may stand for another pool.
    expect([bulk.model, bulk.memId]).toEqual([null, 0]);
    expect([waiting, bench.pool.ringCount(), other.ringCount(), bench.kinds()]).toEqual([bulkMixesPools ? [1, 2, 3, 4] : [1, 1, 2, 1], 2, 2, []]);
  });

  test("pp-xdp row 65: a frame of MEM_TYPE_PAGE_ORDER0 in a bulk is put at once, and what waits still waits", () => {
    const bench = new XdpBench(preset);
    const { xdpReturn, structs, buffs } = bench.machine.xdp;
    const bulk = structs.createFrameBulk();
    const { frame } = bench.frame();
    const clone = buffs.xdpfClone(frame)!;
    const page = clone.head as Page;
    xdpReturn.xdpReturnFrameBulk(frame, bulk);
    expect([clone.memType, page.refcount]).toEqual([MEM_TYPE_PAGE_ORDER0, 1]);
    xdpReturn.xdpReturnFrameBulk(clone, bulk);
    expect([bulk.count, page.refcount, bench.pool.ringCount(), bench.kinds()]).toEqual([1, 0, 0, []]);
    xdpReturn.xdpFlushFrameBulk(bulk);
    expect(bench.pool.ringCount()).toBe(1);
  });

  test("a packet dropped in its poll goes back direct, fragments first, and the buffer is empty; so does one fragment", () => {
    const bench = new XdpBench(preset);
    const { xdpReturn } = bench.machine.xdp;
    const pages = bench.receive(bench.buff, bench.pool, 2);
    bench.softirq(0, () => xdpReturn.xdpReturnBuff(bench.buff));
    expect(pfns(bench.pool.cacheItems().slice(-3) as Page[])).toEqual(pfns([pages[1]!, pages[2]!, pages[0]!]));
    expect([bench.buff.head, bench.buff.nrFrags, bench.buff.flags]).toEqual([null, 0, 0]);
    const one = bench.take(bench.pool, 1)[0]!;
    bench.softirq(0, () => xdpReturn.xdpReturnFrag(one, bench.buff));
    expect(bench.pool.cacheItems().at(-1) === one).toBe(true);
  });

  test("pp-xdp row 71: a fragment that follows on the last one's end gives its own reference back to the pool", () => {
    const bench = new XdpBench(preset);
    const { buffs } = bench.machine.xdp;
    const [head, page] = bench.take(bench.pool, 2) as [Page, Page];
    buffs.xdpPrepareBuff(bench.buff, head, 0, XDP_PACKET_HEADROOM, 60, true);
    // Up to 5.14 a second holder is one that the pool does not know of.
    const counts = bench.pagePools.hasFragments;
    if (counts) bench.pool.fragmentNetmem(page, 2);
    else bench.machine.mm.pages.getPage(page);
    bench.softirq(0, () => {
      buffs.xdpBuffAddFrag(bench.buff, page, 0, 100, 2048);
      buffs.xdpBuffAddFrag(bench.buff, page, 100, 100, 2048);
    });
    expect([bench.buff.nrFrags, bench.buff.frags[0]!.sizeBytes, refs(page), page.poolState !== 0]).toEqual(counts ? [1, 200, "1/1", true] : [1, 200, "1/0", false]);
  });
});

test("a frame of a pool that was never registered, before frames followed the pointer: the loss is reported, and the struct free again", () => {
  const bench = new XdpBench("5.14");
  const { frame } = bench.frame();
  frame.memId = 999;
  const bulk = bench.machine.xdp.structs.createFrameBulk();
  bench.machine.xdp.xdpReturn.xdpReturnFrameBulk(frame, bulk);
  expect([bench.kinds(), bulk.count, bench.frame().frame === frame]).toEqual([["xdp-wrong-memory-type"], 0, true]);
});

test("a frame over a page that no pool has any more is reported in a bulk as well, and the others go home", () => {
  const bench = new XdpBench("6.18");
  const { xdpReturn, structs } = bench.machine.xdp;
  const [lost, kept] = [bench.frame(), bench.frame()];
  bench.pool.releaseNetmem(lost.pages[0]!);
  const bulk = structs.createFrameBulk();
  xdpReturn.xdpReturnFrameBulk(lost.frame, bulk);
  xdpReturn.xdpReturnFrameBulk(kept.frame, bulk);
  xdpReturn.xdpFlushFrameBulk(bulk);
  expect([bench.kinds(), bench.ring(), lost.pages[0]!.refcount]).toEqual([["xdp-wrong-memory-type"], pfns(kept.pages), 1]);
});

test("a fragment given as a later page of a large one goes home as its first", () => {
  const bench = new XdpBench("6.18");
  const { xdpReturn, structs } = bench.machine.xdp;
  const large = bench.create({ napi: null, order: 1, maxLen: 2 * PAGE_SIZE });
  const { frame } = bench.frame(bench.queue(1, large), large);
  const first = frame.head as Page;
  frame.head = bench.machine.mm.pages.pages[first.pfn + 1 - bench.machine.mm.pages.pages[0]!.pfn]!;
  const bulk = structs.createFrameBulk();
  xdpReturn.xdpReturnFrameBulk(frame, bulk);
  xdpReturn.xdpFlushFrameBulk(bulk);
  expect([bench.ring(large), bench.kinds()]).toEqual([[first.pfn], []]);
});
