import { expect, test } from "vitest";
import { PAGE_VIEW_MAPPING, PAGE_VIEW_PAGE_POOL, PAGE_VIEW_PAGE_POOL_V3, type Page } from "@netmem/mm/api";
import { PoolRig, refs } from "./rig.ts";

test("skb-mm row 36: a page that leaves its pool is unmapped once, its dma_addr 0, its words free, and counted as released", () => {
  const rig = new PoolRig();
  const pool = rig.create();
  const page = rig.take(pool, 1)[0]!;
  const { dmaAddr } = page;
  expect([rig.mm.words.ownerOf(page, 1), rig.mm.words.ownerOf(page, 5)]).toEqual([PAGE_VIEW_PAGE_POOL, PAGE_VIEW_PAGE_POOL]);
  page.memType = 2;
  page.memId = 7;
  rig.mm.pages.getPage(page);
  pool.putFullNetmem(page, false);
  expect([rig.dma.stats.unmaps, page.dmaAddr, page.claims, pool.releaseCnt, rig.events.filter((event) => event === "release 1")]).toEqual([1, 0, 0, 1, ["release 1"]]);
  expect([page.ppDmaIndex, page.memType, page.memId, page.ppRefCount, page.ppMagic, page.pp]).toEqual([0, 0, 0, 0, 0, null]);
  expect([dmaAddr > 0, page.refcount, rig.kinds()]).toEqual([true, 1, []]);
});

test("a pool with a signature word of its own claims the words of that layout, and frees them", () => {
  const rig = new PoolRig({ ownSignatureWord: true });
  const page = rig.take(rig.create(), 1)[0]!;
  expect([1, 4, 5].map((word) => rig.mm.words.ownerOf(page, word))).toEqual([0, PAGE_VIEW_PAGE_POOL_V3, PAGE_VIEW_PAGE_POOL_V3]);
  rig.pools.pools()[0]!.releaseNetmem(page);
  expect([page.claims, rig.kinds()]).toEqual([0, []]);
});

test("a pool that is given a page whose words are another's is reported by word", () => {
  const rig = new PoolRig();
  const pool = rig.create({ order: 1 });
  const page = rig.take(pool, 1)[0]!;
  expect(rig.mm.words.claim(page, PAGE_VIEW_MAPPING)).toBe(false);
  expect(rig.kernel.reports.reports).toMatchObject([{ kind: "page-word-claim", owner: "page_pool", message: "word 1 is pp_magic of page_pool, and a mapping would write lru.next over it" }]);
});

test("release counters wrap at 2^32 like the hold's, and the tracepoint shows them unsigned, the mark still on", () => {
  const rig = new PoolRig();
  const pool = rig.create();
  const [a, b] = rig.take(pool, 2);
  Object.assign(pool, { releaseCnt: 0x7ffffffe });
  for (const page of [a!, b!]) {
    rig.mm.pages.getPage(page);
    pool.putFullNetmem(page, false);
  }
  expect([pool.releaseCnt, rig.events.slice(-2), rig.markedAtRelease]).toEqual([-0x80000000, ["release 2147483647", "release 2147483648"], [true, true]]);
});

test("a direct put is synced for the device before it lies in the cache", () => {
  const rig = new PoolRig();
  const pool = rig.create();
  const page = rig.take(pool, 1)[0]!;
  const { syncs } = rig.dma.stats;
  pool.recycleDirect(page);
  expect([rig.dma.stats.syncs - syncs, pool.recycleStats.cached]).toEqual([1, 1]);
});

test("up to 6.9 a caller's word that it is the consumer counts in softirq only; since, anywhere", () => {
  for (const [directNeedsSoftirq, cached] of [[true, 0], [false, 1]] as const) {
    const rig = new PoolRig({ directNeedsSoftirq });
    const pool = rig.create();
    pool.recycleDirect(rig.take(pool, 1)[0]!);
    expect([pool.recycleStats.cached, pool.recycleStats.ring]).toEqual([cached, 1 - cached]);
    rig.softirq(0, () => pool.recycleDirect(rig.take(pool, 1)[0]!));
    expect(pool.recycleStats.cached).toBe(cached + 1);
  }
});

