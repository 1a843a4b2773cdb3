import {
  MAX_PAGE_ORDER, MIGRATE_PCPTYPES, PAGEBLOCK_ORDER, PAGE_BUDDY, PAGE_BUDDY_PART, type Page,
} from "../api/index.ts";
import { FIRST_PFN, type MemMap } from "./mem-map.ts";
import type { Zone } from "./zone.ts";

/**
 * Free blocks of 2^order pages, split downwards and merged upwards, on the lists of their zone.
 * @kernel mm/page_alloc.c
 */
export class Buddy {
  private readonly map: MemMap;

  constructor(map: MemMap) {
    this.map = map;
  }

  /** The smallest block of this type that will do, cut down to size. @kernel __rmqueue_smallest */
  takeSmallest(zone: Zone, order: number, migratetype: number): Page | null {
    for (let current = order; current <= MAX_PAGE_ORDER; current++) {
      const page = zone.first(current, migratetype);
      if (page === null) continue;
      this.takeAndExpand(zone, page, order, current, migratetype);
      return page;
    }
    return null;
  }

  /** The caller keeps the lowest part; upper halves go to the head of their lists. @kernel page_del_and_expand, expand */
  takeAndExpand(zone: Zone, page: Page, order: number, current: number, migratetype: number): void {
    zone.remove(page, current, migratetype);
    for (let size = current - 1; size >= order; size--) zone.add(this.map.pageAt(page, 1 << size), size, migratetype, false);
  }

  /** A block, checked before, becomes free, and one with every buddy that is. @kernel __free_one_page */
  freeOne(zone: Zone, freed: Page, order: number, migratetype: number): void {
    const map = this.map;
    let block = freed;
    let size = order;
    while (size < MAX_PAGE_ORDER) {
      const buddy = this.buddyOf(block, size);
      if (buddy === null) break;
      const buddyType = size < PAGEBLOCK_ORDER ? migratetype : map.blockType(buddy);
      // Blocks that are kept apart stay apart; of two that are not, the buddy's pageblocks follow the freed block.
      if (buddyType !== migratetype && !(isMergeable(migratetype) && isMergeable(buddyType))) break;
      zone.remove(buddy, size, buddyType);
      if (buddyType !== migratetype) map.setBlockType(buddy, size, migratetype);
      if (buddy.pfn < block.pfn) {
        block.state = PAGE_BUDDY_PART;
        block = buddy;
      }
      size++;
    }
    zone.add(block, size, migratetype, this.mergeLikely(block, size));
  }

  /** A free block of that order to merge with, or null. @kernel page_is_buddy, find_buddy_page_pfn */
  private buddyOf(page: Page, order: number): Page | null {
    const buddy = this.map.pages[(page.pfn - FIRST_PFN) ^ (1 << order)];
    return buddy !== undefined && buddy.state === PAGE_BUDDY && buddy.order === order && buddy.zone === page.zone ? buddy : null;
  }

  /** Its buddy's buddy is free already: handed out last, the block may still grow. @kernel buddy_merge_likely */
  private mergeLikely(block: Page, order: number): boolean {
    if (order > MAX_PAGE_ORDER - 2) return false;
    const pair = this.map.pages[(block.pfn - FIRST_PFN) & ~(1 << order)]!;
    return pair.zone === block.zone && this.buddyOf(pair, order + 1) !== null;
  }

  /** Whether the pageblock lies in one zone: only such a block changes its type as a whole. @kernel prep_move_freepages_block */
  isWholeBlock(page: Page): boolean {
    const start = this.map.blockStart(page);
    const end = this.map.pages[start.pfn - FIRST_PFN + (1 << PAGEBLOCK_ORDER) - 1];
    return end !== undefined && start.zone === page.zone && end.zone === page.zone;
  }

  /** Free pages of a pageblock. */
  freeInBlock(page: Page): number {
    const start = this.map.blockStart(page);
    let free = 0;
    for (let offset = 0; offset < 1 << PAGEBLOCK_ORDER;) {
      const at = this.map.pageAt(start, offset);
      const size = at.state === PAGE_BUDDY ? 1 << at.order : 0;
      free += size;
      offset += Math.max(1, size);
    }
    return free;
  }

  /** Free blocks of a whole pageblock go from one type's lists to another's, and the pageblock with them. @kernel move_freepages_block */
  moveFreeBlocks(zone: Zone, page: Page, from: number, to: number): void {
    const map = this.map;
    const start = map.blockStart(page);
    for (let offset = 0; offset < 1 << PAGEBLOCK_ORDER;) {
      const block = map.pageAt(start, offset);
      if (block.state !== PAGE_BUDDY) {
        offset++;
        continue;
      }
      const { order } = block;
      zone.remove(block, order, from);
      zone.add(block, order, to, false);
      offset += 1 << order;
    }
    map.setBlockType(start, PAGEBLOCK_ORDER, to);
  }
}

/** @kernel migratetype_is_mergeable */
export function isMergeable(migratetype: number): boolean {
  return migratetype < MIGRATE_PCPTYPES;
}
