import { ENOBUFS, EMSGSIZE, inHardirq, type ExecutionContext, type ReportSink } from "@netmem/kernel/api";
import {
  GFP_ATOMIC, GFP_DMA, NUMA_NO_NODE, PAGE_SIZE, __GFP_COMP, __GFP_DIRECT_RECLAIM, __GFP_MEMALLOC, __GFP_NOWARN, pageIsPfmemalloc, pageName,
  type FaultGate, type Page, type PageAllocator, type PageFragCache, type PageFrags, type SlabObject,
} from "@netmem/mm/api";
import { MAX_SKB_FRAGS, SKB_SHARED_INFO_BYTES, skbDataAlign, type NetDevice } from "@netmem/xdp/api";
import {
  CHECKSUM_NONE, NET_IP_ALIGN, NET_SKB_PAD, SKB_ALLOC_FCLONE, SKB_ALLOC_NAPI, SKB_ALLOC_RX, SKB_DROP_REASON_NOT_SPECIFIED, SKB_SMALL_HEAD_CACHE_SIZE, skbTruesize,
  type SkBuff, type SkbAlloc, type SkbSharedInfo, type SkbStats,
} from "./api/index.ts";
import type { SkbHeads } from "./heads.ts";
import { QUARTER_BYTES, QuarterFrags } from "./quarter-frags.ts";
import type { SkbRelease } from "./release.ts";
import type { NetCoreRules } from "./rules.ts";
import type { StructCache } from "./struct-cache.ts";

/** Up to here heads were slab's before small heads had a cache. */
const SMALL_HEAD_BYTES_OLD = 1024;

export interface BirthParts {
  readonly cache: StructCache;
  readonly release: SkbRelease;
  readonly heads: SkbHeads;
  readonly pages: PageAllocator;
  readonly frags: PageFrags;
  readonly context: ExecutionContext;
  readonly nrCpus: number;
  readonly rules: NetCoreRules;
  /** Makes the allocation of structs fail. */
  readonly failStructs: FaultGate;
  readonly reports: ReportSink;
}

/** @kernel net/core/skbuff.c */
export class SkbBirths implements SkbAlloc {
  readonly stats: SkbStats;
  protected readonly cache: StructCache;
  protected readonly release: SkbRelease;
  private readonly heads: SkbHeads;
  private readonly pages: PageAllocator;
  private readonly frags: PageFrags;
  protected readonly context: ExecutionContext;
  private readonly failStructs: FaultGate;
  protected readonly reports: ReportSink;
  /** Up to this, what a driver asks for is cut from a slab, not from a page. */
  private readonly smallBytes: number;
  private readonly countsBlocks: boolean;
  /** By CPU: of softirqs and processes, and of hardirqs. @kernel napi_alloc_cache.page, netdev_alloc_cache */
  private readonly softirqFrags: PageFragCache[] = [];
  private readonly hardirqFrags: PageFragCache[] = [];
  /** By CPU; none but in kernels that cut a poll's small heads from pages. @kernel napi_alloc_cache.page_small */
  private readonly quarters: QuarterFrags[] = [];
  private memallocSocks = 0;

  constructor(parts: BirthParts) {
    this.stats = parts.cache;
    this.cache = parts.cache;
    this.release = parts.release;
    this.heads = parts.heads;
    this.pages = parts.pages;
    this.frags = parts.frags;
    this.context = parts.context;
    this.failStructs = parts.failStructs;
    this.reports = parts.reports;
    this.smallBytes = (parts.rules.allocatesSmallHeads ? SKB_SMALL_HEAD_CACHE_SIZE : SMALL_HEAD_BYTES_OLD) - SKB_SHARED_INFO_BYTES;
    this.countsBlocks = parts.rules.withFragsCountsBlocks;
    for (let cpu = 0; cpu < parts.nrCpus; cpu++) {
      this.softirqFrags.push(parts.frags.createCache());
      this.hardirqFrags.push(parts.frags.createCache());
      if (parts.rules.napiCutsQuarters) this.quarters.push(new QuarterFrags(parts.pages));
    }
  }

