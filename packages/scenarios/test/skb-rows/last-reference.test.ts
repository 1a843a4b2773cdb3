import { describe, expect, test } from "vitest";
import { NSEC_PER_SEC } from "@netmem/kernel/api";
import { GFP_ATOMIC, GFP_KERNEL, PAGE_PFMEMALLOC_BIT, __GFP_COMP, type Page } from "@netmem/mm/api";
import { skbCloned, skbHeadFrag } from "@netmem/net-core/api";
import { POLICIES, Rig, refs, type RigPool } from "../rig.ts";

/** A recycling skb A with one pool frag, its clone B with a private head: row 44. */
function expandedClone(rig: Rig) {
  const from = rig.createPool();
  const frag = rig.page(from);
  const a = rig.recyclingSkb(from, [{ netmem: frag, mem: from.mem }]);
  const b = rig.clone(a);
  expect(rig.machine.net.edit.pskbExpandHead(b, 0, 0, GFP_KERNEL)).toBe(0);
  return { from, frag, a, b };
}

/** Out of the pool: unmapped, mark and owner gone. */
function expectLeft(page: Page): void {
  expect({ magic: page.ppMagic, pp: page.pp, dma: page.dmaAddr }).toEqual({ magic: 0, pp: null, dma: 0 });
}

/** Idle in the pool, as it was handed out: marked, mapped, 1/1. */
function expectIdle({ pool }: RigPool, page: Page): void {
  expect(refs(page)).toBe("1/1");
  expect(page.pp).toBe(pool);
  expect(page.dmaAddr).toBeGreaterThan(0);
}

/** Every row holds by either way home: through the pointer in the page, or through the registry. */
const DESIGNS = POLICIES.flatMap((policy) => (["pool-pointer", "mem-info"] as const).map((returnPath) => ({ policy, returnPath })));

