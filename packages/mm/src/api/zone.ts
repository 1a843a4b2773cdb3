/** @kernel enum zone_type (include/linux/mmzone.h); there is no highmem, and movable memory is a matter of pageblocks here. */
export const ZONE_DMA = 0;
export const ZONE_DMA32 = 1;
export const ZONE_NORMAL = 2;
export const MAX_NR_ZONES = 3;
export const ZONE_NAMES = ["DMA", "DMA32", "Normal"] as const;

/** @kernel enum migratetype (include/linux/mmzone.h) */
export const MIGRATE_UNMOVABLE = 0;
export const MIGRATE_MOVABLE = 1;
export const MIGRATE_RECLAIMABLE = 2;
/** Those that per-CPU lists tell apart. */
export const MIGRATE_PCPTYPES = 3;
/** Kept for atomic requests of higher order. */
export const MIGRATE_HIGHATOMIC = 3;
/** Not handed out. */
export const MIGRATE_ISOLATE = 4;
export const MIGRATE_TYPES = 5;

export type ZoneName = (typeof ZONE_NAMES)[number];

/** A CPU's own lists of a zone: where most pages come from and go to. @kernel struct per_cpu_pages */
export interface PcpInfo {
  /** Base pages on the lists. */
  readonly count: number;
  /** Pages moved at a time between lists and zone. */
  readonly batch: number;
  /** Above this a free gives pages back to the zone; it moves between the two marks. */
  readonly high: number;
  readonly highMin: number;
  readonly highMax: number;
}

/** One zone of a node, as `/proc/zoneinfo` shows it. All numbers but ids are pages. @kernel struct zone (include/linux/mmzone.h) */
export interface ZoneInfo {
  readonly name: ZoneName;
  /** `ZONE_*`. */
  readonly type: number;
  readonly nid: number;
  readonly startPfn: number;
  readonly managedPages: number;
  /** On the zone's own lists; what per-CPU lists hold is not in here. @kernel NR_FREE_PAGES */
  readonly freePages: number;
  readonly watermarkMin: number;
  readonly watermarkLow: number;
  readonly watermarkHigh: number;
  /** By `ZONE_*` that a request could have used: what this zone keeps from it. @kernel lowmem_reserve */
  readonly lowmemReserve: readonly number[];
  /** In pageblocks kept for atomic requests of higher order. */
  readonly reservedHighatomic: number;
  /** By CPU. */
  readonly pcps: readonly PcpInfo[];
  /** Served here as asked for, instead of a fuller preferred node, while preferred and served elsewhere; served to CPUs of this node, and of others. */
  readonly numaHit: number;
  readonly numaMiss: number;
  readonly numaForeign: number;
  readonly numaLocal: number;
  readonly numaOther: number;
  /** Free blocks of an order, of one `MIGRATE_*` type or, with −1, of all. @kernel /proc/buddyinfo, /proc/pagetypeinfo */
  readonly freeBlocks: (order: number, migratetype: number) => number;
}

/** The memory of one node. */
export interface NodeOptions {
  /** From the lowest up; addresses follow each other in this order, and from node to node. */
  readonly zones: readonly { readonly name: ZoneName; readonly pages: number }[];
  /** To each node, in SLIT units: 10 is itself. Default 10 and 20. @kernel node_distance */
  readonly distances?: readonly number[];
}
