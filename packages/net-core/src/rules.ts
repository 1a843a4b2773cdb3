/**
 * What coalescing does about fragments of a packet that others share, too.
 * - `page-ref`: a page reference each, whoever owns the page; up to 5.17, and a pool's page that several hold is then lost to it, or worse
 * - `into-plain`: the same, where the one that takes them in does not recycle; refused where both do, or only that one; from 5.18 (1effe8ca4e34)
 * - `refused`: such a packet is not coalesced if it recycles; from 6.3 (0646dc31ca88), and in stable trees of then
 * - `pp-ref`: their owners count one more holder each; from 6.8
 */
export type ClonedCoalesce = "page-ref" | "into-plain" | "refused" | "pp-ref";
export const CLONED_COALESCES: readonly ClonedCoalesce[] = ["page-ref", "into-plain", "refused", "pp-ref"];

/**
 * Where packets wait that another CPU is to free.
 * - `cpu`: one list a CPU, that takes as many as `skbDeferMax`; up to 6.17
 * - `node`: one for each memory node of those who free, that takes one less; from 6.18 (844c9db7f7f5, 5628f3fe3b16)
 */
export type DeferLists = "cpu" | "node";
export const DEFER_LISTS: readonly DeferLists[] = ["cpu", "node"];

/** Which protocols' packets GRO makes larger than 64 KiB of TCP, if the device says so: none up to 5.18, IPv6's from 5.19, IPv4's, too, from 6.3 (9eefedd58ae1). */
export type GroBigTcp = "none" | "ipv6" | "any";
export const GRO_BIG_TCPS: readonly GroBigTcp[] = ["none", "ipv6", "any"];

/** The dated behaviours of the skb layer, resolved once; see the presets of the machine. */
export interface NetCoreDates {
  /** From 5.14: an skb that lets go of shared data loses its recycle bit, so that exactly one skb is responsible. */
  readonly releaseClearsRecycle: boolean;
  /** From 6.3 (bf9f1baa279f): small heads come from a cache of their own. */
  readonly smallHeads: boolean;
  /** From 6.3 on for a while: a head is given to that cache if it ends where a small one does, whatever it is; later kernels ask the object. */
  readonly smallHeadsByEnd: boolean;
  /** From 6.14 (14ad6ed30a10): what drivers ask for is cut from a slab up to a small head's size; before, up to 1024 bytes. */
  readonly allocatesSmallHeads: boolean;
  /** From 6.1 (dbae2b062824) to 6.13: what a poll asks for below 1024 bytes is a quarter of a page. */
  readonly napiCutsQuarters: boolean;
  /** From 5.19: packets read on another CPU are freed on the one that built them. */
  readonly defersFrees: boolean;
  readonly deferLists: DeferLists;
  /** Packets that may wait on one CPU's list: 64, from 6.19 128. @kernel net.core.skb_defer_max */
  readonly skbDeferMax: number;
  /** From 6.4 (9c94bbf9a87b): a pool's page stays the pool's when its frame becomes an skb; before, it leaves. */
  readonly framesRecycle: boolean;
  readonly clonedCoalesce: ClonedCoalesce;
  /** In April and May 2024 (a580ea994fd3, reverted by 173e7622ccb3): a further reference of a recycling skb's frag is one more holder that its owner counts. */
  readonly fragRefsCountHolders: boolean;
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
  /** From 6.2 (7d2c89b32587), and in stable trees of then: GRO merges no packet that recycles with one that does not; before, pool's pages so came to be freed as nobody's, and their pool waited for ever. */
  readonly groRefusesMixed: boolean;
  /** From 2026 ("net: gro: don't merge zcopy skbs"), in stable trees from 6.1 on: GRO merges no packet of somebody else's memory. */
  readonly groRefusesZcopy: boolean;
  readonly groBigTcp: GroBigTcp;
  /** From 6.15 (4e4f7cefb130): GRO merges nothing behind a segment with CWR, which may count; before, what has none itself. */
  readonly groComparesCwr: boolean;
  /** From 6.9 (5babae777c61): GRO merges no datagrams whose IP headers differ, or whose numbers do not follow, as it does with segments; before, it did not look. */
  readonly groComparesUdpsIp: boolean;
  /** From 6.18 (f095a358faf2): GRO merges packets that all have one IP number, whether they may be fragmented or not; before, only those that may not. */
  readonly groTakesFixedIds: boolean;
  /** From 6.15: frames that veths and cpumaps hand up take their structs from the CPU's cache, as many as there are; before, a batch's are the slab's, all or none. */
  readonly framesTakeNapiStructs: boolean;
  /** From 6.2 (511a3eda2f8d): members of a frag list end for the reason of a packet that is freed in a list or in softirq; before, and otherwise, for none that is stated. */
  readonly releaseKeepsReason: boolean;
  /** From 6.3 (a4650da2a2d6): structs of a list go back sixteen at a time; before, one by one. */
  readonly listsFreeInBulk: boolean;
  /** From 6.6 (09c2c90705bb): `allocSkbWithFrags` counts blocks, not pages, and without a large block tries the next smaller; before, it takes single pages from then on. */
  readonly withFragsCountsBlocks: boolean;
  /** From 6.4 (8b43fd3d1d7d): what is scheduled while the receive softirq runs is polled by that one; before, by the next. */
  readonly polledInSameSoftirq: boolean;
  /** From 6.18 ("udp: accept the packet if queue is empty"): a datagram that would go beyond the receive buffer is dropped unless nothing waits; before, one may. */
  readonly udpNeverBeyondRcvbuf: boolean;
  /** From 6.18 ("udp: use skb_attempt_defer_free()"): a datagram that was read is freed by the CPU that allocated it; before, by its reader. */
  readonly udpDefersFrees: boolean;
  /** From 6.18 (b13592d20b21): what a socket of TCP was closed with unread is freed by the CPUs that allocated it; before, by who closes. */
  readonly tcpCloseDefersFrees: boolean;
  /** From 6.10 (2bd99aef1b19): a segment of nothing but a FIN that is next is taken where there is no room. */
  readonly tcpTakesBareFin: boolean;
  /** From 6.13 (5b92112acd8e): a packet whose addresses cannot be is dropped with that as its reason; before, for none that is stated. */
  readonly ipSaysMartian: boolean;
  /** From 6.2: short of room, segments give way that lie behind the one that comes; before, any do. */
  readonly tcpPrunesBehind: boolean;
  /** From 6.18 (f017c1f768b6; 6.17 counts what it is charged): a segment is taken if its bytes fit beside what a socket of TCP is charged; before, if that does not go beyond the buffer yet. */
  readonly tcpCountsSegment: boolean;
  /** From 6.6 (dfa2f0483360): which part of a receive buffer is payload is measured of the longest segments; before, a half is taken for that. */
  readonly tcpScalesRoom: boolean;
  /** From 6.6 (e2142825c120): a segment that is next makes room even where nothing waits to be read, and is taken in any case then, or if its reader makes some; before, it is taken at once. */
  readonly tcpMakesRoomFirst: boolean;
  /** From 6.17 (38d7e4443365): segments that are ahead are measured, too. */
  readonly tcpMeasuresAhead: boolean;
  /** What is taken to be payload of the room before anything was measured, in 256ths: a half from 6.10 (697a6c8cec03); from 6.6 on 1200 bytes of a page and its structs. */
  readonly tcpFirstRatio: number;
  /** From May 2026: a packet of which only the head is left after a trim is readable again. */
  readonly trimClearsUnreadable: boolean;
}

