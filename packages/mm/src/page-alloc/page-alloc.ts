import { UsageError, type ExecutionContext, type ReportSink } from "@netmem/kernel/api";
import {
  __GFP_ACCOUNT, __GFP_BITS_MASK, __GFP_DIRECT_RECLAIM, __GFP_NOWARN, GFP_ATOMIC, MAX_PAGE_ORDER,
  MIGRATE_ISOLATE, MIGRATE_MOVABLE, MIGRATE_PCPTYPES, NUMA_NO_NODE, PAGEBLOCK_ORDER, PAGE_SIZE, ZONE_NORMAL, gfpNames, pageName, pageOwner,
  type Page, type PageAllocator, type PageAllocatorStats,
} from "../api/index.ts";
import type { Point } from "../fault-injection.ts";
import { ALLOC_NOFRAGMENT } from "./alloc-flags.ts";
import type { Buddy } from "./buddy.ts";
import type { Fallback } from "./fallback.ts";
import type { FreeChecks } from "./free-checks.ts";
import { Freelist } from "./freelist.ts";
import type { MemMap } from "./mem-map.ts";
import type { Nodes, Zonelist } from "./nodes.ts";
import { pcpAllowedOrder } from "./pcp.ts";
import { References } from "./refs.ts";
import { Request } from "./request.ts";
import { SlowPath } from "./slow-path.ts";
import { watermarkOk } from "./watermark.ts";
import type { Zone } from "./zone.ts";

const ORDERS = `give a whole number from 0 to ${MAX_PAGE_ORDER}`;
/** Kinds of requests that are kept; a power of two. */
const KINDS = 32;

export interface PageAllocParts {
  readonly map: MemMap;
  readonly nodes: Nodes;
  readonly buddy: Buddy;
  readonly fallback: Fallback;
  readonly checks: FreeChecks;
  readonly context: ExecutionContext;
  readonly reports: ReportSink;
  readonly failPoint: Point;
  readonly slabHasNoRefs: boolean;
}

/** The page allocator as its users see it: requests in, references, blocks back. @kernel mm/page_alloc.c */
export class PageAlloc implements PageAllocator {
  readonly nrPages: number;
  readonly pages: readonly Page[];
  readonly zones: readonly Zone[];
  readonly stats: PageAllocatorStats = { allocs: 0, frees: 0, failures: 0, warnings: 0, kswapdWakes: 0, directReclaims: 0 };
  readonly slowPath: SlowPath;
  private readonly map: MemMap;
  private readonly nodes: Nodes;
  private readonly buddy: Buddy;
  private readonly checks: FreeChecks;
  private readonly context: ExecutionContext;
  private readonly reports: ReportSink;
  private readonly failPoint: Point;
  private readonly freelist: Freelist;
  private readonly refs: References;
  /** By node: whether fragmentation is avoided at first, there being a DMA32 zone to spread to. @kernel alloc_flags_nofragment */
  private readonly noFragment: number[] = [];
  private readonly kinds: Request[] = [];
  private last: Request;

  constructor(parts: PageAllocParts) {
    const { map, nodes, context, reports } = parts;
    this.map = map;
    this.nodes = nodes;
    this.buddy = parts.buddy;
    this.checks = parts.checks;
    this.context = context;
    this.reports = reports;
    this.failPoint = parts.failPoint;
    this.pages = map.pages;
    this.nrPages = map.pages.length;
    this.zones = nodes.zones;
    for (let nid = 0; nid < nodes.count; nid++) {
      const spreads = nodes.zones.some((zone) => zone.nid === nid && zone.type === ZONE_NORMAL) && (nodes.count === 1 || nodes.zones.some((zone) => zone.nid === nid && zone.type === ZONE_NORMAL - 1));
      this.noFragment.push(spreads ? ALLOC_NOFRAGMENT : 0);
    }
    this.last = new Request(GFP_ATOMIC, 0, nodes, map.groupsByMobility, this.noFragment[0]!);
    for (let i = 0; i < KINDS; i++) this.kinds.push(this.last);
    this.freelist = new Freelist(map, parts.fallback, parts.checks, context, this.stats);
    this.slowPath = new SlowPath(this.freelist, parts.fallback, context, this.stats, reports, () => this.drainAllPages());
    this.refs = new References(reports, parts.slabHasNoRefs, this);
  }

  freePages(): number {
    let pages = 0;
    for (const zone of this.zones) {
      pages += zone.freePages;
      for (const pcp of zone.pcps) pages += pcp.count;
    }
    return pages;
  }

  allocPages(gfp: number, order: number, nid: number): Page | null {
    const node = nid === NUMA_NO_NODE ? this.context.node : nid;
    const last = this.last;
    if (order === 0 && last.gfp === gfp && last.node === node && !this.failPoint.armed) {
      const page = this.freelist.takeSingle(last);
      if (page !== null) return page;
    }
    return this.allocChecked(gfp, order, node);
  }

