import { UsageError, type ExecutionContext } from "@netmem/kernel/api";
import { SKB_FCLONE_CLONE, SKB_FCLONE_ORIG, SKB_FCLONE_UNAVAILABLE, SkBuff, SkbSharedInfo, type SkbStats } from "./api/index.ts";
import type { NetCoreRules } from "./rules.ts";

/** Structs made at a time when there is none. */
const BULK = 16;

/** How many are free, counted only when somebody asks. */
function lengthOf(first: SkBuff | null): number {
  let n = 0;
  for (let skb = first; skb !== null; skb = skb.next) n++;
  return n;
}

/** What one CPU keeps. @kernel struct napi_alloc_cache (net/core/skbuff.c) */
class NapiSkbs {
  first: SkBuff | null = null;
  count = 0;
}

/**
 * Free sk_buff structs and shared infos, last freed first: a slab of each, and in front of the structs' one what each CPU keeps for its softirq. Structs are chained
 * through `next`: that takes fewer instructions than an array's element, and a part of a chain moves at once.
 * @kernel skbuff_cache, skbuff_fclone_cache, napi_alloc_cache
 */
export class StructCache implements SkbStats {
  allocs = 0;
  clones = 0;
  bulkFrees = 0;
  private readonly context: ExecutionContext;
  private skbs: SkBuff | null = null;
  /** Structs made, pairs aside. */
  private made = 0;
  /** Originals; each has its clone for a companion. */
  private pairs: SkBuff | null = null;
  /** Of pairs. */
  private halvesOut = 0;
  /** Free shared infos: those before `infoCount`. A slot is left as it is when its info is taken, which costs a store less. */
  private readonly infos: SkbSharedInfo[] = [];
  private infoCount = 0;
  /** By CPU, for whoever runs in its softirq. */
  private readonly napi: NapiSkbs[] = [];
  private readonly napiSize: number;
  private readonly napiBulk: number;
  private readonly napiFrees: number;

  constructor(context: ExecutionContext, nrCpus: number, rules: Pick<NetCoreRules, "napiSkbCacheSize" | "napiSkbCacheBulk" | "napiSkbCacheFrees">) {
    const { napiSkbCacheSize, napiSkbCacheBulk, napiSkbCacheFrees } = rules;
    for (const [name, n] of [["napiSkbCacheBulk", napiSkbCacheBulk], ["napiSkbCacheFrees", napiSkbCacheFrees]] as const) {
      if (!Number.isInteger(n) || n < 1 || n > napiSkbCacheSize) throw new UsageError("net-core", name, n, `give 1 to napiSkbCacheSize, which is ${napiSkbCacheSize}`);
    }
    this.context = context;
    this.napiSize = rules.napiSkbCacheSize;
    this.napiBulk = rules.napiSkbCacheBulk;
    this.napiFrees = rules.napiSkbCacheFrees;
    for (let cpu = 0; cpu < nrCpus; cpu++) this.napi.push(new NapiSkbs());
    // Not for the first packet to do: to the engine an empty array is one of integers.
    this.moreInfos();
  }

  /** What there is, less what lies here: nothing is counted for it on the packet path. */
  get live(): number {
    return this.made - lengthOf(this.skbs) - this.napi.reduce((sum, { count }) => sum + count, 0) + this.halvesOut;
  }

  takeSkb(): SkBuff {
    if (this.skbs === null) this.moreSkbs();
    const skb = this.skbs!;
    this.skbs = skb.next;
    return this.out(skb);
  }

  /** In softirq, or with it off: from this CPU's. @kernel napi_skb_cache_get */
  takeNapiSkb(): SkBuff {
    const cache = this.napi[this.context.cpu]!;
    if (cache.count === 0) this.refillNapi(cache);
    const skb = cache.first!;
    cache.first = skb.next;
    cache.count--;
    return this.out(skb);
  }

