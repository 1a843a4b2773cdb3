import { MM_RULES_6_18, type MmRules } from "@netmem/mm";
import type { ReturnPathName } from "@netmem/xdp/api";
import type { SharedRelease } from "@netmem/page-pool/api";

/**
 * Everything that changed between kernels, as far as the layers model it. The only place that knows of versions: each
 * layer is handed its own rules, resolved.
 */
export interface Preset {
  /** How a freed page finds its owner. */
  readonly returnPath: ReturnPathName;
  /** What a put does that finds somebody else's page reference. */
  readonly sharedRelease: SharedRelease;
  /** False before the series: a page handed to an skb leaves its pool. */
  readonly recyclesSkbPages: boolean;
  /** The mark in the page, and how it is compared: v3's own word; 5.14's exact compare; masked since 5.15. */
  readonly signature: "v3" | "exact" | "masked";
  /** 5.14 writes the pool pointer when the driver marks the page; from 5.15 the pool does when it allocates. */
  readonly stampsOwnerAtMark: boolean;
  /** From 5.14 (2cc3aeb5eccc): letting go of shared data clears the skb's recycle bit. */
  readonly releaseClearsRecycle: boolean;
  /** From 5.19: packets read on another CPU are freed where they were built. */
  readonly defersFrees: boolean;
  /**
   * Newer kernels: the pool finds out itself whether a put runs in its consumer's softirq, and then uses the cache. From 6.4 until then it
   * went by the freeing caller's word; before that, skb frees never did.
   */
  readonly napiLocal: boolean;
  /** From 6.3 (bf9f1baa279f): small skb heads come from a cache of their own. */
  readonly smallHeads: boolean;
  /** Page allocator, fragments and DMA; each rule says from when it holds. */
  readonly mm: MmRules;
  /** From 6.8 (be0096676e23): no stall warning for pools that netlink lists. */
  readonly mutesVisibleStalls: boolean;
  /** From 6.14 (56d95b0adfa2): frames follow the page's pointer instead of their mem id. */
  readonly framesFollowPointer: boolean;
  /** From 6.16 (ee62ce7a1d90): destroy unmaps pages that are still out. */
  readonly tracksDma: boolean;
  /** Over-large rings are clamped instead of refused. */
  readonly clampsRing: boolean;
}

const STOCK: Preset = {
  returnPath: "mem-info",
  sharedRelease: "leave-pool",
  recyclesSkbPages: false,
  signature: "v3",
  stampsOwnerAtMark: true,
  releaseClearsRecycle: false,
  defersFrees: false,
  napiLocal: false,
  smallHeads: false,
  mm: {
    checksPoolSignature: false,
    pcpAutoTunes: false,
    slabHasNoRefs: false,
    fragsAscend: false,
    fragRefillReclaims: true,
    coherentRefusesComp: false,
    skipsSyncs: false,
  },
  mutesVisibleStalls: false,
  framesFollowPointer: false,
  tracksDma: false,
  clampsRing: false,
};

const V3_2021: Preset = { ...STOCK, recyclesSkbPages: true };

const V5_14: Preset = { ...V3_2021, returnPath: "pool-pointer", signature: "exact", releaseClearsRecycle: true };

const V6_18: Preset = {
  returnPath: "pool-pointer",
  sharedRelease: "pp-ref-count",
  recyclesSkbPages: true,
  signature: "masked",
  stampsOwnerAtMark: false,
  releaseClearsRecycle: true,
  defersFrees: true,
  napiLocal: true,
  smallHeads: true,
  mm: MM_RULES_6_18,
  mutesVisibleStalls: true,
  framesFollowPointer: true,
  tracksDma: true,
  clampsRing: true,
};

export type PresetName = "stock" | "v3-2021" | "5.14" | "6.18";

export const PRESETS: Readonly<Record<PresetName, Preset>> = {
  stock: STOCK,
  "v3-2021": V3_2021,
  "5.14": V5_14,
  "6.18": V6_18,
};

/** In the order of history, which is the order tables print them in. */
export const PRESET_NAMES: readonly PresetName[] = ["stock", "v3-2021", "5.14", "6.18"];
export const DEFAULT_PRESET: PresetName = "6.18";

export const RETURN_PATHS: readonly ReturnPathName[] = ["mem-info", "pool-pointer", "skb-mem-info"];
export const SHARED_RELEASES: readonly SharedRelease[] = ["leave-pool", "last-reference", "pp-ref-count"];
