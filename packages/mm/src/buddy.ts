import type { ReportSink } from "@netmem/kernel/api";
import {
  __GFP_COMP, MAX_PAGE_ORDER, PAGE_BAD, PAGE_BUDDY, PAGE_BUDDY_PART, PAGE_IN_USE, PAGE_PFMEMALLOC_BIT, PAGE_SHIFT, Page, pageName,
  type PageAllocator, type PageAllocatorStats, type PayloadRegion,
} from "./api/index.ts";

export interface BuddyOptions {
  readonly region: PayloadRegion;
  readonly nrPages: number;
  /** Kernels from 6.8 on look for the page_pool signature when a page is freed. */
  readonly checksPoolSignature: boolean;
}

/** Page frame number of the first page, so that no page has number 0. */
const FIRST_PFN = 1 << MAX_PAGE_ORDER;

/**
 * Free blocks of 2^order pages, split downwards and merged upwards.
 * @kernel mm/page_alloc.c
 */
export class BuddyAllocator implements PageAllocator {
  readonly nrPages: number;
  readonly pages: Page[] = [];
  readonly stats: PageAllocatorStats = { allocs: 0, frees: 0, failures: 0 };
  /** Head of the list of free blocks of each order. */
  readonly #free: (Page | null)[] = [];
  /** Its tail: where blocks wait that will probably merge soon. */
  readonly #tail: (Page | null)[] = [];
  readonly #checksPoolSignature: boolean;
  readonly #reports: ReportSink;
  #freeCount = 0;

  constructor(options: BuddyOptions, reports: ReportSink) {
    const { region, nrPages } = options;
    this.nrPages = nrPages;
    this.#reports = reports;
    this.#checksPoolSignature = options.checksPoolSignature;
    for (let order = 0; order <= MAX_PAGE_ORDER; order++) {
      this.#free.push(null);
      this.#tail.push(null);
    }
    for (let i = 0; i < nrPages; i++) this.pages.push(new Page(FIRST_PFN + i, 0, region, i << PAGE_SHIFT));
    // Backwards, so that the lowest block ends up at the head of its list.
    for (let end = nrPages; end > 0;) {
      let order = 0;
      while (order < MAX_PAGE_ORDER && end % (2 << order) === 0) order++;
      end -= 1 << order;
      this.#addFree(this.pages[end]!, order);
    }
  }

  freePages(): number {
    return this.#freeCount;
  }

  allocPages(gfp: number, order: number, _nid: number): Page | null {
    if (order < 0 || order > MAX_PAGE_ORDER) return null;
    const page = this.#take(order);
    if (page === null) {
      this.stats.failures++;
      return null;
    }
    this.stats.allocs++;
    this.#prepNew(page, order, gfp);
    return page;
  }

  allocPagesBulk(_gfp: number, _nid: number, n: number, out: (Page | null)[]): number {
    for (let i = 0; i < n; i++) {
      if (out[i] !== null && out[i] !== undefined) continue;
      const page = this.#take(0);
      if (page === null) {
        this.stats.failures++;
        return i;
      }
      this.stats.allocs++;
      page.refcount = 1;
      page.state = PAGE_IN_USE;
      out[i] = page;
    }
    return n;
  }

  getPage(page: Page): void {
    const head = page.head;
    if (head.refcount <= 0) {
      this.#reports.report("page-ref-zero", "warn", pageName(head), ownerOf(head), `get_page on a page with ${head.refcount} references`);
      return;
    }
    head.refcount++;
  }

  putPage(page: Page): void {
    const head = page.head;
    if (this.#dropReference(head) === 0) this.#freeBlock(head, head.order);
  }

  freePagesOrder(page: Page, order: number): void {
    const compound = page.head !== page || page.order > 0;
    const left = this.#dropReference(page.head);
    if (left === 0) this.#freeBlock(page.head, order);
    // Somebody still holds page 0 of a plain block: only it stays, the rest goes home now, in powers of two.
    else if (left > 0 && !compound) for (let k = order - 1; k >= 0; k--) this.#freeBlock(this.#pageAt(page, 1 << k), k);
  }

  /** References left, or −1 where there was none to drop. */
  #dropReference(head: Page): number {
    if (head.refcount <= 0) {
      this.#reports.report("page-ref-underflow", "warn", pageName(head), ownerOf(head), `put_page on a page with ${head.refcount} references`);
      return -1;
    }
    return --head.refcount;
  }

  #take(order: number): Page | null {
    let current = order;
    while (current <= MAX_PAGE_ORDER && this.#free[current] === null) current++;
    if (current > MAX_PAGE_ORDER) return null;
    const page = this.#free[current]!;
    this.#removeFree(page, current);
    while (current > order) {
      current--;
      this.#addFree(this.#pageAt(page, 1 << current), current);
    }
    return page;
  }

