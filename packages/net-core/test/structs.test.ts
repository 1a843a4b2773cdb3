import { describe, expect, test } from "vitest";
import { KernelPanic, NET_RX_SOFTIRQ } from "@netmem/kernel/api";
import { GFP_ATOMIC, PAGE_SIZE, __GFP_MEMALLOC, pageIsPfmemalloc, type Page } from "@netmem/mm/api";
import {
  NAPI_GRO_FREE_STOLEN_HEAD, SKB_ALLOC_RX, SKB_CONSUMED, SKB_DROP_REASON_NOT_SPECIFIED, SKB_DROP_REASON_NO_SOCKET, SKB_DROP_REASON_SOCKET_RCVBUFF, skbHeadFrag, skbTruesize, type SkBuff,
} from "../src/api/index.ts";
import { NetRig } from "./rig.ts";

describe("where structs come from, and go to", () => {
  /** A struct that CPU 0 keeps, and the slab's first. */
  function kept(rig: NetRig): readonly [SkBuff, SkBuff] {
    const { lifetime } = rig.net;
    const [mine, slabs] = [lifetime.allocSkb(10, GFP_ATOMIC)!, lifetime.allocSkb(10, GFP_ATOMIC)!];
    lifetime.consumeSkb(slabs);
    rig.softirq(0, () => lifetime.napiConsumeSkb(mine, 64));
    return [mine, slabs];
  }

  test.each([
    ["napi_build_skb", true], ["napi_alloc_skb, small", true], ["napi_alloc_skb, a quarter", true], ["napi_alloc_skb", true], ["build_skb", false], ["alloc_skb", false], ["netdev_alloc_skb", false], ["slab_build_skb", false], ["__alloc_skb with NAPI, of another node", false],
  ] as const)("%s: the CPU's own %j", (what, own) => {
    const rig = new NetRig({ napiCutsQuarters: what === "napi_alloc_skb, a quarter" });
    const { lifetime } = rig.net;
    const [mine, slabs] = kept(rig);
    const births: Readonly<Record<typeof what, () => SkBuff | null>> = {
      napi_build_skb: () => lifetime.napiBuildSkb(rig.page(), PAGE_SIZE),
      "napi_alloc_skb, small": () => lifetime.napiAllocSkb(rig.dev, 60),
      "napi_alloc_skb, a quarter": () => lifetime.napiAllocSkb(rig.dev, 60),
      napi_alloc_skb: () => lifetime.napiAllocSkb(rig.dev, 2000),
      build_skb: () => lifetime.buildSkb(rig.page(), PAGE_SIZE),
      alloc_skb: () => lifetime.allocSkb(60, GFP_ATOMIC),
      netdev_alloc_skb: () => lifetime.netdevAllocSkb(null, 2000, GFP_ATOMIC),
      slab_build_skb: () => lifetime.slabBuildSkb(rig.mm.slab.kmalloc(1024, GFP_ATOMIC)!),
      "__alloc_skb with NAPI, of another node": () => lifetime.allocSkbOnNode(60, GFP_ATOMIC, 4, 1),
    };
    const twoNodes = what === "__alloc_skb with NAPI, of another node" ? new NetRig({}, 0, [0, 1]) : null;
    if (twoNodes === null) {
      rig.softirq(0, () => void expect(births[what]() === (own ? mine : slabs)).toBe(true));
      return;
    }
    const [, theirs] = kept(twoNodes);
    twoNodes.softirq(0, () => void expect(twoNodes.net.lifetime.allocSkbOnNode(60, GFP_ATOMIC, 4, 1)).toBe(theirs));
  });

  test.each([
    ["consume_skb", false], ["kfree_skb_list", false], ["napi_consume_skb", true], ["a merged packet's", true], ["a coalesced packet's", false], ["deferred", true], ["freed in hardirq", true],
  ] as const)("%s: to the CPU %j", (what, keeps) => {
    const rig = new NetRig();
    const { lifetime } = rig.net;
    const skb = rig.skb();
    const page = skb.shinfo!.headPage!;
    if (what === "freed in hardirq") rig.hardirq(0, () => lifetime.devConsumeSkbAny(skb));
    else if (what === "deferred") {
      rig.softirq(1, () => lifetime.skbAttemptDeferFree(skb));
      rig.kernel.softirqs.raiseSoftirq(0, NET_RX_SOFTIRQ);
      rig.kernel.scheduler.runFor(0);
    } else rig.softirq(0, () => {
      if (what === "consume_skb") lifetime.consumeSkb(skb);
      else if (what === "kfree_skb_list") lifetime.kfreeSkbList(skb, SKB_DROP_REASON_NO_SOCKET);
      else if (what === "napi_consume_skb") lifetime.napiConsumeSkb(skb, 64);
      else if (what === "a coalesced packet's") lifetime.kfreeSkbPartial(skb, true);
      else {
        skb.gro.free = NAPI_GRO_FREE_STOLEN_HEAD;
        lifetime.napiSkbFinishMerged(skb);
      }
    });
    if (what === "a merged packet's" || what === "a coalesced packet's") rig.mm.pages.putPage(page);
    rig.softirq(0, () => void expect(lifetime.napiBuildSkb(rig.page(), PAGE_SIZE) === skb).toBe(keeps));
  });

  test("a shared info that another packet had knows nothing of it", () => {
    const rig = new NetRig();
    const { lifetime } = rig.net;
    const old = rig.skb();
    const info = old.shinfo!;
    Object.assign(info, { gsoSize: 1, gsoSegs: 2, gsoType: 3, metaLen: 4, flags: 32 });
    lifetime.consumeSkb(old);
    const skb = rig.skb();
    expect(skb.shinfo).toBe(info);
    expect([info.gsoSize, info.gsoSegs, info.gsoType, info.metaLen, info.flags, info.nrFrags, info.fragList, info.uarg, info.dataref]).toEqual([0, 0, 0, 0, 0, 0, null, null, 1]);
  });

  test("no CPU keeps the struct of a pair: both halves go back to the pair, and the next pair is this one", () => {
    const rig = new NetRig();
    const { lifetime } = rig.net;
    const orig = lifetime.allocSkbFclone(60, GFP_ATOMIC)!;
    const clone = lifetime.skbClone(orig, GFP_ATOMIC)!;
    rig.softirq(0, () => {
      lifetime.napiConsumeSkb(clone, 64);
      lifetime.napiConsumeSkb(orig, 64);
      const next = [lifetime.napiBuildSkb(rig.page(), PAGE_SIZE), lifetime.buildSkb(rig.page(), PAGE_SIZE)];
      expect([next.includes(orig), next.includes(clone), lifetime.allocSkbFclone(60, GFP_ATOMIC) === orig]).toEqual([false, false, true]);
    });
  });

  test("a packet whose head was stolen: its socket is told all the same", () => {
    const rig = new NetRig();
    const { lifetime } = rig.net;
    let told = 0;
    for (const merged of [true, false]) {
      const skb = Object.assign(rig.skb(), { destructor: { destruct: () => void told++ } });
      skb.gro.free = NAPI_GRO_FREE_STOLEN_HEAD;
      rig.softirq(0, () => {
        if (merged) lifetime.napiSkbFinishMerged(skb);
        else lifetime.kfreeSkbPartial(skb, true);
      });
    }
    expect(told).toBe(2);
  });
});

