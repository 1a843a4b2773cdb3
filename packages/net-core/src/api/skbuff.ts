import type { Page, PayloadRegion, SlabObject } from "@netmem/mm/api";
import { SKB_SHARED_INFO_BYTES, createNetmemFrags, type NetDevice, type NetmemFrag } from "@netmem/xdp/api";
import { csumPseudo, write16 } from "./inet-headers.ts";
import { SKBFL_MANAGED_FRAG_REFS, SKBFL_ZEROCOPY_ENABLE, type UbufInfo } from "./zerocopy.ts";

/** sizeof(struct sk_buff) of a 64-bit kernel, rounded up to a cache line. */
export const SKB_STRUCT_BYTES = 256;
/**
 * Objects of the small-head cache: 320 bytes, what a TCP header and the lower layers ask for, and the shared info. No kmalloc
 * bucket has this size, by which a kernel's free knows one; here the object knows its cache. It hangs on the configuration: 576 and 704 are seen, too.
 * @kernel SKB_SMALL_HEAD_CACHE_SIZE (net/core/skbuff.c), 6.3
 */
export const SKB_SMALL_HEAD_CACHE_SIZE = 640;
export const ETH_FCS_LEN = 4;
/** Room that allocations for drivers have in front: a cache line; and what aligns an IP header, nothing on x86. */
export const NET_SKB_PAD = 64;
export const NET_IP_ALIGN = 0;

/** Of an allocation: a struct that has a companion for its first clone; for a received packet; in a NAPI poll. */
export const SKB_ALLOC_FCLONE: number = 1 << 0;
export const SKB_ALLOC_RX: number = 1 << 1;
export const SKB_ALLOC_NAPI: number = 1 << 2;

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
  /** `SKBFL_*`. */
  flags: number;
  /** Bytes of payload a segment has, GSO_BY_FRAGS for those of the frag list, 0 for a packet that is none of several. */
  gsoSize: number;
  gsoSegs: number;
  /** `SKB_GSO_*`. */
  gsoType: number;
  /** Whose memory the frags are in; null with the flag set: a cookie that nobody is told of. @kernel destructor_arg */
  uarg: UbufInfo | null;
  zcopyCookie: number;
  /** Bytes of metadata that XDP left in front of the packet. @kernel meta_len */
  metaLen: number;
  /** Low half: all references to the data. High half: those that look at payload only. */
  dataref: number;
  /** The memory that it lies at the end of, the head of all that share it: a page fragment; where that is null, a slab's object. */
  headPage: Page | null;
  headSlab: SlabObject | null;
  /** That memory's region, which nearly every reader of the packet asks for. */
  headRegion: PayloadRegion | null;
  /** Of a packet that recycles: one memory identity for all of it, as the rejected design of the seed thread has it. */
  memType: number;
  memId: number;

  constructor() {
    // What every release asks comes first, and lies in a cache line or two.
    this.flags = 0;
    this.nrFrags = 0;
    this.fragList = null;
    this.headPage = null;
    this.headSlab = null;
    this.headRegion = null;
    this.dataref = 0;
    this.frags = createNetmemFrags();
    this.gsoSize = 0;
    this.gsoSegs = 0;
    this.gsoType = 0;
    this.uarg = null;
    this.zcopyCookie = 0;
    this.metaLen = 0;
    this.memType = 0;
    this.memId = 0;
  }
}

/** Of `fclone`: a struct of its own, the first of a pair, the second. @kernel SKB_FCLONE_* */
export const SKB_FCLONE_UNAVAILABLE = 0;
export const SKB_FCLONE_ORIG = 1;
export const SKB_FCLONE_CLONE = 2;

/** Of `gsoSize`: each member of the frag list is a segment. */
export const GSO_BY_FRAGS = 0xffff;
/** Of `gsoType`. @kernel SKB_GSO_* (include/linux/skbuff.h) */
export const SKB_GSO_TCPV4: number = 1 << 0;
/** Somebody who is not trusted said so. */
export const SKB_GSO_DODGY: number = 1 << 1;
export const SKB_GSO_TCPV6: number = 1 << 4;
export const SKB_GSO_UDP_L4: number = 1 << 17;
/** The frag list's members are whole packets. */
export const SKB_GSO_FRAGLIST: number = 1 << 18;

