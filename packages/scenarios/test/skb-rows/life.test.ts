import { describe, expect, test } from "vitest";
import { EMSGSIZE, ENOBUFS, KernelPanic } from "@netmem/kernel/api";
import { GFP_ATOMIC, GFP_KERNEL, PAGE_SIZE } from "@netmem/mm/api";
import {
  SKB_CONSUMED, SKB_DROP_REASON_NO_SOCKET, SKB_STRUCT_BYTES, skbCloned, skbHeadFrag, skbHeaderCloned, skbTruesize, type SkBuff,
} from "@netmem/net-core/api";
import { PRESET_NAMES } from "@netmem/machine";
import { MAX_SKB_FRAGS, SKB_SHARED_INFO_BYTES } from "@netmem/xdp/api";
import { refs } from "../rig.ts";
import { SkbBench } from "./bench.ts";

describe.each(PRESET_NAMES)("%s: life and death", (preset) => {
  const row = (n: number, title: string): string => `skb-mm row ${n} [${preset}]: ${title}`;
  const newBench = (): SkbBench => new SkbBench(preset);
  const { recycles } = newBench();
  const clearsBit = newBench().preset.net.releaseClearsRecycle;
  /** Page references and holders of a pool's page in a marked skb: without recycling it has left its pool. */
  const marked = (references: number, holders: number): string => (recycles ? `${references}/${holders}` : `${references}/0`);

  test(row(37, "a fresh skb has users 1, dataref 1, and neither cloned nor recycling"), () => {
    const bench = newBench();
    const { lifetime } = bench.net;
    for (const skb of [lifetime.buildSkb(bench.page(), PAGE_SIZE)!, lifetime.allocSkb(100, GFP_ATOMIC)!, lifetime.allocSkbFclone(100, GFP_ATOMIC)!, lifetime.netdevAllocSkb(null, 1500, GFP_ATOMIC)!]) {
      expect([skb.users, skb.shinfo!.dataref, skb.cloned, skb.nohdr, skb.ppRecycle, skb.shinfo!.nrFrags, skb.shinfo!.flags]).toEqual([1, 1, false, false, false, 0, 0]);
      bench.free(skb);
    }
  });

  test(row(38, "build_skb without a struct is null, and the memory is still the caller's"), () => {
    const bench = newBench();
    const { lifetime } = bench.net;
    const { mm } = bench.rig.machine;
    const page = bench.page();
    const object = mm.slab.kmalloc(1024, GFP_ATOMIC)!;
    const fault = mm.faults.failFunction("skbuffAlloc");
    fault.arm({});
    expect([lifetime.buildSkb(page, PAGE_SIZE), lifetime.napiBuildSkb(page, PAGE_SIZE), lifetime.slabBuildSkb(object), lifetime.allocSkb(60, GFP_ATOMIC)]).toEqual([null, null, null, null]);
    expect(lifetime.netdevAllocSkb(null, 2000, GFP_ATOMIC)).toBeNull();
    fault.disarm();
    expect([page.refcount, object.inUse]).toEqual([1, true]);
    mm.pages.putPage(page);
    mm.slab.kfree(object);
    // The fragment that was cut for the one without a struct was given back: one more is out, and no two.
    const skb = lifetime.netdevAllocSkb(null, 2000, GFP_ATOMIC)!;
    const block = skb.shinfo!.headPage!;
    const { refcount } = block;
    const next = lifetime.netdevAllocSkb(null, 2000, GFP_ATOMIC)!;
    expect([next.shinfo!.headPage === block, block.refcount]).toEqual([true, refcount]);
    bench.free(skb, next);
    expect(block.refcount).toBe(refcount - 2);
  });

  test(row(39, "a clone raises dataref to 2, marks both as cloned, shares the head, and leaves page counters alone"), () => {
    const bench = newBench();
    const from = bench.rig.createPool();
    const a = bench.pooled(from);
    const frag = bench.addPoolFrag(a, from);
    const b = bench.rig.clone(a);
    expect([a.shinfo!.dataref, b.shinfo === a.shinfo, skbCloned(a), skbCloned(b), b.head, b.ppRecycle]).toEqual([2, true, true, true, a.head, recycles]);
    expect([refs(frag), refs(a.shinfo!.headPage!)]).toEqual([marked(1, 1), marked(1, 1)]);
  });

  test(row(40, `freeing one of two clones touches no page, and that clone ${clearsBit || !recycles ? "has no recycle bit" : "keeps its bit, before 5.14"}`), () => {
    const bench = newBench();
    const from = bench.rig.createPool();
    const a = bench.pooled(from);
    const b = bench.rig.clone(a);
    const head = a.shinfo!.headPage!;
    bench.free(b);
    expect([b.ppRecycle, a.ppRecycle, a.shinfo!.dataref, refs(head), from.pool.ringCount()]).toEqual([recycles && !clearsBit, recycles, 1, marked(1, 1), 0]);
  });

  test(row(41, recycles ? "freeing the second recycles head and frag" : "before the series, freeing the second frees head and frag"), () => {
    const bench = newBench();
    const from = bench.rig.createPool();
    const a = bench.pooled(from);
    bench.addPoolFrag(a, from);
    const b = bench.rig.clone(a);
    const before = bench.freePages();
    bench.free(b, a);
    expect([from.pool.ringCount(), bench.freePages() - before, bench.kinds()]).toEqual(recycles ? [2, 0, []] : [0, 2, []]);
  });

  test(row(42, "header_release, then clone: dataref 0x10002, the header is the clone's, the data is not"), () => {
    const bench = newBench();
    const a = bench.skb(100);
    bench.net.edit.skbHeaderRelease(a);
    const b = bench.rig.clone(a);
    expect([a.shinfo!.dataref, skbHeaderCloned(b), skbCloned(b), b.nohdr, b.hdrLen]).toEqual([0x10002, false, true, false, 64]);
  });

  test(row(43, "freeing the payload-only original first leaves dataref 1 and the data alive"), () => {
    const bench = newBench();
    const a = bench.skb(100);
    bench.net.edit.skbHeaderRelease(a);
    const b = bench.rig.clone(a);
    const bytes = bench.bytes(b);
    bench.free(a);
    expect([b.shinfo!.dataref, bench.bytes(b)]).toEqual([1, bytes]);
    bench.free(b);
  });

  test(row(44, "expanding a clone of a recycling skb takes a page reference for each frag; the clone recycles no more"), () => {
    const bench = newBench();
    const from = bench.rig.createPool();
    const a = bench.pooled(from);
    const frag = bench.addPoolFrag(a, from);
    const b = bench.rig.clone(a);
    expect(bench.net.edit.pskbExpandHead(b, 0, 0, GFP_KERNEL)).toBe(0);
    expect([refs(frag), skbHeadFrag(b), b.shinfo!.dataref, a.shinfo!.dataref, a.ppRecycle]).toEqual([marked(2, 1), false, 1, 1, recycles]);
    // Before 5.14 nothing cleared the bit of one that let go of shared data.
    expect(b.ppRecycle).toBe(recycles && !clearsBit);
  });

  test.each(["B then A", "A then B"])(`skb-mm rows 45 and 46 [${preset}]: row 44, free %s`, (order) => {
    const bench = newBench();
    const from = bench.rig.createPool();
    const a = bench.pooled(from);
    const frag = bench.addPoolFrag(a, from);
    const b = bench.rig.clone(a);
    bench.net.edit.pskbExpandHead(b, 0, 0, GFP_KERNEL);
    const { pool } = from;
    const inflight = pool.inflight();
    if (order === "B then A") {
      bench.free(b);
      // Without 5.14's rule B returns it to its pool, which finds A's reference and lets it go.
      const keptByB = recycles && clearsBit;
      expect([refs(frag), pool.inflight() - inflight]).toEqual([keptByB ? "1/1" : "1/0", recycles && !keptByB ? -1 : 0]);
      bench.free(a);
      expect([pool.ringCount(), frag.refcount]).toEqual(keptByB ? [2, 1] : recycles ? [1, 0] : [0, 0]);
    } else {
      bench.free(a);
      // A's put is the last that the pool knows of, and finds B's reference: the page leaves.
      expect([refs(frag), frag.ppMagic, frag.dmaAddr, pool.inflight() - inflight]).toEqual(["1/0", 0, 0, recycles ? -1 : 0]);
      bench.free(b);
      expect([frag.refcount, pool.ringCount()]).toEqual([0, recycles ? 1 : 0]);
    }
    expect(bench.kinds()).toEqual([]);
  });

  test(row(47, "row 46, pool destroyed between A and B: destroy does not wait for B"), () => {
    const bench = newBench();
    const from = bench.rig.createPool();
    const a = bench.pooled(from);
    bench.addPoolFrag(a, from);
    const b = bench.rig.clone(a);
    bench.net.edit.pskbExpandHead(b, 0, 0, GFP_KERNEL);
    bench.free(a);
    bench.rig.destroyPool(from);
    expect([bench.rig.machine.pagePools.pools().includes(from.pool), from.pool.inflight()]).toEqual([false, 0]);
    bench.free(b);
    expect(bench.kinds()).toEqual([]);
  });

  test(row(48, "expanding an uncloned recycling skb gives its old head back; frags keep their references, and the bit stays"), () => {
    const bench = newBench();
    const from = bench.rig.createPool();
    const a = bench.pooled(from);
    const frag = bench.addPoolFrag(a, from);
    const bytes = bench.bytes(a);
    bench.net.edit.pskbExpandHead(a, 100, 200, GFP_KERNEL);
    expect([from.pool.ringCount(), refs(frag), a.ppRecycle, skbHeadFrag(a), bench.bytes(a)]).toEqual([recycles ? 1 : 0, marked(1, 1), recycles, false, bytes]);
    bench.free(a);
    expect(from.pool.ringCount()).toBe(recycles ? 2 : 0);
  });

  test(row(49, "expanding an skb with two users stops the machine"), () => {
    const bench = newBench();
    const a = bench.skb(60);
    bench.net.lifetime.skbGet(a);
    expect(() => bench.net.edit.pskbExpandHead(a, 0, 0, GFP_KERNEL)).toThrow(KernelPanic);
  });

  test(row(74, "alloc_skb_with_frags leaves len and data_len to the caller, and charges whole blocks; all or nothing"), () => {
    const bench = newBench();
    const { lifetime } = bench.net;
    const before = bench.freePages();
    const skb = lifetime.allocSkbWithFrags(100, 10 * PAGE_SIZE + 1, 3, GFP_KERNEL) as SkBuff;
    const empty = lifetime.allocSkb(100, GFP_KERNEL)!;
    // A block of eight pages, one of two, and a page for the last byte: before 6.6 just the same, unless a block is missing.
    expect([skb.len, skb.dataLen, skb.shinfo!.frags.slice(0, skb.shinfo!.nrFrags).map(({ sizeBytes }) => sizeBytes), skb.truesize - empty.truesize]).toEqual([0, 0, [8 * PAGE_SIZE, 2 * PAGE_SIZE, 1], 11 * PAGE_SIZE]);
    bench.free(skb, empty);
    expect(lifetime.allocSkbWithFrags(100, MAX_SKB_FRAGS * PAGE_SIZE + 1, 0, GFP_KERNEL)).toBe(-EMSGSIZE);
    const { failPageAlloc } = bench.rig.machine.mm.faults;
    failPageAlloc.arm({ nth: 3, site: "allocSkbWithFrags" });
    expect(lifetime.allocSkbWithFrags(100, 5 * PAGE_SIZE, 0, GFP_KERNEL)).toBe(-ENOBUFS);
    failPageAlloc.disarm();
    // Without a large block it takes smaller ones.
    failPageAlloc.arm({ minOrder: 1, site: "allocSkbWithFrags" });
    const small = lifetime.allocSkbWithFrags(100, 4 * PAGE_SIZE, 2, GFP_KERNEL) as SkBuff;
    failPageAlloc.disarm();
    expect(small.shinfo!.nrFrags).toBe(4);
    bench.free(small);
    // Before 6.6 no more pages than frags, and after the first block that is missing single pages.
    const many = lifetime.allocSkbWithFrags(100, 18 * PAGE_SIZE, 3, GFP_KERNEL);
    expect(typeof many).toBe(bench.preset.net.withFragsCountsBlocks ? "object" : "number");
    if (typeof many === "object") bench.free(many);
    failPageAlloc.arm({ minOrder: 2, site: "allocSkbWithFrags" });
    const smaller = lifetime.allocSkbWithFrags(100, 8 * PAGE_SIZE, 3, GFP_KERNEL) as SkBuff;
    failPageAlloc.disarm();
    expect(smaller.shinfo!.nrFrags).toBe(bench.preset.net.withFragsCountsBlocks ? 4 : 8);
    bench.free(smaller);
    expect([bench.freePages(), lifetime.stats.live]).toEqual([before, 0]);
  });

  test(row(75, "napi_consume_skb with budget 0 in hardirq waits for the transmit softirq, which frees it as its own poll would; nothing is freed before"), () => {
    const bench = newBench();
    const { lifetime } = bench.net;
    const [a, b] = [bench.skb(60), lifetime.allocSkbFclone(60, GFP_ATOMIC)!];
    const shared = bench.skb(60);
    lifetime.skbGet(shared);
    const live: number[] = [];
    bench.hardirq(() => {
      for (const skb of [a, b, shared]) lifetime.napiConsumeSkb(skb, 0);
      live.push(lifetime.stats.live, a.users, shared.users);
    });
    expect([live, lifetime.stats.live, shared.users]).toEqual([[3, 1, 1], 1, 1]);
    // The CPU of that softirq keeps the plain one's struct, and not that of a pair.
    bench.softirq(() => expect([lifetime.napiBuildSkb(bench.page(), PAGE_SIZE) === a, lifetime.allocSkbFclone(60, GFP_ATOMIC) === b]).toEqual([true, true]));
    expect(bench.kinds()).toEqual([]);
  });

  test("a destructor does not run in hardirq: freed there by hand it is a report, by any context's free it is not", () => {
    const bench = newBench();
    let told = 0;
    const make = (): SkBuff => Object.assign(bench.skb(60), { destructor: { destruct: () => void told++ } });
    const [a, b] = [make(), make()];
    bench.hardirq(() => bench.net.lifetime.devKfreeSkbAny(a, SKB_DROP_REASON_NO_SOCKET));
    expect([told, bench.kinds()]).toEqual([1, []]);
    bench.hardirq(() => bench.net.lifetime.consumeSkb(b));
    expect([told, bench.kinds()]).toEqual([2, ["skb-destructor-hardirq"]]);
  });

  test(row(76, `a list of 40 plain skbs goes back ${newBench().preset.net.listsFreeInBulk ? "in bulks of 16, 16 and 8" : "one by one, before 6.3"}; one that is shared survives`), () => {
    const bench = newBench();
    const { lifetime } = bench.net;
    const skbs = Array.from({ length: 41 }, () => bench.skb(60));
    for (const [i, skb] of skbs.entries()) skb.next = skbs[i + 1] ?? null;
    const kept = lifetime.skbGet(skbs[7]!);
    const { bulkFrees } = lifetime.stats;
    lifetime.kfreeSkbList(skbs[0]!, SKB_DROP_REASON_NO_SOCKET);
    expect([lifetime.stats.bulkFrees - bulkFrees, lifetime.stats.live, kept.users, bench.bytes(kept).length]).toEqual([bench.preset.net.listsFreeInBulk ? 3 : 0, 1, 1, 60]);
  });

  test.each([false, true])(row(77, "a deferred free of somebody else's memory is done now if the rule of 2026 is there (%j), and waits like any other if not"), (deferSkipsZcopy) => {
    const bench = new SkbBench(preset, { deferSkipsZcopy });
    const user = bench.userBuffer();
    const skb = bench.softirq(() => bench.userPacket(user, 1).skb, 0);
    bench.softirq(() => bench.net.lifetime.skbAttemptDeferFree(skb), 1);
    expect(user.told).toEqual(bench.preset.net.defersFrees && !deferSkipsZcopy ? [] : [true]);
    bench.rig.machine.flushDeferred();
    expect(user.told).toEqual([true]);
  });
});

