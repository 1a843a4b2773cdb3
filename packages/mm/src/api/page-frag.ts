import type { Page } from "./page.ts";

/** Largest block of a fragment cache, in bytes; also the references it takes in advance. @kernel PAGE_FRAG_CACHE_MAX_SIZE */
export const PAGE_FRAG_CACHE_MAX_SIZE = 32_768;
export const PAGE_FRAG_CACHE_MAX_ORDER = 3;

/**
 * A block being cut into fragments. It takes 32768 references in advance and counts them down in `pagecntBias`, so that a
 * fragment costs no access to the page: at any time `page.refcount − pagecntBias` fragments are out.
 * One owner: a CPU, or a context; there is no lock. `PageFrags` writes it.
 * @kernel struct page_frag_cache (include/linux/page_frag_cache.h)
 */
export class PageFragCache {
  declare private readonly nominal: "PageFragCache";
  /** Null while empty. */
  page: Page | null;
  order: number;
  pfmemalloc: boolean;
  /** Bytes from the block's start: the first free one, or, while fragments descend (up to 6.12), the first used one. */
  offset: number;
  pagecntBias: number;

  constructor() {
    this.page = null;
    this.order = 0;
    this.pfmemalloc = false;
    this.offset = 0;
    this.pagecntBias = 0;
  }
}

export interface PageFrags {
  readonly createCache: () => PageFragCache;
  /**
   * `fragsz` bytes, 1 … 32768, aligned to `align` (a power of two): their offset in the block of `cache.page`, or −1 without
   * memory, and for more than a page that the block cannot hold. The fragment is the caller's, who frees it by the page.
   * @kernel __page_frag_alloc_align (mm/page_frag_cache.c)
   */
  readonly pageFragAllocAlign: (cache: PageFragCache, fragsz: number, gfp: number, align: number) => number;
  /** Gives one fragment of this block back. Any context. Consumes. @kernel page_frag_free */
  readonly pageFragFree: (page: Page) => void;
  /** Gives back what the cache holds; fragments that are out keep their block. @kernel page_frag_cache_drain */
  readonly pageFragCacheDrain: (cache: PageFragCache) => void;
  /** Drops `count` references of a block, which is freed with the last. Consumes them. @kernel __page_frag_cache_drain */
  readonly pageFragCacheDrainPage: (page: Page, count: number) => void;
}
