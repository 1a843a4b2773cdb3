import { MAX_PAGE_ORDER, MIGRATE_HIGHATOMIC, MIGRATE_PCPTYPES } from "../api/index.ts";
import { ALLOC_HIGHATOMIC, ALLOC_MIN_RESERVE, ALLOC_NON_BLOCK, ALLOC_RESERVES, ALLOC_WMARK_HIGH, ALLOC_WMARK_LOW, ALLOC_WMARK_MASK } from "./alloc-flags.ts";
import type { Zone } from "./zone.ts";

/** The mark that an attempt with these flags must stay above. @kernel wmark_pages */
export function markOf(zone: Zone, flags: number): number {
  switch (flags & ALLOC_WMARK_MASK) {
    case ALLOC_WMARK_LOW: return zone.watermarkLow;
    case ALLOC_WMARK_HIGH: return zone.watermarkHigh;
    default: return zone.watermarkMin;
  }
}

/**
 * Whether the zone stays above `mark` pages, and keeps its reserve from a request that could have used zones up to
 * `highest`; for blocks, whether one large enough is there. @kernel __zone_watermark_ok (mm/page_alloc.c)
 */
export function watermarkOk(zone: Zone, order: number, mark: number, highest: number, flags: number): boolean {
  let free = zone.freePages - ((1 << order) - 1);
  let min = mark;
  if ((flags & ALLOC_RESERVES) === 0) free -= zone.freeHighatomic;
  else if ((flags & ALLOC_MIN_RESERVE) !== 0) {
    min -= min >> 1;
    if ((flags & ALLOC_NON_BLOCK) !== 0) min -= min >> 2;
  }
  if (free <= min + zone.lowmemReserve[highest]!) return false;
  if (order === 0) return true;
  for (let size = order; size <= MAX_PAGE_ORDER; size++) {
    if (zone.nrFree[size] === 0) continue;
    for (let type = 0; type < MIGRATE_PCPTYPES; type++) if (zone.first(size, type) !== null) return true;
    if ((flags & ALLOC_HIGHATOMIC) !== 0 && zone.first(size, MIGRATE_HIGHATOMIC) !== null) return true;
  }
  return false;
}

/**
 * Sets the marks of all zones so that `minFreePages` are kept, shared out by size, with the low and high marks a quarter
 * of that or a thousandth of the zone above. @kernel __setup_per_zone_wmarks (mm/page_alloc.c), watermark_scale_factor 10
 */
export function setUpWatermarks(zones: readonly Zone[], minFreePages: number): void {
  const total = zones.reduce((sum, zone) => sum + zone.managedPages, 0);
  for (const zone of zones) {
    const min = Math.floor((minFreePages * zone.managedPages) / total);
    const gap = minFreePages === 0 ? 0 : Math.max(min >> 2, Math.floor((zone.managedPages * 10) / 10_000));
    zone.watermarkMin = min;
    zone.watermarkLow = min + gap;
    zone.watermarkHigh = min + 2 * gap;
  }
}

/**
 * Pages to keep of a machine of this size: √(16 × KiB) KiB, at most 256 MiB. The kernel keeps 128 KiB at least, which is half
 * of our smallest machines; here it is at most a quarter. @kernel calculate_min_free_kbytes
 */
export function defaultMinFreePages(nrPages: number): number {
  return Math.min(Math.floor(Math.sqrt(nrPages * 4 * 16)) >> 2, 65_536, nrPages >> 2);
}