test("why a580ea994fd3 was reverted: a holder that the pool counts, taken for a clone's private head, is given back as a page reference", () => {
  const bench = new SkbBench("6.8", { fragRefsCountHolders: true });
  const from = bench.rig.createPool();
  const a = bench.pooled(from);
  const frag = bench.addPoolFrag(a, from);
  const b = bench.rig.clone(a);
  bench.net.edit.pskbExpandHead(b, 0, 0, GFP_KERNEL);
  expect([refs(frag), b.ppRecycle]).toEqual(["1/2", false]);
  bench.free(b);
  // Of a packet that does not recycle it was a plain one then, too.
  const plain = bench.skb(10, "slab");
  const other = bench.rig.page(from);
  bench.addFrag(plain, { netmem: other });
  bench.net.edit.pskbExpandHead(bench.rig.clone(plain), 0, 0, GFP_KERNEL);
  expect(refs(other)).toBe("2/1");
  // Free, with its signature, while A still has it and the pool counts on it.
  expect([refs(frag), bench.kinds()]).toEqual(["0/2", ["page_pool leak"]]);
});

describe("heads and what they are charged for", () => {
  const bench = new SkbBench("6.18");
  const { lifetime, edit } = bench.net;

  test("a page's head costs the whole buffer it lies in, a slab's its bucket, a small one its own cache's object", () => {
    for (const [skb, bytes] of [
      [lifetime.buildSkb(bench.page(), PAGE_SIZE)!, PAGE_SIZE], [lifetime.buildSkb(bench.page(), 2048, 1024)!, 2048],
      [lifetime.allocSkb(100, GFP_ATOMIC)!, 640], [lifetime.allocSkb(320, GFP_ATOMIC)!, 640], [lifetime.allocSkb(321, GFP_ATOMIC)!, 1024], [lifetime.allocSkb(1500, GFP_ATOMIC)!, 2048],
    ] as const) {
      expect([skb.truesize, skb.end - skb.head]).toEqual([skbTruesize(bytes - SKB_SHARED_INFO_BYTES), bytes - SKB_SHARED_INFO_BYTES]);
      expect(skb.truesize).toBe(bytes + SKB_STRUCT_BYTES);
      bench.free(skb);
    }
  });

  test.each([
    ["6.18", 256, false], ["6.18", 257, true], ["5.14", 640, false], ["5.14", 641, true], ["6.1", 641, true], ["6.18", 3712, true], ["6.18", 3713, false],
  ] as const)("%s: %i bytes for a driver are %s cut from a page, in any context", (preset, bytes, fromPage) => {
    const other = new SkbBench(preset);
    const skbs: SkBuff[] = [];
    other.hardirq(() => void skbs.push(other.net.lifetime.netdevAllocSkb(other.rig.dev, bytes, GFP_ATOMIC)!));
    skbs.push(other.net.lifetime.netdevAllocSkb(other.rig.dev, bytes, GFP_ATOMIC)!);
    skbs.push(other.softirq(() => other.net.lifetime.napiAllocSkb(other.rig.dev, bytes)!));
    expect(skbs.map(({ shinfo, data, head, dev }) => [shinfo!.headPage !== null, data - head, dev])).toEqual(skbs.map(() => [fromPage, 64, other.rig.dev]));
    // Hardirq has a cache of its own; the other two share one.
    if (fromPage) expect([skbs[0]!.shinfo!.headPage === skbs[1]!.shinfo!.headPage, skbs[1]!.shinfo!.headPage === skbs[2]!.shinfo!.headPage]).toEqual([false, true]);
    // One that may sleep is a slab's.
    expect(skbHeadFrag(other.net.lifetime.netdevAllocSkb(null, bytes, GFP_KERNEL)!)).toBe(false);
  });

  test("the first clone of a pair is its companion, the second is not; the pair is free when both are", () => {
    const a = lifetime.allocSkbFclone(60, GFP_ATOMIC)!;
    const b = lifetime.skbClone(a, GFP_ATOMIC)!;
    const c = lifetime.skbClone(a, GFP_ATOMIC)!;
    expect([b === a.companion, c === a.companion, a.fcloneRef]).toEqual([true, false, 2]);
    bench.free(a);
    const next = lifetime.allocSkbFclone(60, GFP_ATOMIC)!;
    // Half of it is out: another pair.
    expect(next).not.toBe(a);
    bench.free(b, c);
    expect(lifetime.allocSkbFclone(60, GFP_ATOMIC)).toBe(a);
  });

  test.each(["6.1", "6.8"] as const)("%s: a poll's small heads are quarters of a page, a KiB and a struct each; another driver's are a slab's", (preset) => {
    const other = new SkbBench(preset);
    const skbs = other.softirq(() => Array.from({ length: 4 }, () => other.net.lifetime.napiAllocSkb(other.rig.dev, 100)!));
    expect([new Set(skbs.map(({ shinfo }) => shinfo!.headPage)).size, skbs.map(({ truesize }) => truesize)]).toEqual([1, [1280, 1280, 1280, 1280]]);
    expect(skbHeadFrag(other.net.lifetime.netdevAllocSkb(other.rig.dev, 100, GFP_ATOMIC)!)).toBe(false);
  });

  test("a companion that came back is the next clone again", () => {
    const a = lifetime.allocSkbFclone(60, GFP_ATOMIC)!;
    bench.free(lifetime.skbClone(a, GFP_ATOMIC)!);
    expect(lifetime.skbClone(a, GFP_ATOMIC)).toBe(a.companion);
  });

  test("a reason that is none is a report; subsystems beside the core register theirs", () => {
    const { dropReasons } = bench.net;
    lifetime.kfreeSkb(bench.skb(60), 0);
    lifetime.kfreeSkb(bench.skb(60), 3 << 16);
    expect(bench.kinds()).toEqual(["skb-bad-reason", "skb-bad-reason"]);
    const name = (reason: number): string => dropReasons.reasonName((1 << 16) | reason);
    dropReasons.registerSubsys(1, ["A", "B"]);
    expect([dropReasons.reasonName(SKB_CONSUMED), name(0), name(1), dropReasons.reasonName(2 << 16)]).toEqual(["CONSUMED", "A", "B", "reason 131072"]);
    // The later list takes the place of the earlier one.
    dropReasons.registerSubsys(1, ["C"]);
    expect([name(0), name(1)]).toEqual(["C", "reason 65537"]);
    dropReasons.unregisterSubsys(1);
    expect(name(0)).toBe("reason 65536");
    for (const subsys of [0, 3, -1]) {
      dropReasons.registerSubsys(subsys, ["X"]);
      dropReasons.unregisterSubsys(subsys);
    }
    expect([bench.kinds().slice(2), dropReasons.reasonName(0)]).toEqual([Array.from({ length: 6 }, () => "drop-reason-subsys"), "NOT_DROPPED_YET"]);
    expect(edit.skbPull(bench.skb(4), 5)).toBe(false);
  });
});