  napiBuildSkb(page: Page, fragSizeBytes: number, offset: number = 0): SkBuff | null {
    this.checkFrag(page, fragSizeBytes, offset, "napi_build_skb");
    return this.structsFail() ? null : this.aroundPage(this.cache.takeNapiSkb(), page, offset, fragSizeBytes);
  }

  buildSkb(page: Page, fragSizeBytes: number, offset: number = 0): SkBuff | null {
    this.checkFrag(page, fragSizeBytes, offset, "build_skb");
    return this.structsFail() ? null : this.aroundPage(this.cache.takeSkb(), page, offset, fragSizeBytes);
  }

  buildSkbAround(skb: SkBuff, page: Page, fragSizeBytes: number, offset: number = 0): SkBuff {
    this.checkFrag(page, fragSizeBytes, offset, "build_skb_around");
    return this.aroundPage(skb, page, offset, fragSizeBytes);
  }

  napiSkbCacheGetBulk(out: (SkBuff | null)[], n: number): number {
    let there = 0;
    while (there < n && !this.structsFail()) there++;
    this.cache.takeNapiSkbs(out, there);
    return there;
  }

  /** All of them, or none: 0. @kernel xdp_alloc_skb_bulk (net/core/xdp.c), kmem_cache_alloc_bulk */
  slabSkbBulk(out: (SkBuff | null)[], n: number): number {
    if (this.structsFail()) return 0;
    for (let i = 0; i < n; i++) out[i] = this.cache.takeSkb();
    return n;
  }

  /** One that nothing was built around. Consumes. */
  putStruct(skb: SkBuff): void {
    this.cache.putSkb(skb);
  }

  slabBuildSkb(object: SlabObject): SkBuff | null {
    return this.structsFail() ? null : this.aroundObject(this.cache.takeSkb(), object, false);
  }

  allocSkb(sizeBytes: number, gfp: number): SkBuff | null {
    return this.allocSkbOnNode(sizeBytes, gfp, 0, NUMA_NO_NODE);
  }

  allocSkbFclone(sizeBytes: number, gfp: number): SkBuff | null {
    return this.allocSkbOnNode(sizeBytes, gfp, SKB_ALLOC_FCLONE, NUMA_NO_NODE);
  }

  allocSkbOnNode(sizeBytes: number, gfp: number, flags: number, node: number): SkBuff | null {
    if (this.structsFail()) return null;
    const object = this.heads.reserve(sizeBytes, (flags & SKB_ALLOC_RX) !== 0 ? this.reserveGfp(gfp) : gfp, node);
    if (object === null) return null;
    const local = node === NUMA_NO_NODE || node === this.context.node;
    const skb = (flags & SKB_ALLOC_FCLONE) !== 0 ? this.cache.takeFclone()
      : (flags & SKB_ALLOC_NAPI) !== 0 && local ? this.cache.takeNapiSkb()
      : this.cache.takeSkb();
    return this.aroundObject(skb, object, this.heads.ofReserves);
  }

  netdevAllocSkb(dev: NetDevice | null, sizeBytes: number, gfp: number): SkBuff | null {
    return this.allocForDriver(dev, sizeBytes, NET_SKB_PAD, gfp, SKB_ALLOC_RX);
  }

  napiAllocSkb(dev: NetDevice, sizeBytes: number): SkBuff | null {
    return this.allocForDriver(dev, sizeBytes, NET_SKB_PAD + NET_IP_ALIGN, GFP_ATOMIC, SKB_ALLOC_RX | SKB_ALLOC_NAPI);
  }

