import { SkBuff, SkbSharedInfo, type SkbStats } from "./api/index.ts";

/** Structs made at a time when the cache runs dry. @kernel NAPI_SKB_CACHE_BULK (net/core/skbuff.c) */
const BULK = 16;

/** Free sk_buff structs and shared infos, last freed first. @kernel skbuff_cache, napi_alloc_cache */
export class StructCache {
  readonly stats: SkbStats = { live: 0, allocs: 0, clones: 0 };
  readonly #skbs: SkBuff[] = [];
  readonly #infos: SkbSharedInfo[] = [];

  takeSkb(): SkBuff {
    if (this.#skbs.length === 0) for (let i = 0; i < BULK; i++) this.#skbs.push(new SkBuff());
    const skb = this.#skbs.pop()!;
    skb.free = false;
    this.stats.live++;
    this.stats.allocs++;
    skb.id = this.stats.allocs & 0x7fffffff;
    return skb;
  }

  putSkb(skb: SkBuff): void {
    skb.free = true;
    skb.next = null;
    skb.shinfo = null;
    skb.headPage = null;
    skb.headSlab = null;
    skb.destructor = null;
    this.stats.live--;
    this.#skbs.push(skb);
  }

  /** Everything before dataref is zero; dataref is 1. @kernel __finalize_skb_around */
  takeInfo(): SkbSharedInfo {
    if (this.#infos.length === 0) for (let i = 0; i < BULK; i++) this.#infos.push(new SkbSharedInfo());
    const info = this.#infos.pop()!;
    info.nrFrags = 0;
    info.fragList = null;
    info.metaLen = 0;
    info.dataref = 1;
    return info;
  }

  putInfo(info: SkbSharedInfo): void {
    this.#infos.push(info);
  }
}
