import type { Netmem } from "@netmem/mm/api";
import { XDP_BULK_QUEUE_SIZE, type XdpBuff, type XdpFrame } from "./buff.ts";
import type { MemInfo } from "./mem-info.ts";
import type { MemModel } from "./mem-model.ts";

/**
 * How a freed buffer finds its owner.
 * - `mem-info`: signature and {type, id} in the page, through the registry (v3 of the 2021 series)
 * - `pool-pointer`: signature and owner pointer in the page (what landed)
 * - `skb-mem-info`: one {type, id} in the skb for all its pages (rejected; ships to show why it is wrong)
 */
export type ReturnPathName = "mem-info" | "pool-pointer" | "skb-mem-info";

/** The port net-core frees through. One class a return path implements it. */
export interface NetmemReturn {
  /**
   * A driver hands a buffer to an skb. True if skbs with this buffer are to carry the recycle bit. Shares: the
   * buffer stays its owner's. @kernel the page half of skb_mark_for_recycle; page_pool_store_mem_info
   */
  readonly storeMemInfo: (netmem: Netmem, mem: MemInfo) => boolean;
  /**
   * A recycling skb lets go of a buffer. True: consumes it, its owner has it. False: not an owner's, it stays the
   * caller's, who does a plain put. `napiSafe`: the caller knows that it runs in a NAPI poll; handed on to the owner. Not in hardirq.
   * @kernel napi_pp_put_page (net/core/skbuff.c); page_pool_return_skb_page up to 6.1
   */
  readonly tryReturn: (netmem: Netmem, napiSafe: boolean) => boolean;
  /**
   * A recycling skb shares a buffer with another that will return it, too. True: its owner has counted one more holder. False: not an
   * owner's, and nothing is counted. Shares. @kernel skb_pp_frag_ref (net/core/skbuff.c), for one fragment
   */
  readonly tryRef: (netmem: Netmem) => boolean;
  /** The skb whose buffer comes next. Only `skb-mem-info` looks at it. */
  readonly enterSkb: (memType: number, memId: number) => void;
  /** Whether `enterSkb` must be called at all. */
  readonly needsSkb: boolean;
}

export interface MemRegistryStats {
  /** Resolutions of a {type, id} through the table on a return path. */
  lookups: number;
}

/** The table of memory models. Everyone is in it by the same call, the page allocator's own two types included. */
export interface MemRegistry {
  readonly stats: MemRegistryStats;
  /**
   * Makes `type` known; `model` serves buffers of that type with id 0, null for types that need an id. Twice is
   * misuse.
   */
  readonly registerMemType: (type: number, model: MemModel | null) => void;
  /** The id, 1 … 0xFFFD; 0 for a known type without a model; or -EOPNOTSUPP, -EINVAL, -ENOSPC. @kernel __xdp_reg_mem_model (net/core/xdp.c) */
  readonly registerMemModel: (type: number, model: MemModel | null) => number;
  /** Drops the registration's use of the model; the id stays until the model disconnects. @kernel __xdp_unreg_mem_model */
  readonly unregisterMemModel: (mem: MemInfo) => void;
  /** The model behind {type, id}, counted as a look-up; null if there is none. */
  readonly lookup: (type: number, id: number) => MemModel | null;
}

/** Netmems on their way home together. Made by `XdpStructs.createFrameBulk`, one for each place that returns frames. @kernel struct xdp_frame_bulk (include/net/xdp.h) */
export class XdpFrameBulk {
  declare private readonly nominal: "XdpFrameBulk";
  count: number;
  /** Before 6.14, whose they all are, and its id; one look-up serves until another comes. @kernel xa */
  model: MemModel | null;
  memId: number;
  readonly q: (Netmem | null)[];

  constructor() {
    this.count = 0;
    this.model = null;
    this.memId = 0;
    this.q = [];
    for (let i = 0; i < XDP_BULK_QUEUE_SIZE; i++) this.q.push(null);
  }
}

/** Frames and buffers back to their memory model. A frame returned before is left alone, with report `xdp-frame-gone`. Not in hardirq. */
export interface XdpReturn {
  /** Fragments, then head; any context. Consumes. @kernel xdp_return_frame (net/core/xdp.c) */
  readonly xdpReturnFrame: (frame: XdpFrame) => void;
  /** From the NAPI poll of the queue the frame came from. Consumes. @kernel xdp_return_frame_rx_napi */
  readonly xdpReturnFrameRxNapi: (frame: XdpFrame) => void;
  /**
   * page_pool frames wait in `bulk` for others, fragments before head, and go home 16 at a time; frames of any other type at once. Those
   * waiting are returned by the next call that finds it full, or by `xdpFlushFrameBulk`. Consumes. @kernel xdp_return_frame_bulk
   */
  readonly xdpReturnFrameBulk: (frame: XdpFrame, bulk: XdpFrameBulk) => void;
  /** Its pages leave their pool: they are about to be an skb's, who knows nothing of pools. The frame stays the caller's. Up to 6.3. @kernel xdp_release_frame (include/net/xdp.h) */
  readonly xdpReleaseFrame: (frame: XdpFrame) => void;
  /** The end of a batch; nothing, if it is empty. Consumes what waits there. @kernel xdp_flush_frame_bulk */
  readonly xdpFlushFrameBulk: (bulk: XdpFrameBulk) => void;
  /** A packet that never became a frame; from its own poll. Consumes. @kernel xdp_return_buff */
  readonly xdpReturnBuff: (buff: XdpBuff) => void;
  /** One fragment of a packet, from its own poll. Consumes. @kernel xdp_return_frag */
  readonly xdpReturnFrag: (netmem: Netmem, buff: XdpBuff) => void;
  /** One buffer of a known model; `napiDirect` is of no account while NO_DIRECT is set. Consumes. @kernel __xdp_return */
  readonly xdpReturnNetmem: (netmem: Netmem, memType: number, memId: number, napiDirect: boolean) => void;
  /**
   * From here to `xdpClearReturnFrameNoDirect`, on this CPU, nothing is returned direct: the caller runs a program for packets of pools whose
   * consumer it is not. @kernel xdp_set_return_frame_no_direct (include/linux/filter.h)
   */
  readonly xdpSetReturnFrameNoDirect: () => void;
  /** @kernel xdp_clear_return_frame_no_direct */
  readonly xdpClearReturnFrameNoDirect: () => void;
}
