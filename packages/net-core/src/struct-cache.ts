import type { ExecutionContext } from "@netmem/kernel/api";
import { SKB_FCLONE_CLONE, SKB_FCLONE_ORIG, SKB_FCLONE_UNAVAILABLE, SkBuff, SkbSharedInfo, type SkbStats } from "./api/index.ts";
import type { NetCoreRules } from "./rules.ts";

/** Structs made at a time when there is none. */
const BULK = 16;

/** Free structs, last freed first: those before `count`. A slot is left as it is when its struct is taken, which costs a store less. */
class FreeStructs<T> {
  readonly slots: (T | null)[];
  count: number;

  constructor(size: number) {
    this.slots = Array.from({ length: size }, () => null);
    this.count = 0;
  }

  /** One more is about to exist. */
  grow(): void {
    this.slots.push(null);
  }
}

/**
 * Free sk_buff structs and shared infos, last freed first: a slab of each, and in front of the structs' one what each CPU keeps for its softirq.
 * @kernel skbuff_cache, skbuff_fclone_cache, napi_alloc_cache
 */
export class StructCache {
  readonly stats: SkbStats;
  private readonly context: ExecutionContext;
  private readonly skbs: FreeStructs<SkBuff>;
  /** Originals; each has its clone for a companion. */
  private readonly pairs: FreeStructs<SkBuff>;
  private readonly infos: FreeStructs<SkbSharedInfo>;
  /** By CPU, for whoever runs in its softirq. @kernel struct napi_alloc_cache (net/core/skbuff.c) */
  private readonly napi: FreeStructs<SkBuff>[];
  private readonly napiSize: number;
  private readonly napiBulk: number;
  private readonly napiFrees: number;

  constructor(context: ExecutionContext, nrCpus: number, rules: Pick<NetCoreRules, "napiSkbCacheSize" | "napiSkbCacheBulk" | "napiSkbCacheFrees">) {
    this.stats = { live: 0, allocs: 0, clones: 0, bulkFrees: 0 };
    this.context = context;
    this.skbs = new FreeStructs(0);
    this.pairs = new FreeStructs(0);
    this.infos = new FreeStructs(0);
    this.napi = [];
    this.napiSize = rules.napiSkbCacheSize;
    this.napiBulk = rules.napiSkbCacheBulk;
    this.napiFrees = rules.napiSkbCacheFrees;
    for (let cpu = 0; cpu < nrCpus; cpu++) this.napi.push(new FreeStructs(this.napiSize));
  }

  takeSkb(): SkBuff {
    return this.out(this.fromSlab());
  }

  /** In softirq, or with it off: from this CPU's. @kernel napi_skb_cache_get */
  takeNapiSkb(): SkBuff {
    const cache = this.napi[this.context.cpu]!;
    if (cache.count === 0) while (cache.count < this.napiBulk) cache.slots[cache.count++] = this.fromSlab();
    return this.out(cache.slots[--cache.count]!);
  }

  /** The first of a pair, whose second is free. */
  takeFclone(): SkBuff {
    const { pairs } = this;
    if (pairs.count === 0) {
      pairs.grow();
      pairs.slots[pairs.count++] = newPair();
    }
    const skb = pairs.slots[--pairs.count]!;
    skb.fcloneRef = 1;
    return this.out(skb);
  }

  /** The second, if it is free; null otherwise. */
  takeCompanion(skb: SkBuff): SkBuff | null {
    if (skb.fclone !== SKB_FCLONE_ORIG || skb.fcloneRef !== 1) return null;
    skb.fcloneRef = 2;
    return this.out(skb.companion!);
  }

  /** @kernel kfree_skbmem */
  putSkb(skb: SkBuff): void {
    this.in(skb);
    if (skb.fclone === SKB_FCLONE_UNAVAILABLE) this.toSlab(skb);
    else this.putHalf(skb.fclone === SKB_FCLONE_ORIG ? skb : skb.companion!);
  }

  /** In softirq: this CPU keeps it. When it has too many, some go back. @kernel napi_skb_cache_put */
  putNapiSkb(skb: SkBuff): void {
    if (skb.fclone !== SKB_FCLONE_UNAVAILABLE) {
      this.putSkb(skb);
      return;
    }
    this.in(skb);
    const cache = this.napi[this.context.cpu]!;
    cache.slots[cache.count++] = skb;
    if (cache.count < this.napiSize) return;
    this.stats.bulkFrees++;
    for (let i = 0; i < this.napiFrees; i++) this.toSlab(cache.slots[--cache.count]!);
  }

  /** Structs that this CPU keeps. */
  napiCached(cpu: number): number {
    return this.napi[cpu]!.count;
  }

  /** Everything before dataref is zero; dataref is 1. @kernel __finalize_skb_around */
  takeInfo(): SkbSharedInfo {
    const { infos } = this;
    if (infos.count === 0) this.moreInfos();
    const info = infos.slots[--infos.count]!;
    info.nrFrags = 0;
    info.fragList = null;
    info.flags = 0;
    info.gsoSize = 0;
    info.gsoSegs = 0;
    info.gsoType = 0;
    info.metaLen = 0;
    info.dataref = 1;
    return info;
  }

  putInfo(info: SkbSharedInfo): void {
    info.uarg = null;
    const { infos } = this;
    infos.slots[infos.count++] = info;
  }

  private fromSlab(): SkBuff {
    const { skbs } = this;
    if (skbs.count === 0) this.moreSkbs();
    return skbs.slots[--skbs.count]!;
  }

  private toSlab(skb: SkBuff): void {
    const { skbs } = this;
    skbs.slots[skbs.count++] = skb;
  }

  private moreSkbs(): void {
    for (let i = 0; i < BULK; i++) {
      this.skbs.grow();
      this.toSlab(new SkBuff());
    }
  }

  private moreInfos(): void {
    for (let i = 0; i < BULK; i++) {
      this.infos.grow();
      this.putInfo(new SkbSharedInfo());
    }
  }

  private out(skb: SkBuff): SkBuff {
    skb.free = false;
    this.stats.live++;
    this.stats.allocs++;
    skb.id = this.stats.allocs & 0x7fffffff;
    return skb;
  }

  private in(skb: SkBuff): void {
    skb.free = true;
    skb.next = null;
    skb.shinfo = null;
    skb.headPage = null;
    skb.headSlab = null;
    skb.destructor = null;
    this.stats.live--;
  }

  private putHalf(orig: SkBuff): void {
    if (--orig.fcloneRef > 0) return;
    const { pairs } = this;
    pairs.slots[pairs.count++] = orig;
  }
}

function newPair(): SkBuff {
  const orig = new SkBuff();
  const clone = new SkBuff();
  orig.fclone = SKB_FCLONE_ORIG;
  clone.fclone = SKB_FCLONE_CLONE;
  orig.companion = clone;
  clone.companion = orig;
  return orig;
}
