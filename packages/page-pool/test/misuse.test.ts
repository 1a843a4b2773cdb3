import { expect, test } from "vitest";
import { NSEC_PER_SEC } from "@netmem/kernel/api";
import { GFP_ATOMIC, type Page } from "@netmem/mm/api";
import { MEM_TYPE_PAGE_POOL, MemInfo, NAPIF_STATE_SCHED } from "@netmem/xdp/api";
import type { PagePool } from "../src/api/index.ts";
import { PoolRig, refs } from "./rig.ts";

/** What the pool says of itself in a report. */
const STATE = /page_pool 1: hold 64, release 0, in flight 64, cache 62, ring 1, 1 users$/;

function withTwo() {
  const rig = new PoolRig();
  const pool = rig.create();
  const [out, idle] = rig.take(pool, 2) as [ReturnType<PoolRig["take"]>[0], ReturnType<PoolRig["take"]>[0]];
  pool.putFullNetmem(idle, false);
  return { rig, pool, out, idle };
}

/** Hands out every page once, and brings it back: no page is there twice, none is lost. */
function expectConsistent(rig: PoolRig, pool: PagePool): void {
  const pages = rig.take(pool, pool.cacheCount + pool.ringCount());
  expect(new Set(pages).size).toBe(pages.length);
  for (const page of pages) pool.putFullNetmem(page, false);
}

test.each([
  ["putFullNetmem", (pool: PagePool, page: never): void => pool.putFullNetmem(page, false)],
  ["recycleDirect", (pool: PagePool, page: never): void => pool.recycleDirect(page)],
  ["putUnrefedNetmem", (pool: PagePool, page: never): void => pool.putUnrefedNetmem(page, -1, false)],
  ["putNetmemBulk", (pool: PagePool, page: never): void => pool.putNetmemBulk([page], 1)],
  ["returnNetmem", (pool: PagePool, page: never): void => pool.returnNetmem(page, true)],
  ["returnSkbNetmem", (pool: PagePool, page: never): void => pool.returnSkbNetmem(page, true)],
  ["refNetmem", (pool: PagePool, page: never): void => pool.refNetmem(page)],
  ["unrefNetmem", (pool: PagePool, page: never): void => void pool.unrefNetmem(page, 3)],
  ["fragmentNetmem", (pool: PagePool, page: never): void => pool.fragmentNetmem(page, 5)],
  ["releaseNetmem", (pool: PagePool, page: never): void => pool.releaseNetmem(page)],
  ["freeVa", (pool: PagePool, page: never): void => pool.freeVa(page, false)],
])("%s of a page that is idle, nobody's, or another pool's: each a report with the pool's state, and nothing is changed", (_name, put) => {
  const { rig, pool, idle } = withTwo();
  put(pool, idle as never);
  const nobodys = rig.mm.pages.allocPages(GFP_ATOMIC, 0, -1)!;
  put(pool, nobodys as never);
  const other = rig.create();
  const theirs = rig.take(other, 1)[0]!;
  if (_name !== "putNetmemBulk") put(pool, theirs as never);
  const { reports } = rig.kernel.reports;
  expect(reports.map(({ kind }) => kind)).toEqual(["pp-double-put", "pp-unowned-put", ...(_name === "putNetmemBulk" ? [] : ["pp-foreign-put"])]);
  for (const report of reports) expect([report.owner, report.message]).toEqual(["page_pool 1", expect.stringMatching(STATE)]);
  expect([nobodys.refcount, other.inflight(), other.cacheCount, pool.ringCount(), pool.cacheCount]).toEqual([1, 64, 63, 1, 62]);
  expectConsistent(rig, pool);
  expectConsistent(rig, other);
});

test("a foreign put names both pools and their state", () => {
  const rig = new PoolRig();
  const [a, b] = [rig.create(), rig.create()];
  b.putFullNetmem(rig.take(a, 1)[0]!, false);
  expect(rig.kernel.reports.reports[0]!.message).toBe(
    "put into the pool, but it is page_pool 1's (page_pool 1: hold 64, release 0, in flight 64, cache 63, ring 0, 1 users); page_pool 2: hold 0, release 0, in flight 0, cache 0, ring 0, 1 users",
  );
});

test("the same page twice in one bulk: once is a put, the second a report", () => {
  const { rig, pool, out } = withTwo();
  const other = rig.take(pool, 1)[0]!;
  pool.putNetmemBulk([out, other, out], 3);
  expect([rig.kinds(), pool.ringCount()]).toEqual([["pp-double-put"], 3]);
  expectConsistent(rig, pool);
});

