import type { Page } from "./page.ts";

/**
 * The five union words of struct page have several readings, of which one is in use at a time. A view is such a
 * reading; it claims its words while it uses them:
 * ```
 *   word   buddy             per-cpu list    page_pool        slab         tail             mapping    private
 *   1      buddy_list.next   pcp_list.next   pp_magic         slab_cache   compound_head|1  lru.next
 *   2      buddy_list.prev   pcp_list.prev   pp               slab_list                     lru.prev
 *   3                                        (pad)            slab_list                     mapping
 *   4                                        dma_addr         freelist                      index
 *   5      private (order)                   pp_ref_count     counters                                 private
 * ```
 * v3 of the 2021 series had its signature in a word of its own, and claims words 4 and 5 (dma_addr, and mem_info in
 * `private`).
 */
export const PAGE_VIEW_BUDDY = 1;
export const PAGE_VIEW_PCP = 2;
export const PAGE_VIEW_PAGE_POOL = 3;
export const PAGE_VIEW_PAGE_POOL_V3 = 4;
export const PAGE_VIEW_SLAB = 5;
export const PAGE_VIEW_TAIL = 6;
export const PAGE_VIEW_MAPPING = 7;
export const PAGE_VIEW_PRIVATE = 8;
/** As a mapping, of no file: the pointer's lowest bit says so. @kernel PAGE_MAPPING_ANON (include/linux/page-flags.h) */
export const PAGE_VIEW_ANON = 9;

export const UNION_WORDS = 5;

/** Names of the views, and of what each writes into words 1 to 5; "" where it leaves a word alone. */
export const PAGE_VIEWS: readonly { readonly name: string; readonly words: readonly [string, string, string, string, string] }[] = [
  { name: "nobody", words: ["", "", "", "", ""] },
  { name: "the buddy allocator", words: ["buddy_list.next", "buddy_list.prev", "", "", "private"] },
  { name: "a per-cpu list", words: ["pcp_list.next", "pcp_list.prev", "", "", ""] },
  { name: "page_pool", words: ["pp_magic", "pp", "", "dma_addr", "pp_ref_count"] },
  { name: "page_pool v3", words: ["", "", "", "dma_addr", "private"] },
  { name: "slab", words: ["slab_cache", "slab_list.next", "slab_list.prev", "freelist", "counters"] },
  { name: "a compound block's tail", words: ["compound_head", "", "", "", ""] },
  { name: "a mapping", words: ["lru.next", "lru.prev", "mapping", "index", ""] },
  { name: "page_private", words: ["", "", "", "", "private"] },
  { name: "an anonymous mapping", words: ["lru.next", "lru.prev", "mapping", "index", ""] },
];

/** Its word 3 is a mapping's, of a file or not. @kernel page->mapping */
export function pageHasMapping(page: Page): boolean {
  const view = (page.claims >> 8) & 0xf;
  return view === PAGE_VIEW_MAPPING || view === PAGE_VIEW_ANON;
}

/** @kernel PageAnon (include/linux/page-flags.h) */
export function pageIsAnon(page: Page): boolean {
  return ((page.claims >> 8) & 0xf) === PAGE_VIEW_ANON;
}

/** Who uses which words of which page. One claim costs two operations on small integers. */
export interface PageWords {
  /**
   * `view` starts to use its words. False, with report `page-word-claim`, if another view owns one of them: nothing is
   * changed then. Claiming again what one has is no conflict. The page stays whose it is.
   */
  readonly claim: (page: Page, view: number) => boolean;
  /** `view` is done with its words; those of other views stay theirs. The page stays whose it is. */
  readonly release: (page: Page, view: number) => void;
  /** The view that owns word 1 … 5, 0 for none. The page stays whose it is. */
  readonly ownerOf: (page: Page, word: number) => number;
}