/** What `gro.free` says of an skb that was merged: its struct and head go; or its struct alone, the head is a frag now. */
export const NAPI_GRO_FREE = 1;
export const NAPI_GRO_FREE_STOLEN_HEAD = 2;

/** @kernel struct napi_gro_cb (include/net/gro.h) */
export class NapiGroCb {
  declare private readonly nominal: "NapiGroCb";
  /** Bytes from `data` that are headers, and not merged. */
  dataOffset: number;
  /** Packets in it. */
  count: number;
  /** Of a held packet: the skb that takes the next bytes, itself or the last of its frag list. */
  last: SkBuff | null;
  sameFlow: boolean;
  /** Not to be merged with anything. */
  flush: boolean;
  /** 0 or NAPI_GRO_FREE*. */
  free: number;
  /** IP protocol number. */
  proto: number;
  encapsulated: boolean;
  /** The IP identification is the same in all its packets. @kernel ip_fixedid */
  fixedId: boolean;
  /** Tick in which it was held. */
  age: number;

  constructor() {
    this.dataOffset = 0;
    this.count = 0;
    this.last = null;
    this.sameFlow = false;
    this.flush = false;
    this.free = 0;
    this.proto = 0;
    this.encapsulated = false;
    this.fixedId = false;
    this.age = 0;
  }
}

/** Of `ipSummed`: nothing; they are right; whoever sends it on a wire writes the transport's, in whose place the sum of the pseudo header is. @kernel CHECKSUM_* (include/linux/skbuff.h) */
export const CHECKSUM_NONE = 0;
export const CHECKSUM_UNNECESSARY = 1;
export const CHECKSUM_PARTIAL = 3;

/** Who is to know when a packet is gone. */
export interface SkbDestructor {
  readonly destruct: () => void;
}