  allocSkbWithFrags(headerBytes: number, dataBytes: number, maxOrder: number, gfp: number): SkBuff | number {
    if (dataBytes > MAX_SKB_FRAGS * (PAGE_SIZE << (this.countsBlocks ? maxOrder : 0))) return -EMSGSIZE;
    const skb = this.allocSkb(headerBytes, gfp);
    if (skb === null) return -ENOBUFS;
    const info = skb.shinfo!;
    let order = maxOrder;
    for (let left = dataBytes; left > 0;) {
      while (order > 0 && ((left + PAGE_SIZE - 1) & -PAGE_SIZE) < PAGE_SIZE << order) order--;
      const page = info.nrFrags === MAX_SKB_FRAGS ? null : this.pages.allocPages(order > 0 ? (gfp & ~__GFP_DIRECT_RECLAIM) | __GFP_COMP | __GFP_NOWARN : gfp, order, NUMA_NO_NODE);
      if (page === null) {
        if (order > 0 && info.nrFrags < MAX_SKB_FRAGS) {
          order = this.countsBlocks ? order - 1 : 0;
          continue;
        }
        this.release.drop(skb, SKB_DROP_REASON_NOT_SPECIFIED);
        return -ENOBUFS;
      }
      const frag = info.frags[info.nrFrags++]!;
      frag.netmem = page;
      frag.offset = 0;
      frag.sizeBytes = Math.min(left, PAGE_SIZE << order);
      if (pageIsPfmemalloc(page)) skb.pfmemalloc = true;
      skb.truesize += PAGE_SIZE << order;
      left -= frag.sizeBytes;
    }
    return skb;
  }

  skSetMemalloc(): void {
    this.memallocSocks++;
  }

  /** The system swaps through a socket, so that packets may lie in the page allocator's reserves. @kernel sk_memalloc_socks */
  get skMemallocSocks(): boolean {
    return this.memallocSocks > 0;
  }

  skClearMemalloc(): void {
    this.memallocSocks--;
  }

  /** What a receiving skb's allocation is asked for. @kernel skb_alloc_rx_flag */
  rxFlag(skb: SkBuff): number {
    return skb.pfmemalloc ? SKB_ALLOC_RX : 0;
  }

  /** An skb whose head is a part of `page`, from `offset` on; keeps it. Null without a struct, and the page stays the caller's. @kernel build_skb, unchecked */
  buildAroundPage(page: Page, offset: number, fragSizeBytes: number): SkBuff | null {
    return this.structsFail() ? null : this.aroundPage(this.cache.takeSkb(), page, offset, fragSizeBytes);
  }

  /** The same of this CPU's structs: in softirq. */
  napiBuildAroundPage(page: Page, offset: number, fragSizeBytes: number): SkBuff | null {
    return this.structsFail() ? null : this.aroundPage(this.cache.takeNapiSkb(), page, offset, fragSizeBytes);
  }

  protected structsFail(): boolean {
    return this.failStructs.armed === true && this.failStructs.shouldFail(0, 0);
  }

  protected aroundPage(skb: SkBuff, page: Page, offset: number, fragSizeBytes: number): SkBuff {
    const info = this.around(skb, page.base + offset, fragSizeBytes, pageIsPfmemalloc(page.head));
    info.headPage = page;
    info.headRegion = page.region;
    return skb;
  }

  private aroundObject(skb: SkBuff, object: SlabObject, pfmemalloc: boolean): SkBuff {
    const info = this.around(skb, object.base, object.sizeBytes, pfmemalloc);
    info.headPage = null;
    info.headSlab = object;
    info.headRegion = object.region;
    return skb;
  }

