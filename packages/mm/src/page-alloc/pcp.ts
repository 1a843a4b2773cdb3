import {
  MIGRATE_MOVABLE, MIGRATE_PCPTYPES, PAGEBLOCK_ORDER, PAGE_ALLOC_COSTLY_ORDER, PAGE_BUDDY_PART, PAGE_PCP, ZONE_NORMAL, type Page, type PcpInfo,
} from "../api/index.ts";
import { ALLOC_HIGHATOMIC } from "./alloc-flags.ts";
import type { Buddy } from "./buddy.ts";
import type { Fallback } from "./fallback.ts";
import type { MemMap } from "./mem-map.ts";
import { watermarkOk } from "./watermark.ts";
import type { Zone } from "./zone.ts";

/** Three types of each order up to 3, and the huge page order in two kinds. @kernel NR_PCP_LISTS */
const NR_LISTS: number = MIGRATE_PCPTYPES * (PAGE_ALLOC_COSTLY_ORDER + 1) + 2;
/** How far batches grow: 2^5 times. @kernel CONFIG_PCP_BATCH_SCALE_MAX */
const BATCH_SCALE_MAX = 5;
/** `page.claims` of a page on such a list: words 1 and 2. */
export const PCP_CLAIMS = 0x22;

/** Whether blocks of this order go through per-CPU lists at all. @kernel pcp_allowed_order */
export function pcpAllowedOrder(order: number): boolean {
  return order <= PAGE_ALLOC_COSTLY_ORDER || order === PAGEBLOCK_ORDER;
}

/** @kernel order_to_pindex */
function listOf(order: number, migratetype: number): number {
  if (order > PAGE_ALLOC_COSTLY_ORDER) return NR_LISTS - 2 + (migratetype === MIGRATE_MOVABLE ? 1 : 0);
  return MIGRATE_PCPTYPES * order + migratetype;
}

/** @kernel pindex_to_order */
function orderOf(list: number): number {
  return list >= NR_LISTS - 2 ? PAGEBLOCK_ORDER : Math.floor(list / MIGRATE_PCPTYPES);
}

/**
 * One CPU's lists of one zone. Allocations and frees meet here; the zone sees batches. That is why a block of order 0 to 3
 * normally neither splits nor merges anything.
 * @kernel struct per_cpu_pages, mm/page_alloc.c
 */
export class PerCpuPages implements PcpInfo {
  count = 0;
  readonly batch: number;
  high: number;
  readonly highMin: number;
  readonly highMax: number;
  /** Refills of order 0 double it, frees halve it. @kernel alloc_factor */
  #allocFactor = 0;
  /** Pages freed lately without a request in between. @kernel free_count */
  #freeCount = 0;
  /** 6.1 grows returns by doubling. @kernel free_factor */
  #freeFactor = 0;
  #previousFreeHighOrder = false;
  readonly #heads: (Page | null)[] = Array.from({ length: NR_LISTS }, () => null);
  readonly #tails: (Page | null)[] = Array.from({ length: NR_LISTS }, () => null);
  readonly #zone: Zone;
  readonly #map: MemMap;
  readonly #buddy: Buddy;
  readonly #fallback: Fallback;
  readonly #autoTunes: boolean;

  constructor(zone: Zone, map: MemMap, buddy: Buddy, fallback: Fallback, batch: number, highMin: number, highMax: number, autoTunes: boolean) {
    this.#zone = zone;
    this.#map = map;
    this.#buddy = buddy;
    this.#fallback = fallback;
    this.batch = batch;
    this.high = highMin;
    this.highMin = highMin;
    this.highMax = highMax;
    this.#autoTunes = autoTunes;
  }

  /** A block that the caller still has to check and prepare, or null. @kernel rmqueue_pcplist, __rmqueue_pcplist */
  take(order: number, migratetype: number, flags: number): Page | null {
    this.#freeCount >>= 1;
    this.#freeFactor >>= 1;
    return this.takeMore(order, migratetype, flags);
  }

  /** The same within a bulk request, which leaves the memory of past frees alone. */
  takeMore(order: number, migratetype: number, flags: number): Page | null {
    const list = order === 0 ? migratetype : listOf(order, migratetype);
    let page = this.#heads[list]!;
    if (page === null) {
      const batch = this.#nrAlloc(order);
      // Blocks for atomic requests come from the reserve, or grow it: not through here.
      if ((flags & ALLOC_HIGHATOMIC) !== 0) return null;
      this.#refill(list, order, batch, migratetype, flags);
      page = this.#heads[list]!;
      if (page === null) return null;
    }
    const { next } = page;
    this.#heads[list] = next;
    if (next === null) this.#tails[list] = null;
    else next.prev = null;
    page.next = null;
    page.claims = 0;
    this.count -= 1 << order;
    return page;
  }

