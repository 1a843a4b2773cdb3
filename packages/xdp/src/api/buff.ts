import { L1_CACHE_BYTES, type Netmem } from "@netmem/mm/api";
import { MEM_TYPE_PAGE_SHARED } from "./mem-info.ts";
import type { NetDevice } from "./net-device.ts";
import type { XdpRxqInfo } from "./rxq.ts";
import type { XdpBuffXsk } from "./xsk.ts";

/** Room in front of the packet that XDP promises to programs, in bytes. @kernel XDP_PACKET_HEADROOM (include/uapi/linux/bpf.h) */
export const XDP_PACKET_HEADROOM = 256;
/** Fragments beside the head, in one packet. @kernel MAX_SKB_FRAGS (include/linux/skbuff.h) */
export const MAX_SKB_FRAGS = 17;
/** What lies behind the data of a buffer: the frag table, and what an skb keeps beside it. @kernel sizeof(struct skb_shared_info), aligned */
export const SKB_SHARED_INFO_BYTES = 320;
/** A frame's struct lies in the headroom of its own buffer. @kernel sizeof(struct xdp_frame) */
export const XDP_FRAME_BYTES = 40;
/** Frames that travel together, and netmems that go home together. @kernel XDP_BULK_QUEUE_SIZE (include/net/xdp.h) */
export const XDP_BULK_QUEUE_SIZE = 16;

/** The packet has fragments. @kernel XDP_FLAGS_HAS_FRAGS (include/net/xdp.h) */
export const XDP_FLAGS_HAS_FRAGS: number = 1 << 0;
/** One of them came from the memory reserves. @kernel XDP_FLAGS_FRAGS_PF_MEMALLOC */
export const XDP_FLAGS_FRAGS_PF_MEMALLOC: number = 1 << 1;
/** One of them is device memory, from 6.18; never on a packet that a program sees. @kernel XDP_FLAGS_FRAGS_UNREADABLE */
export const XDP_FLAGS_FRAGS_UNREADABLE: number = 1 << 2;

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

/** The same bytes. Whose reference it is then, is the caller's to say. @kernel skb_frag_page_copy, and assignments of skb_frag_t */
export function netmemFragCopy(to: NetmemFrag, from: NetmemFrag): void {
  to.netmem = from.netmem;
  to.offset = from.offset;
  to.sizeBytes = from.sizeBytes;
}

/** The frag table of one packet. */
export function createNetmemFrags(): NetmemFrag[] {
  const frags: NetmemFrag[] = [];
  for (let i = 0; i < MAX_SKB_FRAGS; i++) frags.push(new NetmemFrag());
  return frags;
}

/**
 * A received packet before it is an skb: one per queue, reused. All offsets are bytes in the head's netmem:
 * ```
 *   dataHardStart        dataMeta  data                 dataEnd        hard end        + frameSz
 *   | headroom           | metadata | packet             | tailroom     | shared info   |
 * ```
 * @kernel struct xdp_buff (include/net/xdp.h)
 */
export class XdpBuff {
  declare private readonly nominal: "XdpBuff";
  /** Where it was received; buffers of AF_XDP move to a queue with their pool. */
  rxq: XdpRxqInfo;
  /** Where it goes, while a devmap's program looks at it. @kernel txq->dev */
  txDev: NetDevice | null;
  /** The chunk that this is the packet of, in user memory. @kernel container_of(xdp, struct xdp_buff_xsk, xdp) */
  xsk: XdpBuffXsk | null;
  /** Null between packets. */
  head: Netmem | null;
  dataHardStart: number;
  /** `data` while there is none; one more where the driver cannot carry any. */
  dataMeta: number;
  data: number;
  dataEnd: number;
  /** Bytes from `dataHardStart` to the end of the buffer, the shared info included. */
  frameSz: number;
  /** Bits of `XDP_FLAGS_*`. */
  flags: number;
  nrFrags: number;
  /** Bytes in fragments, and bytes that their buffers take. Of no meaning without XDP_FLAGS_HAS_FRAGS. */
  xdpFragsSize: number;
  xdpFragsTruesize: number;
  readonly frags: NetmemFrag[];