  #prepNew(page: Page, order: number, gfp: number): void {
    page.refcount = 1;
    page.state = PAGE_IN_USE;
    page.order = 0;
    for (let i = 1; i < 1 << order; i++) this.#pageAt(page, i).state = PAGE_IN_USE;
    if (order === 0 || (gfp & __GFP_COMP) === 0) return;
    page.order = order;
    for (let i = 1; i < 1 << order; i++) this.#pageAt(page, i).head = page;
  }

  #freeBlock(head: Page, order: number): void {
    if (!this.#freePrepare(head, order)) return;
    this.stats.frees++;
    head.order = 0;
    for (let i = 1; i < 1 << order; i++) {
      const tail = this.#pageAt(head, i);
      tail.head = tail;
      tail.state = PAGE_BUDDY_PART;
    }
    let block = head;
    let size = order;
    while (size < MAX_PAGE_ORDER) {
      const buddy = this.#buddyOf(block, size);
      if (buddy === null) break;
      this.#removeFree(buddy, size);
      buddy.state = PAGE_BUDDY_PART;
      if (buddy.pfn < block.pfn) {
        block.state = PAGE_BUDDY_PART;
        block = buddy;
      }
      size++;
    }
    if (this.#mergeLikely(block, size)) this.#addFreeTail(block, size);
    else this.#addFree(block, size);
  }

  /** The checks of free_pages_prepare: a page that breaks one is reported and withheld. */
  #freePrepare(page: Page, order: number): boolean {
    const bad = this.#badBlock(page, order);
    if (bad !== null) {
      page.state = PAGE_BAD;
      this.#reports.report("bad-page", "warn", pageName(page), ownerOf(page), `${bad}; block withheld`);
      return false;
    }
    page.ppMagic &= ~PAGE_PFMEMALLOC_BIT;
    if (page.ppMagic !== 0 && this.#checksPoolSignature) {
      page.state = PAGE_BAD;
      this.#reports.report(
        "page_pool leak", "warn", pageName(page), ownerOf(page),
        `freed to the page allocator with its pool signature 0x${page.ppMagic.toString(16)} still set${page.dmaAddr === 0 ? "" : ` and still mapped at 0x${page.dmaAddr.toString(16)}`}; page withheld`,
      );
      return false;
    }
    page.ppMagic = 0;
    page.signature = 0;
    page.pp = null;
    page.memType = 0;
    page.memId = 0;
    return true;
  }

  /** Why this is no block of that order to free, or null. */
  #badBlock(head: Page, order: number): string | null {
    if (head.order !== 0 && head.order !== order) return `compound block of order ${head.order} freed as one of order ${order}`;
    for (let i = 1; i < 1 << order; i++) {
      const tail = head.pfn - FIRST_PFN + i;
      if (tail >= this.nrPages || this.pages[tail]!.state !== PAGE_IN_USE) return `freed with order ${order}, but page ${i} of the block is not in use`;
    }
    return null;
  }

  /** The free buddy of the same order, or null. @kernel page_is_buddy */
  #buddyOf(page: Page, order: number): Page | null {
    const index = (page.pfn - FIRST_PFN) ^ (1 << order);
    if (index >= this.nrPages) return null;
    const buddy = this.pages[index]!;
    return buddy.state === PAGE_BUDDY && buddy.order === order ? buddy : null;
  }

  #addFree(page: Page, order: number): void {
    const first = this.#free[order]!;
    page.state = PAGE_BUDDY;
    page.order = order;
    page.prev = null;
    page.next = first;
    if (first === null) this.#tail[order] = page;
    else first.prev = page;
    this.#free[order] = page;
    this.#freeCount += 1 << order;
  }

  #addFreeTail(page: Page, order: number): void {
    const last = this.#tail[order]!;
    if (last === null) {
      this.#addFree(page, order);
      return;
    }
    page.state = PAGE_BUDDY;
    page.order = order;
    page.prev = last;
    page.next = null;
    last.next = page;
    this.#tail[order] = page;
    this.#freeCount += 1 << order;
  }

  /** Its buddy's buddy is free already: handed out last, the block may still grow. @kernel buddy_merge_likely */
  #mergeLikely(block: Page, order: number): boolean {
    if (order > MAX_PAGE_ORDER - 2) return false;
    const pair = (block.pfn - FIRST_PFN) & ~(1 << order);
    return this.#buddyOf(this.pages[pair]!, order + 1) !== null;
  }

  #removeFree(page: Page, order: number): void {
    if (page.prev === null) this.#free[order] = page.next;
    else page.prev.next = page.next;
    if (page.next === null) this.#tail[order] = page.prev;
    else page.next.prev = page.prev;
    page.next = null;
    page.prev = null;
    page.order = 0;
    this.#freeCount -= 1 << order;
  }

  #pageAt(head: Page, offset: number): Page {
    return this.pages[head.pfn - FIRST_PFN + offset]!;
  }
}

function ownerOf(page: Page): string {
  return page.pp === null ? "none" : `mem type ${page.pp.memType} id ${page.pp.memId}`;
}
