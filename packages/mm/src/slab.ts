import { type ReportSink, UsageError } from "@netmem/kernel/api";
import {
  __GFP_COMP, PAGE_IN_USE, PAGE_SHIFT, PAGE_SIZE, PAGE_SLAB, SlabObject, NUMA_NO_NODE,
  type Page, type PageAllocator, type SlabAllocator,
} from "./api/index.ts";
import { getOrder } from "./get-order.ts";

/** @kernel kmalloc_info (mm/slab_common.c): the general-purpose caches */
const BUCKETS = [8, 16, 32, 64, 96, 128, 192, 256, 512, 1024, 2048, 4096, 8192] as const;
const LARGEST = 8192;
/** Slab orders as a 4-KiB-page kernel picks them: enough objects a slab, at most 8 pages. */
const ORDERS = [0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 3, 3] as const;

/** Objects of one size. Free ones wait on a stack; the last freed is the first reused, still warm. */
class Bucket {
  readonly sizeBytes: number;
  readonly order: number;
  readonly free: SlabObject[] = [];
  readonly slabs = new Map<Page, SlabObject[]>();

  constructor(sizeBytes: number, order: number) {
    this.sizeBytes = sizeBytes;
    this.order = order;
  }
}

export class BucketSlab implements SlabAllocator {
  readonly #pages: PageAllocator;
  readonly #reports: ReportSink;
  readonly #buckets: Bucket[] = [];
  /** Bucket of a request of 8 × index bytes. */
  readonly #bucketOf: Uint8Array = new Uint8Array(LARGEST / 8 + 1);
  #inUse = 0;

  constructor(pages: PageAllocator, reports: ReportSink) {
    this.#pages = pages;
    this.#reports = reports;
    for (let i = 0; i < BUCKETS.length; i++) this.#buckets.push(new Bucket(BUCKETS[i]!, ORDERS[i]!));
    for (let eighth = 0, bucket = 0; eighth < this.#bucketOf.length; eighth++) {
      while (BUCKETS[bucket]! < eighth * 8) bucket++;
      this.#bucketOf[eighth] = bucket;
    }
  }

  sizeRoundup(sizeBytes: number): number {
    // What no block can hold is not rounded.
    return sizeBytes > LARGEST ? Math.max(sizeBytes, PAGE_SIZE << getOrder(sizeBytes)) : this.#bucket(sizeBytes).sizeBytes;
  }

  kmalloc(sizeBytes: number, gfp: number): SlabObject | null {
    if (sizeBytes > LARGEST) return this.#kmallocLarge(sizeBytes, gfp);
    const bucket = this.#bucket(sizeBytes);
    if (bucket.free.length === 0 && !this.#grow(bucket, gfp)) return null;
    const object = bucket.free.pop()!;
    object.inUse = true;
    this.#inUse++;
    return object;
  }

  kfree(object: SlabObject): void {
    if (!object.inUse) {
      this.#reports.report("slab-double-free", "warn", `kmalloc-${object.sizeBytes} object at 0x${object.base.toString(16)}`, "slab", "freed twice");
      return;
    }
    object.inUse = false;
    this.#inUse--;
    if (object.sizeBytes > LARGEST) this.#pages.putPage(object.slab);
    else this.#bucket(object.sizeBytes).free.push(object);
  }

  objectsInUse(): number {
    return this.#inUse;
  }

  shrink(): number {
    let pages = 0;
    for (const bucket of this.#buckets) {
      for (const [slab, objects] of bucket.slabs) {
        if (objects.some((object) => object.inUse)) continue;
        bucket.slabs.delete(slab);
        const gone = new Set(objects);
        const kept = bucket.free.filter((object) => !gone.has(object));
        bucket.free.length = 0;
        for (const object of kept) bucket.free.push(object);
        slab.state = PAGE_IN_USE;
        this.#pages.putPage(slab);
        pages += 1 << bucket.order;
      }
    }
    return pages;
  }

  /** Above the buckets an object is a block of pages. @kernel ___kmalloc_large_node */
  #kmallocLarge(sizeBytes: number, gfp: number): SlabObject | null {
    const order = getOrder(sizeBytes);
    const page = this.#pages.allocPages(gfp | __GFP_COMP, order, NUMA_NO_NODE);
    if (page === null) return null;
    const object = new SlabObject(page.region, page.base, PAGE_SIZE << order, page);
    object.inUse = true;
    this.#inUse++;
    return object;
  }

  #bucket(sizeBytes: number): Bucket {
    if (!(sizeBytes >= 1)) throw new UsageError("mm", "kmalloc bytes", sizeBytes, "give 1 or more");
    return this.#buckets[this.#bucketOf[(sizeBytes + 7) >> 3]!]!;
  }

  #grow(bucket: Bucket, gfp: number): boolean {
    const slab = this.#pages.allocPages(gfp | __GFP_COMP, bucket.order, NUMA_NO_NODE);
    if (slab === null) return false;
    slab.state = PAGE_SLAB;
    const objects: SlabObject[] = [];
    const bytes = 1 << (PAGE_SHIFT + bucket.order);
    for (let offset = 0; offset + bucket.sizeBytes <= bytes; offset += bucket.sizeBytes) {
      objects.push(new SlabObject(slab.region, slab.base + offset, bucket.sizeBytes, slab));
    }
    // Reversed, so that a fresh slab is used from its lowest address upwards.
    for (let i = objects.length - 1; i >= 0; i--) bucket.free.push(objects[i]!);
    bucket.slabs.set(slab, objects);
    return true;
  }
}
