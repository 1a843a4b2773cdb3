import type { NetmemOwner } from "./netmem-owner.ts";
import type { PayloadRegion } from "./payload.ts";
import { PAGE_PFMEMALLOC_BIT } from "./pp-magic.ts";

/** What a page is doing, where the kernel keeps it in `page_type` and list membership. */
export const PAGE_IN_USE = 0;
/** Head of a free buddy block. @kernel PageBuddy */
export const PAGE_BUDDY = 1;
/** Part of a free block, but not its head. */
export const PAGE_BUDDY_PART = 2;
/** Withheld by the allocator: freed with a rule broken. */
export const PAGE_BAD = 3;
/** Backs slab objects. @kernel PageSlab */
export const PAGE_SLAB = 4;
/** Head of a block that is free on a CPU's own list. */
export const PAGE_PCP = 5;

/**
 * One page frame. A plain struct: the allocator creates all of them at boot and never again.
 *
 * Its union words are fields of their own here, so that each has one type; `claims` says which reading of each word is
 * in use. `PAGE_VIEWS` has the table.
 * @kernel struct page (include/linux/mm_types.h)
 */
export class Page {
  declare private readonly nominal: "Page";
  /** Discriminates `Netmem`: false for a page. */
  readonly isNetIov: false;
  readonly pfn: number;
  readonly nid: number;
  /** Index of its zone among the allocator's. @kernel page_zonenum */
  readonly zone: number;
  /** The bytes: `region.bytes[base … base + PAGE_SIZE)`. */
  readonly region: PayloadRegion;
  readonly base: number;
  /** The low 31 bits of word 1: signature, and the pfmemalloc bit. */
  ppMagic: number;
  /** The mark of v3 of the 2021 series, which had a word of its own. */
  signature: number;
  /** Index into the owner's table of mapped pages, 0 for none: the bits above PP_DMA_INDEX_SHIFT of word 1. */
  ppDmaIndex: number;
  /** @kernel pp: the pool this page belongs to */
  pp: NetmemOwner | null;
  /** Device address of byte 0, 0 for none. */
  dmaAddr: number;
  /** Pool-aware holders. @kernel pp_ref_count */
  ppRefCount: number;
  /** `xdp_mem_info` in `private`, as v3 of the 2021 series stores it. */
  memType: number;
  memId: number;
  /** No word of the kernel's: see `NetIov.poolState`. */
  poolState: number;
  /** @kernel _refcount; meaningful on the head of a compound block */
  refcount: number;
  /** Places of address spaces where it is mapped. @kernel _mapcount, which is one less */
  mapcount: number;
  /** One of the `PAGE_*` states. */
  state: number;
  /** Itself, or the head of the compound block it is a tail of. */
  head: Page;
  /** Order of the block while head of a compound or free block, else 0. */
  order: number;
  /** The view that owns each union word, four bits a word from bit 0. `PageWords` writes it. */
  claims: number;
  /** Links of the free list it is on: words 1 and 2. */
  next: Page | null;
  prev: Page | null;

  constructor(pfn: number, nid: number, zone: number, region: PayloadRegion, base: number) {
    // What a pool asks on each trip comes first, in two cache lines of four. A NetIov has the same at the same places, or the engine would look twice wherever it may be either.
    this.isNetIov = false;
    this.region = region;
    this.base = base;
    this.ppMagic = 0;
    this.pp = null;
    this.dmaAddr = 0;
    this.ppRefCount = 0;
    this.poolState = 0;
    this.refcount = 0;
    this.head = this;
    this.signature = 0;
    this.ppDmaIndex = 0;
    this.memType = 0;
    this.memId = 0;
    this.pfn = pfn;
    this.nid = nid;
    this.zone = zone;
    this.mapcount = 0;
    this.state = PAGE_BUDDY_PART;
    this.order = 0;
    this.claims = 0;
    this.next = null;
    this.prev = null;
  }
}

/** @kernel page_is_pfmemalloc (include/linux/mm.h) */
export function pageIsPfmemalloc(page: Page): boolean {
  return (page.ppMagic & PAGE_PFMEMALLOC_BIT) !== 0;
}

/** How reports and tools name a page; the trace ring finds its history by this. */
export function pageName(page: Page): string {
  return `page pfn 0x${page.pfn.toString(16)}`;
}

/** Whom reports name as a page's owner. */
export function pageOwner(page: Page): string {
  return page.pp === null ? "none" : `mem type ${page.pp.memType} id ${page.pp.memId}`;
}
