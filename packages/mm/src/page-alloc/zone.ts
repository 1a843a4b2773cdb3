import {
  MAX_NR_ZONES, MAX_PAGE_ORDER, MIGRATE_HIGHATOMIC, MIGRATE_ISOLATE, MIGRATE_TYPES, PAGE_BUDDY, PAGE_BUDDY_PART, ZONE_NAMES,
  type Page, type ZoneInfo, type ZoneName,
} from "../api/index.ts";
import type { PerCpuPages } from "./pcp.ts";

/** `page.claims` of a block on a free list: words 1, 2 and 5. */
const BUDDY_CLAIMS = 0x10011;

/** Free blocks of one zone, by order and migratetype, and its marks. Plain lists: who takes and merges is `Buddy`. */
export class Zone implements ZoneInfo {
  readonly name: ZoneName;
  readonly type: number;
  readonly nid: number;
  /** Among all zones; what `page.zone` says. */
  readonly index: number;
  readonly startPfn: number;
  readonly managedPages: number;
  freePages = 0;
  /** Of these, in pageblocks of the highatomic reserve. */
  freeHighatomic = 0;
  reservedHighatomic = 0;
  watermarkMin = 0;
  watermarkLow = 0;
  watermarkHigh = 0;
  readonly lowmemReserve: number[] = Array.from({ length: MAX_NR_ZONES }, () => 0);
  /** A request found it below its high mark: per-CPU lists shrink until it is above again. @kernel ZONE_BELOW_HIGH */
  belowHigh = false;
  readonly pcps: PerCpuPages[] = [];
  /** Served here to a CPU of this node that asked for it: nearly all requests. */
  hitsFromHome = 0;
  hitsFromAfar = 0;
  numaMiss = 0;
  numaForeign = 0;
  missesFromHome = 0;
  missesFromAfar = 0;
  readonly nrFree: Int32Array = new Int32Array(MAX_PAGE_ORDER + 1);
  private readonly heads: (Page | null)[] = Array.from({ length: (MAX_PAGE_ORDER + 1) * MIGRATE_TYPES }, () => null);
  private readonly tails: (Page | null)[] = Array.from({ length: (MAX_PAGE_ORDER + 1) * MIGRATE_TYPES }, () => null);

  constructor(type: number, nid: number, index: number, startPfn: number, managedPages: number) {
    this.name = ZONE_NAMES[type]!;
    this.type = type;
    this.nid = nid;
    this.index = index;
    this.startPfn = startPfn;
    this.managedPages = managedPages;
  }

  get numaHit(): number {
    return this.hitsFromHome + this.hitsFromAfar;
  }

  get numaLocal(): number {
    return this.hitsFromHome + this.missesFromHome;
  }

  get numaOther(): number {
    return this.hitsFromAfar + this.missesFromAfar;
  }

  /** The block that the next request of this order and type gets. @kernel get_page_from_free_area */
  first(order: number, migratetype: number): Page | null {
    return this.heads[order * MIGRATE_TYPES + migratetype]!;
  }

  freeBlocks(order: number, migratetype: number): number {
    if (migratetype < 0) return this.nrFree[order]!;
    let blocks = 0;
    for (let page = this.first(order, migratetype); page !== null; page = page.next) blocks++;
    return blocks;
  }

  /** @kernel __add_to_free_list (mm/page_alloc.c) */
  add(page: Page, order: number, migratetype: number, toTail: boolean): void {
    const list = order * MIGRATE_TYPES + migratetype;
    page.state = PAGE_BUDDY;
    page.order = order;
    page.claims = BUDDY_CLAIMS;
    const neighbour = (toTail ? this.tails : this.heads)[list]!;
    page.prev = toTail ? neighbour : null;
    page.next = toTail ? null : neighbour;
    if (neighbour === null) {
      this.heads[list] = page;
      this.tails[list] = page;
    } else if (toTail) {
      neighbour.next = page;
      this.tails[list] = page;
    } else {
      neighbour.prev = page;
      this.heads[list] = page;
    }
    this.nrFree[order]!++;
    this.account(1 << order, migratetype);
  }

  /** @kernel del_page_from_free_list (mm/page_alloc.c) */
  remove(page: Page, order: number, migratetype: number): void {
    const list = order * MIGRATE_TYPES + migratetype;
    if (page.prev === null) this.heads[list] = page.next;
    else page.prev.next = page.next;
    if (page.next === null) this.tails[list] = page.prev;
    else page.next.prev = page.prev;
    page.next = null;
    page.prev = null;
    page.order = 0;
    page.claims = 0;
    page.state = PAGE_BUDDY_PART;
    this.nrFree[order]!--;
    this.account(-(1 << order), migratetype);
  }

  /** Isolated pages are free for nobody. @kernel account_freepages */
  private account(pages: number, migratetype: number): void {
    if (migratetype === MIGRATE_ISOLATE) return;
    this.freePages += pages;
    if (migratetype === MIGRATE_HIGHATOMIC) this.freeHighatomic += pages;
  }
}