describe.each(DESIGNS)("rows of skb-mm 4.3 on clone, expand and last reference under $policy, by $returnPath", ({ policy, returnPath }) => {
  const row = (n: number, title: string): string => `skb-mm row ${n} [${policy}${returnPath === "mem-info" ? ", mem-info" : ""}]: ${title}`;
  const lastReference = policy === "last-reference";
  const newRig = (): Rig => new Rig({ preset: "6.18", sharedRelease: policy, returnPath });

  test(row(39, "a clone raises dataref to 2, marks both as cloned, shares the head, and leaves page counters alone"), () => {
    const rig = newRig();
    const from = rig.createPool();
    const frag = rig.page(from);
    const skb = rig.recyclingSkb(from, [{ netmem: frag, mem: from.mem }]);
    const clone = rig.clone(skb);
    expect(skb.shinfo!.dataref).toBe(2);
    expect(clone.shinfo).toBe(skb.shinfo);
    expect([skb.cloned, clone.cloned, skbCloned(skb), skbCloned(clone)]).toEqual([true, true, true, true]);
    expect([clone.head, clone.shinfo!.headPage, clone.ppRecycle, clone.users]).toEqual([skb.head, skb.shinfo!.headPage, true, 1]);
    expect([refs(frag), refs(skb.shinfo!.headPage!)]).toEqual(["1/1", "1/1"]);
  });

  test(row(40, "freeing one of two clones touches no page, and that clone loses its recycle bit"), () => {
    const rig = newRig();
    const from = rig.createPool();
    const frag = rig.page(from);
    const skb = rig.recyclingSkb(from, [{ netmem: frag, mem: from.mem }]);
    const clone = rig.clone(skb);
    const head = skb.shinfo!.headPage!;
    rig.free(clone);
    expect(clone.ppRecycle).toBe(false);
    expect([skb.ppRecycle, skb.shinfo!.dataref, refs(frag), refs(head)]).toEqual([true, 1, "1/1", "1/1"]);
    expect(from.pool.ringCount()).toBe(0);
  });

  test(row(41, "freeing the second clone recycles head and frag"), () => {
    const rig = newRig();
    const from = rig.createPool();
    const frag = rig.page(from);
    const skb = rig.recyclingSkb(from, [{ netmem: frag, mem: from.mem }]);
    const head = skb.shinfo!.headPage!;
    rig.free(rig.clone(skb));
    rig.free(skb);
    expect(from.pool.recycleStats.ring).toBe(2);
    expectIdle(from, frag);
    expectIdle(from, head);
  });

  test(row(44, `expanding the clone takes a page reference, frag 2/1; the clone ${lastReference ? "keeps" : "loses"} its bit, its head is slab`), () => {
    const { frag, a, b } = expandedClone(newRig());
    expect(refs(frag)).toBe("2/1");
    expect({ bit: b.ppRecycle, headFrag: skbHeadFrag(b), dataref: b.shinfo!.dataref, cloned: b.cloned }).toEqual({ bit: lastReference, headFrag: false, dataref: 1, cloned: false });
    expect({ bit: a.ppRecycle, dataref: a.shinfo!.dataref, headFrag: skbHeadFrag(a) }).toEqual({ bit: true, dataref: 1, headFrag: true });
  });

  test(row(45, "free B then A: B only puts its reference, A recycles"), () => {
    const rig = newRig();
    const { from, frag, a, b } = expandedClone(rig);
    const before = from.pool.inflight();
    rig.free(b);
    expect(refs(frag)).toBe("1/1");
    expect(from.pool.recycleStats.ring).toBe(0);
    rig.free(a);
    expectIdle(from, frag);
    expect([from.pool.recycleStats.ring, from.pool.inflight()]).toEqual([2, before]);
  });

  test(row(46, lastReference ? "free A then B: A's put lowers to 1 and the page stays mapped; B recycles it" : "free A then B leaves the pool; B's put frees to the page allocator"), () => {
    const rig = newRig();
    const { from, frag, a, b } = expandedClone(rig);
    const { pool } = from;
    const before = pool.inflight();
    rig.free(a);
    if (lastReference) {
      expectIdle(from, frag);
      expect(pool.inflight()).toBe(before);
      rig.free(b);
      expectIdle(from, frag);
      expect([pool.recycleStats.ring, pool.recycleStats.releasedRefcnt, pool.inflight()]).toEqual([2, 0, before]);
    } else {
      expectLeft(frag);
      expect([frag.refcount, pool.recycleStats.releasedRefcnt, pool.inflight()]).toEqual([1, 1, before - 1]);
      const free = rig.machine.mm.pages.freePages();
      rig.free(b);
      expect(frag.refcount).toBe(0);
      expect(rig.machine.mm.pages.freePages()).toBe(free + 1);
    }
    expect(rig.reportKinds()).toEqual([]);
  });

  test(row(47, lastReference ? "row 46, pool destroyed between A and B: destroy waits for B" : "row 46, pool destroyed between A and B: destroy does not wait for B"), () => {
    const rig = newRig();
    const { from, a, b } = expandedClone(rig);
    const { pool } = from;
    rig.free(a);
    rig.destroyPool(from);
    expect(pool.dead).toBe(!lastReference);
    expect(pool.inflight()).toBe(lastReference ? 1 : 0);
    rig.free(b);
    rig.machine.kernel.scheduler.runFor(2 * NSEC_PER_SEC);
    expect([pool.dead, pool.inflight(), rig.dma.liveMappings()]).toEqual([true, 0, 0]);
    rig.machine.mm.slab.shrink();
    expect(rig.machine.mm.pages.freePages()).toBe(rig.machine.mm.pages.nrPages);
    expect(rig.reportKinds()).toEqual([]);
  });

  test(row(48, "expanding an uncloned recycling skb recycles its old head; frags stay 1/1, the bit stays"), () => {
    const rig = newRig();
    const from = rig.createPool();
    const frag = rig.page(from);
    const skb = rig.recyclingSkb(from, [{ netmem: frag, mem: from.mem }]);
    const head = skb.shinfo!.headPage!;
    expect(rig.machine.net.edit.pskbExpandHead(skb, 16, 0, GFP_KERNEL)).toBe(0);
    expectIdle(from, head);
    expect(from.pool.recycleStats.ring).toBe(1);
    expect([refs(frag), skb.ppRecycle, skbHeadFrag(skb)]).toEqual(["1/1", true, false]);
    rig.free(skb);
    expect(from.pool.recycleStats.ring).toBe(2);
  });

  test(row(50, "slab head, pool frag, ordinary page and net_iov in one skb: each goes home by its own type"), () => {
    const rig = newRig();
    const { mm } = rig.machine;
    const from = rig.createPool();
    const device = rig.createDevicePool(4);
    const fromPool = rig.page(from);
    const ordinary = mm.pages.allocPages(GFP_ATOMIC, 0, -1)!;
    const niov = device.pool.allocNetmems(GFP_ATOMIC)!;
    const objects = mm.slab.objectsInUse();
    const skb = rig.slabHeadSkb([{ netmem: fromPool, mem: from.mem }, { netmem: ordinary, mem: null }, { netmem: niov, mem: device.mem }]);
    const free = mm.pages.freePages();
    expect([skb.unreadable, skbHeadFrag(skb), mm.slab.objectsInUse()]).toEqual([true, false, objects + 1]);
    rig.free(skb);
    expect(mm.slab.objectsInUse()).toBe(objects);
    expectIdle(from, fromPool);
    expect([ordinary.refcount, mm.pages.freePages()]).toEqual([0, free + 1]);
    expect([device.pool.recycleStats.ring, device.pool.inflight(), device.provider!.free.length]).toEqual([1, 4, 0]);
    rig.destroyPool(device);
    expect([device.pool.dead, device.provider!.free.length, device.provider!.pools.length]).toEqual([true, 4, 0]);
    expect(rig.reportKinds()).toEqual([]);
  });

  test(row(51, "frags of two pools in one skb each return to their own"), () => {
    const rig = newRig();
    const [one, two] = [rig.createPool(), rig.createPool()];
    const [p1, p2] = [rig.page(one), rig.page(two)];
    rig.free(rig.slabHeadSkb([{ netmem: p1, mem: one.mem }, { netmem: p2, mem: two.mem }]));
    expectIdle(one, p1);
    expectIdle(two, p2);
    expect([one.pool.recycleStats.ring, two.pool.recycleStats.ring]).toEqual([1, 1]);
  });

  test(row(52, "a pool frag in an skb without the bit is freed with its signature: leak report, still mapped, in flight for ever"), () => {
    const rig = newRig();
    const from = rig.createPool();
    const frag = rig.page(from);
    rig.free(rig.slabHeadSkb([{ netmem: frag, mem: null }]));
    expect(rig.reportKinds()).toEqual(["page_pool leak"]);
    expect([frag.refcount, frag.dmaAddr > 0, from.pool.inflight()]).toEqual([0, true, 64]);
    rig.destroyPool(from);
    rig.machine.kernel.scheduler.runFor(10 * NSEC_PER_SEC);
    expect([from.pool.dead, from.pool.inflight()]).toEqual([false, 1]);
  });

  if (policy === "pp-ref-count") {
    test(row(53, "a page at 1/2: the first of two puts does nothing, the second recycles and leaves 1/1"), () => {
      const rig = newRig();
      const from = rig.createPool();
      const page = rig.page(from);
      from.pool.refNetmem(page);
      expect(refs(page)).toBe("1/2");
      from.pool.putFullNetmem(page, false);
      expect([refs(page), from.pool.recycleStats.ring]).toEqual(["1/1", 0]);
      from.pool.putFullNetmem(page, false);
      expectIdle(from, page);
      expect(from.pool.recycleStats.ring).toBe(1);
    });
  } else {
    test(row(53, lastReference ? "holders are plain references: at 2/1 the first put lowers to 1, the second recycles" : "holders are plain references: at 2/1 the first put takes the page out of the pool"), () => {
      const rig = newRig();
      const from = rig.createPool();
      const page = rig.page(from);
      from.pool.refNetmem(page);
      expect(refs(page)).toBe("2/1");
      from.pool.putFullNetmem(page, false);
      if (!lastReference) {
        expectLeft(page);
        expect([page.refcount, from.pool.recycleStats.releasedRefcnt]).toEqual([1, 1]);
        return;
      }
      expect([refs(page), from.pool.recycleStats.ring]).toEqual(["1/1", 0]);
      from.pool.putFullNetmem(page, false);
      expectIdle(from, page);
      expect(from.pool.recycleStats.ring).toBe(1);
    });
  }

  // The kernel does not notice, and may then have it in the pool twice; our pool keeps a record of its own.
  test(row(54, "a page at 1/1 put twice: its counts do not show it; the pool reports it, and has it once"), () => {
    const rig = newRig();
    const from = rig.createPool();
    const page = rig.page(from);
    from.pool.putFullNetmem(page, true);
    from.pool.putFullNetmem(page, true);
    expect([refs(page), rig.reportKinds()]).toEqual(["1/1", ["pp-double-put"]]);
    const { cacheCount } = from.pool;
    const taken = Array.from({ length: cacheCount }, () => rig.page(from));
    expect([new Set(taken).size, from.pool.cacheCount]).toEqual([cacheCount, 0]);
  });

  test(row(55, "the last put of a page from the reserves leaves the pool"), () => {
    const rig = newRig();
    const from = rig.createPool();
    const page = rig.page(from);
    page.ppMagic |= PAGE_PFMEMALLOC_BIT;
    const skb = rig.slabHeadSkb([{ netmem: page, mem: from.mem }]);
    const free = rig.machine.mm.pages.freePages();
    rig.free(skb);
    expectLeft(page);
    expect([from.pool.recycleStats.releasedRefcnt, rig.machine.mm.pages.freePages()]).toEqual([1, free + 1]);
    expect(rig.reportKinds()).toEqual([]);
  });

  test(row(56, "the last put in the pool's own poll goes to the cache; cache full: ring; ring full: out"), () => {
    const rig = newRig();
    const from = rig.createPool({ poolSize: 2 });
    const { pool } = from;
    const pages = Array.from({ length: 128 + 2 + 1 }, () => rig.page(from));
    const spare = pool.cacheCount;
    rig.inPoll(() => {
      for (const page of pages) rig.free(rig.slabHeadSkb([{ netmem: page, mem: from.mem }]));
    });
    const cached = 128 - spare;
    const overflow = pages.length - cached;
    expect(pool.recycleStats).toMatchObject({ cached, cacheFull: overflow, ring: 2, ringFull: overflow - 2 });
    expect([pool.cacheCount, pool.ringCount()]).toEqual([128, 2]);
    expectLeft(pages.at(-1)!);
  });

  test(row(57, "the same from a task, in another CPU's softirq, or after the poll completed goes to the ring"), () => {
    const rig = newRig();
    const from = rig.createPool();
    const { recycleStats: stats } = from.pool;
    const freeOne = (): void => rig.free(rig.slabHeadSkb([{ netmem: rig.page(from), mem: from.mem }]));
    freeOne();
    expect([stats.cached, stats.ring]).toEqual([0, 1]);
    rig.inSoftirq(0, freeOne);
    expect([stats.cached, stats.ring]).toEqual([0, 2]);
    rig.inSoftirq(1, freeOne);
    expect([stats.cached, stats.ring]).toEqual([0, 3]);
    rig.inPoll(freeOne);
    expect([stats.cached, stats.ring]).toEqual([1, 3]);
  });

  test(`rows 44 to 46 with a net_iov [${policy}]: ${lastReference ? "the last of the two holders recycles it" : "it recycles with A, as a net_iov has no page count; B's put does nothing"}`, () => {
    for (const aFirst of [true, false]) {
      const rig = newRig();
      const from = rig.createPool();
      const device = rig.createDevicePool(1);
      const niov = device.pool.allocNetmems(GFP_ATOMIC)!;
      const a = rig.recyclingSkb(from, [{ netmem: niov, mem: device.mem }]);
      const b = rig.clone(a);
      expect(rig.machine.net.edit.pskbExpandHead(b, 0, 0, GFP_KERNEL)).toBe(0);
      rig.free(aFirst ? a : b);
      expect(device.pool.recycleStats.ring).toBe(aFirst && !lastReference ? 1 : 0);
      rig.free(aFirst ? b : a);
      expect([device.pool.recycleStats.ring, niov.ppRefCount]).toEqual([1, 1]);
      expect(device.pool.allocNetmems(GFP_ATOMIC) === niov).toBe(true);
      expect(device.pool.allocNetmems(GFP_ATOMIC)).toBeNull();
    }
  });

  test(`compound pages [${policy}]: a clone's reference lands on the head, and the block goes home as one`, () => {
    const rig = newRig();
    const { pages, slab } = rig.machine.mm;
    const freePages = (): number => {
      slab.shrink();
      pages.drainAllPages();
      return pages.freePages();
    };
    const free = freePages();
    const page = pages.allocPages(GFP_ATOMIC | __GFP_COMP, 2, -1)!;
    const tail = pages.pages[pages.pages.indexOf(page) + 3]!;
    const a = rig.slabHeadSkb([{ netmem: tail, mem: null }]);
    const b = rig.clone(a);
    rig.machine.net.edit.pskbExpandHead(b, 0, 0, GFP_KERNEL);
    expect([page.refcount, tail.refcount]).toEqual([2, 0]);
    rig.free(a);
    expect([page.refcount, tail.refcount]).toEqual([1, 0]);
    rig.free(b);
    expect([page.refcount, freePages()]).toEqual([0, free]);
  });
});
