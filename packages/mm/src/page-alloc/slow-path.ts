import { CONTEXT_PROCESS, PF_MEMALLOC, type ExecutionContext, type ReportSink } from "@netmem/kernel/api";
import {
  __GFP_DIRECT_RECLAIM, __GFP_KSWAPD_RECLAIM, __GFP_NORETRY, __GFP_RETRY_MAYFAIL, __GFP_THISNODE, PAGE_ALLOC_COSTLY_ORDER, PAGEBLOCK_ORDER, ZONE_NORMAL, gfpNames,
  type Page, type PageAllocatorStats, type Reclaim, type Shrinker,
} from "../api/index.ts";
import { ALLOC_KSWAPD, ALLOC_NO_WATERMARKS, gfpToAllocFlags, mayIgnoreWatermarks } from "./alloc-flags.ts";
import type { Fallback } from "./fallback.ts";
import type { Freelist } from "./freelist.ts";
import type { Request } from "./request.ts";

/** Attempts after reclaim that brought something. @kernel MAX_RECLAIM_RETRIES (mm/internal.h) */
const MAX_RECLAIM_RETRIES = 16;

/**
 * What happens when every zone is below its low mark: lower marks, the reserves for those who may, then reclaim for
 * those who may wait. There is no kswapd to wake, only a count; what it would reclaim, direct reclaim asks the shrinkers for.
 * @kernel __alloc_pages_slowpath (mm/page_alloc.c)
 */
export class SlowPath implements Reclaim {
  readonly #freelist: Freelist;
  readonly #fallback: Fallback;
  readonly #context: ExecutionContext;
  readonly #stats: PageAllocatorStats;
  readonly #reports: ReportSink;
  readonly #drainAll: () => void;
  readonly #shrinkers: Shrinker[] = [];
  #oom: (() => boolean) | null = null;

  constructor(freelist: Freelist, fallback: Fallback, context: ExecutionContext, stats: PageAllocatorStats, reports: ReportSink, drainAll: () => void) {
    this.#freelist = freelist;
    this.#fallback = fallback;
    this.#context = context;
    this.#stats = stats;
    this.#reports = reports;
    this.#drainAll = drainAll;
  }

  registerShrinker(shrinker: Shrinker): void {
    this.#shrinkers.push(shrinker);
  }

  setOomHandler(handler: (() => boolean) | null): void {
    this.#oom = handler;
  }

  take(request: Request, order: number): Page | null {
    const { gfp } = request;
    // From here on failing is worse than mixing types: ALLOC_NOFRAGMENT was the first attempt's alone.
    const flags = gfpToAllocFlags(gfp, order);
    if ((gfp & __GFP_KSWAPD_RECLAIM) !== 0) this.#stats.kswapdWakes++;
    const page = this.#freelist.take(request, order, flags);
    if (page !== null) return page;
    const rights = mayIgnoreWatermarks(gfp, this.#context) ? ALLOC_NO_WATERMARKS | (flags & ALLOC_KSWAPD) : flags;
    if (rights !== flags) {
      const reserved = this.#freelist.take(request, order, rights);
      if (reserved !== null) return reserved;
    }
    // A task that frees memory for others must not wait for memory itself.
    if ((gfp & __GFP_DIRECT_RECLAIM) === 0 || (this.#context.taskFlags & PF_MEMALLOC) !== 0) return null;
    return this.#reclaimAndTake(request, order, rights);
  }

  /** Asks for memory, and tries again as long as there was some. */
  #reclaimAndTake(request: Request, order: number, rights: number): Page | null {
    const { gfp, zones, migratetype } = request;
    const costly = order > PAGE_ALLOC_COSTLY_ORDER && (gfp & __GFP_RETRY_MAYFAIL) === 0;
    for (let retry = 0; retry < MAX_RECLAIM_RETRIES; retry++) {
      this.#stats.directReclaims++;
      const progress = this.#shrink();
      // Pages may be stuck on other CPUs' lists or in the reserve. The kernel looks there once reclaim, or for blocks compaction, has done something.
      for (const zone of zones) if (zone.reservedHighatomic > 1 << PAGEBLOCK_ORDER || retry > 0) this.#fallback.unreserveHighatomic(zone, migratetype);
      this.#drainAll();
      const page = this.#freelist.take(request, order, rights);
      if (page !== null) return page;
      if ((gfp & __GFP_NORETRY) !== 0 || costly) return null;
      if (progress === 0 && retry > 0) break;
    }
    return this.#outOfMemory(request, order, rights);
  }

  /** @kernel try_to_free_pages, shrink_slab */
  #shrink(): number {
    const context = this.#context;
    const before = context.taskFlags;
    context.taskFlags |= PF_MEMALLOC;
    let pages = 0;
    for (const shrinker of this.#shrinkers) pages += shrinker.shrink();
    context.taskFlags = before;
    return pages;
  }

  /** Nobody can be killed here but by the handler; there is none for blocks, low zones, single nodes. @kernel __alloc_pages_may_oom */
  #outOfMemory(request: Request, order: number, rights: number): Page | null {
    if (this.#oom === null || order > PAGE_ALLOC_COSTLY_ORDER || (request.gfp & (__GFP_RETRY_MAYFAIL | __GFP_THISNODE)) !== 0) return null;
    if (!request.zones.some((zone) => zone.type === ZONE_NORMAL) || !this.#oom()) return null;
    this.#drainAll();
    return this.#freelist.take(request, order, rights);
  }

  /** @kernel might_alloc (include/linux/sched/mm.h) */
  mightSleep(gfp: number, what: string): void {
    if ((gfp & __GFP_DIRECT_RECLAIM) === 0 || this.#context.level === CONTEXT_PROCESS) return;
    this.#reports.report(
      "sleep-in-atomic", "warn", what, `cpu ${this.#context.cpu}`,
      `${gfpNames(gfp)} may sleep, and ${this.#context.level === 1 ? "softirq" : "hardirq"} context may not: use GFP_ATOMIC`,
    );
  }
}