test("a shared page twice in one bulk loses two holders, and is put once", () => {
  const { rig, pool, out } = withTwo();
  pool.refNetmem(out);
  pool.putNetmemBulk([out, out], 2);
  expect([rig.kinds(), pool.ringCount(), out.ppRefCount]).toEqual([[], 2, 1]);
});

test("a bulk of more than 16 is reported, and put in parts", () => {
  const rig = new PoolRig();
  const pool = rig.create({ poolSize: 64 });
  pool.putNetmemBulk(rig.take(pool, 40), 40);
  expect([rig.kinds(), pool.ringCount(), pool.recycleStats.ring]).toEqual([["pp-bulk-size"], 40, 40]);
});

test("a freed pool hands nothing out and takes nothing in: both are reports, and no page is lost", () => {
  const rig = new PoolRig();
  const pool = rig.create();
  pool.destroy();
  expect(pool.allocPages(0)).toBeNull();
  const stray = rig.mm.pages.allocPages(0, 0, -1)!;
  pool.putFullNetmem(stray, true);
  expect(rig.kinds()).toEqual(["pp-use-after-destroy", "pp-use-after-destroy"]);
  expect(rig.kernel.reports.reports[1]!.message).toBe("put into the pool, which was freed; page_pool 1: hold 0, release 0, in flight 0, cache 0, ring 0, freed");
  expect([pool.holdCnt, stray.refcount]).toEqual([0, 1]);
});

test("a pool under teardown: allocations and direct puts are reports; what comes home still frees it", () => {
  const rig = new PoolRig();
  const pool = rig.create();
  const [a, b] = rig.take(pool, 2);
  pool.destroy();
  pool.recycleDirect(a!);
  expect(pool.allocPages(0)).toBeNull();
  expect([rig.kinds(), pool.cacheCount, pool.ringCount(), pool.recycleStats.cacheFull]).toEqual([["pp-direct-after-destroy", "pp-use-after-destroy"], 0, 1, 0]);
  expect(rig.kernel.reports.reports[1]!.message).toContain("under teardown, attempt 1");
  expect(rig.events.filter((event) => event.startsWith("pool "))).toEqual(["pool 2 64 62 1"]);
  pool.putFullNetmem(b!, false);
  rig.kernel.scheduler.runFor(NSEC_PER_SEC);
  expect([pool.dead, rig.mm.pages.freePages()]).toEqual([true, rig.mm.pages.nrPages]);
});

test("destroyed again after it was freed, or more often than it has users: reports", () => {
  const rig = new PoolRig();
  const pool = rig.create();
  pool.destroy();
  pool.destroy();
  const held = rig.create();
  rig.take(held, 1);
  held.destroy();
  held.destroy();
  expect(rig.kinds()).toEqual(["pp-use-after-destroy", "pp-use-after-destroy"]);
});

test("a pool registered under two mem ids loses both when it is freed", () => {
  const rig = new PoolRig();
  const pool = rig.create();
  const mems = [1, 2].map(() => Object.assign(new MemInfo(), { type: MEM_TYPE_PAGE_POOL, id: rig.registry.registerMemModel(MEM_TYPE_PAGE_POOL, pool) }));
  const ids = mems.map(({ id }) => id);
  pool.destroy();
  for (const mem of mems) rig.registry.unregisterMemModel(mem);
  expect([pool.dead, rig.kinds(), ids.map((id) => rig.registry.lookup(MEM_TYPE_PAGE_POOL, id))]).toEqual([true, [], [null, null]]);
});

test("whatever is done with a freed pool is a report, and changes nothing", () => {
  const rig = new PoolRig();
  const pool = rig.create();
  pool.destroy();
  const memId = rig.registry.registerMemModel(MEM_TYPE_PAGE_POOL, pool);
  expect([rig.registry.lookup(MEM_TYPE_PAGE_POOL, memId), pool.userCnt, pool.memId]).toEqual([null, 0, 0]);
  pool.updateNid(0);
  pool.enableDirectRecycling(rig.napi);
  pool.unuseXdpMem();
  expect([rig.kinds(), pool.nid, pool.napi, pool.userCnt]).toEqual([Array.from({ length: 4 }, () => "pp-use-after-destroy"), -1, null, 0]);
});

test("put as unreferenced with holders left: a report, and it stays out until they have let go", () => {
  const { rig, pool, out } = withTwo();
  pool.refNetmem(out);
  pool.putUnrefedNetmem(out, -1, false);
  expect([rig.kinds(), refs(out), pool.ringCount()]).toEqual([["pp-holders-left"], "1/2", 1]);
  pool.putFullNetmem(out, false);
  pool.putFullNetmem(out, false);
  expectConsistent(rig, pool);
});

