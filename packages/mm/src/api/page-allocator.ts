import type { Page } from "./page.ts";

export interface PageAllocatorStats {
  /** Blocks handed out, of any order; a bulk request counts each page. */
  allocs: number;
  /** Blocks taken back. */
  frees: number;
  /** Requests that found no block. */
  failures: number;
}

export interface PageAllocator {
  readonly nrPages: number;
  readonly freePages: () => number;
  readonly stats: PageAllocatorStats;
  /** All page structs by page frame number. */
  readonly pages: readonly Page[];
  /**
   * A block of 2^`order` pages, reference 1, the caller's; compound if `__GFP_COMP`. Null when none is free.
   * Any context. @kernel alloc_pages_node (mm/page_alloc.c)
   */
  readonly allocPages: (gfp: number, order: number, nid: number) => Page | null;
  /**
   * Fills the null slots of `out[0 … n)` with order-0 pages and answers how many are filled from the start, which may be
   * fewer than n. They are the caller's.
   * @kernel alloc_pages_bulk_node (mm/page_alloc.c)
   */
  readonly allocPagesBulk: (gfp: number, nid: number, n: number, out: (Page | null)[]) => number;
  /** One more reference on the head. Report `page-ref-zero` if there was none. Shares. @kernel get_page */
  readonly getPage: (page: Page) => void;
  /** Drops the caller's reference; the last one frees the block. Consumes. @kernel put_page */
  readonly putPage: (page: Page) => void;
  /** Drops a reference of a block of known order. Consumes. @kernel __free_pages (mm/page_alloc.c) */
  readonly freePagesOrder: (page: Page, order: number) => void;
}