  /** @kernel __netdev_alloc_skb, napi_alloc_skb */
  private allocForDriver(dev: NetDevice | null, sizeBytes: number, padBytes: number, gfp: number, flags: number): SkBuff | null {
    const bytes = sizeBytes + padBytes;
    const small = (flags & SKB_ALLOC_NAPI) !== 0 && this.quarters.length > 0 && bytes <= QUARTER_BYTES - SKB_SHARED_INFO_BYTES;
    const skb = small ? this.cutQuarter(gfp) : bytes <= this.smallBytes || bytes > PAGE_SIZE - SKB_SHARED_INFO_BYTES || (gfp & (__GFP_DIRECT_RECLAIM | GFP_DMA)) !== 0
      ? this.allocSkbOnNode(bytes, gfp, flags, NUMA_NO_NODE)
      : this.cutFromPage(skbDataAlign(bytes) + SKB_SHARED_INFO_BYTES, gfp, (flags & SKB_ALLOC_NAPI) !== 0);
    if (skb === null) return null;
    skb.data += padBytes;
    skb.tail += padBytes;
    skb.dev = dev;
    return skb;
  }

  /** @kernel page_frag_alloc_1k */
  private cutQuarter(gfp: number): SkBuff | null {
    const quarters = this.quarters[this.context.cpu]!;
    const page = quarters.cut(this.reserveGfp(gfp));
    if (page === null) return null;
    if (this.structsFail()) {
      this.frags.pageFragFree(page);
      return null;
    }
    return this.aroundPage(this.cache.takeNapiSkb(), page, quarters.offset, QUARTER_BYTES);
  }

  /** While the system swaps through a socket, received packets may dig into the reserves. @kernel sk_memalloc_socks */
  private reserveGfp(gfp: number): number {
    return this.memallocSocks > 0 ? gfp | __GFP_MEMALLOC : gfp;
  }

  private cutFromPage(bytes: number, gfp: number, inNapi: boolean): SkBuff | null {
    const { cpu } = this.context;
    const cache = (inHardirq(this.context) ? this.hardirqFrags : this.softirqFrags)[cpu]!;
    const offset = this.frags.pageFragAllocAlign(cache, bytes, this.reserveGfp(gfp), 1);
    if (offset < 0) return null;
    const page = cache.page!;
    if (this.structsFail()) {
      this.frags.pageFragFree(page);
      return null;
    }
    return this.aroundPage(inNapi ? this.cache.takeNapiSkb() : this.cache.takeSkb(), page, offset, bytes);
  }

  private checkFrag(page: Page, fragSizeBytes: number, offset: number, what: string): void {
    if (fragSizeBytes <= SKB_SHARED_INFO_BYTES || offset < 0 || offset + fragSizeBytes > PAGE_SIZE << page.order) this.badFrag(page, fragSizeBytes, offset, what);
  }

  private badFrag(page: Page, fragSizeBytes: number, offset: number, what: string): void {
    this.reports.report("skb-bad-frag-size", "bug", pageName(page), "none", `${what} over ${fragSizeBytes} bytes at ${offset}: it needs more than ${SKB_SHARED_INFO_BYTES} for the shared info, and at most the page`);
  }

  /** @kernel __build_skb_around, __finalize_skb_around */
  private around(skb: SkBuff, base: number, fragSizeBytes: number, pfmemalloc: boolean): SkbSharedInfo {
    const info = this.cache.takeInfo();
    const size = fragSizeBytes - SKB_SHARED_INFO_BYTES;
    skb.users = 1;
    skb.head = base;
    skb.data = base;
    skb.tail = base;
    skb.end = base + size;
    skb.len = 0;
    skb.dataLen = 0;
    skb.truesize = skbTruesize(size);
    skb.shinfo = info;
    skb.cloned = false;
    skb.nohdr = false;
    skb.hdrLen = 0;
    skb.ppRecycle = false;
    skb.pfmemalloc = pfmemalloc;
    skb.unreadable = false;
    skb.redirected = false;
    skb.allocCpu = this.context.cpu;
    skb.macHeader = -1;
    skb.networkHeader = -1;
    skb.transportHeader = -1;
    skb.protocol = 0;
    skb.dev = null;
    skb.ipSummed = CHECKSUM_NONE;
    skb.rxQueue = 0;
    return info;
  }
}
