import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  __GFP_COMP, __GFP_NOWARN, GFP_ATOMIC, MAX_PAGE_ORDER, NUMA_NO_NODE, PAGE_BAD, PAGE_BUDDY, PAGE_PFMEMALLOC_BIT, PP_SIGNATURE, type Page, type PageAllocator,
} from "../../src/api/index.ts";
import { kinds, usageErrorOf } from "../helpers.ts";
import { allocator, type Allocator } from "./rig.ts";

/** Per-CPU lists keep nothing and nobody's reserve is held back: the zone's own lists are seen. */
function rigOf(nrPages: number, checksPoolSignature = true): { readonly buddy: PageAllocator; readonly reports: Allocator["reports"] } {
  const { pages, reports } = allocator({ nrPages, minFreePages: 0, pcp: { batch: 1, high: 0 } }, { rules: { checksPoolSignature } });
  return { buddy: pages, reports };
}

function alloc(buddy: PageAllocator, order: number, flags = 0): Page {
  const page = buddy.allocPages(GFP_ATOMIC | flags, order, NUMA_NO_NODE);
  expect(page).not.toBeNull();
  return page!;
}

function indexOf(buddy: PageAllocator, page: Page): number {
  return buddy.pages.indexOf(page);
}

/** `+offset:order` of each free block, by address. */
function freeBlocks(buddy: PageAllocator): string[] {
  return buddy.pages.flatMap((page, i) => (page.state === PAGE_BUDDY ? [`+${i}:${page.order}`] : []));
}

/** All that a refused call must leave as it was. */
function snapshot(buddy: PageAllocator): unknown {
  return [buddy.freePages(), freeBlocks(buddy), { ...buddy.stats }, buddy.pages.map((page) => [page.state, page.refcount, page.order])];
}