  /** So many of this CPU's, those that came last: it is filled up once if it has fewer, and what it lacks then is the slab's. In softirq, or with it off. @kernel napi_skb_cache_get_bulk */
  takeNapiSkbs(out: (SkBuff | null)[], n: number): void {
    const cache = this.napi[this.context.cpu]!;
    if (cache.count < n) this.topUpNapi(cache);
    const cached = cache.count < n ? cache.count : n;
    for (let i = cached - 1; i >= 0; i--) {
      const skb = cache.first!;
      cache.first = skb.next;
      cache.count--;
      out[i] = this.out(skb);
    }
    for (let i = cached; i < n; i++) out[i] = this.takeSkb();
  }

  /** The first of a pair, whose second is free. */
  takeFclone(): SkBuff {
    const skb = this.pairs ?? newPair();
    this.pairs = skb.next;
    skb.fcloneRef = 1;
    this.halvesOut++;
    return this.out(skb);
  }

  /** The second, if it is free; null otherwise. */
  takeCompanion(skb: SkBuff): SkBuff | null {
    if (skb.fclone !== SKB_FCLONE_ORIG || skb.fcloneRef !== 1) return null;
    skb.fcloneRef = 2;
    this.halvesOut++;
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
    skb.next = cache.first;
    cache.first = skb;
    if (++cache.count < this.napiSize) return;
    this.bulkFrees++;
    for (let i = 0; i < this.napiFrees; i++) {
      const last: SkBuff = cache.first!;
      cache.first = last.next;
      this.toSlab(last);
    }
    cache.count -= this.napiFrees;
  }

  /** Structs that this CPU keeps. */
  napiCached(cpu: number): number {
    return this.napi[cpu]!.count;
  }

  /** Everything before dataref is zero; dataref is 1. @kernel __finalize_skb_around */
  takeInfo(): SkbSharedInfo {
    if (this.infoCount === 0) this.moreInfos();
    const info = this.infos[--this.infoCount]!;
    info.flags = 0;
    info.gsoSize = 0;
    info.gsoSegs = 0;
    info.gsoType = 0;
    info.metaLen = 0;
    info.dataref = 1;
    return info;
  }

  /** Its frags and its frag list are gone, or somebody else's: it has none. */
  putInfo(info: SkbSharedInfo): void {
    info.uarg = null;
    const { infos, infoCount } = this;
    // The last one out is often the first one back.
    if (infos[infoCount] !== info) infos[infoCount] = info;
    this.infoCount = infoCount + 1;
  }

  /** By a bulk, or what there is room for. */
  private topUpNapi(cache: NapiSkbs): void {
    const { napiBulk, napiSize } = this;
    for (let room = Math.min(napiBulk, napiSize - cache.count); room > 0; room--) {
      if (this.skbs === null) this.moreSkbs();
      const skb = this.skbs!;
      this.skbs = skb.next;
      skb.next = cache.first;
      cache.first = skb;
      cache.count++;
    }
  }

  /** The slab's first ones, at once. @kernel kmem_cache_alloc_bulk */
  private refillNapi(cache: NapiSkbs): void {
    const { napiBulk } = this;
    if (this.skbs === null) this.moreSkbs();
    const first = this.skbs!;
    let last: SkBuff = first;
    for (let i = 1; i < napiBulk; i++) {
      if (last.next === null) {
        // Behind the last one.
        this.skbs = null;
        this.moreSkbs();
        last.next = this.skbs;
      }
      last = last.next!;
    }
    this.skbs = last.next;
    last.next = null;
    cache.first = first;
    cache.count = napiBulk;
  }

  private toSlab(skb: SkBuff): void {
    skb.next = this.skbs;
    this.skbs = skb;
  }

  private moreSkbs(): void {
    this.made += BULK;
    for (let i = 0; i < BULK; i++) this.toSlab(new SkBuff());
  }

  private moreInfos(): void {
    for (let i = 0; i < BULK; i++) {
      const info = new SkbSharedInfo();
      this.infos.push(info);
      this.putInfo(info);
    }
  }

  private out(skb: SkBuff): SkBuff {
    skb.free = false;
    skb.next = null;
    skb.id = ++this.allocs & 0x7fffffff;
    return skb;
  }

  private in(skb: SkBuff): void {
    skb.free = true;
    skb.shinfo = null;
  }

  private putHalf(orig: SkBuff): void {
    this.halvesOut--;
    if (--orig.fcloneRef > 0) return;
    orig.next = this.pairs;
    this.pairs = orig;
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
