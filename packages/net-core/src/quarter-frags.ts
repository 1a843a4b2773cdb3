import { NUMA_NO_NODE, PAGE_SIZE, type Page, type PageAllocator } from "@netmem/mm/api";

export const QUARTER_BYTES = 1024;

/**
 * Where one CPU's polls get small heads, from 6.1 to 6.13: quarters of single pages, from the end to the start, so that a packet pins
 * no more memory than it is charged for. A page is nobody's but its heads': it has a reference for each quarter.
 * @kernel struct page_frag_1k (net/core/skbuff.c)
 */
export class QuarterFrags {
  private readonly pages: PageAllocator;
  private page: Page | null = null;
  /** Of the last one cut. */
  offset = 0;

  constructor(pages: PageAllocator) {
    this.pages = pages;
  }

  /** The page of a quarter at `offset`, with a reference that is the caller's; null without memory. */
  cut(gfp: number): Page | null {
    if (this.offset < QUARTER_BYTES) {
      const page = this.pages.allocPages(gfp, 0, NUMA_NO_NODE);
      if (page === null) return null;
      this.pages.pageRefAdd(page, PAGE_SIZE / QUARTER_BYTES - 1);
      this.page = page;
      this.offset = PAGE_SIZE;
    }
    this.offset -= QUARTER_BYTES;
    return this.page;
  }
}
