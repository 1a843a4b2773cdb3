import { expect, test } from "vitest";
import { PAGE_PFMEMALLOC_BIT, PAGE_VIEW_MAPPING, type DmaDevice, type Page } from "@netmem/mm/api";
import type { SharedRelease } from "../src/api/index.ts";
import { PoolRig, refs } from "./rig.ts";

const direct = true;

test("pp-xdp row 17: direct into a cache of 127 is cached; the next one finds it full and goes to the ring", () => {
  const rig = new PoolRig();
  const pool = rig.create();
  const pages = rig.take(pool, 192);
  for (const page of pages.slice(0, 127)) pool.recycleDirect(page);
  pool.recycleDirect(pages[127]!);
  expect(pool.stats).toMatchObject({ cached: 128, cacheFull: 0, ring: 0 });
  pool.recycleDirect(pages[128]!);
  expect(pool.stats).toMatchObject({ cached: 128, cacheFull: 1, ring: 1 });
});

test("pp-xdp row 18: a page with another reference is released: counted, unmapped, reference 1 left", () => {
  const rig = new PoolRig();
  const pool = rig.create();
  const page = rig.take(pool, 1)[0]!;
  rig.mm.pages.getPage(page);
  pool.putFullNetmem(page, direct);
  expect([pool.stats.releasedRefcnt, rig.dma.stats.unmaps, page.refcount, page.pp, page.ppMagic]).toEqual([1, 1, 1, null, 0]);
});

test("pp-xdp row 19: a page from the reserves is released and freed", () => {
  const rig = new PoolRig();
  const pool = rig.create();
  const page = rig.take(pool, 1)[0]!;
  page.ppMagic |= PAGE_PFMEMALLOC_BIT;
  const free = rig.mm.pages.freePages();
  pool.putFullNetmem(page, direct);
  expect([pool.stats.releasedRefcnt, rig.mm.pages.freePages()]).toEqual([1, free + 1]);
});

test("pp-xdp row 20: ring full and not direct: counted, released, freed", () => {
  const rig = new PoolRig();
  const pool = rig.create({ poolSize: 1 });
  const [first, second] = rig.take(pool, 2) as [Page, Page];
  pool.putFullNetmem(first, false);
  pool.putFullNetmem(second, false);
  expect(pool.stats).toMatchObject({ ring: 1, ringFull: 1 });
  expect([pool.releaseCnt, second.refcount]).toEqual([1, 0]);
});

test("pp-xdp row 21: not told direct, but in softirq on the pool's own CPU: cached", () => {
  const rig = new PoolRig();
  const pool = rig.create({ napi: null }, 1);
  const [page, other] = rig.take(pool, 2) as [Page, Page];
  rig.softirq(1, () => pool.putFullNetmem(page, false));
  expect(pool.stats).toMatchObject({ cached: 1, ring: 0 });
  rig.softirq(0, () => pool.putFullNetmem(other, false));
  expect(pool.stats).toMatchObject({ cached: 1, ring: 1 });
});

test("pp-xdp row 22: the same in process context goes to the ring, and under kernels before 6.4 always", () => {
  const rig = new PoolRig();
  const pool = rig.create({ napi: null }, 0);
  pool.putFullNetmem(rig.take(pool, 1)[0]!, false);
  expect(pool.stats).toMatchObject({ cached: 0, ring: 1 });
  const old = new PoolRig({ napiLocal: false });
  const oldPool = old.create({}, 0);
  const page = old.take(oldPool, 1)[0]!;
  old.softirq(0, () => oldPool.putFullNetmem(page, false));
  expect(oldPool.stats).toMatchObject({ cached: 0, ring: 1 });
});

test("pp-xdp row 23: a NAPI on another CPU's poll list grants nothing; on this one's, the cache", () => {
  const rig = new PoolRig();
  const pool = rig.create();
  const [first, second] = rig.take(pool, 2) as [Page, Page];
  rig.napi.listOwner = 1;
  rig.softirq(0, () => pool.putFullNetmem(first, false));
  expect(pool.stats).toMatchObject({ cached: 0, ring: 1 });
  rig.softirq(1, () => pool.putFullNetmem(second, false));
  expect(pool.stats).toMatchObject({ cached: 1, ring: 1 });
});

test("pp-xdp row 24: with pp_ref_count 3 two puts only count down; the third recycles and the count reads 1", () => {
  const rig = new PoolRig();
  const pool = rig.create();
  const page = rig.take(pool, 1)[0]!;
  pool.refNetmem(page);
  pool.refNetmem(page);
  pool.putFullNetmem(page, false);
  pool.putFullNetmem(page, false);
  expect([refs(page), pool.stats.ring]).toEqual(["1/1", 0]);
  pool.putFullNetmem(page, false);
  expect([refs(page), pool.stats.ring]).toEqual(["1/1", 1]);
});

