import type { Page } from "./page.ts";
import type { ZoneInfo } from "./zone.ts";

export interface PageAllocatorStats {
  /** Blocks handed out, of any order; a bulk request counts each page. */
  allocs: number;
  /** Blocks taken back. */
  frees: number;
  /** Requests that found no block. */
  failures: number;
  /** Of these, the ones the kernel would print: without `__GFP_NOWARN`. @kernel warn_alloc */
  warnings: number;
  /** Requests that found every zone below its low watermark. @kernel wake_all_kswapds */
  kswapdWakes: number;
  /** Requests that asked the shrinkers for memory. @kernel ALLOCSTALL */
  directReclaims: number;
}

/** References to pages. All of them act on the head of a compound block. Any context. */
export interface PageRefs {
  /** One more reference. Report `page-ref-zero` if there was none; a slab page has none to take, report `page-ref-slab`. Shares. @kernel get_page (include/linux/mm.h) */
  readonly getPage: (page: Page) => void;
  /** One more, unless there is none: false then. Shares. @kernel get_page_unless_zero */
  readonly getPageUnlessZero: (page: Page) => boolean;
  /** Drops the caller's reference; the last one frees the block. A slab page is left alone. Consumes. @kernel put_page */
  readonly putPage: (page: Page) => void;
  /** `n` more references at once. Shares. @kernel page_ref_add (include/linux/page_ref.h) */
  readonly pageRefAdd: (page: Page, n: number) => void;
  /** `n` fewer, and nothing is freed; report `page-ref-underflow` if there were fewer. Consumes `n` references. @kernel page_ref_sub */
  readonly pageRefSub: (page: Page, n: number) => void;
  /** `n` fewer; true if none is left, and then the caller must free the block. Consumes `n` references. @kernel page_ref_sub_and_test */
  readonly pageRefSubAndTest: (page: Page, n: number) => boolean;
  /** Plain store, for a block whose count is 0 and which the caller alone can reach; else report `page-ref-store`. Keeps. @kernel set_page_count */
  readonly setPageCount: (page: Page, n: number) => void;
}

export interface PageAllocator extends PageRefs {
  readonly nrPages: number;
  /** Pages nobody holds, those on per-CPU lists included. */
  readonly freePages: () => number;
  readonly stats: PageAllocatorStats;
  /** All page structs by page frame number. */
  readonly pages: readonly Page[];
  /** Lowest zone of the lowest node first. */
  readonly zones: readonly ZoneInfo[];
  /**
   * A block of 2^`order` pages, reference 1, the caller's; compound if `__GFP_COMP`. From node `nid` or, failing that, the
   * others by distance; `NUMA_NO_NODE` is the executing CPU's. Null when no zone may give one.
   * Any context without `__GFP_DIRECT_RECLAIM`; with it outside process context: report `sleep-in-atomic`, as
   * `might_alloc` has it. An order above `MAX_PAGE_ORDER` is report `page-alloc-order` and null.
   * @kernel alloc_pages_node (mm/page_alloc.c)
   */
  readonly allocPages: (gfp: number, order: number, nid: number) => Page | null;
  /**
   * Fills the null slots of `out[0 … n)` with order-0 pages of one local zone, and answers how many are filled from the
   * start, which may be fewer than n; filled slots stay as they are. Where no local zone stays above its low watermark:
   * one page by the ordinary path. They are the caller's.
   * @kernel alloc_pages_bulk_node (mm/page_alloc.c)
   */
  readonly allocPagesBulk: (gfp: number, nid: number, n: number, out: (Page | null)[]) => number;
  /** Drops a reference of a block of known order; a plain block that others still hold loses all pages but the first. Consumes. @kernel __free_pages (mm/page_alloc.c) */
  readonly freePagesOrder: (page: Page, order: number) => void;
  /** Frees a block whose last reference the caller has dropped. Consumes. @kernel free_frozen_pages (mm/page_alloc.c) */
  readonly freeFrozenPages: (page: Page, order: number) => void;
  /** Makes 2^`order` single pages of a plain block, each with reference 1, the caller's. A compound block: report `page-split`, nothing done. Keeps. @kernel split_page (mm/page_alloc.c) */
  readonly splitPage: (page: Page, order: number) => void;
  /** `MIGRATE_*` of the pageblock of 512 pages that the page lies in: what its free blocks are listed as. The page stays whose it is. @kernel get_pageblock_migratetype (include/linux/mmzone.h) */
  readonly getPageblockMigratetype: (page: Page) => number;
  /** Empties every CPU's lists into the zones. @kernel drain_all_pages (mm/page_alloc.c) */
  readonly drainAllPages: () => void;
}
