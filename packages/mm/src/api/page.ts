import type { NetmemOwner } from "./netmem-owner.ts";
import type { PayloadRegion } from "./payload.ts";
import { PAGE_PFMEMALLOC_BIT } from "./constants.ts";

/** What a page is doing, where the kernel keeps it in `page_type` and list membership. */
export const PAGE_IN_USE = 0;
/** Head of a free buddy block. @kernel PageBuddy */
export const PAGE_BUDDY = 1;
/** Part of a free buddy block. */
export const PAGE_BUDDY_PART = 2;
/** Withheld by the allocator: freed with a rule broken. */
export const PAGE_BAD = 3;
/** Backs slab objects. @kernel PageSlab */
export const PAGE_SLAB = 4;

/**
 * One page frame. A plain struct: the allocator creates all of them at boot and never again.
 *
 * Word layout, as in `mm_types.h` (64-bit). One column is in use at a time; here each word's views are fields of their own,
 * and nothing checks yet that a column is free before it is claimed:
 * ```
 *   word  free / buddy     page_pool                    v3 series                       compound tail
 *   1     buddy_list.next  pp_magic | dma index | flags  (signature: a word of its own)  compound_head | 1
 *   2     buddy_list.prev  pp
 *   3     mapping          (pad)
 *   4     index            dma_addr                     dma_addr
 *   5     private (order)  pp_ref_count                 private: mem_info {type, id}
 * ```
 * @kernel struct page (include/linux/mm_types.h)
 */
export class Page {
  declare private readonly nominal: "Page";
  /** Discriminates `Netmem`: false for a page. */
  readonly isNetIov: false;
  readonly pfn: number;
  readonly nid: number;
  /** The bytes: `region.bytes[base … base + PAGE_SIZE)`. */
  readonly region: PayloadRegion;
  readonly base: number;
  /** One of the `PAGE_*` states. */
  state: number;
  /** @kernel _refcount; meaningful on the head of a compound block */
  refcount: number;
  /** Itself, or the head of the compound block it is a tail of. */
  head: Page;
  /** Order of the block while head of a compound or free block, else 0. */
  order: number;
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
  /** Free-list links of the buddy allocator. */
  next: Page | null;
  prev: Page | null;

  constructor(pfn: number, nid: number, region: PayloadRegion, base: number) {
    this.isNetIov = false;
    this.pfn = pfn;
    this.nid = nid;
    this.region = region;
    this.base = base;
    this.state = PAGE_BUDDY_PART;
    this.refcount = 0;
    this.head = this;
    this.order = 0;
    this.ppMagic = 0;
    this.signature = 0;
    this.ppDmaIndex = 0;
    this.pp = null;
    this.dmaAddr = 0;
    this.ppRefCount = 0;
    this.memType = 0;
    this.memId = 0;
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