  /** Takes a checked block, and gives pages back to the zone beyond the high mark. @kernel free_frozen_page_commit */
  put(page: Page, order: number, migratetype: number): void {
    const list = order === 0 ? migratetype : listOf(order, migratetype);
    const head = this.#heads[list]!;
    page.state = PAGE_PCP;
    page.order = order;
    page.claims = PCP_CLAIMS;
    page.next = head;
    page.prev = null;
    if (head === null) this.#tails[list] = page;
    else head.prev = page;
    this.#heads[list] = page;
    this.count += 1 << order;
    this.#allocFactor >>= 1;
    let freeHigh = false;
    if (order > 0 && order <= PAGE_ALLOC_COSTLY_ORDER) {
      // Large blocks on these lists fragment memory: a run of such frees empties them.
      freeHigh = this.#previousFreeHighOrder && this.#freeCount >= this.batch + (this.highMin >> 1) && this.count >= this.batch;
      this.#previousFreeHighOrder = true;
    } else this.#previousFreeHighOrder = false;
    if (this.#freeCount < this.batch << BATCH_SCALE_MAX) this.#freeCount += 1 << order;
    const high = this.#autoTunes ? this.#nrHigh(freeHigh) : freeHigh ? 0 : this.high;
    if (this.count >= high) this.#giveBack(high, freeHigh, list);
  }

  #giveBack(high: number, freeHigh: boolean, list: number): void {
    this.drain(this.#nrFree(high, freeHigh), list);
    const zone = this.#zone;
    if (zone.belowHigh && watermarkOk(zone, 0, zone.watermarkHigh, ZONE_NORMAL, 0)) zone.belowHigh = false;
  }

  /** Oldest pages first, round robin over the lists from `list` on. @kernel free_pcppages_bulk */
  drain(pages: number, list: number): void {
    let left = Math.min(pages, this.count);
    let at = list;
    while (left > 0) {
      let page = this.#tails[at]!;
      if (page === null) {
        at = at + 1 === NR_LISTS ? 0 : at + 1;
        continue;
      }
      const order = orderOf(at);
      while (page !== null && left > 0) {
        const { prev } = page;
        this.#tails[at] = prev;
        if (prev === null) this.#heads[at] = null;
        else prev.next = null;
        page.prev = null;
        page.claims = 0;
        page.order = 0;
        page.state = PAGE_BUDDY_PART;
        this.count -= 1 << order;
        left -= 1 << order;
        this.#buddy.freeOne(this.#zone, page, order, this.#map.blockType(page), false);
        page = prev!;
      }
      at = at + 1 === NR_LISTS ? 0 : at + 1;
    }
  }

  /** In the order they were taken, behind each other. @kernel rmqueue_bulk */
  #refill(list: number, order: number, batch: number, migratetype: number, flags: number): void {
    for (let i = 0; i < batch; i++) {
      const page = this.#fallback.take(this.#zone, order, migratetype, flags);
      if (page === null) return;
      const tail = this.#tails[list]!;
      page.state = PAGE_PCP;
      page.order = order;
      page.claims = PCP_CLAIMS;
      page.prev = tail;
      page.next = null;
      if (tail === null) this.#heads[list] = page;
      else tail.next = page;
      this.#tails[list] = page;
      this.count += 1 << order;
    }
  }

  /** How many blocks a refill takes. @kernel nr_pcp_alloc */
  #nrAlloc(order: number): number {
    if (!this.#autoTunes) return this.batch > 1 ? Math.max(this.batch >> order, 2) : 1;
    let high = clamp(this.high, this.highMin, this.highMax);
    this.high = high;
    if (high < this.batch) return 1;
    let batch = order > 0 ? this.batch : this.batch << this.#allocFactor;
    if (this.highMin !== this.highMax && !this.#zone.belowHigh) {
      high = Math.min(high + batch, this.highMax);
      this.high = high;
    }
    if (order === 0) {
      const most = Math.max(high - this.count - this.batch, this.batch);
      if (batch <= most && this.#allocFactor < BATCH_SCALE_MAX) this.#allocFactor++;
      batch = Math.min(batch, most);
    }
    return batch > 1 ? Math.max(batch >> order, 2) : batch;
  }

  /** The mark that a free may not pass; it follows demand between `highMin` and `highMax`. @kernel nr_pcp_high */
  #nrHigh(freeHigh: boolean): number {
    const { highMin, highMax, batch } = this;
    let high = clamp(this.high, highMin, highMax);
    this.high = high;
    if (high === 0) return 0;
    if (freeHigh) {
      this.high = Math.max(high - (batch << BATCH_SCALE_MAX), highMin);
      return 0;
    }
    if (highMin === highMax) return high;
    if (this.#zone.belowHigh) {
      this.high = Math.max(high - Math.max(this.#freeCount, batch), highMin);
      high = Math.max(this.count, highMin);
    } else if (this.count >= high) {
      const needed = this.#freeCount + batch;
      if (this.high < needed) this.high = clamp(needed, highMin, highMax);
    }
    return high;
  }

  /** How many pages a free beyond the mark gives back. @kernel nr_pcp_free */
  #nrFree(high: number, freeHigh: boolean): number {
    if (freeHigh) return Math.min(this.count, this.batch << BATCH_SCALE_MAX);
    if (high < this.batch) return 1;
    if (this.#autoTunes) return clamp(this.#freeCount, this.batch, Math.max(high - this.batch, this.batch));
    const grown = this.batch << this.#freeFactor;
    const most = high - this.batch;
    if (grown < most && this.#freeFactor < BATCH_SCALE_MAX) this.#freeFactor++;
    return clamp(grown, this.batch, Math.max(most, this.batch));
  }
}

function clamp(value: number, least: number, most: number): number {
  return Math.max(least, Math.min(value, most));
}

/** Pages moved at a time: a thousandth of the zone, at most 1 MiB, a quarter of that, and one less than a power of two. @kernel zone_batchsize */
export function zoneBatchsize(managedPages: number): number {
  const quarter = Math.max(1, Math.min(managedPages >> 10, 256) >> 2);
  return Math.max(1, 2 ** Math.floor(Math.log2(quarter + (quarter >> 1))) - 1);
}

/** The mark of each of a node's CPUs, of `total` pages for all of them. @kernel zone_highsize */
export function zoneHighsize(total: number, batch: number, cpus: number): number {
  return Math.max(Math.floor(total / Math.max(1, cpus)), batch << 2);
}
