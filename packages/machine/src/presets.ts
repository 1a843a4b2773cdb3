import { MM_RULES_6_18, type MmRules } from "@netmem/mm";
import { XDP_DATES_6_18, type XdpDates } from "@netmem/xdp";
import { XDP_METALEN_MAX, XDP_METALEN_MAX_OLD, type ReturnPathName } from "@netmem/xdp/api";
import { NET_CORE_DATES_6_18, type NetCoreDates } from "@netmem/net-core";
import { PAGE_POOL_DATES_6_18, type PagePoolDates } from "@netmem/page-pool";
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
  /** Packets; each rule says from when it holds. */
  readonly net: NetCoreDates;
  /** Page allocator, fragments and DMA; each rule says from when it holds. */
  readonly mm: MmRules;
  /** page_pool; each rule says from when it holds. */
  readonly pagePool: PagePoolDates;
  /** XDP; each rule says from when it holds. */
  readonly xdp: XdpDates;
}

const STOCK: Preset = {
  returnPath: "mem-info",
  sharedRelease: "leave-pool",
  recyclesSkbPages: false,
  signature: "v3",
  stampsOwnerAtMark: true,
  net: {
    releaseClearsRecycle: false,
    smallHeads: false,
    smallHeadsByEnd: false,
    allocatesSmallHeads: false,
    napiCutsQuarters: false,
    defersFrees: false,
    tcpCloseDefersFrees: false,
    groRefusesMixed: false,
    deferLists: "cpu",
    skbDeferMax: 64,
    framesRecycle: false,
    clonedCoalesce: "page-ref",
    fragRefsCountHolders: false,
    napiSkbCacheSize: 64,
    napiSkbCacheBulk: 16,
    napiSkbCacheFrees: 32,
    napiConsumeDefers: false,
    deferSkipsZcopy: false,
    undeferredInSoftirq: false,
    groRefusesZcopy: false,
    groBigTcp: "none",
    groComparesCwr: false,
    groComparesUdpsIp: false,
    groTakesFixedIds: false,
    framesTakeNapiStructs: false,
    releaseKeepsReason: false,
    listsFreeInBulk: false,
    withFragsCountsBlocks: false,
    polledInSameSoftirq: false,
    udpNeverBeyondRcvbuf: false,
    udpDefersFrees: false,
    tcpTakesBareFin: false,
    ipSaysMartian: false,
    tcpPrunesBehind: false,
    tcpCountsSegment: false,
    tcpScalesRoom: false,
    tcpMakesRoomFirst: false,
    tcpMeasuresAhead: false,
    tcpFirstRatio: 65,
    trimClearsUnreadable: false,
  },
  mm: {
    checksPoolSignature: false,
    pcpAutoTunes: false,
    slabHasNoRefs: false,
    fragsAscend: false,
    fragRefillReclaims: true,
    coherentRefusesComp: false,
    skipsSyncs: false,
  },
  pagePool: {
    allocatesInBulk: false,
    bulkOnPoolNode: false,
    napiLocal: "nobody",
    directNeedsSoftirq: true,
    hasFragments: false,
    fragsCountAsFast: false,
    bulkMixesPools: false,
    listsToUsers: false,
    listsNapiOfCreation: false,
    atomicNeverWarns: false,
    hasSystemPools: false,
    stopsAtNegative: false,
    dmaIndexBits: 0,
    clampsRing: false,
  },
  xdp: {
    framesFollowPointer: false,
    metalenMax: XDP_METALEN_MAX_OLD,
    hasMultiBuffer: false,
    hasBroadcast: false,
    devmapRunsAtFlush: false,
    asksFeatures: false,
    xskHasMultiBuffer: false,
    redirectEndsWithContext: false,
    cpumapFlushesNoDirect: false,
    cpumapRunsEverySkb: false,
    cpumapTellsFirst: false,
    cpumapMerges: false,
  },
};

const V3_2021: Preset = { ...STOCK, recyclesSkbPages: true };

const V5_14: Preset = {
  ...V3_2021,
  returnPath: "pool-pointer",
  signature: "exact",
  net: { ...V3_2021.net, releaseClearsRecycle: true },
  pagePool: { ...V3_2021.pagePool, allocatesInBulk: true },
  xdp: { ...V3_2021.xdp, hasBroadcast: true, devmapRunsAtFlush: true },
};

const V6_1: Preset = {
  ...V5_14,
  signature: "masked",
  stampsOwnerAtMark: false,
  // The one of the stable trees since April 2023.
  net: { ...V5_14.net, defersFrees: true, groRefusesMixed: true, clonedCoalesce: "refused", napiCutsQuarters: true, groBigTcp: "ipv6" },
  pagePool: { ...V5_14.pagePool, bulkOnPoolNode: true, hasFragments: true, fragsCountAsFast: true },
  xdp: { ...V5_14.xdp, hasMultiBuffer: true },
};

const V6_8: Preset = {
  ...V6_1,
  sharedRelease: "pp-ref-count",
  net: { ...V6_1.net, tcpPrunesBehind: true, tcpScalesRoom: true, tcpMakesRoomFirst: true, smallHeads: true, smallHeadsByEnd: true, clonedCoalesce: "pp-ref", framesRecycle: true, groBigTcp: "any", releaseKeepsReason: true, listsFreeInBulk: true, withFragsCountsBlocks: true, polledInSameSoftirq: true },
  xdp: { ...V6_1.xdp, framesFollowPointer: true, metalenMax: XDP_METALEN_MAX, asksFeatures: true, xskHasMultiBuffer: true },
  mm: { ...V6_1.mm, checksPoolSignature: true, pcpAutoTunes: true, coherentRefusesComp: true },
  pagePool: { ...V6_1.pagePool, napiLocal: "skb-free", listsToUsers: true, listsNapiOfCreation: true },
};

const V6_18: Preset = {
  returnPath: "pool-pointer",
  sharedRelease: "pp-ref-count",
  recyclesSkbPages: true,
  signature: "masked",
  stampsOwnerAtMark: false,
  net: NET_CORE_DATES_6_18,
  mm: MM_RULES_6_18,
  pagePool: PAGE_POOL_DATES_6_18,
  xdp: XDP_DATES_6_18,
};

export type PresetName = "stock" | "v3-2021" | "5.14" | "6.1" | "6.8" | "6.18";

export const PRESETS: Readonly<Record<PresetName, Preset>> = {
  stock: STOCK,
  "v3-2021": V3_2021,
  "5.14": V5_14,
  "6.1": V6_1,
  "6.8": V6_8,
  "6.18": V6_18,
};

/** In the order of history, which is the order tables print them in. */
export const PRESET_NAMES: readonly PresetName[] = ["stock", "v3-2021", "5.14", "6.1", "6.8", "6.18"];
export const DEFAULT_PRESET: PresetName = "6.18";

export const RETURN_PATHS: readonly ReturnPathName[] = ["mem-info", "pool-pointer", "skb-mem-info"];
export const SHARED_RELEASES: readonly SharedRelease[] = ["leave-pool", "last-reference", "pp-ref-count"];
