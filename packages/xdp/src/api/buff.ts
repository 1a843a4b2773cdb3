import type { Netmem } from "@netmem/mm/api";
import { MEM_TYPE_PAGE_SHARED } from "./mem-info.ts";
import type { XdpRxqInfo } from "./rxq.ts";

/** Room in front of the packet that XDP promises to programs, in bytes. @kernel XDP_PACKET_HEADROOM (include/uapi/linux/bpf.h) */
export const XDP_PACKET_HEADROOM = 256;
/** Fragments beside the head, in one packet. @kernel MAX_SKB_FRAGS (include/linux/skbuff.h) */
export const MAX_SKB_FRAGS = 17;

/** @kernel skb_frag_t (include/linux/skbuff.h) */
export class NetmemFrag {
  declare private readonly nominal: "NetmemFrag";
  netmem: Netmem | null;
  /** Bytes from the start of the netmem. */
  offset: number;
  sizeBytes: number;

  constructor() {
    this.netmem = null;
    this.offset = 0;
    this.sizeBytes = 0;
  }
}

/** The frag table of one packet. */
export function createNetmemFrags(): NetmemFrag[] {
  const frags: NetmemFrag[] = [];
  for (let i = 0; i < MAX_SKB_FRAGS; i++) frags.push(new NetmemFrag());
  return frags;
}

/**
 * A received packet before it is an skb: one per queue, reused. Offsets are bytes in the head's netmem.
 * @kernel struct xdp_buff (include/net/xdp.h)
 */
export class XdpBuff {
  declare private readonly nominal: "XdpBuff";
  readonly rxq: XdpRxqInfo;
  /** Null between packets. */
  head: Netmem | null;
  data: number;
  dataEnd: number;
  nrFrags: number;
  readonly frags: NetmemFrag[];

  constructor(rxq: XdpRxqInfo) {
    this.rxq = rxq;
    this.head = null;
    this.data = 0;
    this.dataEnd = 0;
    this.nrFrags = 0;
    this.frags = createNetmemFrags();
  }
}

/**
 * A packet that outlives its queue: memory type and id travel with it. One type for head and every fragment.
 * @kernel struct xdp_frame (include/net/xdp.h); the id left the kernel's in 6.14
 */
export class XdpFrame {
  declare private readonly nominal: "XdpFrame";
  head: Netmem | null;
  data: number;
  len: number;
  memType: number;
  memId: number;
  nrFrags: number;
  readonly frags: NetmemFrag[];

  constructor() {
    this.head = null;
    this.data = 0;
    this.len = 0;
    this.memType = MEM_TYPE_PAGE_SHARED;
    this.memId = 0;
    this.nrFrags = 0;
    this.frags = createNetmemFrags();
  }
}
