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
/** Slots of a list's ring at first; a power of two. */
const FIRST_RING = 64;
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
  private allocFactor = 0;
  /** Pages freed lately without a request in between; in 6.1, how often the return has doubled. @kernel free_count, free_factor */
  private freeRun = 0;
  /** 1 after a free of order 1 to 3. @kernel PCPF_PREV_FREE_HIGH_ORDER */
  private previousFreeHighOrder = 0;
  private readonly lists: PcpList[] = Array.from({ length: NR_LISTS }, () => new PcpList());
  private readonly zone: Zone;
  private readonly map: MemMap;
  private readonly buddy: Buddy;
  private readonly fallback: Fallback;
  private readonly autoTunes: boolean;
  /** Frees in a row that are counted one by one. */
  private readonly runLimit: number;

  constructor(zone: Zone, map: MemMap, buddy: Buddy, fallback: Fallback, batch: number, highMin: number, highMax: number, autoTunes: boolean) {
    this.zone = zone;
    this.map = map;
    this.buddy = buddy;
    this.fallback = fallback;
    this.batch = batch;
    this.high = highMin;
    this.highMin = highMin;
    this.highMax = highMax;
    this.autoTunes = autoTunes;
    this.runLimit = autoTunes ? batch << BATCH_SCALE_MAX : 0;
  }

  /** A block that the caller still has to check and prepare, or null. @kernel rmqueue_pcplist, __rmqueue_pcplist */
  take(order: number, migratetype: number, flags: number): Page | null {
    this.freeRun >>= 1;
    return this.takeMore(order, migratetype, flags);
  }

  /** One page that is there, or null: nothing is fetched for it. */
  takeSingle(migratetype: number): Page | null {
    const list = this.lists[migratetype]!;
    if (list.isEmpty()) return null;
    this.freeRun >>= 1;
    const page = list.takeNewest();
    page.claims = 0;
    this.count--;
    return page;
  }

  /** The same within a bulk request, which leaves the memory of past frees alone. */
  takeMore(order: number, migratetype: number, flags: number): Page | null {
    const list = this.lists[order === 0 ? migratetype : listOf(order, migratetype)]!;
    if (list.isEmpty()) {
      const batch = this.nrAlloc(order);
      // Blocks for atomic requests come from the reserve, or grow it: not through here.
      if ((flags & ALLOC_HIGHATOMIC) !== 0) return null;
      this.refill(list, order, batch, migratetype, flags);
      if (list.isEmpty()) return null;
    }
    const page = list.takeNewest();
    page.claims = 0;
    this.count -= 1 << order;
    return page;
  }

  /** Takes a checked block, and gives pages back to the zone beyond the high mark. @kernel free_frozen_page_commit */
  put(page: Page, order: number, migratetype: number): void {
    const list = order === 0 ? migratetype : listOf(order, migratetype);
    page.state = PAGE_PCP;
    page.claims = PCP_CLAIMS;
    if (order > 0) page.order = order;
    this.lists[list]!.addNewest(page);
    this.count += 1 << order;
    // Written only where they change: this is the hottest path there is.
    if (this.allocFactor !== 0) this.allocFactor >>= 1;
    let freeHigh = false;
    if (order > 0 && order <= PAGE_ALLOC_COSTLY_ORDER) freeHigh = this.freesHigh();
    else if (this.previousFreeHighOrder !== 0) this.previousFreeHighOrder = 0;
    if (this.freeRun < this.runLimit) this.freeRun += 1 << order;
    // Below the lower mark, and with nothing to learn from this free, there is nothing to do.
    if (this.count < this.highMin && !freeHigh && !this.zone.belowHigh) return;
    const high = this.autoTunes ? this.nrHigh(freeHigh) : freeHigh ? 0 : this.high;
    if (this.count >= high) this.giveBack(high, freeHigh, list);
  }

  /** Large blocks on these lists fragment memory: a run of such frees empties them. */
  private freesHigh(): boolean {
    if (!this.autoTunes) return this.freeRun > 0;
    const freesHigh = this.previousFreeHighOrder !== 0 && this.freeRun >= this.batch + (this.highMin >> 1) && this.count >= this.batch;
    this.previousFreeHighOrder = 1;
    return freesHigh;
  }

  private giveBack(high: number, freeHigh: boolean, list: number): void {
    this.drain(this.nrFree(high, freeHigh), list);
    const zone = this.zone;
    if (zone.belowHigh && watermarkOk(zone, 0, zone.watermarkHigh, ZONE_NORMAL, 0)) zone.belowHigh = false;
  }

  /** Oldest pages first, round robin over the lists from `from` on. @kernel free_pcppages_bulk */
  drain(pages: number, from: number): void {
    let left = Math.min(pages, this.count);
    for (let at = from; left > 0; at = at + 1 === NR_LISTS ? 0 : at + 1) {
      const list = this.lists[at]!;
      const order = orderOf(at);
      while (!list.isEmpty() && left > 0) {
        const page = list.takeOldest();
        page.claims = 0;
        page.order = 0;
        page.state = PAGE_BUDDY_PART;
        this.count -= 1 << order;
        left -= 1 << order;
        this.buddy.freeOne(this.zone, page, order, this.map.blockType(page));
      }
    }
  }

  /** Handed out in the order they were taken. @kernel rmqueue_bulk */
  private refill(list: PcpList, order: number, batch: number, migratetype: number, flags: number): void {
    for (let i = 0; i < batch; i++) {
      const page = this.fallback.take(this.zone, order, migratetype, flags);
      if (page === null) return;
      page.state = PAGE_PCP;
      page.order = order;
      page.claims = PCP_CLAIMS;
      list.addOldest(page);
      this.count += 1 << order;
    }
  }

  /** How many blocks a refill takes. @kernel nr_pcp_alloc */
  private nrAlloc(order: number): number {
    if (!this.autoTunes) return this.batch > 1 ? Math.max(this.batch >> order, 2) : 1;
    let high = clamp(this.high, this.highMin, this.highMax);
    this.high = high;
    if (high < this.batch) return 1;
    let batch = order > 0 ? this.batch : this.batch << this.allocFactor;
    if (this.highMin !== this.highMax && !this.zone.belowHigh) {
      high = Math.min(high + batch, this.highMax);
      this.high = high;
    }
    if (order === 0) {
      const most = Math.max(high - this.count - this.batch, this.batch);
      if (batch <= most && this.allocFactor < BATCH_SCALE_MAX) this.allocFactor++;
      batch = Math.min(batch, most);
    }
    return batch > 1 ? Math.max(batch >> order, 2) : batch;
  }

  /** The mark that a free may not pass; it follows demand between `highMin` and `highMax`. @kernel nr_pcp_high */
  private nrHigh(freeHigh: boolean): number {
    const { highMin, highMax, batch } = this;
    let high = clamp(this.high, highMin, highMax);
    this.high = high;
    if (high === 0) return 0;
    if (freeHigh) {
      this.high = Math.max(high - (batch << BATCH_SCALE_MAX), highMin);
      return 0;
    }
    if (highMin === highMax) return high;
    if (this.zone.belowHigh) {
      this.high = Math.max(high - Math.max(this.freeRun, batch), highMin);
      high = Math.max(this.count, highMin);
    } else if (this.count >= high) {
      const needed = this.freeRun + batch;
      if (this.high < needed) this.high = clamp(needed, highMin, highMax);
    }
    return high;
  }

  /** How many pages a free beyond the mark gives back. @kernel nr_pcp_free */
  private nrFree(high: number, freeHigh: boolean): number {
    if (freeHigh) return Math.min(this.count, this.batch << BATCH_SCALE_MAX);
    if (high < this.batch) return 1;
    if (this.autoTunes) return clamp(this.freeRun, this.batch, Math.max(high - this.batch, this.batch));
    const grown = this.batch << this.freeRun;
    const most = high - this.batch;
    if (grown < most && this.freeRun < BATCH_SCALE_MAX) this.freeRun++;
    return clamp(grown, this.batch, Math.max(most, this.batch));
  }
}

