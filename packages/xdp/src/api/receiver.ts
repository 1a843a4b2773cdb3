import type { XdpFrame } from "./buff.ts";
import type { XdpProg } from "./program.ts";

/** A packet of generic XDP, an skb: this layer knows that somebody above has it, and its length, and hands it on. */
export interface GenericPacket {
  /** Bytes in all. */
  readonly len: number;
}

/** The stack above, which makes skbs of frames. net-core implements it; softirq, or with bottom halves disabled. */
export interface FrameReceiver {
  /**
   * Each of the first `n` frames becomes an skb of the device it was received on, and goes up. A frame without one is returned. Consumes all. How
   * many skb structs could not be had: either none, or all `n`, which are then returned. @kernel xdp_build_skb_from_frame; the second half of cpu_map_kthread_run (kernel/bpf/cpumap.c)
   */
  readonly receiveFrames: (frames: (XdpFrame | null)[], n: number) => number;
  /** The packet goes up. Consumes. @kernel netif_receive_skb_list */
  readonly receivePacket: (packet: GenericPacket) => void;
  /** Its verdict, as `bpfProgRunXdp`; the packet follows what the program moved, and stays the caller's. @kernel bpf_prog_run_generic_xdp (net/core/dev.c) */
  readonly runGenericXdp: (packet: GenericPacket, prog: XdpProg) => number;
  /** Where its program sent it. 0, or a negative errno; consumes either way. @kernel xdp_do_generic_redirect, and kfree_skb if that fails */
  readonly redirectPacket: (packet: GenericPacket, prog: XdpProg) => number;
  /** Consumes. @kernel kfree_skb */
  readonly dropPacket: (packet: GenericPacket) => void;
}
