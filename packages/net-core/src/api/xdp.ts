import type { FragSource, NetDevice, XdpBuff, XdpFrame, XdpProg } from "@netmem/xdp/api";
import type { SkBuff } from "./skbuff.ts";

/** Of an attachment. @kernel XDP_FLAGS_UPDATE_IF_NOEXIST, XDP_FLAGS_SKB_MODE, XDP_FLAGS_DRV_MODE, XDP_FLAGS_HW_MODE, XDP_FLAGS_REPLACE (include/uapi/linux/if_link.h) */
export const XDP_FLAGS_UPDATE_IF_NOEXIST: number = 1 << 0;
/** Generic XDP: on skbs, with any driver. */
export const XDP_FLAGS_SKB_MODE: number = 1 << 1;
/** In the driver. */
export const XDP_FLAGS_DRV_MODE: number = 1 << 2;
export const XDP_FLAGS_HW_MODE: number = 1 << 3;
/** Only in place of the program that is given. */
export const XDP_FLAGS_REPLACE: number = 1 << 4;

/** Packets of XDP that become skbs. Softirq. */
export interface XdpSkbs {
  /**
   * An skb in the frame's own buffer, of `dev`, its MAC header pulled; metadata stays in front of it. Pages of a pool are recycled when it is
   * freed, from 6.4; before, they leave the pool here. Consumes; null without a struct: it stays the caller's. @kernel xdp_build_skb_from_frame (net/core/xdp.c)
   */
  readonly xdpBuildSkbFromFrame: (frame: XdpFrame, dev: NetDevice) => SkBuff | null;
  /**
   * Structs for a batch of `n` frames that go up, into `out`: the caller's, for `xdpBuildSkbAround`. How many: as many as there are, of this CPU's cache first, from 6.15; before, all, or 0. @kernel
   * napi_skb_cache_get_bulk, xdp_alloc_skb_bulk, as veth_xdp_rcv_bulk_skb and cpu_map_kthread_run have them
   */
  readonly xdpAllocSkbBulk: (out: (SkBuff | null)[], n: number) => number;
  /** `xdpBuildSkbFromFrame` with a struct that the caller has. Consumes both; null of a frame that is gone, which is a report. @kernel __xdp_build_skb_from_frame (net/core/xdp.c) */
  readonly xdpBuildSkbAround: (struct: SkBuff, frame: XdpFrame, dev: NetDevice) => SkBuff | null;
  /** The same of a packet that is no frame, in the poll of its queue. Consumes, and `buff` is empty then; null: it stays the caller's. @kernel xdp_build_skb_from_buff */
  readonly xdpBuildSkbFromBuff: (buff: XdpBuff) => SkBuff | null;
  /** A copy of a packet in user memory, in pages of this CPU's system pool; the chunks are free afterwards. Consumes; null without memory, or before 6.9: it stays the caller's. @kernel xdp_build_skb_from_zc */
  readonly xdpBuildSkbFromZc: (buff: XdpBuff) => SkBuff | null;
  /**
   * A copy of the packet, from its data on, in fragments of `source`, with `headroom` in front, that a program may write. Consumes. -EOPNOTSUPP (a frag list), -ENOMEM (too long, or
   * no memory), -EFAULT (memory that the CPU cannot read): it stays the caller's. It recycles if `source` is a pool. @kernel skb_pp_cow_data (net/core/skbuff.c)
   */
  readonly skbPpCowData: (source: FragSource, skb: SkBuff, headroom: number) => SkBuff | number;
  /** The linear packet, and its frags, as a program sees them: `buff` is of that packet until `skbFromXdpBuff`. The memory, which is the skb's, stays so. @kernel xdp_init_buff, xdp_prepare_buff over an skb's head: veth_convert_skb_to_xdp_buff (drivers/net/veth.c), bpf_prog_run_generic_xdp (net/core/dev.c) */
  readonly xdpBuffFromSkb: (buff: XdpBuff, skb: SkBuff) => void;
  /** What a program moved of it is moved in the skb, too; frags that it gave up are gone. The skb stays the caller's. @kernel the same functions, behind the program */
  readonly skbFromXdpBuff: (skb: SkBuff, buff: XdpBuff) => void;
}

/** XDP on skbs, for drivers without. Softirq. */
export interface GenericXdp {
  /** The packet that goes on, which may be another skb; null: it was dropped, sent or redirected. Consumes. @kernel do_xdp_generic (net/core/dev.c) */
  readonly doXdpGeneric: (prog: XdpProg, skb: SkBuff) => SkBuff | null;
}

/** Programs of devices. Process context. */
export interface XdpAttachment {
  /**
   * `prog`, null for none, becomes the device's, in its driver if that can and `flags` do not say otherwise. -EINVAL (flags at odds, or `old` without XDP_FLAGS_REPLACE), -EBUSY (there is one, with
   * XDP_FLAGS_UPDATE_IF_NOEXIST; a memory provider is bound to a queue; or TCP headers are split off, and the program takes no fragments), -EEXIST (another than `old`; or one in the other mode), -EOPNOTSUPP (not this driver), or what the driver answers.
   * @kernel dev_xdp_attach (net/core/dev.c)
   */
  readonly devXdpAttach: (dev: NetDevice, prog: XdpProg | null, flags: number, old: XdpProg | null) => number;
}