describe("how packets end", () => {
  test("in hardirq they wait, and are freed last in, first out, each for its reason", () => {
    const rig = new NetRig();
    const { lifetime } = rig.net;
    rig.hardirq(0, () => {
      lifetime.devKfreeSkbAny(rig.skb(10), SKB_DROP_REASON_NO_SOCKET);
      lifetime.devKfreeSkbAny(rig.skb(20), SKB_DROP_REASON_SOCKET_RCVBUFF);
      lifetime.devConsumeSkbAny(rig.skb(30));
      expect(rig.freed).toEqual([]);
    });
    expect(rig.freed).toEqual([`30 ${SKB_CONSUMED}`, `20 ${SKB_DROP_REASON_SOCKET_RCVBUFF}`, `10 ${SKB_DROP_REASON_NO_SOCKET}`]);
  });

  const REASON = SKB_DROP_REASON_SOCKET_RCVBUFF;
  const NONE = SKB_DROP_REASON_NOT_SPECIFIED;
  test.each([
    ["kfree_skb", true, REASON, NONE], ["consume_skb", true, SKB_CONSUMED, NONE], ["kfree_skb_list", true, REASON, REASON], ["napi_consume_skb", true, SKB_CONSUMED, SKB_CONSUMED], ["kfree_skb_list of a pair's", true, REASON, NONE],
    ["napi_consume_skb of a pair's", true, SKB_CONSUMED, NONE], ["in hardirq", true, REASON, REASON], ["kfree_skb_list", false, REASON, NONE], ["napi_consume_skb", false, SKB_CONSUMED, NONE],
  ] as const)("%s, releaseKeepsReason %j: a packet ends for %i, the members of its frag list for %i", (how, releaseKeepsReason, own, members) => {
    const rig = new NetRig({ releaseKeepsReason });
    const { lifetime } = rig.net;
    const skb = how.endsWith("pair's") ? lifetime.allocSkbFclone(10, GFP_ATOMIC)! : rig.skb(0);
    const member = rig.skb(20);
    skb.shinfo!.fragList = member;
    skb.len += member.len;
    skb.dataLen += member.len;
    if (how === "in hardirq") rig.hardirq(0, () => lifetime.devKfreeSkbAny(skb, REASON));
    else rig.softirq(0, () => {
      if (how === "kfree_skb") lifetime.kfreeSkb(skb, REASON);
      else if (how === "consume_skb") lifetime.consumeSkb(skb);
      else if (how.startsWith("kfree_skb_list")) lifetime.kfreeSkbList(skb, REASON);
      else lifetime.napiConsumeSkb(skb, 64);
    });
    // The same number of bytes in both.
    expect(rig.freed).toEqual([`20 ${own}`, `20 ${members}`]);
  });

  test.each(["in hardirq", "deferred"] as const)("freed while it waits, %s: reported, and no free struct is lost or had twice", (how) => {
    const rig = new NetRig();
    const { lifetime } = rig.net;
    const [before, twice, behind] = [rig.skb(10), rig.skb(20), rig.skb(30)];
    if (how === "in hardirq") rig.hardirq(0, () => {
      for (const skb of [behind, twice, before]) lifetime.devConsumeSkbAny(skb);
      lifetime.consumeSkb(twice);
    });
    else rig.softirq(1, () => {
      for (const skb of [behind, twice, before]) lifetime.skbAttemptDeferFree(skb);
      lifetime.consumeSkb(twice);
    });
    rig.kernel.softirqs.raiseSoftirq(0, NET_RX_SOFTIRQ);
    rig.kernel.scheduler.runFor(0);
    // Where the list goes on is lost with it.
    expect([rig.freed.length, rig.kinds(), lifetime.stats.live]).toEqual([2, ["skb-use-after-free"], 1]);
  });

  test.each<readonly [string, (rig: NetRig, gone: SkBuff) => unknown]>([
    ["expand", (rig, gone) => rig.net.edit.pskbExpandHead(gone, 0, 0, GFP_ATOMIC)], ["copy", (rig, gone) => rig.net.edit.skbCopy(gone, GFP_ATOMIC)], ["add a frag", (rig, gone) => rig.net.edit.skbAddRxFrag(gone, rig.page(), 0, 1, 1)],
    ["release its header", (rig, gone) => rig.net.edit.skbHeaderRelease(gone)], ["coalesce", (rig, gone) => rig.net.merge.skbTryCoalesce(rig.skb(), gone, { stolen: false, deltaTruesize: 0 })], ["orphan", (rig, gone) => rig.net.zerocopy.skbOrphanFrags(gone, GFP_ATOMIC)],
    ["read", (rig, gone) => rig.net.edit.skbCopyBits(gone, 0, rig.page().region, 0, 1)], ["segment", (rig, gone) => rig.net.merge.skbSegment(gone, { sg: true, gso: false })],
  ])("%s what is free: the machine stops", (_what, use) => {
    const rig = new NetRig();
    const gone = rig.skb(10);
    gone.macHeader = gone.data;
    rig.net.lifetime.consumeSkb(gone);
    expect(() => use(rig, gone)).toThrow(KernelPanic);
    expect(rig.kinds()).toEqual(["skb-use-after-free"]);
  });

  test("the struct of what is free goes nowhere a second time", () => {
    const rig = new NetRig();
    const { lifetime } = rig.net;
    const gone = rig.skb(10);
    lifetime.consumeSkb(gone);
    lifetime.kfreeSkbPartial(gone, true);
    gone.gro.free = NAPI_GRO_FREE_STOLEN_HEAD;
    rig.softirq(0, () => lifetime.napiSkbFinishMerged(gone));
    expect([rig.kernel.reports.total, lifetime.stats.live]).toEqual([2, 0]);
  });

  test("share_check without a struct drops the share, and answers null", () => {
    const rig = new NetRig();
    const { lifetime } = rig.net;
    const skb = lifetime.skbGet(rig.skb());
    const structs = rig.mm.faults.failFunction("skbuffAlloc");
    structs.arm({});
    expect([lifetime.skbShareCheck(skb, GFP_ATOMIC), skb.users, skb.shinfo!.dataref]).toEqual([null, 1, 1]);
    structs.disarm();
    expect(lifetime.skbShareCheck(skb, GFP_ATOMIC)).toBe(skb);
  });

  test("unshare without memory drops the packet, and the other keeps the data", () => {
    const rig = new NetRig();
    const { lifetime, edit } = rig.net;
    const skb = rig.skb();
    const clone = lifetime.skbClone(skb, GFP_ATOMIC)!;
    rig.mm.faults.failSlab.arm({});
    expect([edit.skbUnshare(clone, GFP_ATOMIC), skb.shinfo!.dataref, rig.freed.length]).toEqual([null, 1, 1]);
    rig.mm.faults.failSlab.disarm();
  });

  test.each([[16, true, 1], [17, true, 2], [33, true, 3], [1, true, 1], [33, false, 0]])("a list of %i structs, listsFreeInBulk %j, goes back in %i bulks, sixteen at a time", (n, listsFreeInBulk, bulks) => {
    const rig = new NetRig({ listsFreeInBulk });
    const skbs = Array.from({ length: n }, () => rig.skb());
    for (const [i, skb] of skbs.entries()) skb.next = skbs[i + 1] ?? null;
    rig.net.lifetime.kfreeSkbList(skbs[0]!, SKB_DROP_REASON_NO_SOCKET);
    expect(rig.net.lifetime.stats.bulkFrees).toBe(bulks);
  });
});

