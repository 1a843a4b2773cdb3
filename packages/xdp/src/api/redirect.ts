import type { XdpBuff, XdpFrame } from "./buff.ts";
import type { GenericPacket } from "./receiver.ts";
import type { NetDevice } from "./net-device.ts";
import type { XdpProg } from "./program.ts";

/**
 * What a driver does with XDP_REDIRECT. Softirq; where a program asked to go is remembered by CPU, from its run to `xdpDoRedirect`.
 */
export interface XdpRedirect {
  /** Of this machine, since it was booted. */
  readonly stats: RedirectStats;
  /**
   * 0: the packet is on its way, and `buff` empty; it waits until `xdpDoFlush`. Consumes then. Or a negative errno, and it stays the caller's:
   * -EOVERFLOW (no room for a frame), -EINVAL (no such device), -EOPNOTSUPP, -ENETDOWN, -EMSGSIZE (that device cannot or may not send it), -EBADRQC
   * (nowhere), or what a socket answers. @kernel xdp_do_redirect (net/core/filter.c)
   */
  readonly xdpDoRedirect: (dev: NetDevice, buff: XdpBuff, prog: XdpProg) => number;
  /** XDP_TX of somebody who has no device's queue: as if the program had asked for `ifindex`. @kernel the XDP_TX case of xdp_test_run_batch (net/bpf/test_run.c) */
  readonly redirectBack: (ifindex: number) => void;
  /** Sends what waits on this CPU: for devices, for CPUs, for sockets. Before its NAPI completes. @kernel xdp_do_flush */
  readonly xdpDoFlush: () => void;
  /** Whether a poll has left something that waits on this CPU: then it is sent now. Softirq, behind a poll. @kernel xdp_do_check_flushed */
  readonly xdpDoCheckFlushed: () => boolean;
  /** Sends a frame to a device without a map. 0: consumes, and it waits as above; or an errno, and it stays the caller's. @kernel dev_xdp_enqueue (kernel/bpf/devmap.c) */
  readonly devXdpEnqueue: (dev: NetDevice, frame: XdpFrame, devRx: NetDevice) => number;
  /**
   * The same for generic XDP: what the caller has to do with the packet, which stays its unless `"queued"`; `buff` is the same packet. @kernel xdp_do_generic_redirect (net/core/filter.c)
   */
  readonly xdpDoGenericRedirect: (dev: NetDevice, packet: GenericPacket, buff: XdpBuff, prog: XdpProg) => GenericRedirect;
}

/** Where redirected packets have got lost; what is on its way is in none of these. */
export interface RedirectStats {
  /** Packets that were not redirected, by negative errno. @kernel trace_xdp_redirect_err */
  readonly errors: ReadonlyMap<number, number>;
  /** Made by BPF_F_BROADCAST: a packet that goes to three devices counts two. */
  readonly copies: number;
  /** Frames dropped between a redirect and its device: by a map's program, by the device, or for want of room; skbs are the device's own affair. @kernel trace_xdp_devmap_xmit */
  readonly devmapDrops: number;
  /** Dropped between a redirect and the stack of its CPU: a full queue, no memory, or an entry's program. @kernel trace_xdp_cpumap_enqueue, trace_xdp_cpumap_kthread */
  readonly cpumapDrops: number;
}

/** A device that a packet goes to, and the program that looks at it on its way; null for none. */
export interface GenericTarget {
  readonly dev: NetDevice;
  readonly prog: XdpProg | null;
}

/**
 * A negative errno: the packet stays the caller's. `"queued"`: a CPU's queue has consumed it. `"copied"`: a socket has its bytes, and the caller
 * consumes it. Targets: the caller transmits it to each, `xdpOkFwdDev` permitting, and consumes it.
 */
export type GenericRedirect = number | "queued" | "copied" | readonly GenericTarget[];