/** Those, and what a design of the machine asks of the layer. */
export interface NetCoreRules extends NetCoreDates {
  /** The seed's proposal needs every holder to look at the page: an expanded clone keeps its bit. */
  readonly expandKeepsRecycle: boolean;
}

/** The kernel of the default preset; what came later is off. */
export const NET_CORE_DATES_6_18: NetCoreDates = {
  releaseClearsRecycle: true,
  smallHeads: true,
  smallHeadsByEnd: true,
  allocatesSmallHeads: true,
  napiCutsQuarters: false,
  defersFrees: true,
  deferLists: "node",
  skbDeferMax: 64,
  framesRecycle: true,
  clonedCoalesce: "pp-ref",
  fragRefsCountHolders: false,
  napiSkbCacheSize: 64,
  napiSkbCacheBulk: 16,
  napiSkbCacheFrees: 32,
  napiConsumeDefers: false,
  deferSkipsZcopy: false,
  undeferredInSoftirq: true,
  groRefusesMixed: true,
  groRefusesZcopy: false,
  groBigTcp: "any",
  groComparesCwr: true,
  groComparesUdpsIp: true,
  groTakesFixedIds: true,
  framesTakeNapiStructs: true,
  releaseKeepsReason: true,
  listsFreeInBulk: true,
  withFragsCountsBlocks: true,
  polledInSameSoftirq: true,
  udpNeverBeyondRcvbuf: true,
  udpDefersFrees: true,
  tcpCloseDefersFrees: true,
  tcpTakesBareFin: true,
  ipSaysMartian: true,
  tcpPrunesBehind: true,
  tcpCountsSegment: true,
  tcpScalesRoom: true,
  tcpMakesRoomFirst: true,
  tcpMeasuresAhead: true,
  tcpFirstRatio: 128,
  trimClearsUnreadable: false,
};

export const NET_CORE_RULES_6_18: NetCoreRules = { ...NET_CORE_DATES_6_18, expandKeepsRecycle: false };