describe("splitting and merging", () => {
  test("skb-mm row 1: a request of order 0 gets the lowest page of a block of 8, and 1, 2 and 4 pages stay at +1, +2 and +4", () => {
    const { buddy } = rigOf(8);
    expect(indexOf(buddy, alloc(buddy, 0))).toBe(0);
    expect(freeBlocks(buddy)).toEqual(["+1:0", "+2:1", "+4:2"]);
  });

  test("skb-mm row 2: the parts of a block, freed in any order, are one block again", () => {
    const parts = [0, 0, 1, 2];
    fc.assert(
      fc.property(fc.shuffledSubarray([0, 1, 2, 3], { minLength: 4 }), (order) => {
        const { buddy } = rigOf(8);
        const pages = parts.map((part) => alloc(buddy, part));
        for (const i of order) buddy.freePagesOrder(pages[i]!, parts[i]!);
        expect(freeBlocks(buddy)).toEqual(["+0:3"]);
      }),
    );
  });

  test("skb-mm row 3: a free buddy of another order is not merged with", () => {
    const { buddy } = rigOf(8);
    const low = alloc(buddy, 2);
    const high = alloc(buddy, 1);
    alloc(buddy, 1);
    buddy.freePagesOrder(high, 1);
    buddy.freePagesOrder(low, 2);
    expect(freeBlocks(buddy)).toEqual(["+0:2", "+4:1"]);
  });

  test("skb-mm row 4: two blocks of the largest order, freed side by side, stay two", () => {
    const { buddy } = rigOf(2048);
    const blocks = [alloc(buddy, MAX_PAGE_ORDER), alloc(buddy, MAX_PAGE_ORDER)];
    for (const block of blocks) buddy.freePagesOrder(block, MAX_PAGE_ORDER);
    expect(freeBlocks(buddy)).toEqual(["+0:10", "+1024:10"]);
  });

  test("skb-mm row 5: a freed block whose next-higher buddy is in use is queued at the head: the next request gets it", () => {
    const { buddy } = rigOf(8);
    const pages = Array.from({ length: 8 }, () => alloc(buddy, 0));
    for (const i of [0, 6, 2]) buddy.putPage(pages[i]!);
    expect(alloc(buddy, 0)).toBe(pages[2]);
  });

  test("skb-mm row 5: a freed block whose next-higher buddy is free already is queued at the tail: it is handed out last", () => {
    const { buddy } = rigOf(8);
    const pages = Array.from({ length: 8 }, () => alloc(buddy, 0));
    // Pages 2 and 3 are free as one block; page 0 could merge with page 1 and then with them, page 6 with nothing soon.
    for (const i of [2, 3, 6, 0]) buddy.putPage(pages[i]!);
    expect([alloc(buddy, 0), alloc(buddy, 0)]).toEqual([pages[6], pages[0]]);
  });

  test("memory of no power of two is cut into naturally aligned blocks", () => {
    expect(freeBlocks(rigOf(1030).buddy)).toEqual(["+0:10", "+1024:2", "+1028:1"]);
  });

  test("a request of order 11 is a report that says what is the most, and finds nothing", () => {
    const { buddy, reports } = rigOf(2048);
    expect(buddy.allocPages(GFP_ATOMIC, MAX_PAGE_ORDER + 1, NUMA_NO_NODE)).toBeNull();
    expect(reports.reports).toMatchObject([{ kind: "page-alloc-order", object: "request of order 11", message: expect.stringContaining("no block is larger than order 10") }]);
    expect([buddy.freePages(), buddy.stats.failures]).toEqual([2048, 1]);
  });

  test("a request of order 11 with __GFP_NOWARN just finds nothing, as WARN_ON_ONCE_GFP has it", () => {
    const { buddy, reports } = rigOf(2048);
    expect([buddy.allocPages(GFP_ATOMIC | __GFP_NOWARN, MAX_PAGE_ORDER + 1, NUMA_NO_NODE), reports.total]).toEqual([null, 0]);
  });

  test.each([-1, 1.5, Number.NaN])("an order of %d is no order: a typed error by name", (order) => {
    expect(usageErrorOf(() => rigOf(64).buddy.allocPages(GFP_ATOMIC, order, NUMA_NO_NODE))).toMatchObject({ package: "mm", option: "order", value: order });
  });

  test("flags that do not exist are a typed error with their bits, and nothing is taken", () => {
    const { buddy } = rigOf(64);
    const error = usageErrorOf(() => buddy.allocPages(GFP_ATOMIC | (1 << 25), 0, NUMA_NO_NODE));
    expect(error).toMatchObject({ package: "mm", option: "gfp", value: "GFP_ATOMIC|0x2000000" });
    expect(usageErrorOf(() => buddy.allocPagesBulk(1 << 30, NUMA_NO_NODE, 4, []))).toMatchObject({ option: "gfp" });
    expect([buddy.freePages(), buddy.stats.allocs]).toEqual([64, 0]);
  });

  test("a node that does not exist is a typed error by name", () => {
    expect(usageErrorOf(() => rigOf(64).buddy.allocPages(GFP_ATOMIC, 0, 1))).toMatchObject({ option: "nid", value: 1 });
  });

  test("a request that no free block can serve answers null and is counted, though enough single pages are free", () => {
    const { buddy } = rigOf(4);
    const pages = Array.from({ length: 4 }, () => alloc(buddy, 0));
    buddy.putPage(pages[0]!);
    buddy.putPage(pages[2]!);
    expect(buddy.allocPages(GFP_ATOMIC, 1, NUMA_NO_NODE)).toBeNull();
    expect(buddy.stats).toMatchObject({ allocs: 4, frees: 2, failures: 1, warnings: 1 });
  });
});

