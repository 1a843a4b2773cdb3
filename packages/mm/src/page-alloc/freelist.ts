import type { ExecutionContext } from "@netmem/kernel/api";
import {
  __GFP_COMP, __GFP_ZERO, PAGE_IN_USE, PAGE_PFMEMALLOC_BIT, PAGE_SIZE,
  type Page, type PageAllocatorStats,
} from "../api/index.ts";
import { ALLOC_HIGHATOMIC, ALLOC_NOFRAGMENT, ALLOC_NO_WATERMARKS } from "./alloc-flags.ts";
import type { Fallback } from "./fallback.ts";
import { TAIL_CLAIMS, type FreeChecks } from "./free-checks.ts";
import type { MemMap } from "./mem-map.ts";
import { pcpAllowedOrder } from "./pcp.ts";
import type { Request } from "./request.ts";
import { markOf, watermarkOk } from "./watermark.ts";
import type { Zone } from "./zone.ts";

/** One attempt at a request: the first zone of a list that may give a block gives it. */
export class Freelist {
  private readonly map: MemMap;
  private readonly fallback: Fallback;
  private readonly checks: FreeChecks;
  private readonly context: ExecutionContext;
  private readonly stats: PageAllocatorStats;

  constructor(map: MemMap, fallback: Fallback, checks: FreeChecks, context: ExecutionContext, stats: PageAllocatorStats) {
    this.map = map;
    this.fallback = fallback;
    this.checks = checks;
    this.context = context;
    this.stats = stats;
  }

  /**
   * What nearly every request is: one page, its first zone above the high mark, and the CPU's list not empty of good ones.
   * Null for anything else, with nothing decided: `take` has all the cases.
   */
  takeSingle(request: Request): Page | null {
    const { zone } = request;
    if (zone.freePages - zone.freeHighatomic <= request.highMark) return null;
    const page = zone.pcps[this.context.cpu]!.takeSingle(request.migratetype);
    if (page === null || this.checks.isBadNew(page)) return null;
    this.countNuma(zone, zone, 1);
    this.stats.allocs++;
    page.refcount = 1;
    page.state = PAGE_IN_USE;
    return page;
  }

  /**
   * First without mixing types within pageblocks, if the flags say so; then with. Crossing to another node is worse than
   * mixing. @kernel get_page_from_freelist (mm/page_alloc.c)
   */
  take(request: Request, order: number, wanted: number): Page | null {
    const { zones, migratetype, highest } = request;
    let flags = wanted;
    let at = 0;
    while (at < zones.length) {
      const zone = zones[at]!;
      if ((flags & ALLOC_NOFRAGMENT) !== 0 && zone.nid !== zones[0]!.nid) {
        flags &= ~ALLOC_NOFRAGMENT;
        at = 0;
        continue;
      }
      if (this.mayTake(zone, order, highest, flags)) {
        const page = this.rmqueue(zones[0]!, zone, order, flags, migratetype);
        if (page !== null) {
          this.prepare(page, order, request.gfp, flags);
          if ((flags & ALLOC_HIGHATOMIC) !== 0) this.fallback.reserveHighatomic(zone, page, order);
          return page;
        }
      }
      at++;
      if (at === zones.length && (flags & ALLOC_NOFRAGMENT) !== 0) {
        flags &= ~ALLOC_NOFRAGMENT;
        at = 0;
      }
    }
    return null;
  }

  /** Above its high mark a zone is asked no further; the first time below, per-CPU lists learn of it. */
  mayTake(zone: Zone, order: number, highest: number, flags: number): boolean {
    if (!zone.belowHigh) {
      if (watermarkOk(zone, order, zone.watermarkHigh, highest, flags)) return true;
      zone.belowHigh = true;
    }
    return watermarkOk(zone, order, markOf(zone, flags), highest, flags) || (flags & ALLOC_NO_WATERMARKS) !== 0;
  }

  /** @kernel rmqueue */
  private rmqueue(preferred: Zone, zone: Zone, order: number, flags: number, migratetype: number): Page | null {
    if (pcpAllowedOrder(order)) {
      const pcp = zone.pcps[this.context.cpu]!;
      for (let page = pcp.take(order, migratetype, flags); page !== null; page = pcp.take(order, migratetype, flags)) {
        if (this.checks.isBadNewBlock(page, order)) continue;
        this.countNuma(preferred, zone, 1);
        return page;
      }
    }
    for (let page = this.fallback.takeWithReserve(zone, order, migratetype, flags); page !== null; page = this.fallback.takeWithReserve(zone, order, migratetype, flags)) {
      if (this.checks.isBadNewBlock(page, order)) continue;
      this.countNuma(preferred, zone, 1);
      return page;
    }
    return null;
  }

  /** @kernel zone_statistics */
  countNuma(preferred: Zone, zone: Zone, pages: number): void {
    const home = zone.nid === this.context.node;
    if (zone.nid === preferred.nid) {
      if (home) zone.hitsFromHome += pages;
      else zone.hitsFromAfar += pages;
      return;
    }
    zone.numaMiss += pages;
    preferred.numaForeign += pages;
    if (home) zone.missesFromHome += pages;
    else zone.missesFromAfar += pages;
  }

  /** From free to in use, reference 1. Marked pfmemalloc only if this attempt was one that ignores the marks. @kernel prep_new_page */
  prepare(page: Page, order: number, gfp: number, flags: number): void {
    this.stats.allocs++;
    page.refcount = 1;
    page.state = PAGE_IN_USE;
    if ((flags & ALLOC_NO_WATERMARKS) !== 0) page.ppMagic = PAGE_PFMEMALLOC_BIT;
    if (order > 0) this.prepareTails(page, order, gfp);
    if ((gfp & __GFP_ZERO) !== 0) page.region.bytes.fill(0, page.base, page.base + (PAGE_SIZE << order));
  }

  /** @kernel prep_compound_page */
  private prepareTails(head: Page, order: number, gfp: number): void {
    const compound = (gfp & __GFP_COMP) !== 0;
    head.order = compound ? order : 0;
    for (let i = 1; i < 1 << order; i++) {
      const tail = this.map.pageAt(head, i);
      tail.state = PAGE_IN_USE;
      if (!compound) continue;
      tail.head = head;
      tail.claims = TAIL_CLAIMS;
    }
  }
}
