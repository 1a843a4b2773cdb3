import type { ExecutionContext } from "@netmem/kernel/api";
import type { Page, PayloadRegion, SlabObject } from "@netmem/mm/api";
import { PAGE_SIZE, pageIsPfmemalloc, pageName } from "@netmem/mm/api";
import { SKB_SHARED_INFO_BYTES } from "@netmem/xdp/api";
import {
  SKB_CONSUMED, SKB_DROP_REASON_NOMEM, skbTruesize,
  type SkBuff, type SkbLifetime, type SkbStats,
} from "./api/index.ts";
import type { DeferredFree } from "./defer.ts";
import type { SkbHeads } from "./heads.ts";
import type { SkbRelease } from "./release.ts";
import type { NetCoreRules } from "./rules.ts";
import type { StructCache } from "./struct-cache.ts";

export class SkbLives implements SkbLifetime {
  readonly stats: SkbStats;
  readonly #cache: StructCache;
  readonly #release: SkbRelease;
  readonly #heads: SkbHeads;
  readonly #context: ExecutionContext;
  readonly #deferred: DeferredFree;
  readonly #defersFrees: boolean;

  constructor(cache: StructCache, release: SkbRelease, heads: SkbHeads, context: ExecutionContext, deferred: DeferredFree, rules: NetCoreRules) {
    this.stats = cache.stats;
    this.#cache = cache;
    this.#release = release;
    this.#heads = heads;
    this.#context = context;
    this.#deferred = deferred;
    this.#defersFrees = rules.defersFrees;
  }

  napiBuildSkb(page: Page, fragSizeBytes: number): SkBuff | null {
    if (fragSizeBytes <= SKB_SHARED_INFO_BYTES || fragSizeBytes > PAGE_SIZE << page.order) {
      this.#release.reports.report("skb-bad-frag-size", "bug", pageName(page), "none", `napi_build_skb over ${fragSizeBytes} bytes: it needs more than ${SKB_SHARED_INFO_BYTES} for the shared info, and at most the page`);
    }
    return this.buildAroundPage(page, 0, fragSizeBytes);
  }

  /** An skb whose head is a part of `page`, from `offset` on; keeps it. @kernel build_skb_around */
  buildAroundPage(page: Page, offset: number, fragSizeBytes: number): SkBuff {
    const skb = this.#buildAround(page.region, page.base + offset, fragSizeBytes);
    skb.headPage = page;
    skb.headFrag = true;
    skb.pfmemalloc = pageIsPfmemalloc(page);
    return skb;
  }

  /** What a copy knows of its packet beside the bytes; both have their data at the same byte of it. @kernel skb_copy_header, skb_headers_offset_update */
  copyHeader(copy: SkBuff, skb: SkBuff): void {
    copy.dev = skb.dev;
    copy.protocol = skb.protocol;
    copy.rxQueue = skb.rxQueue;
    copy.redirected = skb.redirected;
    copy.allocCpu = skb.allocCpu;
    copy.macHeader = skb.macHeader < 0 ? -1 : skb.macHeader + copy.data - skb.data;
  }

  slabBuildSkb(object: SlabObject): SkBuff | null {
    const skb = this.#buildAround(object.region, object.base, object.sizeBytes);
    skb.headSlab = object;
    skb.pfmemalloc = object.pfmemalloc;
    return skb;
  }

  allocSkb(sizeBytes: number, gfp: number): SkBuff | null {
    const object = this.#heads.reserve(sizeBytes, gfp);
    return object === null ? null : this.slabBuildSkb(object);
  }

  /** @kernel __build_skb_around, __finalize_skb_around (net/core/skbuff.c) */
  #buildAround(region: PayloadRegion, base: number, fragSizeBytes: number): SkBuff {
    const skb = this.#cache.takeSkb();
    const size = fragSizeBytes - SKB_SHARED_INFO_BYTES;
    skb.users = 1;
    skb.region = region;
    skb.head = base;
    skb.data = base;
    skb.tail = base;
    skb.end = base + size;
    skb.len = 0;
    skb.dataLen = 0;
    skb.truesize = skbTruesize(size);
    skb.shinfo = this.#cache.takeInfo();
    skb.headFrag = false;
    skb.cloned = false;
    skb.nohdr = false;
    skb.ppRecycle = false;
    skb.pfmemalloc = false;
    skb.unreadable = false;
    skb.allocCpu = this.#context.cpu;
    skb.macHeader = -1;
    skb.protocol = 0;
    skb.dev = null;
    skb.rxQueue = 0;
    skb.redirected = false;
    skb.memType = 0;
    skb.memId = 0;
    return skb;
  }

  skbClone(skb: SkBuff, _gfp: number): SkBuff | null {
    if (skb.free) {
      this.#release.reportUseAfterFree(skb, "cloned");
      return null;
    }
    const clone = this.#cache.takeSkb();
    clone.users = 1;
    clone.region = skb.region;
    clone.head = skb.head;
    clone.data = skb.data;
    clone.tail = skb.tail;
    clone.end = skb.end;
    clone.len = skb.len;
    clone.dataLen = skb.dataLen;
    clone.truesize = skb.truesize;
    clone.shinfo = skb.shinfo;
    clone.headPage = skb.headPage;
    clone.headSlab = skb.headSlab;
    clone.headFrag = skb.headFrag;
    clone.cloned = true;
    clone.nohdr = false;
    clone.ppRecycle = skb.ppRecycle;
    clone.pfmemalloc = skb.pfmemalloc;
    clone.unreadable = skb.unreadable;
    clone.allocCpu = skb.allocCpu;
    clone.macHeader = skb.macHeader;
    clone.protocol = skb.protocol;
    clone.dev = skb.dev;
    clone.rxQueue = skb.rxQueue;
    clone.redirected = skb.redirected;
    clone.memType = skb.memType;
    clone.memId = skb.memId;
    skb.cloned = true;
    skb.shinfo!.dataref++;
    this.stats.clones++;
    return clone;
  }

  skbGet(skb: SkBuff): SkBuff {
    if (skb.free) this.#release.reportUseAfterFree(skb, "taken a reference on");
    else skb.users++;
    return skb;
  }

  skbShareCheck(skb: SkBuff, gfp: number): SkBuff | null {
    if (skb.users === 1) return skb;
    const clone = this.skbClone(skb, gfp);
    if (clone === null) this.kfreeSkb(skb, SKB_DROP_REASON_NOMEM);
    else this.consumeSkb(skb);
    return clone;
  }

  kfreeSkb(skb: SkBuff, reason: number): void {
    this.#release.drop(skb, reason, false);
  }

  consumeSkb(skb: SkBuff): void {
    this.#release.drop(skb, SKB_CONSUMED, false);
  }

  skbAttemptDeferFree(skb: SkBuff): void {
    if (!this.#defersFrees || skb.users !== 1 || !this.#deferred.add(skb)) this.consumeSkb(skb);
  }
}
