import type { ReportSink } from "@netmem/kernel/api";
import type { DmaStats, PayloadMemory, PayloadRegion } from "../api/index.ts";
import type { ShadowedCache } from "./cpu-cache.ts";
import type { PhysMap } from "./phys-map.ts";
import type { BounceNeeds, Swiotlb } from "./swiotlb.ts";

/** What a device's mask and alignment allow; the mask can change. */
export interface Limits extends BounceNeeds {
  limit: number;
  readonly maxSegmentBytes: number;
}

/** One device, as its address operations see it. */
export interface DeviceParts {
  readonly phys: PhysMap;
  readonly swiotlb: Swiotlb | null;
  readonly payload: PayloadMemory;
  readonly reports: ReportSink;
  readonly limits: Limits;
  readonly stats: DmaStats;
  readonly coherent: boolean;
  readonly forceBounce: boolean;
  readonly untrusted: boolean;
  readonly upkeep: CacheUpkeep;
  /** A mapping was bounced: from now on syncs matter. */
  readonly bounced: () => void;
}

/** The cache maintenance that a device needs: none if it is coherent, or if the machine models no cache. */
export class CacheUpkeep {
  private readonly cache: ShadowedCache | null;
  /** There is nothing to keep up. */
  readonly idle: boolean;

  constructor(cache: ShadowedCache | null, coherent: boolean) {
    this.cache = coherent ? null : cache;
    this.idle = this.cache === null;
  }

  /** What the CPU wrote goes to memory. */
  forDevice(region: PayloadRegion, offset: number, sizeBytes: number): void {
    if (this.cache !== null) this.cache.clean(region, offset, sizeBytes);
  }

  /** What memory holds comes to the CPU. */
  forCpu(region: PayloadRegion, offset: number, sizeBytes: number): void {
    if (this.cache !== null) this.cache.invalidate(region, offset, sizeBytes);
  }
}
