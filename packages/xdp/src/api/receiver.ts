import type { XdpFrame } from "./buff.ts";
import type { XdpProg } from "./program.ts";

/** A packet of generic XDP, an skb: this layer knows that somebody above has it, and its length, and hands it on. */
export interface GenericPacket {
  /** Bytes in all. */
  readonly len: number;
}

/** Packets that wait to be merged, or for others to go up with. @kernel struct gro_node (include/net/gro.h) */
export interface ReceiveGro {
  /** Those that others may still be merged with. */
  readonly count: number;
}

/** The stack above, which makes skbs of frames. net-core implements it; softirq, or with bottom halves disabled. */
export interface FrameReceiver {
  /** Structs for as many packets, which the next `buildPackets` uses up: how many there are, up to `n`. @kernel napi_skb_cache_get_bulk, as cpu_map_kthread_run has it (kernel/bpf/cpumap.c) */
  readonly takeStructs: (n: number) => number;
  /**
   * Each of the first `n` frames, for which there are structs, becomes an skb of the device it was received on, in `packets` from `from` on. Consumes all; the packets are the caller's. How many there are.
   * @kernel __xdp_build_skb_from_frame, as cpu_map_kthread_run has it (kernel/bpf/cpumap.c)
   */
  readonly buildPackets: (frames: (XdpFrame | null)[], n: number, packets: (GenericPacket | null)[], from: number) => number;
  /** The first `n` go up together. Consumes, and leaves the places empty. @kernel netif_receive_skb_list (net/core/dev.c) */
  readonly receivePackets: (packets: (GenericPacket | null)[], n: number) => void;
  /** Both: frames go up together as skbs. Consumes. How many skb structs could not be had: none, or all `n`. @kernel xdp_recv_frames (net/bpf/test_run.c) */
  readonly receiveFrames: (frames: (XdpFrame | null)[], n: number) => number;
  /** Where a thread that polls has packets merged. @kernel gro_init */
  readonly openGro: (name: string) => ReceiveGro;
  /** Goes up with some others, merged with what may be, with the flush at the latest. Consumes. @kernel gro_receive_skb (net/core/gro.c) */
  readonly groReceive: (gro: ReceiveGro, packet: GenericPacket) => void;
  /** All go up; without `everything`, where ticks are short, but those that came in this tick and may still be merged. @kernel gro_flush_normal */
  readonly groFlush: (gro: ReceiveGro, everything: boolean) => void;
  /** Drops what is left. @kernel gro_cleanup */
  readonly closeGro: (gro: ReceiveGro) => void;
  /** Its verdict, as `bpfProgRunXdp`; the packet follows what the program moved, and stays the caller's. @kernel bpf_prog_run_generic_xdp (net/core/dev.c) */
  readonly runGenericXdp: (packet: GenericPacket, prog: XdpProg) => number;
  /** Where its program sent it. 0, or a negative errno; consumes either way. @kernel xdp_do_generic_redirect, and kfree_skb if that fails */
  readonly redirectPacket: (packet: GenericPacket, prog: XdpProg) => number;
  /** Consumes: dropped, or `consumed` as if it had been delivered. @kernel kfree_skb, napi_consume_skb */
  readonly dropPacket: (packet: GenericPacket, consumed: boolean) => void;
}
