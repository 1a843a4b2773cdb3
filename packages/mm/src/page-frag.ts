import { UsageError } from "@netmem/kernel/api";
import {
  __GFP_COMP, __GFP_DIRECT_RECLAIM, __GFP_NOMEMALLOC, __GFP_NORETRY, __GFP_NOWARN, NUMA_NO_NODE, PAGE_FRAG_CACHE_MAX_ORDER, PAGE_FRAG_CACHE_MAX_SIZE, PAGE_SIZE, PageFragCache, pageIsPfmemalloc,
  type Page, type PageAllocator, type PageFrags,
} from "./api/index.ts";

const LARGE_FLAGS: number = __GFP_COMP | __GFP_NOWARN | __GFP_NORETRY | __GFP_NOMEMALLOC;

/** @kernel mm/page_frag_cache.c */
export class PageFragAllocator implements PageFrags {
  private readonly pages: PageAllocator;
  private readonly ascends: boolean;
  /** Flags that the request for a large block leaves out. */
  private readonly dropped: number;

  constructor(pages: PageAllocator, ascends: boolean, refillReclaims: boolean) {
    this.pages = pages;
    this.ascends = ascends;
    this.dropped = refillReclaims ? 0 : __GFP_DIRECT_RECLAIM;
  }

  createCache(): PageFragCache {
    return new PageFragCache();
  }

  pageFragAllocAlign(cache: PageFragCache, fragsz: number, gfp: number, align: number): number {
    if (!(fragsz >= 1 && fragsz <= PAGE_FRAG_CACHE_MAX_SIZE && Number.isInteger(fragsz)) || !(align >= 1 && (align | 0) === align) || (align & (align - 1)) !== 0) {
      throw new UsageError("mm", "fragment bytes and alignment", `${fragsz}, ${align}`, `give 1 to ${PAGE_FRAG_CACHE_MAX_SIZE} bytes and a power of two`);
    }
    if (cache.page === null && !this.refill(cache, gfp)) return -1;
    for (;;) {
      const offset = this.ascends ? (cache.offset + align - 1) & -align : cache.offset - fragsz;
      if (this.ascends ? offset + fragsz <= PAGE_SIZE << cache.order : offset >= 0) return this.cut(cache, offset, fragsz, align);
      // From 6.13 a request that may never fit leaves the block alone; before, the block was given up first.
      if (this.ascends && fragsz > PAGE_SIZE) return -1;
      if (!this.renew(cache, gfp)) return -1;
      if (!this.ascends && PAGE_SIZE << cache.order < fragsz) return -1;
    }
  }

  private cut(cache: PageFragCache, offset: number, fragsz: number, align: number): number {
    cache.pagecntBias--;
    if (this.ascends) {
      cache.offset = offset + fragsz;
      return offset;
    }
    cache.offset = offset & -align;
    return cache.offset;
  }

  /** The block has no room: the same one again if no fragment of it is out, else another. False without memory. */
  private renew(cache: PageFragCache, gfp: number): boolean {
    const page = cache.page!;
    if (!this.pages.pageRefSubAndTest(page, cache.pagecntBias)) return this.refill(cache, gfp);
    if (cache.pfmemalloc) {
      // Memory of the reserves is not kept a moment longer than it is needed.
      this.pages.freeFrozenPages(page, cache.order);
      return this.refill(cache, gfp);
    }
    this.pages.setPageCount(page, PAGE_FRAG_CACHE_MAX_SIZE + 1);
    this.start(cache);
    return true;
  }

  /** @kernel __page_frag_cache_refill */
  private refill(cache: PageFragCache, gfp: number): boolean {
    let order = PAGE_FRAG_CACHE_MAX_ORDER;
    let page = this.pages.allocPages((gfp & ~this.dropped) | LARGE_FLAGS, order, NUMA_NO_NODE);
    if (page === null) {
      order = 0;
      page = this.pages.allocPages(gfp, order, NUMA_NO_NODE);
    }
    cache.page = page;
    if (page === null) {
      cache.order = 0;
      cache.offset = 0;
      cache.pagecntBias = 0;
      return false;
    }
    cache.order = order;
    cache.pfmemalloc = pageIsPfmemalloc(page);
    this.pages.pageRefAdd(page, PAGE_FRAG_CACHE_MAX_SIZE);
    this.start(cache);
    return true;
  }

  private start(cache: PageFragCache): void {
    cache.pagecntBias = PAGE_FRAG_CACHE_MAX_SIZE + 1;
    cache.offset = this.ascends ? 0 : PAGE_SIZE << cache.order;
  }

  pageFragFree(page: Page): void {
    this.pages.putPage(page);
  }

  pageFragCacheDrain(cache: PageFragCache): void {
    const { page } = cache;
    if (page === null) return;
    cache.page = null;
    this.pageFragCacheDrainPage(page, cache.pagecntBias);
    cache.pagecntBias = 0;
  }

  pageFragCacheDrainPage(page: Page, count: number): void {
    const { head } = page;
    if (this.pages.pageRefSubAndTest(head, count)) this.pages.freeFrozenPages(head, head.order);
  }
}
