import * as fc from "fast-check";
import { expect, test } from "vitest";
import {
  __GFP_COMP, __GFP_DMA32, __GFP_MEMALLOC, __GFP_MOVABLE, __GFP_NOWARN, __GFP_RECLAIMABLE, __GFP_THISNODE, GFP_ATOMIC, GFP_KERNEL, NUMA_NO_NODE, type NodeOptions, type Page,
} from "../../src/api/index.ts";
import type { PageAlloc } from "../../src/page-alloc/page-alloc.ts";
import { audit, freeBlocks } from "./audit.ts";
import { allocator, onCpu } from "./rig.ts";

/** What somebody holds: pages from `start`, and how they must be given back. */
interface Held {
  readonly page: Page;
  readonly order: number;
  readonly compound: boolean;
  /** Split into single pages: those that are still there. */
  readonly parts: Page[] | null;
  refs: number;
}

/** The reference model: which page is whose. It knows nothing of lists, types or marks. */
class Owners {
  readonly #pages: PageAlloc;
  readonly #used: Uint8Array;
  readonly held: Held[] = [];

  constructor(pages: PageAlloc) {
    this.#pages = pages;
    this.#used = new Uint8Array(pages.nrPages);
  }

  take(page: Page, order: number, compound: boolean): void {
    const start = page.base >> 12;
    expect(start % (1 << order)).toBe(0);
    for (let i = start; i < start + (1 << order); i++) {
      expect([this.#used[i], this.#pages.pages[i]!.zone]).toEqual([0, page.zone]);
      this.#used[i] = 1;
    }
    this.held.push({ page, order, compound, parts: null, refs: 1 });
  }

  release(page: Page, pages: number): void {
    this.#used.fill(0, page.base >> 12, (page.base >> 12) + pages);
  }

  used(): number {
    return this.#used.reduce((sum, one) => sum + one, 0);
  }
}

const layouts: readonly (readonly NodeOptions[])[] = [
  [{ zones: [{ name: "Normal", pages: 200 }] }],
  [{ zones: [{ name: "DMA32", pages: 64 }, { name: "Normal", pages: 448 }] }],
  [{ zones: [{ name: "Normal", pages: 300 }] }, { zones: [{ name: "DMA32", pages: 100 }, { name: "Normal", pages: 156 }] }],
  // Large enough to group pages by mobility.
  [{ zones: [{ name: "DMA32", pages: 1024 }, { name: "Normal", pages: 2048 }] }],
];
const gfps = [GFP_ATOMIC, GFP_ATOMIC | __GFP_MEMALLOC, GFP_ATOMIC | __GFP_DMA32, GFP_KERNEL, GFP_KERNEL | __GFP_MOVABLE, GFP_KERNEL | __GFP_RECLAIMABLE, GFP_ATOMIC | __GFP_THISNODE];

const step = fc.oneof(
  { weight: 5, arbitrary: fc.record({ what: fc.constant("alloc" as const), order: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 3 }), fc.integer({ min: 0, max: 9 })), compound: fc.boolean(), gfp: fc.constantFrom(...gfps), cpu: fc.nat(1), at: fc.nat() }) },
  { weight: 5, arbitrary: fc.record({ what: fc.constantFrom("drop" as const, "drop" as const, "drop" as const, "get" as const, "split" as const), order: fc.constant(0), compound: fc.boolean(), gfp: fc.constant(0), cpu: fc.nat(1), at: fc.nat() }) },
  { weight: 1, arbitrary: fc.record({ what: fc.constantFrom("bulk" as const, "bulk" as const, "drain" as const), order: fc.integer({ min: 1, max: 40 }), compound: fc.boolean(), gfp: fc.constantFrom(...gfps), cpu: fc.nat(1), at: fc.nat() }) },
);

test("property: over zones, nodes, CPUs and types, blocks never overlap, counters conserve, and all memory comes back as one maximal set of blocks", () => {
  const marks = fc.constantFrom(0, 20);
  const lists = fc.constantFrom({ batch: 1, high: 0 }, { batch: 4, high: 16 }, undefined);
  fc.assert(fc.property(fc.constantFrom(...layouts), marks, lists, fc.boolean(), fc.array(step, { maxLength: 150, size: "max" }), (nodes, minFreePages, pcp, pcpAutoTunes, steps) => {
    const { pages, kernel, reports } = allocator({ nodes, minFreePages, ...(pcp === undefined ? {} : { pcp }) }, { cpuNodes: [0, nodes.length - 1], rules: { pcpAutoTunes } });
    const fresh = freeBlocks(pages);
    const owners = new Owners(pages);
    for (const { what, order, compound, gfp, cpu, at } of steps) {
      onCpu(kernel, cpu, () => {
        const held = owners.held[at % Math.max(1, owners.held.length)];
        if (what === "alloc") {
          const page = pages.allocPages(gfp | __GFP_NOWARN | (compound ? __GFP_COMP : 0), order, NUMA_NO_NODE);
          if (page !== null) owners.take(page, order, compound && order > 0);
        } else if (what === "bulk") {
          const out: (Page | null)[] = [];
          const got = pages.allocPagesBulk(gfp | __GFP_NOWARN, NUMA_NO_NODE, order, out);
          expect(got).toBe(out.filter((page) => page !== null && page !== undefined).length);
          for (const page of out) if (page) owners.take(page, 0, false);
        } else if (what === "drain") pages.drainAllPages();
        else if (held === undefined) return;
        else if (what === "get" && held.parts === null && (held.compound || held.order === 0)) {
          pages.getPage(held.page);
          held.refs++;
        } else if (what === "split" && !held.compound && held.order > 0 && held.refs === 1 && held.parts === null) {
          pages.splitPage(held.page, held.order);
          owners.held[owners.held.indexOf(held)] = { ...held, parts: Array.from({ length: 1 << held.order }, (_, i) => pages.pages[(held.page.base >> 12) + i]!) };
        } else drop(pages, owners, held, at);
      });
      expect(pages.freePages() + owners.used()).toBe(pages.nrPages);
      for (const { page, refs, parts } of owners.held) if (parts === null) expect(page.refcount).toBe(refs);
    }
    expect(audit(pages)).toEqual([]);
    while (owners.held.length > 0) drop(pages, owners, owners.held[0]!, 0);
    pages.drainAllPages();
    expect([pages.freePages(), freeBlocks(pages), audit(pages), reports.total]).toEqual([pages.nrPages, fresh, [], 0]);
    const { stats } = pages;
    expect(stats.allocs).toBeLessThanOrEqual(stats.frees);
  }), { numRuns: 150 });
});

/** One holder lets go, the way such a block must be let go of. */
function drop(pages: PageAlloc, owners: Owners, held: Held, at: number): void {
  const index = owners.held.indexOf(held);
  if (held.parts !== null) {
    const [part] = held.parts.splice(at % held.parts.length, 1);
    pages.putPage(part!);
    owners.release(part!, 1);
    if (held.parts.length === 0) owners.held.splice(index, 1);
    return;
  }
  held.refs--;
  const size = 1 << held.order;
  if (held.compound && at % 2 === 0) pages.putPage(pages.pages[(held.page.base >> 12) + (at % size)]!);
  else pages.freePagesOrder(held.page, held.order);
  if (held.refs > 0) return;
  owners.release(held.page, size);
  owners.held.splice(index, 1);
}
