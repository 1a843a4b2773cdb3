import { UsageError, type ExecutionContext, type ReportSink } from "@netmem/kernel/api";
import {
  __GFP_BITS_MASK, __GFP_COMP, __GFP_DIRECT_RECLAIM, NUMA_NO_NODE, PAGE_IN_USE, PAGE_SIZE, PAGE_SLAB, PAGE_VIEW_SLAB, SlabObject, pageIsPfmemalloc,
  type KmemCache, type Page, type PageAllocator, type PageWords, type SlabAllocator,
} from "../api/index.ts";
import type { Point } from "../fault-injection.ts";
import { getOrder } from "../get-order.ts";
import { BUCKETS, LARGEST, kmallocSizeRoundup } from "./buckets.ts";
import { ObjectCache, type SlabPages } from "./object-cache.ts";
import { Slab } from "./slab-page.ts";

export interface SlabParts {
  readonly pages: PageAllocator;
  readonly words: PageWords;
  readonly context: ExecutionContext;
  readonly reports: ReportSink;
  readonly failPoint: Point;
  /** Whether the context lets `what` sleep is looked at even if there is an object at hand. @kernel might_alloc */
  readonly mightSleep: (gfp: number, what: string) => void;
  readonly nrCpus: number;
  readonly nrNodes: number;
}

export class BucketSlab implements SlabAllocator, SlabPages {
  private readonly parts: SlabParts;
  private readonly pages: PageAllocator;
  private readonly caches: ObjectCache[] = [];
  private readonly buckets: ObjectCache[] = [];
  /** Bucket of a request of 8 × index bytes. */
  private readonly bucketOf: Uint8Array = new Uint8Array(LARGEST / 8 + 1);
  /** By page frame number from the first: the slab, or the large object, that begins there. */
  private readonly slabAt: (Slab | null)[] = [];
  private readonly largeAt: (SlabObject | null)[] = [];
  private readonly firstPfn: number;
  private readonly failPoint: Point;
  private largeInUse = 0;

  constructor(parts: SlabParts) {
    this.parts = parts;
    this.pages = parts.pages;
    this.failPoint = parts.failPoint;
    this.firstPfn = parts.pages.pages[0]!.pfn;
    for (let i = 0; i < parts.pages.nrPages; i++) {
      this.slabAt.push(null);
      this.largeAt.push(null);
    }
    for (const bytes of BUCKETS) this.buckets.push(this.addCache(`kmalloc-${bytes}`, bytes));
    for (let eighth = 0, bucket = 0; eighth < this.bucketOf.length; eighth++) {
      while (BUCKETS[bucket]! < eighth * 8) bucket++;
      this.bucketOf[eighth] = bucket;
    }
  }

  sizeRoundup(sizeBytes: number): number {
    return sizeBytes > LARGEST ? kmallocSizeRoundup(sizeBytes) : this.bucket(sizeBytes).objectBytes;
  }

  kmalloc(sizeBytes: number, gfp: number): SlabObject | null {
    return this.kmallocNode(sizeBytes, gfp, NUMA_NO_NODE);
  }

  kmallocNode(sizeBytes: number, gfp: number, nid: number): SlabObject | null {
    if (nid !== NUMA_NO_NODE && !(nid >= 0 && nid < this.parts.nrNodes && Number.isInteger(nid))) throw new UsageError("mm", "nid", nid, `give a node from 0 to ${this.parts.nrNodes - 1}, or NUMA_NO_NODE`);
    return sizeBytes > LARGEST ? this.kmallocLarge(sizeBytes, gfp, nid) : this.cacheAlloc(this.bucket(sizeBytes), gfp, nid);
  }

  createCache(name: string, objectBytes: number, align: number): KmemCache {
    if (!Number.isInteger(align) || align < 8 || (align & (align - 1)) !== 0) throw new UsageError("mm", `alignment of cache ${name}`, align, "give a power of two, 8 or more");
    const bytes = (objectBytes + align - 1) & -align;
    if (!Number.isInteger(objectBytes) || objectBytes < 8 || bytes > LARGEST) throw new UsageError("mm", `object bytes of cache ${name}`, objectBytes, `give 8 to ${LARGEST}`);
    return this.addCache(name, bytes);
  }

  /** @kernel slab_pre_alloc_hook (mm/slub.c) */
  cacheAlloc(cache: KmemCache, gfp: number, nid: number): SlabObject | null {
    if ((gfp & ~__GFP_BITS_MASK) !== 0 || (gfp | 0) !== gfp) throw new UsageError("mm", `gfp of ${cache.name}`, gfp, `unknown bits: give __GFP_* flags, at most 0x${__GFP_BITS_MASK.toString(16)}`);
    if ((gfp & __GFP_DIRECT_RECLAIM) !== 0) this.parts.mightSleep(gfp, cache.name);
    if (this.failPoint.armed && this.failPoint.shouldFail(0, cache.objectBytes)) return null;
    return (cache as ObjectCache).alloc(gfp, nid);
  }

