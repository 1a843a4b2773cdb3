import { UsageError } from "@netmem/kernel/api";
import { MIGRATE_PCPTYPES, NUMA_NO_NODE, PAGE_BUDDY_PART, PAGE_IN_USE, type Ballast, type Page } from "../api/index.ts";
import type { Buddy } from "./buddy.ts";
import type { MemMap } from "./mem-map.ts";
import type { PageAlloc } from "./page-alloc.ts";
import type { Zone } from "./zone.ts";

/** Takes single pages straight from the zones, whatever their marks say. */
export class PageBallast implements Ballast {
  readonly #alloc: PageAlloc;
  readonly #buddy: Buddy;
  readonly #map: MemMap;
  readonly #held: Page[] = [];

  constructor(alloc: PageAlloc, buddy: Buddy, map: MemMap) {
    this.#alloc = alloc;
    this.#buddy = buddy;
    this.#map = map;
  }

  heldPages(): number {
    return this.#held.length;
  }

  leaveFree(freePages: number, nid: number): number {
    if (!Number.isInteger(freePages) || freePages < 0) throw new UsageError("mm", "ballast freePages", freePages, "give a whole number of pages, 0 or more");
    this.#alloc.drainAllPages();
    const zones = this.#alloc.zones.filter((zone) => nid === NUMA_NO_NODE || zone.nid === nid);
    if (zones.length === 0) throw new UsageError("mm", "ballast nid", nid, "give a node that has memory, or NUMA_NO_NODE");
    let free = zones.reduce((sum, zone) => sum + zone.freePages, 0);
    for (const zone of zones.toReversed()) {
      while (free > freePages && zone.freePages > 0 && this.#takeFrom(zone)) free--;
    }
    for (let i = this.#held.length - 1; i >= 0 && free < freePages; i--) {
      const page = this.#held[i]!;
      if (nid !== NUMA_NO_NODE && page.nid !== nid) continue;
      this.#held.splice(i, 1);
      this.#giveBack(page);
      free++;
    }
    return free;
  }

  release(): void {
    for (const page of this.#held.splice(0)) this.#giveBack(page);
  }

  #takeFrom(zone: Zone): boolean {
    for (let type = 0; type <= MIGRATE_PCPTYPES; type++) {
      const page = this.#buddy.takeSmallest(zone, 0, type);
      if (page === null) continue;
      page.state = PAGE_IN_USE;
      page.refcount = 1;
      this.#held.push(page);
      return true;
    }
    return false;
  }

  #giveBack(page: Page): void {
    page.refcount = 0;
    page.state = PAGE_BUDDY_PART;
    this.#buddy.freeOne(this.#alloc.zones[page.zone]!, page, 0, this.#map.blockType(page));
  }
}