  constructor(rxq: XdpRxqInfo) {
    this.rxq = rxq;
    this.txDev = null;
    this.xsk = null;
    this.head = null;
    this.dataHardStart = 0;
    this.dataMeta = 0;
    this.data = 0;
    this.dataEnd = 0;
    this.frameSz = 0;
    this.flags = 0;
    this.nrFrags = 0;
    this.xdpFragsSize = 0;
    this.xdpFragsTruesize = 0;
    this.frags = createNetmemFrags();
  }
}

/**
 * A packet that outlives its queue: memory type and id travel with it. One type for head and every fragment. It lies in the headroom
 * of its buffer, so its own start is `data − headroom − XDP_FRAME_BYTES`.
 * @kernel struct xdp_frame (include/net/xdp.h); the id left the kernel's in 6.14
 */
export class XdpFrame {
  declare private readonly nominal: "XdpFrame";
  head: Netmem | null;
  /** Byte offset in the head's netmem. */
  data: number;
  len: number;
  /** Bytes before `data` that may still be used: those of the struct are not. */
  headroom: number;
  metasize: number;
  frameSz: number;
  flags: number;
  memType: number;
  memId: number;
  /** Where it was received. @kernel dev_rx */
  devRx: NetDevice | null;
  nrFrags: number;
  xdpFragsSize: number;
  xdpFragsTruesize: number;
  readonly frags: NetmemFrag[];
  /** On a list of frames, or of those nobody uses. */
  next: XdpFrame | null;

  constructor() {
    this.head = null;
    this.data = 0;
    this.len = 0;
    this.headroom = 0;
    this.metasize = 0;
    this.frameSz = 0;
    this.flags = 0;
    this.memType = MEM_TYPE_PAGE_SHARED;
    this.memId = 0;
    this.devRx = null;
    this.nrFrags = 0;
    this.xdpFragsSize = 0;
    this.xdpFragsTruesize = 0;
    this.frags = createNetmemFrags();
    this.next = null;
  }
}

/** @kernel SKB_DATA_ALIGN (include/linux/skbuff.h) */
export function skbDataAlign(bytes: number): number {
  return (bytes + L1_CACHE_BYTES - 1) & -L1_CACHE_BYTES;
}

/** Where data must end: the shared info begins there. The packet stays the caller's. @kernel xdp_data_hard_end */
export function xdpDataHardEnd(buff: XdpBuff): number {
  return buff.dataHardStart + buff.frameSz - SKB_SHARED_INFO_BYTES;
}

/** The packet stays the caller's. @kernel xdp_buff_has_frags */
export function xdpBuffHasFrags(buff: XdpBuff): boolean {
  return (buff.flags & XDP_FLAGS_HAS_FRAGS) !== 0;
}

/** Linear bytes and those of fragments. The packet stays the caller's. @kernel xdp_get_buff_len */
export function xdpGetBuffLen(buff: XdpBuff): number {
  const linear = buff.dataEnd - buff.data;
  return xdpBuffHasFrags(buff) ? linear + buff.xdpFragsSize : linear;
}

/** The frame stays the caller's. @kernel xdp_get_frame_len */
export function xdpGetFrameLen(frame: XdpFrame): number {
  return (frame.flags & XDP_FLAGS_HAS_FRAGS) !== 0 ? frame.len + frame.xdpFragsSize : frame.len;
}

/** The packet stays the caller's. @kernel xdp_data_meta_unsupported */
export function xdpDataMetaUnsupported(buff: XdpBuff): boolean {
  return buff.dataMeta > buff.data;
}

/** Most metadata that a packet may have: what a byte can say, from 6.8 (2ebe81c81435); before, this. @kernel xdp_metalen_invalid */
export const XDP_METALEN_MAX = 255;
export const XDP_METALEN_MAX_OLD = 32;

/** Metadata is a multiple of 4 bytes, at most `most`. @kernel xdp_metalen_invalid (include/net/xdp.h) */
export function xdpMetalenInvalid(metalen: number, most: number): boolean {
  return (metalen & 3) !== 0 || metalen > most;
}
