import type { Page, SlabObject } from "../api/index.ts";
import type { ObjectCache } from "./object-cache.ts";

/** A block of pages cut into objects of one cache. @kernel struct slab (mm/slab.h) */
export class Slab {
  readonly cache: ObjectCache;
  readonly page: Page;
  readonly order: number;
  readonly objects: readonly SlabObject[];
  /** Freed by others than the CPU that allocates from it. */
  freelist: SlabObject | null = null;
  /** Objects out, or on the list of the CPU that has it. */
  inUse = 0;
  /** A CPU has it, as its own or among its partial ones; else the node's list, or, when full, nobody's. @kernel frozen */
  frozen = false;
  next: Slab | null = null;
  prev: Slab | null = null;
  /** On its node's partial list. */
  listed = false;

  constructor(cache: ObjectCache, page: Page, order: number, objects: readonly SlabObject[]) {
    this.cache = cache;
    this.page = page;
    this.order = order;
    this.objects = objects;
  }
}

/** Slabs of a node with free objects that no CPU has. @kernel struct kmem_cache_node.partial */
export class PartialList {
  head: Slab | null = null;
  count = 0;

  push(slab: Slab): void {
    slab.listed = true;
    slab.prev = null;
    slab.next = this.head;
    if (this.head !== null) this.head.prev = slab;
    this.head = slab;
    this.count++;
  }

  remove(slab: Slab): void {
    if (slab.prev === null) this.head = slab.next;
    else slab.prev.next = slab.next;
    if (slab.next !== null) slab.next.prev = slab.prev;
    slab.listed = false;
    slab.prev = null;
    slab.next = null;
    this.count--;
  }
}
