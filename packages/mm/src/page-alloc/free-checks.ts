import type { ReportSink } from "@netmem/kernel/api";
import {
  PAGE_BAD, PAGE_BUDDY_PART, PAGE_IN_USE, PAGE_PFMEMALLOC_BIT, PAGE_VIEWS, PAGE_VIEW_PAGE_POOL, PAGE_VIEW_PAGE_POOL_V3, PAGE_VIEW_TAIL, UNION_WORDS, pageName, pageOwner,
  type Page, type PageWords,
} from "../api/index.ts";
import type { MemMap } from "./mem-map.ts";

/** `page.claims` of a page whose words nobody uses but the one that marks it a tail. */
export const TAIL_CLAIMS: number = PAGE_VIEW_TAIL;

/**
 * What a block must look like when it comes and when it goes. Who breaks that is reported, and the block withheld: it is
 * lost, but nobody else is given it.
 */
export class FreeChecks {
  private readonly map: MemMap;
  private readonly words: PageWords;
  private readonly reports: ReportSink;
  private readonly checksPoolSignature: boolean;

  constructor(map: MemMap, words: PageWords, reports: ReportSink, checksPoolSignature: boolean) {
    this.map = map;
    this.words = words;
    this.reports = reports;
    this.checksPoolSignature = checksPoolSignature;
  }

  /** What nearly every put is: the last reference to a page of its own, whose words nobody uses, a tail's being claimed. Nothing is left to prepare then. */
  isPlainLast(page: Page): boolean {
    return page.refcount === 1 && page.state === PAGE_IN_USE && (page.order | page.claims | page.ppMagic | page.signature | page.ppRefCount | page.mapcount) === 0;
  }

  /** Makes ready for the free lists what was in use; false if it is withheld. @kernel free_pages_prepare (mm/page_alloc.c) */
  prepare(page: Page, order: number): boolean {
    if (page.refcount !== 0) return this.bad(page, `freed with ${page.refcount} references`);
    if (page.mapcount !== 0) return this.bad(page, `freed while ${mapped(page)}`);
    if (order > 0 || page.order > 0 || page.head !== page || page.state !== PAGE_IN_USE) {
      const bad = this.badBlock(page, order);
      if (bad !== null) return this.bad(page, bad);
    }
    if ((page.claims | page.ppMagic | page.signature | page.ppRefCount) !== 0 && !this.wordsFree(page)) return false;
    if (order > 0 && !this.freeTails(page, order)) return false;
    page.ppMagic = 0;
    page.order = 0;
    return true;
  }

  /** Why this is no block of that order to free, or null. */
  private badBlock(page: Page, order: number): string | null {
    if (page.head !== page) return `a tail of the compound block at pfn 0x${page.head.pfn.toString(16)} freed on its own`;
    if (page.state !== PAGE_IN_USE) return "freed, but not in use";
    if (page.order !== 0 && page.order !== order) return `compound block of order ${page.order} freed as one of order ${order}`;
    const why = this.whyNoBlock(page, order);
    return why === null ? null : `freed with order ${order}, but ${why}`;
  }

  /** Why these pages are not one block that is in use as a whole, or null. */
  whyNoBlock(page: Page, order: number): string | null {
    if ((page.pfn & ((1 << order) - 1)) !== 0) return "no block of that order begins there";
    for (let i = 1; i < 1 << order; i++) {
      const tail = this.map.pageAt(page, i) as Page | undefined;
      if (tail === undefined || tail.state !== PAGE_IN_USE) return `page ${i} of the block is not in use`;
      if (tail.refcount !== 0) return `page ${i} of the block has ${tail.refcount} references of its own`;
    }
    return null;
  }

