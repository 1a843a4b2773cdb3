import { describe, expect, test } from "vitest";
import { ENOMEM, EOPNOTSUPP, NSEC_PER_SEC } from "@netmem/kernel/api";
import { PRESETS, PRESET_NAMES, type Machine } from "@netmem/machine";
import { GFP_ATOMIC, PAGE_SIZE, type Page } from "@netmem/mm/api";
import { skbMetadataLen, skbRegion, skbTruesize, type SkBuff } from "@netmem/net-core/api";
import { MEM_TYPE_PAGE_ORDER0, SKB_SHARED_INFO_BYTES, XDP_FLAGS_HAS_FRAGS, XDP_FRAME_BYTES, XDP_PACKET_HEADROOM, XDP_PASS, type FragSource } from "@netmem/xdp/api";
import { XdpBench } from "./xdp-bench.ts";

/** All bytes of an skb, headers that were pulled included. */
function bytesOf(machine: Machine, skb: SkBuff): number[] {
  const out = machine.mm.payload.adoptRegion("out", new Uint8Array(80_000), true);
  const pulled = skb.macHeader < 0 ? 0 : skb.data - skb.macHeader;
  if (machine.net.edit.skbCopyBits(skb, -pulled, out, 0, skb.len + pulled) < 0) throw new Error("not readable");
  return [...out.bytes.subarray(0, skb.len + pulled)];
}

/** Recognisable bytes in the packet of `bench.buff`, its metadata included; the packet's alone are the answer. */
function write(bench: XdpBench): number[] {
  const { buff } = bench;
  const put = (page: Page, from: number, to: number, salt: number): number[] => {
    const bytes = page.region.bytes.subarray(page.base + from, page.base + to);
    bytes.forEach((_byte, i) => (bytes[i] = (i * 7 + salt) & 0xff));
    return [...bytes];
  };
  put(buff.head as Page, buff.dataMeta, buff.data, 99);
  return [...put(buff.head as Page, buff.data, buff.dataEnd, 1), ...buff.frags.slice(0, buff.nrFrags).flatMap(({ netmem, offset, sizeBytes }, i) => put(netmem as Page, offset, offset + sizeBytes, 30 * i))];
}

