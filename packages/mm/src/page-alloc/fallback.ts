import {
  MAX_PAGE_ORDER, MIGRATE_HIGHATOMIC, MIGRATE_MOVABLE, MIGRATE_RECLAIMABLE, MIGRATE_UNMOVABLE, PAGEBLOCK_ORDER, type Page,
} from "../api/index.ts";
import { ALLOC_HIGHATOMIC, ALLOC_NOFRAGMENT, ALLOC_NON_BLOCK } from "./alloc-flags.ts";
import { isMergeable, type Buddy } from "./buddy.ts";
import type { MemMap } from "./mem-map.ts";
import type { Zone } from "./zone.ts";

/** Whose lists to try when one's own are empty, by type. @kernel fallbacks (mm/page_alloc.c) */
const FALLBACKS = [
  [MIGRATE_RECLAIMABLE, MIGRATE_MOVABLE],
  [MIGRATE_RECLAIMABLE, MIGRATE_UNMOVABLE],
  [MIGRATE_UNMOVABLE, MIGRATE_MOVABLE],
] as const;
const BLOCK_PAGES: number = 1 << PAGEBLOCK_ORDER;

/** Takes blocks of a type, and of other types once its own are used up, trying not to mix them within a pageblock. */
export class Fallback {
  private readonly map: MemMap;
  private readonly buddy: Buddy;

  constructor(map: MemMap, buddy: Buddy) {
    this.map = map;
    this.buddy = buddy;
  }

  /** @kernel __rmqueue (mm/page_alloc.c) */
  take(zone: Zone, order: number, migratetype: number, flags: number): Page | null {
    const own = this.buddy.takeSmallest(zone, order, migratetype) ?? this.claim(zone, order, migratetype, flags);
    if (own !== null || (flags & ALLOC_NOFRAGMENT) !== 0) return own;
    return this.steal(zone, order, migratetype);
  }

  /** Past the per-CPU lists: the reserve for atomic blocks is open to those it is for, and to others that cannot wait. @kernel rmqueue_buddy */
  takeWithReserve(zone: Zone, order: number, migratetype: number, flags: number): Page | null {
    if ((flags & ALLOC_HIGHATOMIC) !== 0) {
      const reserved = this.buddy.takeSmallest(zone, order, MIGRATE_HIGHATOMIC);
      if (reserved !== null) return reserved;
    }
    const page = this.take(zone, order, migratetype, flags);
    if (page !== null || (flags & ALLOC_NON_BLOCK) === 0) return page;
    return this.buddy.takeSmallest(zone, order, MIGRATE_HIGHATOMIC);
  }

  /** The largest block of another type, its pageblock with it if enough of that is free or already of our kind. @kernel __rmqueue_claim */
  private claim(zone: Zone, order: number, migratetype: number, flags: number): Page | null {
    const least = (flags & ALLOC_NOFRAGMENT) !== 0 && order < PAGEBLOCK_ORDER ? PAGEBLOCK_ORDER : order;
    for (let current = MAX_PAGE_ORDER; current >= least; current--) {
      // Movable pages can leave again, so for small blocks they only borrow. @kernel should_try_claim_block
      if (migratetype === MIGRATE_MOVABLE && current < PAGEBLOCK_ORDER >> 1) return null;
      const from = fallbackAt(zone, current, migratetype);
      if (from < 0) continue;
      const page = this.claimBlock(zone, zone.first(current, from)!, current, order, migratetype, from);
      if (page !== null) return page;
    }
    return null;
  }

  /** @kernel try_to_claim_block */
  private claimBlock(zone: Zone, page: Page, current: number, order: number, migratetype: number, from: number): Page | null {
    if (current >= PAGEBLOCK_ORDER) {
      zone.remove(page, current, from);
      this.map.setBlockType(page, current, migratetype);
      zone.add(page, current, migratetype, false);
      this.buddy.takeAndExpand(zone, page, order, current, migratetype);
      return page;
    }
    if (!this.buddy.isWholeBlock(page)) return null;
    const free = this.buddy.freeInBlock(page);
    // Without an LRU no used page is known to be movable: of a movable block, all that is used counts as ours.
    const alike = migratetype !== MIGRATE_MOVABLE && from === MIGRATE_MOVABLE ? BLOCK_PAGES - free : 0;
    if (free + alike < BLOCK_PAGES >> 1) return null;
    this.buddy.moveFreeBlocks(zone, page, from, migratetype);
    return this.buddy.takeSmallest(zone, order, migratetype);
  }

  /** The smallest block of another type that will do; its pageblock stays what it was. @kernel __rmqueue_steal */
  private steal(zone: Zone, order: number, migratetype: number): Page | null {
    for (let current = order; current <= MAX_PAGE_ORDER; current++) {
      const from = fallbackAt(zone, current, migratetype);
      if (from < 0) continue;
      const page = zone.first(current, from)!;
      this.buddy.takeAndExpand(zone, page, order, current, from);
      return page;
    }
    return null;
  }

  /** Keeps the pageblock of an atomic block for others of its kind, up to a hundredth of the zone. @kernel reserve_highatomic_pageblock */
  reserveHighatomic(zone: Zone, page: Page, order: number): void {
    const hundredth = Math.floor(zone.managedPages / 100);
    if (hundredth < BLOCK_PAGES) return;
    if (zone.reservedHighatomic >= Math.ceil(hundredth / BLOCK_PAGES) * BLOCK_PAGES) return;
    const type = this.map.blockType(page);
    if (!isMergeable(type)) return;
    if (order >= PAGEBLOCK_ORDER) this.map.setBlockType(page, order, MIGRATE_HIGHATOMIC);
    else if (this.buddy.isWholeBlock(page)) this.buddy.moveFreeBlocks(zone, page, type, MIGRATE_HIGHATOMIC);
    else return;
    zone.reservedHighatomic += Math.max(BLOCK_PAGES, 1 << order);
  }

  /** Gives one such pageblock back, or as many as a free block spans; true if there was one with free pages. @kernel unreserve_highatomic_pageblock */
  unreserveHighatomic(zone: Zone, migratetype: number): boolean {
    for (let order = 0; order <= MAX_PAGE_ORDER; order++) {
      const page = zone.first(order, MIGRATE_HIGHATOMIC);
      if (page === null) continue;
      if (order < PAGEBLOCK_ORDER) this.buddy.moveFreeBlocks(zone, page, MIGRATE_HIGHATOMIC, migratetype);
      else {
        zone.remove(page, order, MIGRATE_HIGHATOMIC);
        this.map.setBlockType(page, order, migratetype);
        zone.add(page, order, migratetype, false);
      }
      zone.reservedHighatomic -= Math.max(BLOCK_PAGES, 1 << order);
      return true;
    }
    return false;
  }
}

/** The first other type with a free block of just this order, or −1. @kernel find_suitable_fallback */
function fallbackAt(zone: Zone, order: number, migratetype: number): number {
  if (zone.nrFree[order] === 0) return -1;
  const types = FALLBACKS[migratetype as 0 | 1 | 2];
  for (let i = 0; i < types.length; i++) if (zone.first(order, types[i]!) !== null) return types[i]!;
  return -1;
}