  /** Whether nobody uses the union words any more. */
  private wordsFree(page: Page): boolean {
    if ((page.ppMagic & ~PAGE_PFMEMALLOC_BIT) !== 0 && this.checksPoolSignature) {
      page.state = PAGE_BAD;
      this.reports.report(
        "page_pool leak", "warn", pageName(page), pageOwner(page),
        `freed to the page allocator with its pool signature 0x${page.ppMagic.toString(16)} still set${page.dmaAddr === 0 ? "" : ` and still mapped at 0x${page.dmaAddr.toString(16)}`}; page withheld`,
      );
      return false;
    }
    for (let word = 1; word <= UNION_WORDS; word++) {
      const view = this.words.ownerOf(page, word);
      // A pool page without a check, as before 6.8, goes back with its words as they are.
      if (view === 0 || view === PAGE_VIEW_PAGE_POOL || view === PAGE_VIEW_PAGE_POOL_V3) continue;
      return this.bad(page, `freed while word ${word} is ${PAGE_VIEWS[view]!.words[word - 1]} of ${PAGE_VIEWS[view]!.name}`);
    }
    page.claims = 0;
    page.signature = 0;
    page.pp = null;
    page.dmaAddr = 0;
    page.ppDmaIndex = 0;
    page.ppRefCount = 0;
    page.memType = 0;
    page.memId = 0;
    return true;
  }

  /** @kernel free_tail_page_prepare */
  private freeTails(head: Page, order: number): boolean {
    for (let i = 1; i < 1 << order; i++) {
      const tail = this.map.pageAt(head, i);
      if ((tail.ppMagic | tail.ppRefCount) !== 0 || tail.pp !== null || (tail.claims !== 0 && tail.claims !== TAIL_CLAIMS)) {
        return this.bad(head, `page ${i} of the block was written as if it were its head`);
      }
      if (tail.mapcount !== 0) return this.bad(head, `page ${i} of the block is still ${mapped(tail)}`);
    }
    for (let i = 1; i < 1 << order; i++) {
      const tail = this.map.pageAt(head, i);
      tail.head = tail;
      tail.claims = 0;
      tail.state = PAGE_BUDDY_PART;
    }
    return true;
  }

  /** Whether somebody wrote into a free page that is about to be handed out; it is withheld then. @kernel check_new_page (mm/page_alloc.c) */
  isBadNew(page: Page): boolean {
    if ((page.claims | page.refcount | page.mapcount | page.ppMagic | page.ppRefCount | page.dmaAddr) === 0 && page.pp === null) return false;
    this.bad(page, `written while free: ${describe(page)}`);
    return true;
  }

  /** The same of every page of a block. */
  isBadNewBlock(page: Page, order: number): boolean {
    if (order === 0) return this.isBadNew(page);
    for (let i = 0; i < 1 << order; i++) {
      if (!this.isBadNew(this.map.pageAt(page, i))) continue;
      for (let j = 0; j < 1 << order; j++) this.map.pageAt(page, j).state = PAGE_BAD;
      return true;
    }
    return false;
  }

  private bad(page: Page, why: string): false {
    page.state = PAGE_BAD;
    this.reports.report("bad-page", "warn", pageName(page), pageOwner(page), `${why}; block withheld`);
    return false;
  }
}

/** Which words hold what nobody should have put there. */
function describe(page: Page): string {
  const parts: string[] = [];
  if (page.refcount !== 0) parts.push(`_refcount ${page.refcount}`);
  if (page.mapcount !== 0) parts.push(`_mapcount ${page.mapcount - 1}`);
  if (page.ppMagic !== 0) parts.push(`pp_magic 0x${page.ppMagic.toString(16)} in word 1`);
  if (page.pp !== null) parts.push(`pp in word 2 (${pageOwner(page)})`);
  if (page.dmaAddr !== 0) parts.push(`dma_addr 0x${page.dmaAddr.toString(16)} in word 4`);
  if (page.ppRefCount !== 0) parts.push(`pp_ref_count ${page.ppRefCount} in word 5`);
  if (page.claims !== 0) parts.push(`words claimed by ${PAGE_VIEWS[page.claims & 0xf]!.name}`);
  return parts.join(", ");
}

function mapped({ mapcount }: Page): string {
  return `mapped at ${mapcount} address${mapcount === 1 ? "" : "es"}`;
}
