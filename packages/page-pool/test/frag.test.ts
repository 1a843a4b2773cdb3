import { expect, test } from "vitest";
import { GFP_ATOMIC, PAGE_PFMEMALLOC_BIT, type Page } from "@netmem/mm/api";
import { PP_FRAG_BIAS } from "../src/api/index.ts";
import { PoolRig, refs } from "./rig.ts";

test("the last of several holders leaves the count at 1, where the page's next trip starts", () => {
  const rig = new PoolRig();
  const pool = rig.create();
  const page = rig.take(pool, 1)[0]!;
  pool.fragmentNetmem(page, 3);
  expect([pool.unrefNetmem(page, 2), page.ppRefCount, pool.unrefNetmem(page, 1), page.ppRefCount]).toEqual([1, 1, 0, 1]);
});

test("a whole page is given at offset 0, whatever the last fragment's was", () => {
  const rig = new PoolRig();
  const pool = rig.create();
  const frag = rig.pools.createFrag();
  for (const sizeBytes of [1000, 1000, 3000]) {
    frag.sizeBytes = sizeBytes;
    pool.alloc(frag, GFP_ATOMIC);
  }
  expect([frag.offset, frag.sizeBytes]).toEqual([0, 4096]);
});

test("allocVa never asks for memory the CPU has no address of, and its bytes are where it says", () => {
  const rig = new PoolRig();
  const pool = rig.create();
  const frag = rig.pools.createFrag();
  frag.sizeBytes = 100;
  pool.allocVa(frag, GFP_ATOMIC);
  const page = pool.allocVa(frag, GFP_ATOMIC)!;
  page.region.bytes[page.base + frag.offset] = 7;
  expect([frag.offset, page.region.bytes[page.base + 128]]).toEqual([128, 7]);
  pool.freeVa(page, false);
  expect(page.ppRefCount).toBe(PP_FRAG_BIAS - 1);
});

test("destroy gives the open page up: at once if no fragment is out, else with the last", () => {
  for (const out of [0, 1]) {
    const rig = new PoolRig();
    const pool = rig.create();
    const frag = rig.pools.createFrag();
    const page = pool.allocFrag(frag, 100, GFP_ATOMIC)!;
    if (out === 0) pool.putFullNetmem(page, false);
    pool.destroy();
    expect([pool.fragPage, pool.dead, page.ppRefCount]).toEqual([null, out === 0, out]);
    if (out === 1) pool.putFullNetmem(page, false);
    rig.kernel.scheduler.runFor(1_000_000_000);
    expect([pool.dead, rig.mm.pages.freePages(), rig.kinds()]).toEqual([true, rig.mm.pages.nrPages, []]);
  }
});

test("a page from the reserves is not used again in place", () => {
  const rig = new PoolRig();
  const pool = rig.create();
  const frag = rig.pools.createFrag();
  const page = pool.allocFrag(frag, 3000, GFP_ATOMIC)!;
  page.ppMagic |= PAGE_PFMEMALLOC_BIT;
  pool.putFullNetmem(page, false);
  expect([pool.allocFrag(frag, 3000, GFP_ATOMIC) === page, pool.releaseCnt, pool.recycleStats.releasedRefcnt]).toEqual([false, 1, 0]);
});

test("without memory for the next page there is no open page, and the one before is its holders'", () => {
  const rig = new PoolRig();
  const pool = rig.create();
  const frag = rig.pools.createFrag();
  const page = pool.allocFrag(frag, 3000, GFP_ATOMIC)!;
  rig.mm.faults.failFunction("allocNetmems").arm({});
  expect([pool.allocFrag(frag, 3000, GFP_ATOMIC), pool.fragPage, refs(page)]).toEqual([null, null, "1/1"]);
  pool.putFullNetmem(page, false);
  expect([pool.ringCount(), rig.kinds()]).toEqual([1, []]);
});

/** Under the seed's proposal: the open page's only fragment freed, with a page reference left that is a holder's. */
function sharedOpenPage() {
  const rig = new PoolRig({ sharedRelease: "last-reference" });
  const pool = rig.create();
  const frag = rig.pools.createFrag();
  const page: Page = pool.allocFrag(frag, 3000, GFP_ATOMIC)!;
  pool.putFullNetmem(page, false);
  rig.mm.pages.getPage(page);
  return { rig, pool, frag, page };
}

test("[last-reference] a drained page with a holder left stays the pool's, and comes home with that one", () => {
  const { rig, pool, frag, page } = sharedOpenPage();
  pool.allocFrag(frag, 3000, GFP_ATOMIC);
  expect([refs(page), pool.releaseCnt]).toEqual(["1/1", 0]);
  pool.putFullNetmem(page, false);
  expect([pool.ringItems().includes(page), rig.kinds()]).toEqual([true, []]);
});

test("[last-reference] the same at destroy: it waits for that holder", () => {
  const { rig, pool, page } = sharedOpenPage();
  pool.destroy();
  expect([pool.dead, pool.inflight()]).toEqual([false, 1]);
  pool.putFullNetmem(page, false);
  rig.kernel.scheduler.runFor(1_000_000_000);
  expect([pool.dead, rig.kinds()]).toEqual([true, []]);
});
