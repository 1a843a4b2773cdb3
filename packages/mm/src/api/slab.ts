import type { Page } from "./page.ts";
import type { PayloadRegion } from "./payload.ts";

/** A kmalloc'ed object: a pooled struct, so that passing it around allocates nothing. */
export class SlabObject {
  declare private readonly nominal: "SlabObject";
  readonly region: PayloadRegion;
  /** Byte offset of the object in `region`. */
  readonly base: number;
  /** Usable bytes: the bucket's size. @kernel ksize */
  readonly sizeBytes: number;
  /** Head page of the slab it was cut from. */
  readonly slab: Page;
  inUse: boolean;

  constructor(region: PayloadRegion, base: number, sizeBytes: number, slab: Page) {
    this.region = region;
    this.base = base;
    this.sizeBytes = sizeBytes;
    this.slab = slab;
    this.inUse = false;
  }
}

export interface SlabAllocator {
  /** `sizeBytes` ≥ 1, rounded up to a bucket, above 8192 to a block of pages; the caller's. Null without memory. @kernel kmalloc (mm/slub.c) */
  readonly kmalloc: (sizeBytes: number, gfp: number) => SlabObject | null;
  /** Consumes. Freeing twice is report `slab-double-free`. @kernel kfree (mm/slub.c) */
  readonly kfree: (object: SlabObject) => void;
  /** Usable bytes of a request of this size. @kernel kmalloc_size_roundup */
  readonly sizeRoundup: (sizeBytes: number) => number;
  readonly objectsInUse: () => number;
  /** Gives slabs without live objects back to the page allocator; answers how many pages. @kernel kmem_cache_shrink */
  readonly shrink: () => number;
}