describe("the leak check", () => {
  test("skb-mm row 6: a page freed with its pool signature is reported as a page_pool leak and never handed out again", () => {
    const { buddy, reports } = rigOf(4);
    const page = alloc(buddy, 0);
    page.ppMagic = PP_SIGNATURE;
    page.pp = { memType: 3, memId: 7 };
    page.dmaAddr = 0x5000;
    buddy.putPage(page);
    expect(reports.reports).toMatchObject([{ kind: "page_pool leak", severity: "warn", object: "page pfn 0x400", owner: "mem type 3 id 7" }]);
    expect([page.state, buddy.freePages()]).toEqual([PAGE_BAD, 3]);
    for (let i = 0; i < 3; i++) expect(alloc(buddy, 0)).not.toBe(page);
    expect(buddy.allocPages(GFP_ATOMIC, 0, NUMA_NO_NODE)).toBeNull();
  });

  test("skb-mm row 6: a compound block with the signature on its head is withheld as a whole", () => {
    const { buddy, reports } = rigOf(8);
    const head = alloc(buddy, 2, __GFP_COMP);
    head.ppMagic = PP_SIGNATURE;
    buddy.putPage(head);
    expect([kinds(reports), buddy.freePages()]).toEqual([["page_pool leak"], 4]);
  });

  test("skb-mm row 6: without the check (6.1) the page goes back in silence, its signature gone", () => {
    const { buddy, reports } = rigOf(4, false);
    const page = alloc(buddy, 0);
    page.ppMagic = PP_SIGNATURE;
    page.pp = { memType: 3, memId: 7 };
    buddy.putPage(page);
    expect([reports.total, buddy.freePages()]).toEqual([0, 4]);
    expect(alloc(buddy, 0)).toMatchObject({ ppMagic: 0, pp: null });
  });

  test("the pfmemalloc bit alone, which shares the word, is no leak, and the next owner does not see it", () => {
    const { buddy, reports } = rigOf(4);
    const page = alloc(buddy, 0);
    page.ppMagic = PAGE_PFMEMALLOC_BIT;
    buddy.putPage(page);
    expect([reports.total, alloc(buddy, 0).ppMagic]).toEqual([0, 0]);
  });
});

describe("references", () => {
  test("skb-mm row 7: freeing a plain block of 8 that has an extra reference frees pages 1 to 7 now, and page 0 with its last reference", () => {
    const { buddy } = rigOf(8);
    const page = alloc(buddy, 3);
    buddy.getPage(page);
    buddy.freePagesOrder(page, 3);
    expect(freeBlocks(buddy)).toEqual(["+1:0", "+2:1", "+4:2"]);
    expect(page.refcount).toBe(1);
    buddy.putPage(page);
    expect(freeBlocks(buddy)).toEqual(["+0:3"]);
  });

  test("skb-mm row 8: freeing a compound block of 8 that has an extra reference frees nothing; the next put frees all 8", () => {
    const { buddy } = rigOf(8);
    const page = alloc(buddy, 3, __GFP_COMP);
    buddy.getPage(page);
    buddy.freePagesOrder(page, 3);
    expect([buddy.freePages(), page.refcount]).toEqual([0, 1]);
    buddy.putPage(page);
    expect(freeBlocks(buddy)).toEqual(["+0:3"]);
  });

  test("skb-mm row 9: get_page of a tail counts on the head and leaves the tail's own count", () => {
    const { buddy } = rigOf(8);
    const head = alloc(buddy, 3, __GFP_COMP);
    const tail = buddy.pages[5]!;
    buddy.getPage(tail);
    expect([head.refcount, tail.refcount]).toEqual([2, 0]);
  });

  test("put_page of a tail drops the head's reference and frees the whole block", () => {
    const { buddy } = rigOf(8);
    alloc(buddy, 3, __GFP_COMP);
    buddy.putPage(buddy.pages[5]!);
    expect(freeBlocks(buddy)).toEqual(["+0:3"]);
  });

  test("put_page of a plain block frees its first page only", () => {
    const { buddy } = rigOf(8);
    buddy.putPage(alloc(buddy, 3));
    expect(freeBlocks(buddy)).toEqual(["+0:0"]);
  });

  test("the tails of a freed compound block are heads of their own when handed out again", () => {
    const { buddy } = rigOf(4);
    buddy.putPage(alloc(buddy, 2, __GFP_COMP));
    for (let i = 0; i < 4; i++) {
      const page = alloc(buddy, 0);
      expect([page.head === page, page.order, page.refcount]).toEqual([true, 0, 1]);
    }
  });

  test("get_page of a free page is a report and changes nothing", () => {
    const { buddy, reports } = rigOf(8);
    const before = snapshot(buddy);
    buddy.getPage(buddy.pages[0]!);
    expect(kinds(reports)).toEqual(["page-ref-zero"]);
    expect(snapshot(buddy)).toEqual(before);
  });

  test.each<[string, (buddy: PageAllocator, page: Page) => void]>([
    ["put_page", (buddy, page) => buddy.putPage(page)],
    ["__free_pages", (buddy, page) => buddy.freePagesOrder(page, 0)],
  ])("%s of a free page is a report and changes nothing", (_name, put) => {
    const { buddy, reports } = rigOf(8);
    const page = alloc(buddy, 0);
    buddy.putPage(page);
    const before = snapshot(buddy);
    put(buddy, page);
    expect(kinds(reports)).toEqual(["page-ref-underflow"]);
    expect(snapshot(buddy)).toEqual(before);
  });

  test.each([0, __GFP_COMP])("__free_pages of a block of 8 that is free already is a report and changes nothing (gfp flags %i)", (flags) => {
    const { buddy, reports } = rigOf(16);
    const [low, high] = [alloc(buddy, 3), alloc(buddy, 3, flags)];
    buddy.freePagesOrder(low, 3);
    // Merged with the one below: nothing marks its first page any more.
    buddy.freePagesOrder(high, 3);
    const before = snapshot(buddy);
    buddy.freePagesOrder(high, 3);
    expect(kinds(reports)).toEqual(["page-ref-underflow"]);
    expect(snapshot(buddy)).toEqual(before);
  });

  test("a plain block whose tail went home already, freed by its whole order again, is reported and withheld", () => {
    const { buddy, reports } = rigOf(8);
    const page = alloc(buddy, 3);
    buddy.getPage(page);
    buddy.freePagesOrder(page, 3);
    buddy.freePagesOrder(page, 3);
    expect(kinds(reports)).toEqual(["bad-page"]);
    expect(freeBlocks(buddy)).toEqual(["+1:0", "+2:1", "+4:2"]);
  });

  test.each([2, 4])("a compound block of order 3 freed as order %i is reported and withheld", (order) => {
    const { buddy, reports } = rigOf(32);
    buddy.freePagesOrder(alloc(buddy, 3, __GFP_COMP), order);
    expect([kinds(reports), buddy.freePages()]).toEqual([["bad-page"], 24]);
  });

  test("a page at the end of memory freed with an order that reaches beyond it is reported and withheld", () => {
    const { buddy, reports } = rigOf(1);
    buddy.freePagesOrder(alloc(buddy, 0), 3);
    expect([kinds(reports), buddy.freePages()]).toEqual([["bad-page"], 0]);
  });

  test("putting a withheld page again is a report and does not free it", () => {
    const { buddy, reports } = rigOf(4);
    const page = alloc(buddy, 0);
    page.ppMagic = PP_SIGNATURE;
    buddy.putPage(page);
    buddy.putPage(page);
    expect(kinds(reports)).toEqual(["page_pool leak", "page-ref-underflow"]);
    expect(buddy.freePages()).toBe(3);
  });
});

