import type { NetmemOwner } from "./netmem-owner.ts";
import type { PayloadRegion } from "./payload.ts";

/** Who keeps a net_iov's references. @kernel enum net_iov_type (include/net/netmem.h) */
export const NET_IOV_DMABUF = 0;
export const NET_IOV_IOURING = 1;

/** A provider's stretch of memory, cut into net_iovs. @kernel struct net_iov_area (include/net/netmem.h) */
export class NetIovArea {
  declare private readonly nominal: "NetIovArea";
  readonly region: PayloadRegion;
  readonly niovs: NetIov[];

  constructor(region: PayloadRegion) {
    this.region = region;
    this.niovs = [];
  }
}

/**
 * A buffer that is not a page: device memory, or memory handed to a user. Providers create them at bind.
 * @kernel struct net_iov (include/net/netmem.h)
 */
export class NetIov {
  declare private readonly nominal: "NetIov";
  readonly isNetIov: true;
  readonly type: number;
  readonly area: NetIovArea;
  /** Index within the area. @kernel net_iov_idx */
  readonly index: number;
  readonly region: PayloadRegion;
  /** Byte offset in `region`. */
  readonly base: number;
  ppMagic: number;
  signature: number;
  ppDmaIndex: number;
  pp: NetmemOwner | null;
  dmaAddr: number;
  ppRefCount: number;
  memType: number;
  memId: number;
  /**
   * What a page pool knows of it, beside the kernel's words: 0, no pool has it; 2 × the pool's id, its pool handed it out;
   * one more, it lies idle in the pool's cache or ring. So a pool sees at once what is not its own, or comes back twice.
   */
  poolState: number;
  /** Always 1: its holders are counted by its provider. @kernel netmem_ref_count */
  readonly refcount: number;

  constructor(type: number, area: NetIovArea, index: number, base: number) {
    // What it shares with a Page lies where the Page has it.
    this.isNetIov = true;
    this.region = area.region;
    this.base = base;
    this.ppMagic = 0;
    this.pp = null;
    this.dmaAddr = 0;
    this.ppRefCount = 0;
    this.poolState = 0;
    // Twice, or the engine would take it for a constant, and tell it from a Page's at each put: 12 % of the pool's fast path.
    this.refcount = 0;
    this.refcount = 1;
    this.area = area;
    this.signature = 0;
    this.ppDmaIndex = 0;
    this.memType = 0;
    this.memId = 0;
    this.type = type;
    this.index = index;
  }
}