describe.each(PRESET_NAMES)("%s", (preset) => {
  const { net: { framesRecycle }, pagePool: { hasSystemPools }, xdp: { hasMultiBuffer } } = PRESETS[preset];

  test(`pp-xdp row 72: ${framesRecycle ? "an skb of a page_pool frame has the recycle bit" : "not so: before 6.4 a page_pool frame's page leaves its pool when it becomes an skb's"}; one of an ORDER0 frame has not`, () => {
    const bench = new XdpBench(preset);
    const { xdpSkbs, lifetime } = bench.machine.net;
    const { frame } = bench.frame();
    const clone = bench.machine.xdp.buffs.xdpfClone(frame)!;
    const inflight = bench.pool.inflight();
    const [ours, copied] = [xdpSkbs.xdpBuildSkbFromFrame(frame, bench.dev)!, xdpSkbs.xdpBuildSkbFromFrame(clone, bench.dev)!];
    expect([ours.ppRecycle, copied.ppRecycle, clone.memType, bench.pool.inflight() - inflight]).toEqual([framesRecycle, false, MEM_TYPE_PAGE_ORDER0, framesRecycle ? 0 : -1]);
    const page = copied.shinfo!.headPage!;
    lifetime.consumeSkb(ours);
    lifetime.consumeSkb(copied);
    expect([page.refcount, bench.pool.ringCount(), bench.kinds()]).toEqual([0, framesRecycle ? 1 : 0, []]);
    expect(bench.pool.inflight()).toBe(bench.pool.cacheCount + bench.pool.ringCount());
  });

  test("an skb of a frame lies in the frame's own buffer: same bytes, metadata in front, the frame's room as its headroom, charged by the frame's size", () => {
    const bench = new XdpBench(preset);
    const page = bench.receive(bench.buff, bench.pool)[0]!;
    const before = write(bench);
    bench.buff.dataMeta -= 8;
    const frame = bench.machine.xdp.buffs.xdpConvertBuffToFrame(bench.buff)!;
    const skb = bench.machine.net.xdpSkbs.xdpBuildSkbFromFrame(frame, bench.dev)!;
    expect([bytesOf(bench.machine, skb), skb.shinfo!.headPage === page, skb.head - page.base, skb.macHeader - page.base]).toEqual([before, true, 0, XDP_PACKET_HEADROOM]);
    expect([skbMetadataLen(skb), skb.truesize, skb.len, skb.dev === bench.dev, skb.end - page.base]).toEqual([8, skbTruesize(PAGE_SIZE - SKB_SHARED_INFO_BYTES), 46, true, PAGE_SIZE - SKB_SHARED_INFO_BYTES]);
    // A head of its own has room for headers, and no metadata.
    expect([bench.machine.net.edit.pskbExpandHead(skb, 64, 0, GFP_ATOMIC), skbMetadataLen(skb)]).toEqual([0, 0]);
    bench.machine.net.lifetime.consumeSkb(skb);
    expect(bench.kinds()).toEqual([]);
  });

  test("a frame in a buffer that does not begin with its page becomes an skb there, and one that is gone none", () => {
    const bench = new XdpBench(preset);
    const { buffs } = bench.machine.xdp;
    const page = bench.take(bench.pool, 1)[0]!;
    buffs.xdpInitBuff(bench.buff, 2048);
    buffs.xdpPrepareBuff(bench.buff, page, 2048, 256, 100, true);
    const frame = buffs.xdpConvertBuffToFrame(bench.buff)!;
    const skb = bench.machine.net.xdpSkbs.xdpBuildSkbFromFrame(frame, bench.dev)!;
    expect([skb.head - page.base, skb.end - page.base, skb.truesize]).toEqual([2048, 4096 - SKB_SHARED_INFO_BYTES, skbTruesize(2048 - SKB_SHARED_INFO_BYTES)]);
    bench.machine.net.lifetime.consumeSkb(skb);
    expect([bench.machine.net.xdpSkbs.xdpBuildSkbFromFrame(frame, bench.dev), bench.kinds()]).toEqual([null, ["xdp-frame-gone"]]);
  });

  test("without a struct for it a frame stays its owner's", () => {
    const bench = new XdpBench(preset);
    const { buffs, xdpReturn } = bench.machine.xdp;
    const page = bench.take(bench.pool, 1)[0]!;
    buffs.xdpInitBuff(bench.buff, 4096);
    buffs.xdpPrepareBuff(bench.buff, page, 0, 256, 100, true);
    const frame = buffs.xdpConvertBuffToFrame(bench.buff)!;
    const fails = bench.machine.mm.faults.failFunction("skbuffAlloc");
    fails.arm({});
    expect(bench.machine.net.xdpSkbs.xdpBuildSkbFromFrame(frame, bench.dev)).toBeNull();
    fails.disarm();
    bench.softirq(0, () => xdpReturn.xdpReturnFrame(frame));
    expect([bench.pool.inflight() - bench.pool.cacheCount - bench.pool.ringCount(), bench.kinds()]).toEqual([0, []]);
  });

  test("a packet in its own poll becomes an skb with all its fragments, charged what their buffers take; freed, all pages are home", () => {
    const bench = new XdpBench(preset);
    bench.receive(bench.buff, bench.pool, 3);
    const before = write(bench);
    const skb = bench.machine.net.xdpSkbs.xdpBuildSkbFromBuff(bench.buff)!;
    expect([bytesOf(bench.machine, skb), skb.shinfo!.nrFrags, skb.truesize, skb.rxQueue, bench.buff.head, bench.buff.nrFrags]).toEqual([before, 3, skbTruesize(PAGE_SIZE - SKB_SHARED_INFO_BYTES) + 3 * PAGE_SIZE, 1, null, 0]);
    expect(skb.ppRecycle).toBe(PRESETS[preset].recyclesSkbPages);
    bench.machine.net.lifetime.consumeSkb(skb);
    expect([bench.pool.inflight() - bench.pool.cacheCount - bench.pool.ringCount(), bench.kinds()]).toEqual([0, []]);
  });

  test("a frame with fragments: each is charged the frame's size, and 17 of them fit", () => {
    const bench = new XdpBench(preset);
    const { frame } = bench.frame(bench.buff, bench.pool, 17);
    const skb = bench.machine.net.xdpSkbs.xdpBuildSkbFromFrame(frame, bench.dev)!;
    expect([skb.len + 14, skb.dataLen, skb.truesize]).toEqual([60 + 17 * 1000, 17_000, skbTruesize(PAGE_SIZE - SKB_SHARED_INFO_BYTES) + 17 * PAGE_SIZE]);
    bench.machine.net.lifetime.consumeSkb(skb);
    expect([bench.pool.inflight() - bench.pool.cacheCount - bench.pool.ringCount(), bench.kinds()]).toEqual([0, []]);
  });

  test("metadata reaches the skb from a program, through frame and buffer alike", () => {
    const bench = new XdpBench(preset);
    const prog = bench.prog((ctx) => {
      if (ctx.adjustMeta(-4) !== 0) return 0;
      ctx.setUint32(-4, 0xdeadbeef);
      return XDP_PASS;
    });
    for (const build of ["frame", "buff"] as const) {
      bench.receive(bench.buff, bench.pool);
      expect(bench.machine.xdp.programs.bpfProgRunXdp(prog, bench.buff)).toBe(XDP_PASS);
      const { xdpSkbs } = bench.machine.net;
      const skb = build === "buff" ? xdpSkbs.xdpBuildSkbFromBuff(bench.buff)! : xdpSkbs.xdpBuildSkbFromFrame(bench.machine.xdp.buffs.xdpConvertBuffToFrame(bench.buff)!, bench.dev)!;
      const at = skb.macHeader - skbMetadataLen(skb);
      expect([skbMetadataLen(skb), [...skbRegion(skb).bytes.subarray(at, at + 4)]]).toEqual([4, [0xde, 0xad, 0xbe, 0xef]]);
      bench.machine.net.lifetime.consumeSkb(skb);
    }
  });

  test(`skb_pp_cow_data ${hasSystemPools ? "copies any packet into the CPU's system pool, with headroom" : "has no system pool to copy to before 6.9; a pool of a driver's it can"}`, () => {
    const bench = new XdpBench(preset);
    const { net, pagePools, systemPools, xdp } = bench.machine;
    expect(systemPools.length).toBe(hasSystemPools ? 2 : 0);
    if (!pagePools.hasFragments) return;
    const pool = hasSystemPools ? systemPools[0]! : bench.pool;
    const mem = xdp.structs.createMemInfo();
    mem.type = pool.memType;
    mem.id = pool.memId;
    const source: FragSource = pagePools.createFragSource(pool, mem);
    for (const frags of [0, 1, 3]) {
      bench.receive(bench.buff, bench.pool, frags);
      const before = write(bench);
      const skb = net.xdpSkbs.xdpBuildSkbFromBuff(bench.buff)!;
      // Callers take the MAC header back first.
      skb.data -= 14;
      skb.len += 14;
      const copy = bench.softirq(0, () => net.xdpSkbs.skbPpCowData(source, skb, XDP_PACKET_HEADROOM)) as SkBuff;
      expect([bytesOf(bench.machine, copy), copy.data - copy.head, copy.ppRecycle, copy.dev === bench.dev]).toEqual([before, XDP_PACKET_HEADROOM, PRESETS[preset].recyclesSkbPages, true]);
      expect(copy.shinfo!.nrFrags).toBe(Math.ceil(Math.max(0, copy.len - 3520) / PAGE_SIZE));
      net.lifetime.consumeSkb(copy);
    }
    bench.machine.kernel.scheduler.runFor(NSEC_PER_SEC);
    expect(bench.kinds()).toEqual([]);
  });

  test("skb_pp_cow_data refuses a frag list and what 17 fragments cannot hold, and leaves the packet alone", () => {
    const bench = new XdpBench(preset);
    const { net, pagePools, xdp } = bench.machine;
    if (!pagePools.hasFragments) {
      expect(PRESETS[preset].pagePool.hasFragments).toBe(false);
      return;
    }
    const source = pagePools.createFragSource(bench.pool, xdp.structs.createMemInfo());
    const [skb, other] = [net.lifetime.allocSkb(128, GFP_ATOMIC)!, net.lifetime.allocSkb(128, GFP_ATOMIC)!];
    net.edit.skbPut(skb, 60);
    skb.shinfo!.fragList = other;
    expect(net.xdpSkbs.skbPpCowData(source, skb, 256)).toBe(-EOPNOTSUPP);
    skb.shinfo!.fragList = null;
    const { len } = skb;
    skb.len = 3520 + 17 * PAGE_SIZE + 1;
    expect(net.xdpSkbs.skbPpCowData(source, skb, 256)).toBe(-ENOMEM);
    skb.len = len;
    bench.machine.mm.faults.failPageAlloc.arm({});
    expect(bench.softirq(0, () => net.xdpSkbs.skbPpCowData(source, skb, 256))).toBe(-ENOMEM);
    bench.machine.mm.faults.failPageAlloc.disarm();
    // Without a struct the fragment that was cut for it goes back.
    bench.machine.mm.faults.failFunction("skbuffAlloc").arm({});
    expect(bench.softirq(0, () => net.xdpSkbs.skbPpCowData(source, skb, 256))).toBe(-ENOMEM);
    const out = (): number => bench.pool.inflight() - bench.pool.cacheCount - bench.pool.ringCount() - (bench.pool.fragPage === null ? 0 : 1);
    expect(out()).toBe(0);
    expect([skb.free, skb.users, bench.kinds()]).toEqual([false, 1, []]);
  });

  test(`multi-buffer packets reach a program ${hasMultiBuffer ? "that says it can take them" : "of no kernel before 5.18: such a one is refused"}`, () => {
    const { programs } = new XdpBench(preset).machine.xdp;
    expect(typeof programs.bpfProgLoad("frags", () => XDP_PASS, true)).toBe(hasMultiBuffer ? "object" : "number");
    expect([XDP_FLAGS_HAS_FRAGS, XDP_FRAME_BYTES]).toEqual([1, 40]);
  });
});