describe("bulk", () => {
  test("pages of a bulk request are single pages with one reference each", () => {
    const { buddy } = rigOf(8);
    const out: (Page | null)[] = [];
    expect(buddy.allocPagesBulk(GFP_ATOMIC, NUMA_NO_NODE, 3, out)).toBe(3);
    for (const page of out) buddy.putPage(page!);
    expect(freeBlocks(buddy)).toEqual(["+0:3"]);
  });
});

interface Block {
  readonly start: number;
  readonly order: number;
  readonly compound: boolean;
  refs: number;
  /** A plain block that was freed while somebody held page 0: only that page is left. */
  cut: boolean;
}

/** Which page is whose; the allocator must always agree. */
class ModelMemory {
  readonly used: boolean[];
  readonly blocks: Block[] = [];

  constructor(nrPages: number) {
    this.used = Array<boolean>(nrPages).fill(false);
  }

  free(): number {
    return this.used.filter((used) => !used).length;
  }

  /** Whether a naturally aligned run of 2^order pages is free: then the allocator must find one. */
  hasRoom(order: number): boolean {
    const size = 1 << order;
    for (let start = 0; start + size <= this.used.length; start += size) {
      if (!this.used.slice(start, start + size).includes(true)) return true;
    }
    return false;
  }

  mark(start: number, pages: number, used: boolean): void {
    for (let i = start; i < start + pages; i++) {
      expect(this.used[i]).toBe(!used);
      this.used[i] = used;
    }
  }
}