test("pp-xdp row 25: a put below zero is a report", () => {
  const rig = new PoolRig();
  const pool = rig.create();
  const page = rig.take(pool, 1)[0]!;
  page.ppRefCount = 0;
  pool.putFullNetmem(page, false);
  expect(rig.kinds()).toEqual(["pp-ref-underflow"]);
  expect(pool.stats.ring).toBe(0);
});

test("pp-xdp row 29: a put of 100 bytes syncs 100 at the pool's offset, −1 syncs max_len", () => {
  const rig = new PoolRig();
  const synced: number[][] = [];
  const dma: DmaDevice = new Proxy(rig.dma, {
    get: (target, name: keyof DmaDevice) => {
      if (name === "syncForDevice") return (_addr: number, offset: number, bytes: number) => void synced.push([offset, bytes]);
      const member = target[name];
      return typeof member === "function" ? (member as (...args: unknown[]) => unknown).bind(target) : member;
    },
  });
  const pool = rig.create({ dev: dma, maxLen: 2000, offset: 256 });
  const [a, b] = rig.take(pool, 2) as [Page, Page];
  synced.length = 0;
  pool.putNetmem(a, 100, false);
  pool.putNetmem(b, -1, false);
  expect(synced).toEqual([[256, 100], [256, 2000]]);
});

test("pp-xdp row 30: a device that needs no sync is never asked to", () => {
  const rig = new PoolRig({}, { coherent: true });
  const pool = rig.create();
  pool.putFullNetmem(rig.take(pool, 1)[0]!, false);
  expect(rig.dma.stats.syncs).toBe(0);
});

test("pp-xdp row 31: a released page is not synced, and unmapped once", () => {
  const rig = new PoolRig();
  const pool = rig.create();
  const page = rig.take(pool, 1)[0]!;
  const { syncs } = rig.dma.stats;
  rig.mm.pages.getPage(page);
  pool.putFullNetmem(page, false);
  expect([rig.dma.stats.syncs - syncs, rig.dma.stats.unmaps]).toEqual([0, 1]);
});

test("skb-mm row 36: a page that leaves its pool is unmapped once, its dma_addr 0, its words free, and counted as released", () => {
  const rig = new PoolRig();
  const pool = rig.create();
  const page = rig.take(pool, 1)[0]!;
  const { dmaAddr } = page;
  rig.mm.pages.getPage(page);
  pool.putFullNetmem(page, false);
  expect([rig.dma.stats.unmaps, page.dmaAddr, page.claims, pool.releaseCnt, rig.events.filter((event) => event === "release 1")]).toEqual([1, 0, 0, 1, ["release 1"]]);
  expect([dmaAddr > 0, page.refcount, rig.kinds()]).toEqual([true, 1, []]);
});

test("a pool that is given a page whose words are another's is reported by word", () => {
  const rig = new PoolRig();
  const pool = rig.create({ order: 1 });
  const page = rig.take(pool, 1)[0]!;
  expect(rig.mm.words.claim(page, PAGE_VIEW_MAPPING)).toBe(false);
  expect(rig.kernel.reports.reports).toMatchObject([{ kind: "page-word-claim", owner: "page_pool", message: "word 1 is pp_magic of page_pool, and a mapping would write lru.next over it" }]);
});

test("pp-xdp row 32: recycling a page 1000 times maps nothing, unmaps nothing, holds nothing", () => {
  const rig = new PoolRig();
  const pool = rig.create();
  for (let i = 0; i < 1000; i++) pool.recycleDirect(rig.take(pool, 1)[0]!);
  expect([rig.dma.stats.maps, rig.dma.stats.unmaps, pool.holdCnt]).toEqual([64, 0, 64]);
});

test.each<[SharedRelease, string]>([["leave-pool", "1 released"], ["pp-ref-count", "1 released"], ["last-reference", "still in the pool"]])(
  "a put that finds another page reference, under %s: %s",
  (sharedRelease, outcome) => {
    const rig = new PoolRig({ sharedRelease });
    const pool = rig.create();
    const page = rig.take(pool, 1)[0]!;
    rig.mm.pages.getPage(page);
    pool.putFullNetmem(page, false);
    expect([page.refcount, pool.releaseCnt, page.pp === pool]).toEqual(outcome === "1 released" ? [1, 1, false] : [1, 0, true]);
    if (sharedRelease !== "last-reference") return;
    pool.putFullNetmem(page, false);
    expect([refs(page), pool.stats.ring]).toEqual(["1/1", 1]);
  },
);

test("released without a put, the page leaves the pool and stays the caller's", () => {
  const rig = new PoolRig();
  const pool = rig.create();
  const page = rig.take(pool, 1)[0]!;
  pool.releaseNetmem(page);
  expect([page.refcount, page.pp, page.dmaAddr, pool.inflight(), rig.dma.stats.unmaps]).toEqual([1, null, 0, 63, 1]);
});