  cacheAllocBulk(cache: KmemCache, gfp: number, n: number, out: (SlabObject | null)[]): number {
    if (!(n >= 0 && Number.isInteger(n))) throw new UsageError("mm", `objects of a bulk request to ${cache.name}`, n, "give a whole number");
    for (let i = 0; i < n; i++) {
      const object = this.cacheAlloc(cache, gfp, NUMA_NO_NODE);
      out[i] = object;
      if (object !== null) continue;
      for (let got = i - 1; got >= 0; got--) {
        this.kfree(out[got]!);
        out[got] = null;
      }
      return 0;
    }
    return n;
  }

  kfree(object: SlabObject): void {
    const slab = this.slabAt[object.slab.pfn - this.firstPfn]!;
    if (!object.inUse) {
      const name = slab === null ? "kmalloc" : slab.cache.name;
      this.parts.reports.report("slab-double-free", "warn", `${name} object of ${object.sizeBytes} bytes at 0x${object.base.toString(16)}`, name, "freed twice");
      return;
    }
    if (slab !== null) slab.cache.free(object, slab);
    else {
      object.inUse = false;
      this.largeInUse--;
      this.pages.putPage(object.slab);
    }
  }

  cacheFree(cache: KmemCache, object: SlabObject): void {
    const slab = this.slabAt[object.slab.pfn - this.firstPfn]!;
    if (slab === null || slab.cache !== cache) this.reportWrongCache(cache, object, slab);
    this.kfree(object);
  }

  private reportWrongCache(cache: KmemCache, object: SlabObject, slab: Slab | null): void {
    const own = slab === null ? "kmalloc" : slab.cache.name;
    this.parts.reports.report("slab-wrong-cache", "warn", `${own} object of ${object.sizeBytes} bytes at 0x${object.base.toString(16)}`, own, `freed to ${cache.name}`);
  }

  objectsInUse(): number {
    return this.caches.reduce((sum, cache) => sum + cache.objectsInUse(), this.largeInUse);
  }

  shrink(): number {
    return this.caches.reduce((sum, cache) => sum + cache.shrink(), 0);
  }

  allocSlab(cache: ObjectCache, gfp: number, nid: number, order: number): Slab | null {
    const { pages, words } = this.parts;
    const page = pages.allocPages(gfp | __GFP_COMP, order, nid);
    if (page === null) return null;
    words.claim(page, PAGE_VIEW_SLAB);
    page.state = PAGE_SLAB;
    const objects = this.cut(page, order, cache.objectBytes);
    const slab = new Slab(cache, page, order, objects);
    // Linked so that a fresh slab is used from its lowest address upwards.
    for (let i = objects.length - 1; i >= 0; i--) {
      objects[i]!.next = slab.freelist;
      slab.freelist = objects[i]!;
    }
    this.slabAt[page.pfn - this.firstPfn] = slab;
    return slab;
  }

  freeSlab(slab: Slab): void {
    const { page } = slab;
    this.slabAt[page.pfn - this.firstPfn] = null;
    page.state = PAGE_IN_USE;
    this.parts.words.release(page, PAGE_VIEW_SLAB);
    this.pages.putPage(page);
  }

  private cut(page: Page, order: number, objectBytes: number): SlabObject[] {
    const objects: SlabObject[] = [];
    const pfmemalloc = pageIsPfmemalloc(page);
    for (let offset = 0; offset + objectBytes <= PAGE_SIZE << order; offset += objectBytes) {
      objects.push(new SlabObject(page.region, page.base + offset, objectBytes, page, pfmemalloc));
    }
    return objects;
  }

  /** Above the buckets an object is a block of pages. @kernel ___kmalloc_large_node */
  private kmallocLarge(sizeBytes: number, gfp: number, nid: number): SlabObject | null {
    const order = getOrder(sizeBytes);
    const page = this.pages.allocPages(gfp | __GFP_COMP, order, nid);
    if (page === null) return null;
    const at = page.pfn - this.firstPfn;
    let object = this.largeAt[at]!;
    if (object === null || object.sizeBytes !== PAGE_SIZE << order || object.pfmemalloc !== pageIsPfmemalloc(page)) {
      object = new SlabObject(page.region, page.base, PAGE_SIZE << order, page, pageIsPfmemalloc(page));
      this.largeAt[at] = object;
    }
    object.inUse = true;
    this.largeInUse++;
    return object;
  }

  private addCache(name: string, objectBytes: number): ObjectCache {
    const { nrCpus, nrNodes, context } = this.parts;
    const cache = new ObjectCache(name, objectBytes, nrCpus, nrNodes, context, this);
    this.caches.push(cache);
    return cache;
  }

  private bucket(sizeBytes: number): ObjectCache {
    if (!(sizeBytes >= 1)) throw new UsageError("mm", "kmalloc bytes", sizeBytes, "give 1 or more");
    return this.buckets[this.bucketOf[(sizeBytes + 7) >> 3]!]!;
  }
}
