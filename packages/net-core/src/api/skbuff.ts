import type { Page, PayloadRegion, SlabObject } from "@netmem/mm/api";
import { SKB_SHARED_INFO_BYTES, createNetmemFrags, type NetDevice, type NetmemFrag } from "@netmem/xdp/api";

/** sizeof(struct sk_buff) of a 64-bit kernel, rounded up to a cache line. */
export const SKB_STRUCT_BYTES = 256;
/**
 * Objects of the small-head cache: 320 bytes, what a TCP header and the lower layers ask for, and the shared info. No kmalloc
 * bucket has this size, so a free can tell by it. It hangs on the configuration: 576 and 704 are seen, too.
 * @kernel SKB_SMALL_HEAD_CACHE_SIZE (net/core/skbuff.c), 6.3
 */
export const SKB_SMALL_HEAD_CACHE_SIZE = 640;
export const ETH_FCS_LEN = 4;

/** Memory that an skb with `bytes` of buffer pins. @kernel SKB_TRUESIZE */
export function skbTruesize(bytes: number): number {
  return bytes + SKB_STRUCT_BYTES + SKB_SHARED_INFO_BYTES;
}

/** One payload-only reference in dataref's upper half. @kernel SKB_DATAREF_SHIFT */
export const SKB_DATAREF_SHIFT = 16;
export const SKB_DATAREF_MASK = 0xffff;

/**
 * What all clones of a packet share. In the kernel it lies at `skb->end`; here it is a struct beside the buffer, and
 * its place in the buffer stays reserved.
 * @kernel struct skb_shared_info (include/linux/skbuff.h)
 */
export class SkbSharedInfo {
  declare private readonly nominal: "SkbSharedInfo";
  nrFrags: number;
  readonly frags: NetmemFrag[];
  fragList: SkBuff | null;
  /** Bytes of metadata that XDP left in front of the packet. @kernel meta_len */
  metaLen: number;
  /** Low half: all references to the data. High half: those that look at payload only. */
  dataref: number;

  constructor() {
    this.nrFrags = 0;
    this.frags = createNetmemFrags();
    this.fragList = null;
    this.metaLen = 0;
    this.dataref = 0;
  }
}

/** Who is to know when a packet is gone. */
export interface SkbDestructor {
  readonly destruct: () => void;
}

/**
 * A packet. `head ≤ data ≤ tail ≤ end` are byte offsets in `region`:
 * ```
 *      head        data            tail       end
 *       |  headroom  |  linear data  | tailroom | shared info
 * ```
 * @kernel struct sk_buff (include/linux/skbuff.h)
 */
export class SkBuff {
  declare private readonly nominal: "SkBuff";
  /** Names this packet in traces and reports; a new number each time the struct is handed out. */
  id: number;
  next: SkBuff | null;
  /** Owners of this struct. */
  users: number;
  region: PayloadRegion | null;
  head: number;
  data: number;
  tail: number;
  end: number;
  /** All bytes, and those of them in frags and frag list. */
  len: number;
  dataLen: number;
  /** Memory charged for the packet, in bytes: buffers, not payload. */
  truesize: number;
  shinfo: SkbSharedInfo | null;
  /** The head's memory: a page fragment, or a slab object. */
  headPage: Page | null;
  headSlab: SlabObject | null;
  /** The head is a page: only then can it be recycled. @kernel head_frag */
  headFrag: boolean;
  /** A clone existed at some time; the truth is in dataref. */
  cloned: boolean;
  /** Promised to touch payload only. */
  nohdr: boolean;
  /** "Look at the pages": on release, try their owner for the head and for each frag. @kernel pp_recycle */
  ppRecycle: boolean;
  pfmemalloc: boolean;
  /** At least one frag cannot be read by the CPU. */
  unreadable: boolean;
  /** CPU that built it. */
  allocCpu: number;
  /** Offsets in `region`, −1 while unset. */
  macHeader: number;
  /** EtherType, in host order. */
  protocol: number;
  dev: NetDevice | null;
  /** 1 + the queue it was received on, 0 for unknown. @kernel queue_mapping, skb_record_rx_queue */
  rxQueue: number;
  /** Another device or CPU was to have it: generic XDP does not look at it again. @kernel skb_is_redirected */
  redirected: boolean;
  /** Told when the packet is gone; the struct is valid until then. @kernel destructor */
  destructor: SkbDestructor | null;
  /** One memory identity for the whole packet, as the rejected design of the seed thread has it. */
  memType: number;
  memId: number;
  /** Free slot marker: an skb in the cache of structs. */
  free: boolean;

  constructor() {
    this.id = 0;
    this.next = null;
    this.users = 0;
    this.region = null;
    this.head = 0;
    this.data = 0;
    this.tail = 0;
    this.end = 0;
    this.len = 0;
    this.dataLen = 0;
    this.truesize = 0;
    this.shinfo = null;
    this.headPage = null;
    this.headSlab = null;
    this.headFrag = false;
    this.cloned = false;
    this.nohdr = false;
    this.ppRecycle = false;
    this.pfmemalloc = false;
    this.unreadable = false;
    this.allocCpu = 0;
    this.macHeader = -1;
    this.protocol = 0;
    this.dev = null;
    this.rxQueue = 0;
    this.redirected = false;
    this.destructor = null;
    this.memType = 0;
    this.memId = 0;
    this.free = true;
  }
}

/** How reports name a packet; the trace ring finds its history by this. */
export function skbName(skb: SkBuff): string {
  return `sk_buff ${skb.id}`;
}

/** Who had it, for reports. */
export function skbOwner(skb: SkBuff): string {
  return skb.dev === null ? "no device" : skb.dev.name;
}

/** @kernel skb_headlen */
export function skbHeadlen(skb: SkBuff): number {
  return skb.len - skb.dataLen;
}

/** @kernel skb_headroom */
export function skbHeadroom(skb: SkBuff): number {
  return skb.data - skb.head;
}

/** 0 once the packet has frags: bytes must not be appended before them. @kernel skb_tailroom */
export function skbTailroom(skb: SkBuff): number {
  return skb.dataLen > 0 ? 0 : skb.end - skb.tail;
}

/** Bytes in front of the MAC header that XDP wrote for whoever comes after. @kernel skb_metadata_len */
export function skbMetadataLen(skb: SkBuff): number {
  return skb.shinfo!.metaLen;
}

/** Someone else shares the data. @kernel skb_cloned */
export function skbCloned(skb: SkBuff): boolean {
  return skb.cloned && (skb.shinfo!.dataref & SKB_DATAREF_MASK) !== 1;
}

/** Someone else shares the struct. @kernel skb_shared */
export function skbShared(skb: SkBuff): boolean {
  return skb.users !== 1;
}

/** Someone else may read the header. @kernel skb_header_cloned */
export function skbHeaderCloned(skb: SkBuff): boolean {
  if (!skb.cloned) return false;
  const { dataref } = skb.shinfo!;
  return (dataref & SKB_DATAREF_MASK) - (dataref >> SKB_DATAREF_SHIFT) !== 1;
}
