import type { Page } from "./page.ts";
import type { PayloadRegion } from "./payload.ts";

/** A slab's object: a pooled struct, so that passing it around allocates nothing. */
export class SlabObject {
  declare private readonly nominal: "SlabObject";
  readonly region: PayloadRegion;
  /** Byte offset of the object in `region`. */
  readonly base: number;
  /** Usable bytes: the bucket's size. @kernel ksize */
  readonly sizeBytes: number;
  /** Head page of the slab it was cut from. */
  readonly slab: Page;
  /** Cut from memory of the reserves. @kernel virt_to_head_page, page_is_pfmemalloc */
  readonly pfmemalloc: boolean;
  inUse: boolean;
  /** Next free object of the slab. @kernel get_freepointer */
  next: SlabObject | null;

  constructor(region: PayloadRegion, base: number, sizeBytes: number, slab: Page, pfmemalloc: boolean) {
    this.region = region;
    this.base = base;
    this.sizeBytes = sizeBytes;
    this.slab = slab;
    this.pfmemalloc = pfmemalloc;
    this.inUse = false;
    this.next = null;
  }
}

/** Objects of one size. @kernel struct kmem_cache (include/linux/slab_def.h) */
export interface KmemCache {
  readonly name: string;
  /** Usable bytes of an object. */
  readonly objectBytes: number;
  /** Pages of a slab, as an order. */
  readonly order: number;
  readonly objectsInUse: () => number;
  /** Slabs it has, those without live objects included. */
  readonly slabs: () => number;
}

export interface SlabAllocator {
  /** `sizeBytes` ≥ 1, rounded up to a bucket, above 8192 to a block of pages; the caller's. Null without memory. @kernel kmalloc (mm/slub.c) */
  readonly kmalloc: (sizeBytes: number, gfp: number) => SlabObject | null;
  /** The same on a node of choice. @kernel kmalloc_node (mm/slub.c) */
  readonly kmallocNode: (sizeBytes: number, gfp: number, nid: number) => SlabObject | null;
  /** Consumes; whatever cache it is from. Freeing twice is report `slab-double-free`. @kernel kfree (mm/slub.c) */
  readonly kfree: (object: SlabObject) => void;
  /** Usable bytes of a request of this size. @kernel kmalloc_size_roundup */
  readonly sizeRoundup: (sizeBytes: number) => number;
  /** A cache of its own, `objectBytes` 8 … 8192 rounded up to a multiple of `align` (a power of two ≥ 8). @kernel kmem_cache_create (mm/slab_common.c) */
  readonly createCache: (name: string, objectBytes: number, align: number) => KmemCache;
  /** An object of it, the caller's; null without memory. @kernel kmem_cache_alloc_node (mm/slub.c) */
  readonly cacheAlloc: (cache: KmemCache, gfp: number, nid: number) => SlabObject | null;
  /** Fills `out[0 … n)`, all or nothing: n or 0; they are the caller's. @kernel kmem_cache_alloc_bulk (mm/slub.c) */
  readonly cacheAllocBulk: (cache: KmemCache, gfp: number, n: number, out: (SlabObject | null)[]) => number;
  /** Consumes; of another cache than `cache` it is report `slab-wrong-cache`, and goes back to its own. @kernel kmem_cache_free, cache_from_obj (mm/slub.c) */
  readonly cacheFree: (cache: KmemCache, object: SlabObject) => void;
  readonly objectsInUse: () => number;
  /** Gives slabs without live objects back to the page allocator; answers how many pages. @kernel kmem_cache_shrink */
  readonly shrink: () => number;
}