test("put in hardirq context is a report, and goes on", () => {
  const { rig, pool, out } = withTwo();
  const line = rig.kernel.irqs.requestIrq("bad", 0, () => pool.putFullNetmem(out, false));
  rig.kernel.irqs.raise(line);
  rig.kernel.scheduler.runFor(0);
  expect([rig.kinds(), pool.ringCount()]).toEqual([["pp-put-in-hardirq"], 2]);
});

test("released without a put, the page leaves the pool and stays the caller's", () => {
  const { rig, pool, out } = withTwo();
  pool.releaseNetmem(out);
  expect([out.refcount, out.pp, out.dmaAddr, out.poolState, pool.inflight(), rig.dma.stats.unmaps]).toEqual([1, null, 0, 0, 63, 1]);
});

test("direct recycling: switched on for a NAPI while another is attached is a report; off undoes any number of ons", () => {
  const rig = new PoolRig();
  const pool = rig.create();
  pool.enableDirectRecycling(rig.napi);
  const other = rig.addNapi();
  pool.enableDirectRecycling(other);
  expect([rig.kinds(), pool.napi === other]).toEqual([["pp-napi-attached"], true]);
  other.state = NAPIF_STATE_SCHED;
  pool.disableDirectRecycling();
  expect([pool.napi, rig.kinds().length]).toEqual([null, 1]);
});

test("direct recycling: switched off while its NAPI may run, or is on a list, is a report; of one never added, nothing", () => {
  const states = [[0, -1], [0, 1], [NAPIF_STATE_SCHED, 1], [NAPIF_STATE_SCHED, -1]] as const;
  const counts = states.map(([state, listOwner]) => {
    const rig = new PoolRig();
    const napi = Object.assign(rig.addNapi(), { state, listOwner });
    rig.create({ napi }).disableDirectRecycling();
    return rig.kinds().filter((kind) => kind === "pp-napi-running").length;
  });
  expect(counts).toEqual([1, 2, 1, 0]);
  const bare = new PoolRig();
  bare.create().disableDirectRecycling();
  expect(bare.kinds()).toEqual([]);
  // Up to 6.3 nobody goes by the NAPI, and nobody asks.
  const old = new PoolRig({ napiLocal: "nobody" });
  old.create({ napi: Object.assign(old.addNapi(), { listOwner: 1 }) }).disableDirectRecycling();
  expect(old.kinds()).toEqual([]);
});

test.each<[string, (pool: PagePool, page: Page) => void, RegExp]>([
  ["updateNid", (pool) => pool.updateNid(0.5), /page-pool: nid = 0\.5: give a memory node/],
  ["nidChanged", (pool) => pool.nidChanged(-7), /nid = -7/],
  ["unrefNetmem", (pool, page) => pool.unrefNetmem(page, 0), /holders to drop = 0: give 1 or more/],
  ["fragmentNetmem", (pool, page) => pool.fragmentNetmem(page, 0), /holders = 0: give 1 to 536870912/],
  ["putNetmemBulk", (pool, page) => pool.putNetmemBulk([page], 2), /count of a bulk put = 2: give 0 to 1, the entries there are/],
  ["putNetmemBulk", (pool, page) => pool.putNetmemBulk([page, null], 2), /entry 1 of a bulk put = null: give netmems/],
])("%s with a value that makes no sense names it, and nothing is changed", (_name, call, message) => {
  const { rig, pool, out } = withTwo();
  expect(() => call(pool, out)).toThrow(message);
  expect([refs(out), pool.cacheCount, pool.ringCount(), rig.kinds()]).toEqual(["1/1", 62, 1, []]);
});

test("syncing for the CPU what is not mapped is misuse", () => {
  const rig = new PoolRig();
  const pool = rig.create({ flags: 0 });
  expect(() => pool.dmaSyncForCpu(rig.take(pool, 1)[0]!, 0, 100)).toThrow(/flags = 0: syncing needs a pool with PP_FLAG_DMA_MAP/);
});

test("[last-reference] a fragment with two holders: each drops a page reference before it counts as a fragment", () => {
  const rig = new PoolRig({ sharedRelease: "last-reference" });
  const pool = rig.create();
  const frag = rig.pools.createFrag();
  const page = pool.allocFrag(frag, 3000, GFP_ATOMIC)!;
  pool.refNetmem(page);
  pool.putFullNetmem(page, false);
  expect([refs(page), pool.fragUsers]).toEqual([`1/${2 ** 29}`, 1]);
  pool.allocFrag(frag, 3000, GFP_ATOMIC);
  expect([refs(page), pool.ringCount()]).toEqual(["1/1", 0]);
  pool.putFullNetmem(page, false);
  expect([rig.kinds(), pool.ringItems().includes(page)]).toEqual([[], true]);
});