  private allocChecked(gfp: number, order: number, node: number): Page | null {
    if (!this.isRequest(gfp, order, node)) return null;
    if ((gfp & __GFP_DIRECT_RECLAIM) !== 0) this.slowPath.mightSleep(gfp, `request of order ${order}`);
    if (this.failPoint.armed && this.failPoint.shouldFail(order, PAGE_SIZE << order)) return this.failed(gfp);
    return this.take(this.resolve(gfp, node), order);
  }

  private take(request: Request, order: number): Page | null {
    return this.freelist.take(request, order, request.flags) ?? this.slowPath.take(request, order) ?? this.failed(request.gfp);
  }

  /** There are few kinds of requests, and they come in runs: resolved once, they are kept. */
  private resolve(gfp: number, node: number): Request {
    if (this.last.gfp === gfp && this.last.node === node) return this.last;
    const slot = (gfp ^ (gfp >> 6) ^ (gfp >> 12) ^ (node << 3)) & (KINDS - 1);
    let request = this.kinds[slot]!;
    if (request.gfp !== gfp || request.node !== node) {
      request = new Request(gfp, node, this.nodes, this.map.groupsByMobility, this.noFragment[node]!);
      this.kinds[slot] = request;
    }
    this.last = request;
    return request;
  }

  allocPagesBulk(gfp: number, nid: number, n: number, out: (Page | null)[]): number {
    const node = nid === NUMA_NO_NODE ? this.context.node : nid;
    if (!this.isRequest(gfp, 0, node)) return 0;
    if ((gfp & __GFP_DIRECT_RECLAIM) !== 0) this.slowPath.mightSleep(gfp, `bulk request of ${n} pages`);
    let filled = 0;
    while (filled < n && isPage(out[filled])) filled++;
    if (filled >= n) return Math.max(filled, 0);
    if (this.failPoint.armed && this.failPoint.shouldFail(0, PAGE_SIZE)) {
      this.failed(gfp);
      return filled;
    }
    // One page, and memory that is charged to somebody, goes the ordinary way.
    const request = this.resolve(gfp, node);
    if (n - filled === 1 || (gfp & __GFP_ACCOUNT) !== 0) return this.bulkOfOne(request, filled, out);
    const zone = this.bulkZone(request.zones, n, request.highest);
    return zone === null ? this.bulkOfOne(request, filled, out) : this.bulkFrom(zone, request, n, filled, out);
  }

  /**
   * The first zone of the nearest node that stays above its low mark when all `n` are gone. Slots that are filled already
   * are counted too: so it reads up to 6.12 and in 6.16; a tree of 2026 subtracts them. @kernel alloc_pages_bulk_noprof
   */
  private bulkZone(zones: Zonelist, n: number, highest: number): Zone | null {
    for (let i = 0; i < zones.length; i++) {
      const zone = zones[i]!;
      if (zone.nid !== zones[0]!.nid) return null;
      if (watermarkOk(zone, 0, zone.watermarkLow + n, highest, 0)) return zone;
    }
    return null;
  }

  private bulkFrom(zone: Zone, request: Request, n: number, start: number, out: (Page | null)[]): number {
    const pcp = zone.pcps[this.context.cpu]!;
    const { gfp, migratetype } = request;
    let filled = start;
    let taken = 0;
    while (filled < n) {
      if (isPage(out[filled])) {
        filled++;
        continue;
      }
      const page = pcp.takeMore(0, migratetype, 0);
      if (page === null) break;
      if (this.checks.isBadNew(page)) continue;
      // Never from the reserves, whatever the flags: pages of this loop are not marked pfmemalloc.
      this.freelist.prepare(page, 0, gfp, 0);
      out[filled++] = page;
      taken++;
    }
    if (taken === 0 && filled < n) return this.bulkOfOne(request, filled, out);
    this.freelist.countNuma(request.zone, zone, taken);
    return filled;
  }

  private bulkOfOne(request: Request, filled: number, out: (Page | null)[]): number {
    const page = this.take(request, 0);
    if (page === null) return filled;
    out[filled] = page;
    return filled + 1;
  }

  freePagesOrder(page: Page, order: number): void {
    checkOrder(order);
    const compound = page.head !== page || page.order > 0;
    if (!compound && order > 0 && page.refcount > 1) {
      const why = this.checks.whyNoBlock(page, order);
      if (why !== null) {
        this.reports.report("bad-page", "warn", pageName(page), pageOwner(page), `freed with order ${order}, but ${why}; nothing is freed`);
        return;
      }
    }
    const left = this.refs.drop(page.head, 1, "__free_pages");
    if (left === 0) this.freeFrozenPages(page.head, order);
    // Somebody still holds page 0 of a plain block: only it stays, the rest goes home now, in powers of two.
    else if (left > 0 && !compound) for (let k = order - 1; k >= 0; k--) this.freeFrozenPages(this.map.pageAt(page, 1 << k), k);
  }