test("a bulk takes tails for their blocks", () => {
  const rig = new PoolRig();
  const pool = rig.create({ order: 1 });
  const head = rig.take(pool, 1)[0]!;
  const tail = rig.mm.pages.pages[rig.mm.pages.pages.indexOf(head) + 1]!;
  pool.putNetmemBulk([tail], 1);
  expect([rig.kinds(), pool.ringItems().map((netmem) => netmem === head)]).toEqual([[], [true]]);
});

test("a block is unmapped at its size, and freed whole", () => {
  const rig = new PoolRig();
  const free = rig.mm.pages.freePages();
  const pool = rig.create({ order: 2 });
  pool.putFullNetmem(rig.take(pool, 1)[0]!, false);
  pool.destroy();
  expect([rig.kinds(), rig.dma.liveMappings(), rig.mm.pages.freePages()]).toEqual([[], 0, free]);
});

/** A page with a second page reference, under the seed's proposal. */
function twoHolders() {
  const rig = new PoolRig({ sharedRelease: "last-reference" });
  const pool = rig.create();
  const page = rig.take(pool, 1)[0] as Page;
  pool.refNetmem(page);
  return { rig, pool, page };
}

test("[last-reference] each way of putting drops one reference while there is another, and the last recycles", () => {
  for (const put of [
    (pool: ReturnType<typeof twoHolders>["pool"], page: Page): void => pool.putFullNetmem(page, false),
    (pool: ReturnType<typeof twoHolders>["pool"], page: Page): void => pool.putUnrefedNetmem(page, -1, false),
    (pool: ReturnType<typeof twoHolders>["pool"], page: Page): void => pool.putNetmemBulk([page], 1),
    (pool: ReturnType<typeof twoHolders>["pool"], page: Page): void => pool.returnNetmem(page, false),
  ]) {
    const { pool, page } = twoHolders();
    put(pool, page);
    expect([refs(page), pool.ringCount(), pool.releaseCnt]).toEqual(["1/1", 0, 0]);
    put(pool, page);
    expect([refs(page), pool.ringCount(), pool.releaseCnt]).toEqual(["1/1", 1, 0]);
  }
});

test("a bulk in the consumer's own softirq goes to its cache, where the pool finds that out", () => {
  for (const [napiLocal, cached] of [["pool", 3], ["skb-free", 0], ["nobody", 0]] as const) {
    const rig = new PoolRig({ napiLocal });
    const pool = rig.create({}, 1);
    const pages = rig.take(pool, 3);
    rig.softirq(1, () => pool.putNetmemBulk(pages, 3));
    expect([pool.recycleStats.cached, pool.recycleStats.ring]).toEqual([cached, 3 - cached]);
  }
});

test("a bulk takes as many as it is told, and no more, in parts too", () => {
  const rig = new PoolRig();
  const pool = rig.create({ poolSize: 64 });
  pool.putNetmemBulk(rig.take(pool, 40), 20);
  expect([rig.kinds(), pool.ringCount()]).toEqual([["pp-bulk-size"], 20]);
  pool.putNetmemBulk(rig.take(pool, 4), 0);
  expect(pool.ringCount()).toBe(20);
});

test("skb frees from 6.4 to 6.9: the caller's word of a NAPI counts outside softirq, and without it softirq does; only on the CPU whose list has the NAPI", () => {
  const cached = (napiSafe: boolean, softirq: boolean, owner: number): number => {
    const rig = new PoolRig({ napiLocal: "skb-free" });
    const pool = rig.create();
    const page = rig.take(pool, 1)[0]!;
    rig.napi.listOwner = owner;
    const free = (): void => pool.returnSkbNetmem(page, napiSafe);
    if (softirq) rig.softirq(0, free);
    else free();
    return pool.recycleStats.cached;
  };
  expect([cached(true, false, 0), cached(false, false, 0), cached(false, true, 0), cached(true, true, 1)]).toEqual([1, 0, 1, 0]);
});