describe("memory of the reserves", () => {
  /** A page that only those may have who free memory. */
  function reservePage(rig: NetRig, order: number = 0): Page {
    while (rig.mm.pages.allocPages(GFP_ATOMIC, order, -1) !== null);
    const page = rig.mm.pages.allocPages(GFP_ATOMIC | __GFP_MEMALLOC, order, -1)!;
    expect(pageIsPfmemalloc(page)).toBe(true);
    return page;
  }

  test("a head or a frag of them marks the packet, and so its clones; the tail of a block is asked by its head", () => {
    const rig = new NetRig();
    const { lifetime, edit } = rig.net;
    const structs = [lifetime.buildSkb(rig.page(), PAGE_SIZE)!, lifetime.buildSkb(rig.page(), PAGE_SIZE)!];
    expect(structs.map(({ pfmemalloc }) => pfmemalloc)).toEqual([false, false]);
    const plain = structs[0]!;
    const page = reservePage(rig);
    const skb = lifetime.buildSkb(page, PAGE_SIZE)!;
    expect([skb.pfmemalloc, lifetime.skbClone(skb, GFP_ATOMIC)!.pfmemalloc]).toEqual([true, true]);
    edit.skbAddRxFrag(plain, reservePage(rig), 0, 10, PAGE_SIZE);
    expect(plain.pfmemalloc).toBe(true);
  });

  test("what takes frags over as they are marks nothing: a copy of the head, coalescing, GRO, skb_zerocopy, segments", () => {
    const rig = new NetRig();
    const { lifetime, edit, merge, zerocopy } = rig.net;
    const make = (): SkBuff => {
      const skb = rig.skb(60);
      edit.skbAddRxFrag(skb, rig.page(), 0, 40, PAGE_SIZE);
      return skb;
    };
    const skbs = [make(), make(), make(), make()];
    const [a, b, c, d] = skbs as [SkBuff, SkBuff, SkBuff, SkBuff];
    const [to, p] = [rig.skb(10), rig.skb(10)];
    edit.skbAddRxFrag(to, rig.page(), 0, 10, PAGE_SIZE);
    const other = lifetime.allocSkb(60, GFP_ATOMIC)!;
    // Their frags' pages turn out to be the reserves'; the packets had not noticed.
    const reserve = reservePage(rig);
    for (const skb of skbs) skb.shinfo!.frags[0]!.netmem = reserve;
    rig.mm.pages.pageRefAdd(reserve, 3);
    d.macHeader = d.data;
    Object.assign(d.shinfo!, { gsoSize: 100 });
    p.dev = rig.dev;
    merge.groStart(p, 0);
    merge.groHold(p);
    merge.groStart(c, 20);
    rig.mm.slab.kfree(rig.mm.slab.kmalloc(8, GFP_ATOMIC | __GFP_MEMALLOC)!);
    expect([merge.skbTryCoalesce(to, b, { stolen: false, deltaTruesize: 0 }), merge.skbGroReceive(p, c), zerocopy.skbZerocopy(other, a, 100, 60)]).toEqual([true, 0, 0]);
    expect([to, p, other].map(({ pfmemalloc }) => pfmemalloc)).toEqual([false, false, false]);
  });

  test("so does a frag of alloc_skb_with_frags", () => {
    const rig = new NetRig();
    const { lifetime } = rig.net;
    const plain = lifetime.allocSkbWithFrags(60, 100, 0, GFP_ATOMIC) as SkBuff;
    const head = lifetime.allocSkb(60, GFP_ATOMIC)!;
    while (rig.mm.pages.allocPages(GFP_ATOMIC, 0, -1) !== null);
    lifetime.consumeSkb(head);
    const skb = lifetime.allocSkbWithFrags(60, 100, 0, GFP_ATOMIC | __GFP_MEMALLOC) as SkBuff;
    expect([plain.pfmemalloc, skb.pfmemalloc, skb.shinfo!.frags[0]!.netmem!.isNetIov]).toEqual([false, true, false]);
  });

  test("of a block's later pages the head says it", () => {
    const rig = new NetRig();
    const skb = rig.skb();
    const head = reservePage(rig, 1);
    const tail = rig.mm.pages.pages[head.pfn - rig.mm.pages.pages[0]!.pfn + 1]!;
    tail.head = head;
    rig.net.edit.skbAddRxFrag(skb, tail, 0, 10, PAGE_SIZE);
    expect(skb.pfmemalloc).toBe(true);
  });

  test("a slab head of the second try says so, one of the first does not, though its slab came of the reserves; built over an object it never does", () => {
    const rig = new NetRig();
    const { lifetime } = rig.net;
    lifetime.skSetMemalloc();
    expect(lifetime.allocSkbOnNode(100, GFP_ATOMIC, SKB_ALLOC_RX, -1)!.pfmemalloc).toBe(false);
    const { failSlab } = rig.mm.faults;
    failSlab.arm({ nth: 1 });
    const skb = lifetime.allocSkbOnNode(100, GFP_ATOMIC, SKB_ALLOC_RX, -1)!;
    failSlab.disarm();
    expect(skb.pfmemalloc).toBe(true);
    expect(lifetime.allocSkbOnNode(100, GFP_ATOMIC, SKB_ALLOC_RX, -1)!.pfmemalloc).toBe(false);
    // Not received: it may not.
    failSlab.arm({ nth: 1 });
    expect(lifetime.allocSkbOnNode(100, GFP_ATOMIC, 0, -1)).toBeNull();
    failSlab.disarm();
    lifetime.skClearMemalloc();
    failSlab.arm({ nth: 1 });
    expect(lifetime.allocSkbOnNode(100, GFP_ATOMIC, SKB_ALLOC_RX, -1)).toBeNull();
    failSlab.disarm();
    while (rig.mm.pages.allocPages(GFP_ATOMIC, 0, -1) !== null);
    const object = rig.mm.slab.kmalloc(4096, GFP_ATOMIC | __GFP_MEMALLOC)!;
    expect([object.pfmemalloc, lifetime.slabBuildSkb(object)!.pfmemalloc]).toEqual([true, false]);
  });

  test("the head of a packet of the reserves may grow out of them", () => {
    const rig = new NetRig();
    const { lifetime, edit } = rig.net;
    const plain = rig.skb();
    while (rig.mm.slab.kmalloc(8192, GFP_ATOMIC) !== null);
    while (rig.mm.pages.allocPages(GFP_ATOMIC, 0, -1) !== null);
    const skb = lifetime.buildSkb(rig.mm.pages.allocPages(GFP_ATOMIC | __GFP_MEMALLOC, 0, -1)!, PAGE_SIZE)!;
    expect([edit.pskbExpandHead(plain, 0, 100, GFP_ATOMIC), edit.pskbExpandHead(skb, 0, 100, GFP_ATOMIC), skb.pfmemalloc]).toEqual([-12, 0, true]);
  });
});