/**
 * Pages by age, in a ring: the newest goes out first, the oldest back to the zone. The kernel chains them through the pages;
 * a ring writes one reference where a chain writes five. Positions only grow, and are cut to the ring's size.
 */
class PcpList {
  private pages: (Page | null)[] = Array.from({ length: FIRST_RING }, () => null);
  private mask: number = FIRST_RING - 1;
  /** Where the oldest lies, and behind the newest. */
  private bottom = 0;
  private top = 0;

  isEmpty(): boolean {
    return this.top === this.bottom;
  }

  addNewest(page: Page): void {
    if (this.top - this.bottom > this.mask) this.grow();
    const top = this.top;
    this.pages[top & this.mask] = page;
    this.top = (top + 1) | 0;
  }

  addOldest(page: Page): void {
    if (this.top - this.bottom > this.mask) this.grow();
    this.bottom = (this.bottom - 1) | 0;
    this.pages[this.bottom & this.mask] = page;
  }

  /** Only while there is one. */
  takeNewest(): Page {
    const top = (this.top - 1) | 0;
    this.top = top;
    return this.pages[top & this.mask]!;
  }

  /** Only while there is one. */
  takeOldest(): Page {
    const page = this.pages[this.bottom & this.mask]!;
    this.bottom = (this.bottom + 1) | 0;
    return page;
  }

  private grow(): void {
    const { length } = this.pages;
    const pages = Array.from({ length: 2 * length }, (_, i): Page | null => (i < length ? this.pages[(this.bottom + i) & this.mask]! : null));
    this.pages = pages;
    this.mask = pages.length - 1;
    this.bottom = 0;
    this.top = length;
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
