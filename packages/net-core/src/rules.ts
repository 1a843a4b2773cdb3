/**
 * What coalescing does about fragments of a packet that others share, too.
 * - `page-ref`: a page reference each, whoever owns the page; up to 5.17, and a pool's page that several hold is then lost to it, or worse
 * - `refused`: such a packet is not coalesced if it recycles; from 5.18 (1effe8ca4e34)
 * - `pp-ref`: their owners count one more holder each; from 6.8
 */
export type ClonedCoalesce = "page-ref" | "refused" | "pp-ref";

/** The dated behaviours of the skb layer, resolved once; see the presets of the machine. */
export interface NetCoreRules {
  /** From 5.14: an skb that lets go of shared data loses its recycle bit, so that exactly one skb is responsible. */
  readonly releaseClearsRecycle: boolean;
  /** The seed's proposal needs every holder to look at the page: an expanded clone keeps its bit. */
  readonly expandKeepsRecycle: boolean;
  /** From 6.3 (bf9f1baa279f): small heads come from a cache of their own. */
  readonly smallHeads: boolean;
  /** From 6.14 (14ad6ed30a10): what drivers ask for is cut from a slab up to a small head's size; before, up to 1024 bytes. */
  readonly allocatesSmallHeads: boolean;
  /** From 5.19: packets read on another CPU are freed on the one that built them. */
  readonly defersFrees: boolean;
  /** From 6.4 (9c94bbf9a87b): a pool's page stays the pool's when its frame becomes an skb; before, it leaves. */
  readonly framesRecycle: boolean;
  /** Packets that may wait on one CPU's list. @kernel net.core.skb_defer_max */
  readonly skbDeferMax: number;
  readonly clonedCoalesce: ClonedCoalesce;
  /** Structs that a CPU keeps, that it gets at a time, and that it gives back at a time: 64, 16, 32; from 6.19 128, 32, 32. @kernel NAPI_SKB_CACHE_SIZE, NAPI_SKB_CACHE_BULK, NAPI_SKB_CACHE_FREE */
  readonly napiSkbCacheSize: number;
  readonly napiSkbCacheBulk: number;
  readonly napiSkbCacheFrees: number;
  /** From 6.19: a packet of another CPU that a driver has sent is freed there. */
  readonly napiConsumeDefers: boolean;
  /** From February 2026 ("zero copy notifications should not be delayed"): a packet of somebody else's memory is freed at once, so that its owner is told. */
  readonly deferSkipsZcopy: boolean;
  /** From 6.10: a packet that is not deferred is freed with softirqs off, so that this CPU keeps its struct, and its pages may go straight to the cache. */
  readonly undeferredInSoftirq: boolean;
  /** From 2026 ("net: gro: don't merge zcopy skbs"), in stable trees from 6.1 on: GRO merges no packet of somebody else's memory. */
  readonly groRefusesZcopy: boolean;
}

/** The kernel of the default preset; what came later is off. */
export const NET_CORE_RULES_6_18: NetCoreRules = {
  releaseClearsRecycle: true,
  expandKeepsRecycle: false,
  smallHeads: true,
  allocatesSmallHeads: true,
  defersFrees: true,
  framesRecycle: true,
  skbDeferMax: 64,
  clonedCoalesce: "pp-ref",
  napiSkbCacheSize: 64,
  napiSkbCacheBulk: 16,
  napiSkbCacheFrees: 32,
  napiConsumeDefers: false,
  undeferredInSoftirq: true,
  deferSkipsZcopy: false,
  groRefusesZcopy: false,
};