/**
 * A packet. `head ≤ data ≤ tail ≤ end` are byte offsets in the head's region, `skbRegion`:
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
  /** A clone existed at some time; the truth is in dataref. */
  cloned: boolean;
  /** Promised to touch payload only. */
  nohdr: boolean;
  /** Of a clone of such an skb: bytes in front of its data that it may write. @kernel hdr_len */
  hdrLen: number;
  /** Whether the struct is one of a pair: `SKB_FCLONE_*`. */
  fclone: number;
  /** The pair's other, for good. */
  companion: SkBuff | null;
  /** Of the pair's original: how many of the two are out. @kernel fclone_ref */
  fcloneRef: number;
  /** "Look at the pages": on release, try their owner for the head and for each frag. @kernel pp_recycle */
  ppRecycle: boolean;
  pfmemalloc: boolean;
  /** At least one frag cannot be read by the CPU. */
  unreadable: boolean;
  /** CPU that built it. */
  allocCpu: number;
  /** Offsets as those above, −1 while unset. */
  macHeader: number;
  networkHeader: number;
  transportHeader: number;
  /** EtherType, in host order. */
  protocol: number;
  dev: NetDevice | null;
  /** What is known of its checksums: `CHECKSUM_*`. @kernel ip_summed */
  ipSummed: number;
  /** Of `CHECKSUM_PARTIAL`: from where on is summed, an offset as those above, and where from there the sum goes. */
  csumStart: number;
  csumOffset: number;
  /** 1 + the queue it was received on, 0 for unknown. @kernel queue_mapping, skb_record_rx_queue */
  rxQueue: number;
  /** Another device or CPU was to have it: generic XDP does not look at it again. @kernel skb_is_redirected */
  redirected: boolean;
  /** Told when the packet is gone; the struct is valid until then. @kernel destructor */
  destructor: SkbDestructor | null;
  /** Of a TCP segment, once TCP has it: number of its first byte, of the one behind its last, and its flags; numbers are 32 bits, signed. @kernel TCP_SKB_CB (include/net/tcp.h) */
  seq: number;
  endSeq: number;
  tcpFlags: number;
  /** When it was received, or last put where it waits, as the clock stamps. @kernel tstamp */
  tstamp: number;
  /** Why it was dropped, while it waits for the softirq that frees it. */
  reason: number;
  /** What GRO knows of it, from `groStart` on; before, it is another packet's. */
  readonly gro: NapiGroCb;
  /** Free slot marker: an skb in the cache of structs. */
  free: boolean;

  constructor() {
    // In the order of use: what is asked of every packet lies in three cache lines of five.
    this.next = null;
    this.free = true;
    this.users = 0;
    this.shinfo = null;
    this.len = 0;
    this.dataLen = 0;
    this.data = 0;
    this.head = 0;
    this.destructor = null;
    this.cloned = false;
    this.fclone = SKB_FCLONE_UNAVAILABLE;
    this.ppRecycle = false;
    this.allocCpu = 0;
    this.truesize = 0;
    this.tstamp = 0;
    this.networkHeader = -1;
    this.transportHeader = -1;
    this.protocol = 0;
    this.dev = null;
    this.ipSummed = CHECKSUM_NONE;
    this.end = 0;
    this.tail = 0;
    this.id = 0;
    this.nohdr = false;
    this.hdrLen = 0;
    this.companion = null;
    this.fcloneRef = 0;
    this.pfmemalloc = false;
    this.unreadable = false;
    this.macHeader = -1;
    this.rxQueue = 0;
    this.redirected = false;
    this.csumStart = 0;
    this.csumOffset = 0;
    this.seq = 0;
    this.endSeq = 0;
    this.tcpFlags = 0;
    this.reason = 0;
    this.gro = new NapiGroCb();
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

/**
 * Leaves the checksum of a transport to whoever sends the packet, `CHECKSUM_PARTIAL`: of its `lengthBytes` from the transport header on, to be written `checkAt` bytes behind that, where the sum of the pseudo
 * header is written now. Both headers, IPv4's without options, are linear and their offsets set; the skb stays the caller's. @kernel skb_partial_csum_set (net/core/skbuff.c), udp4_hwcsum, __tcp_v4_send_check, tcp4_gro_complete
 */
export function skbLeaveChecksum(skb: SkBuff, protocol: number, lengthBytes: number, checkAt: number): void {
  const { networkHeader, transportHeader } = skb;
  const { bytes } = skbRegion(skb);
  write16(bytes, transportHeader + checkAt, csumPseudo(bytes, networkHeader, protocol, lengthBytes));
  skb.ipSummed = CHECKSUM_PARTIAL;
  skb.csumStart = transportHeader;
  skb.csumOffset = checkAt;
}

/** The head is a page: only then can it be recycled. @kernel head_frag */
export function skbHeadFrag(skb: SkBuff): boolean {
  return skb.shinfo!.headPage !== null;
}

/** Where the linear bytes are. */
export function skbRegion(skb: SkBuff): PayloadRegion {
  return skb.shinfo!.headRegion!;
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

/** Its head cannot become somebody's frag: it is no page's, or others share the data. @kernel skb_head_is_locked */
export function skbHeadIsLocked(skb: SkBuff): boolean {
  return !skbHeadFrag(skb) || skbCloned(skb);
}

/** Someone else may read the header. @kernel skb_header_cloned */
export function skbHeaderCloned(skb: SkBuff): boolean {
  if (!skb.cloned) return false;
  const { dataref } = skb.shinfo!;
  return (dataref & SKB_DATAREF_MASK) - (dataref >> SKB_DATAREF_SHIFT) !== 1;
}

/** Whether somebody else's memory is in its frags. @kernel skb_zcopy */
export function skbZcopy(skb: SkBuff): boolean {
  return (skb.shinfo!.flags & SKBFL_ZEROCOPY_ENABLE) !== 0;
}

/** Its frags have no references of their own. @kernel skb_zcopy_managed */
export function skbZcopyManaged(skb: SkBuff): boolean {
  return (skb.shinfo!.flags & SKBFL_MANAGED_FRAG_REFS) !== 0;
}

/** Bytes from head to the shared info. @kernel skb_end_offset */
export function skbEndOffset(skb: SkBuff): number {
  return skb.end - skb.head;
}

/** Whether the first `bytes` of its data may be written without a head of its own, though it is a clone: those are headers, and the other promised to touch payload only. @kernel skb_clone_writable */
export function skbCloneWritable(skb: SkBuff, bytes: number): boolean {
  return !skbHeaderCloned(skb) && skbHeadroom(skb) + bytes <= skb.hdrLen;
}

/** @kernel skb_is_gso */
export function skbIsGso(skb: SkBuff): boolean {
  return skb.shinfo!.gsoSize !== 0;
}

/** Bytes that GRO has still to merge. @kernel skb_gro_len */
export function skbGroLen(skb: SkBuff): number {
  return skb.len - skb.gro.dataOffset;
}