function allocInBoth(buddy: PageAllocator, model: ModelMemory, order: number, compound: boolean): void {
  const page = buddy.allocPages(compound ? GFP_ATOMIC | __GFP_COMP : GFP_ATOMIC, order, NUMA_NO_NODE);
  expect(page !== null).toBe(model.hasRoom(order));
  if (page === null) return;
  const start = page.base >>> 12;
  expect([buddy.pages[start], start % (1 << order), page.refcount]).toEqual([page, 0, 1]);
  model.mark(start, 1 << order, true);
  model.blocks.push({ start, order, compound: compound && order > 0, refs: 1, cut: false });
}

/** Drops one reference the way a holder of such a block may. */
function dropInBoth(buddy: PageAllocator, model: ModelMemory, block: Block, byOrder: boolean): void {
  const page = buddy.pages[block.start]!;
  const size = 1 << block.order;
  const last = block.refs === 1;
  block.refs--;
  if (block.compound || block.order === 0 || block.cut) {
    if (byOrder && !block.cut) buddy.freePagesOrder(page, block.order);
    else buddy.putPage(block.compound ? buddy.pages[block.start + size - 1]! : page);
    if (last) model.mark(block.start, block.cut ? 1 : size, false);
  } else if (last || byOrder) {
    buddy.freePagesOrder(page, block.order);
    model.mark(block.start + (last ? 0 : 1), last ? size : size - 1, false);
    block.cut = true;
  } else {
    buddy.putPage(page);
  }
  if (last) model.blocks.splice(model.blocks.indexOf(block), 1);
}

/** Every free page is on a list, from where a request gets it. */
function expectAllFound(buddy: PageAllocator, free: number): void {
  const pages: Page[] = [];
  for (let page = buddy.allocPages(GFP_ATOMIC, 0, NUMA_NO_NODE); page !== null; page = buddy.allocPages(GFP_ATOMIC, 0, NUMA_NO_NODE)) pages.push(page);
  expect(pages.length).toBe(free);
  for (const page of pages) buddy.putPage(page);
}

test("property: blocks never overlap, free pages are conserved, a block is found where one is free, and all freed is as new", () => {
  const step = fc.oneof(
    fc.record({ what: fc.constant("alloc" as const), order: fc.integer({ min: 0, max: MAX_PAGE_ORDER }), flag: fc.boolean(), at: fc.nat() }),
    fc.record({ what: fc.constant("alloc" as const), order: fc.integer({ min: 0, max: 3 }), flag: fc.boolean(), at: fc.nat() }),
    fc.record({ what: fc.constantFrom("get" as const, "drop" as const, "drop" as const), order: fc.constant(0), flag: fc.boolean(), at: fc.nat() }),
  );
  const sizes = fc.oneof(fc.integer({ min: 1, max: 100 }), fc.integer({ min: 1, max: 2600 }));
  fc.assert(
    fc.property(sizes, fc.array(step, { maxLength: 80, size: "max" }), (nrPages, steps) => {
      const { buddy, reports } = rigOf(nrPages);
      const fresh = freeBlocks(buddy);
      const model = new ModelMemory(nrPages);
      for (const { what, order, flag, at } of steps) {
        const block = model.blocks[at % Math.max(1, model.blocks.length)];
        if (what === "alloc") allocInBoth(buddy, model, order, flag);
        else if (block === undefined) continue;
        else if (what === "drop") dropInBoth(buddy, model, block, flag);
        else {
          buddy.getPage(buddy.pages[block.start + (block.compound ? at % (1 << block.order) : 0)]!);
          block.refs++;
        }
        expect(buddy.freePages()).toBe(model.free());
        for (const { start, refs } of model.blocks) expect(buddy.pages[start]!.refcount).toBe(refs);
      }
      expectAllFound(buddy, model.free());
      while (model.blocks.length > 0) dropInBoth(buddy, model, model.blocks[0]!, false);
      expect([buddy.freePages(), reports.total]).toEqual([nrPages, 0]);
      expect(freeBlocks(buddy)).toEqual(fresh);
      allocInBoth(buddy, model, Math.min(MAX_PAGE_ORDER, 31 - Math.clz32(nrPages)), true);
      expect(model.blocks).toHaveLength(1);
    }),
  );
});