describe("heads that are cut from pages", () => {
  test("from 6.1 to 6.13 a poll's small heads are quarters of a page, charged a KiB and a struct; the page is free when all four are", () => {
    const rig = new NetRig({ napiCutsQuarters: true, allocatesSmallHeads: false });
    const { lifetime } = rig.net;
    const before = rig.freePages();
    const skbs: SkBuff[] = [];
    rig.softirq(0, () => {
      for (let i = 0; i < 8; i++) skbs.push(lifetime.napiAllocSkb(rig.dev, 100)!);
    });
    const pages = skbs.map(({ shinfo }) => shinfo!.headPage!);
    expect(new Set(pages).size).toBe(2);
    expect(skbs.map(({ head }, i) => head - pages[i]!.base)).toEqual([3072, 2048, 1024, 0, 3072, 2048, 1024, 0]);
    expect(skbs.every((skb) => skbHeadFrag(skb) && skb.truesize === 1280 && skb.truesize === skbTruesize(1024 - 320) && skb.data - skb.head === 64)).toBe(true);
    expect([pages[0]!.refcount, pages[4]!.refcount]).toEqual([4, 4]);
    for (const skb of skbs) lifetime.consumeSkb(skb);
    expect([pages[0]!.refcount, rig.freePages()]).toEqual([0, before]);
  });

  test.each([[true, 640, true], [true, 641, true], [false, 640, false], [false, 641, true]])("quarters %j: a poll's head of %i bytes is a page's %j; another driver's is a slab's up to 640", (napiCutsQuarters, bytes, fromPage) => {
    const rig = new NetRig({ napiCutsQuarters, allocatesSmallHeads: false });
    const { lifetime } = rig.net;
    rig.softirq(0, () => {
      const skb = lifetime.napiAllocSkb(rig.dev, bytes)!;
      expect([skbHeadFrag(skb), skb.end - skb.head]).toEqual([fromPage, bytes === 640 ? 704 : 704 + (fromPage ? 64 : 0)]);
      expect(skbHeadFrag(lifetime.netdevAllocSkb(rig.dev, bytes, GFP_ATOMIC)!)).toBe(bytes > 640);
    });
  });

  test("without a struct a quarter is given back, without memory there is none", () => {
    const rig = new NetRig({ napiCutsQuarters: true, allocatesSmallHeads: false });
    const { lifetime } = rig.net;
    rig.softirq(0, () => {
      const page = lifetime.napiAllocSkb(rig.dev, 100)!.shinfo!.headPage!;
      const structs = rig.mm.faults.failFunction("skbuffAlloc");
      structs.arm({});
      expect([lifetime.napiAllocSkb(rig.dev, 100), page.refcount]).toEqual([null, 3]);
      structs.disarm();
    });
    const starved = new NetRig({ napiCutsQuarters: true, allocatesSmallHeads: false });
    starved.mm.faults.failPageAlloc.arm({});
    starved.softirq(0, () => void expect(starved.net.lifetime.napiAllocSkb(starved.dev, 100)).toBeNull());
  });

  test.each([[true, ["slab-wrong-cache"]], [false, []]] as const)("smallHeadsByEnd %j: a head that ends where a small one does, but is none, is given to the wrong cache, and back to its own", (smallHeadsByEnd, kinds) => {
    const rig = new NetRig({ smallHeadsByEnd });
    const cache = rig.mm.slab.createCache("mine", 640, 64);
    const skb = rig.net.lifetime.slabBuildSkb(rig.mm.slab.cacheAlloc(cache, GFP_ATOMIC, -1)!)!;
    rig.net.lifetime.consumeSkb(rig.net.lifetime.allocSkb(100, GFP_ATOMIC)!);
    rig.net.lifetime.consumeSkb(skb);
    expect([rig.kinds(), cache.objectsInUse()]).toEqual([kinds, 0]);
  });
});