  freeFrozenPages(page: Page, order: number): void {
    checkOrder(order);
    if (this.checks.prepare(page, order)) this.freePrepared(page, order);
  }

  private freePrepared(page: Page, order: number): void {
    this.stats.frees++;
    const zone = this.zones[page.zone]!;
    let migratetype = this.map.blockType(page);
    if (migratetype === MIGRATE_ISOLATE || !pcpAllowedOrder(order)) {
      this.freeByPageblock(zone, page, order);
      return;
    }
    // Pages of the reserve wait among the movable ones: kept apart, each would go back on its own.
    if (migratetype >= MIGRATE_PCPTYPES) migratetype = MIGRATE_MOVABLE;
    zone.pcps[this.context.cpu]!.put(page, order, migratetype);
  }

  /** A block may span pageblocks of different types. @kernel free_one_page, split_large_buddy */
  private freeByPageblock(zone: Zone, page: Page, order: number): void {
    const size = Math.min(order, PAGEBLOCK_ORDER);
    for (let offset = 0; offset < 1 << order; offset += 1 << size) {
      const part = this.map.pageAt(page, offset);
      this.buddy.freeOne(zone, part, size, this.map.blockType(part));
    }
  }

  getPageblockMigratetype(page: Page): number {
    return this.map.blockType(page);
  }

  splitPage(page: Page, order: number): void {
    checkOrder(order);
    const why = page.head !== page || page.order > 0 ? "it is a compound block, which has one reference count"
      : page.refcount <= 0 ? `it has ${page.refcount} references` : this.checks.whyNoBlock(page, order);
    if (why !== null) {
      this.reports.report("page-split", "warn", pageName(page), pageOwner(page), `split_page of order ${order} refused: ${why}`);
      return;
    }
    for (let i = 1; i < 1 << order; i++) this.map.pageAt(page, i).refcount = 1;
  }

  drainAllPages(): void {
    for (const zone of this.zones) for (const pcp of zone.pcps) pcp.drain(pcp.count, 0);
  }

  getPage(page: Page): void {
    this.refs.getPage(page);
  }

  getPageUnlessZero(page: Page): boolean {
    return this.refs.getPageUnlessZero(page);
  }

  putPage(page: Page): void {
    if (!this.checks.isPlainLast(page)) {
      this.refs.putPage(page);
      return;
    }
    page.refcount = 0;
    this.freePrepared(page, 0);
  }

  pageRefAdd(page: Page, n: number): void {
    this.refs.pageRefAdd(page, n);
  }

  pageRefSub(page: Page, n: number): void {
    this.refs.pageRefSub(page, n);
  }

  pageRefSubAndTest(page: Page, n: number): boolean {
    return this.refs.pageRefSubAndTest(page, n);
  }

  setPageCount(page: Page, n: number): void {
    this.refs.setPageCount(page, n);
  }

  /** Throws for what no C compiler, or no programmer, would let pass; false for what the kernel warns of. */
  private isRequest(gfp: number, order: number, node: number): boolean {
    if ((gfp & ~__GFP_BITS_MASK) !== 0 || (gfp | 0) !== gfp) throw new UsageError("mm", "gfp", (gfp | 0) === gfp ? gfpNames(gfp) : gfp, `unknown bits: give __GFP_* flags, at most 0x${__GFP_BITS_MASK.toString(16)}`);
    if (!(order >= 0 && Number.isInteger(order))) throw new UsageError("mm", "order", order, ORDERS);
    if (!(node >= 0 && node < this.nodes.count && Number.isInteger(node))) throw new UsageError("mm", "nid", node, `give a node from 0 to ${this.nodes.count - 1}, or NUMA_NO_NODE`);
    if (order <= MAX_PAGE_ORDER) return true;
    this.stats.failures++;
    if ((gfp & __GFP_NOWARN) === 0) {
      this.reports.report("page-alloc-order", "warn", `request of order ${order}`, `cpu ${this.context.cpu}`, `no block is larger than order ${MAX_PAGE_ORDER}, ${PAGE_SIZE << MAX_PAGE_ORDER} bytes: ask for less, or for several`);
    }
    return false;
  }

  private failed(gfp: number): null {
    this.stats.failures++;
    if ((gfp & __GFP_NOWARN) === 0) this.stats.warnings++;
    return null;
  }
}

/** Of a block that is there; a request for more than there is may fail, and only says so. */
function checkOrder(order: number): void {
  if (!(order >= 0 && order <= MAX_PAGE_ORDER && Number.isInteger(order))) throw new UsageError("mm", "order", order, ORDERS);
}

function isPage(slot: Page | null | undefined): boolean {
  return slot !== null && slot !== undefined;
}
