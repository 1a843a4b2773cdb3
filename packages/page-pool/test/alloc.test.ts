import { expect, test } from "vitest";
import { GFP_ATOMIC, GFP_KERNEL, NUMA_NO_NODE, PAGE_PFMEMALLOC_BIT, PP_MAGIC_MASK, PP_SIGNATURE, __GFP_HIGHMEM, __GFP_MEMALLOC, __GFP_NOWARN } from "@netmem/mm/api";
import type { PagePool, PagePoolFrag } from "../src/api/index.ts";
import type { PagePoolRules } from "../src/index.ts";
import { PoolRig, refs } from "./rig.ts";

test("pp-xdp row 16 [6.18]: from the reserves, the bit is set before the pool stamps the page, and both stay", () => {
  const rig = new PoolRig({}, { minFreePages: 64 });
  const pool = rig.create();
  rig.mm.ballast.leaveFree(20, NUMA_NO_NODE);
  const page = pool.allocPages(GFP_ATOMIC | __GFP_MEMALLOC)!;
  expect([page.ppMagic, page.ppMagic & PP_MAGIC_MASK, page.pp === pool]).toEqual([PP_SIGNATURE | PAGE_PFMEMALLOC_BIT, PP_SIGNATURE, true]);
});

test("where drivers stamp the owner, at mark time, the pool does not", () => {
  const rig = new PoolRig({ stampsOwnerAtAlloc: false });
  expect(rig.take(rig.create(), 1)[0]!.pp).toBeNull();
});

test("a failure in NAPI context is not worth a warning, up to 6.17 only if its caller says so; one in process context is", () => {
  const warnings = (gfp: number, rules: Partial<PagePoolRules> = {}): number => {
    const rig = new PoolRig(rules);
    rig.mm.faults.failPageAlloc.arm({});
    expect(rig.create().allocPages(gfp)).toBeNull();
    return rig.mm.pages.stats.warnings;
  };
  expect([GFP_ATOMIC, GFP_KERNEL, GFP_KERNEL | __GFP_NOWARN].map((gfp) => warnings(gfp))).toEqual([0, 1, 0]);
  expect([GFP_ATOMIC, GFP_ATOMIC | __GFP_NOWARN].map((gfp) => warnings(gfp, { atomicNeverWarns: false }))).toEqual([1, 0]);
});

/** Two CPUs, each with a node. */
const twoNodes = { nodes: [{ zones: [{ name: "Normal", pages: 512 }] }, { zones: [{ name: "Normal", pages: 512 }] }] } as const;

test("a pool for a node takes pages from it, of any order, wherever its consumer runs; one for none, from its consumer's", () => {
  const rig = new PoolRig({}, twoNodes);
  const nodes = [{ nid: 1 }, { nid: 1, order: 1 }, { nid: NUMA_NO_NODE }, { nid: NUMA_NO_NODE, order: 1 }].map((params) => {
    const pool = rig.create(params);
    return [0, 1].map((cpu) => {
      if (pool.cacheCount > 0) pool.updateNid(params.nid);
      return rig.softirq(cpu, () => pool.allocPages(GFP_ATOMIC)!.nid);
    });
  });
  expect(nodes).toEqual([[1, 1], [1, 1], [0, 1], [0, 1]]);
});

test("before 6.0 a bulk comes from the running CPU's node, and is then waived by a pool for another", () => {
  const rig = new PoolRig({ bulkOnPoolNode: false }, twoNodes);
  const pool = rig.create({ nid: 1 });
  const page = rig.softirq(0, () => pool.allocPages(GFP_ATOMIC)!);
  expect(page.nid).toBe(0);
  pool.putFullNetmem(page, false);
  rig.softirq(0, () => {
    while (pool.cacheCount > 0) pool.allocPages(GFP_ATOMIC);
    pool.allocPages(GFP_ATOMIC);
  });
  expect(pool.allocStats).toMatchObject({ waive: 1, refill: 0 });
});

test("a refill keeps pages of the pool's node, though its consumer runs on another", () => {
  const rig = new PoolRig({}, twoNodes);
  const pool = rig.create({ nid: 1 });
  const pages = rig.softirq(0, () => rig.take(pool, 64));
  for (const page of pages) pool.putFullNetmem(page, false);
  rig.softirq(0, () => pool.allocPages(GFP_ATOMIC));
  expect(pool.allocStats).toMatchObject({ waive: 0, refill: 1 });
});

test("a refill of a pool for no node keeps what is of its consumer's, and waives the rest", () => {
  const rig = new PoolRig({}, twoNodes);
  const pool = rig.create();
  const pages = rig.softirq(1, () => rig.take(pool, 64));
  for (const page of pages) pool.putFullNetmem(page, false);
  expect(rig.softirq(1, () => pool.allocPages(GFP_ATOMIC)!.nid)).toBe(1);
  expect(pool.allocStats).toMatchObject({ waive: 0, refill: 1 });
  const rest = rig.take(pool, pool.cacheCount);
  pool.putFullNetmem(rest[0]!, false);
  expect([rig.softirq(0, () => pool.allocPages(GFP_ATOMIC)!.nid), pool.allocStats.waive]).toEqual([0, 1]);
});

test("what each way of asking says to the page allocator", () => {
  const asked = (ask: (pool: PagePool, frag: PagePoolFrag) => void): number => {
    const rig = new PoolRig();
    ask(rig.create(), Object.assign(rig.pools.createFrag(), { sizeBytes: 64 }));
    return rig.bulkGfp;
  };
  expect(asked((pool) => pool.allocPages(GFP_KERNEL | __GFP_HIGHMEM))).toBe(GFP_KERNEL | __GFP_HIGHMEM);
  expect(asked((pool, frag) => pool.allocVa(frag, GFP_KERNEL | __GFP_HIGHMEM))).toBe(GFP_KERNEL);
  for (const ask of ["devAllocPages", "devAllocNetmems"] as const) expect(asked((pool) => pool[ask]())).toBe(GFP_ATOMIC | __GFP_NOWARN);
});

test("no memory at all: null, nothing counted as slow", () => {
  const rig = new PoolRig();
  rig.bulkLimit = 0;
  const pool = rig.create();
  expect([pool.devAllocPages(), pool.devAllocNetmems(), pool.allocStats.slow, pool.allocStats.empty, pool.inflight()]).toEqual([null, null, 0, 2, 0]);
});

test("a page for each way of asking", () => {
  const rig = new PoolRig();
  const pool = rig.create();
  const frag = rig.pools.createFrag();
  frag.sizeBytes = 100;
  const pages = [pool.allocPages(GFP_ATOMIC), pool.allocNetmems(GFP_ATOMIC), pool.devAllocPages(), pool.devAllocNetmems(), pool.allocFrag(frag, 100, GFP_ATOMIC)];
  expect(new Set(pages).size).toBe(5);
  expect([pool.alloc(frag, GFP_ATOMIC), pool.allocNetmem(frag, GFP_ATOMIC), pool.allocVa(frag, GFP_ATOMIC), pool.allocFragNetmem(frag, 100, GFP_ATOMIC)].every((page) => page === pages[4])).toBe(true);
  expect([frag.offset, pool.fragUsers, refs(pages[0]!)]).toEqual([512, 5, "1/1"]);
});
