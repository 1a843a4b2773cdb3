import type { Netmem } from "@netmem/mm/api";
import type { XdpBuff, XdpFrame } from "./buff.ts";

/** A packet as it is received, and as a frame that travels on. A frame that is gone is left alone, with report `xdp-frame-gone`. Softirq. */
export interface XdpBuffs {
  /** Empty, over buffers of `frameSz` bytes, without fragments. The struct stays the caller's. @kernel xdp_init_buff (include/net/xdp.h) */
  readonly xdpInitBuff: (buff: XdpBuff, frameSz: number) => void;
  /**
   * `dataLen` bytes lie `headroom` behind `hardStart` in `head`. `metaValid` false: this driver cannot carry metadata. The buffer stays
   * whose it is, and goes where the packet goes. @kernel xdp_prepare_buff
   */
  readonly xdpPrepareBuff: (buff: XdpBuff, head: Netmem, hardStart: number, headroom: number, dataLen: number, metaValid: boolean) => void;
  /**
   * One more fragment; one that follows directly on the last extends it, and gives its reference back. Keeps it. False, and it stays the
   * caller's, when there are MAX_SKB_FRAGS. @kernel xdp_buff_add_frag, __xdp_buff_add_frag
   */
  readonly xdpBuffAddFrag: (buff: XdpBuff, netmem: Netmem, offset: number, sizeBytes: number, truesizeBytes: number) => boolean;
  /**
   * What a program changed, brought over to the frame of the same buffer, which keeps it. 0, or -ENOSPC: no room for the frame's struct
   * before the metadata, or data over the shared info (report `xdp-missing-tailroom`); -EINVAL for a buffer without a packet (`xdp-empty-buff`). @kernel xdp_update_frame_from_buff
   */
  readonly xdpUpdateFrameFromBuff: (buff: XdpBuff, frame: XdpFrame) => number;
  /**
   * A frame that knows its queue's memory and has the packet; `buff` is empty afterwards. Consumes. Null as above, and then the packet stays
   * in `buff`. @kernel xdp_convert_buff_to_frame
   */
  readonly xdpConvertBuffToFrame: (buff: XdpBuff) => XdpFrame | null;
  /** The packet in a buffer again, for a program to look at; the frame stays the caller's, and keeps it. @kernel xdp_convert_frame_to_buff */
  readonly xdpConvertFrameToBuff: (frame: XdpFrame, buff: XdpBuff) => void;
  /** A copy in a page of its own, MEM_TYPE_PAGE_ORDER0, the caller's. Shares nothing; null when it does not fit into a page, has fragments, or without memory. @kernel xdpf_clone (net/core/xdp.c) */
  readonly xdpfClone: (frame: XdpFrame) => XdpFrame | null;
  /** Its packet is an skb's now: the struct is free. Consumes. @kernel xdp_scrub_frame */
  readonly xdpScrubFrame: (frame: XdpFrame) => void;
}
