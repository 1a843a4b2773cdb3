import { UsageError } from "@netmem/kernel/api";
import type { NetDevice } from "./net-device.ts";
import type { RedirectMap } from "./maps.ts";
import type { XdpBuff } from "./buff.ts";

/** Verdicts. @kernel enum xdp_action (include/uapi/linux/bpf.h) */
export const XDP_ABORTED = 0;
export const XDP_DROP = 1;
export const XDP_PASS = 2;
export const XDP_TX = 3;
export const XDP_REDIRECT = 4;

/** Names of verdicts, for people. */
export const XDP_ACTION_NAMES: readonly string[] = ["XDP_ABORTED", "XDP_DROP", "XDP_PASS", "XDP_TX", "XDP_REDIRECT"];

/**
 * The packet as its program sees it, valid for this run only. Offsets are bytes from the packet's first; the linear part may be read and
 * written directly, metadata in front of it at negative offsets. An access outside is what the verifier would have refused: it throws, and
 * ends the run with XDP_ABORTED. Numbers of several bytes are in network order.
 *
 * Helpers answer 0, or a negative errno and nothing has changed then. The packet stays whose it is throughout.
 * @kernel struct xdp_md (include/uapi/linux/bpf.h)
 */
export interface XdpMd {
  /** Bytes of the linear part. @kernel data_end − data */
  readonly linearBytes: number;
  /** Bytes of metadata in front of it; 0 where the driver cannot carry any. @kernel data − data_meta */
  readonly metaBytes: number;
  /** ifindex of the device it came from, and its queue. */
  readonly ingressIfindex: number;
  readonly rxQueueIndex: number;
  /** ifindex of the device it goes to, in a program of a devmap; else 0. */
  readonly egressIfindex: number;
  readonly getUint8: (offset: number) => number;
  readonly getUint16: (offset: number) => number;
  readonly getUint32: (offset: number) => number;
  readonly setUint8: (offset: number, value: number) => void;
  readonly setUint16: (offset: number, value: number) => void;
  readonly setUint32: (offset: number, value: number) => void;
  /** Linear part and fragments, in bytes. @kernel bpf_xdp_get_buff_len (net/core/filter.c) */
  readonly getBuffLen: () => number;
  /** Moves the packet's start by `delta`, metadata with it. -EINVAL: into the frame's struct, or less than an Ethernet header is left. @kernel bpf_xdp_adjust_head */
  readonly adjustHead: (delta: number) => number;
  /**
   * Moves the packet's end by `delta`; what it grows by is zeroed, fragments that it shrinks by are returned. -EINVAL: over the shared info, or
   * less than an Ethernet header is left; -EOPNOTSUPP: fragments of a queue that does not say how large their buffers are. @kernel bpf_xdp_adjust_tail
   */
  readonly adjustTail: (delta: number) => number;
  /** Moves the start of metadata. -ENOTSUPP: not with this driver; -EINVAL: into the frame's struct, or behind the packet's start; -EACCES: no multiple of 4, or above 252 (32 before 6.8). @kernel bpf_xdp_adjust_meta */
  readonly adjustMeta: (delta: number) => number;
  /** Copies `bytes` from `offset`, fragments included, to the start of `target`. -EINVAL: outside the packet; -EFAULT: above 65535, or `target` too small. @kernel bpf_xdp_load_bytes */
  readonly loadBytes: (offset: number, target: Uint8Array, bytes: number) => number;
  /** The same, into the packet. @kernel bpf_xdp_store_bytes */
  readonly storeBytes: (offset: number, source: Uint8Array, bytes: number) => number;
  /** When the NIC received it, in ns of its clock. -EOPNOTSUPP: this NIC does not say; -ENODATA: not of this packet. @kernel bpf_xdp_metadata_rx_timestamp (net/core/xdp.c) */
  readonly metadataRxTimestamp: () => number;
  /** Its flow's hash, 32 bits, or as above. @kernel bpf_xdp_metadata_rx_hash */
  readonly metadataRxHash: () => number;
  /** The VLAN tag that the NIC took off: protocol in the upper 16 bits, TCI in the lower; or as above. @kernel bpf_xdp_metadata_rx_vlan_tag */
  readonly metadataRxVlanTag: () => number;
  /** To another device: XDP_REDIRECT, for the program to answer; XDP_ABORTED with any flag. @kernel bpf_redirect, bpf_xdp_redirect */
  readonly redirect: (ifindex: number, flags: number) => number;
  /**
   * To what `map` has under `key`: XDP_REDIRECT, or, with nothing there, the verdict in the two lowest bits of `flags`. With BPF_F_BROADCAST to
   * all of a devmap. XDP_ABORTED for flags that the map does not know; what is no map throws. @kernel bpf_redirect_map, bpf_xdp_redirect_map
   */
  readonly redirectMap: (map: RedirectMap, key: number, flags: number) => number;
}

/** A program: looks at a packet, answers one of the verdicts. */
export type XdpProgram = (ctx: XdpMd) => number;

/** A loaded program. @kernel struct bpf_prog (include/linux/bpf.h) */
export class XdpProg {
  declare private readonly nominal: "XdpProg";
  /** @kernel prog_id */
  readonly id: number;
  readonly name: string;
  readonly run: XdpProgram;
  /** It can take packets in several buffers. @kernel xdp_has_frags */
  readonly hasFrags: boolean;
  /** Packets it has seen. @kernel run_cnt */
  runCnt: number;
  /** Runs that ended without a verdict: the program threw, or answered something that is no number. */
  faults: number;

  constructor(id: number, name: string, run: XdpProgram, hasFrags: boolean) {
    this.id = id;
    this.name = name;
    this.run = run;
    this.hasFrags = hasFrags;
    this.runCnt = 0;
    this.faults = 0;
  }
}

/** Refuses what is no program, where one is asked for: `where` says by whom. Null is none. */
export function checkXdpProg(where: string, prog: XdpProg | null): void {
  if (prog !== null && !(prog instanceof XdpProg)) throw new UsageError("xdp", `${where}'s program`, typeof prog, "give what bpfProgLoad answered, or null");
}

/** How reports name the packet that a program failed on: the how-manieth it saw. */
export function xdpProgRunName(prog: XdpProg): string {
  return `xdp prog ${prog.name} packet ${prog.runCnt}`;
}

export interface XdpPrograms {
  /** `hasFrags`: it copes with packets in several buffers; -EINVAL before 5.18, which has no such programs. Process context. @kernel bpf_prog_load (kernel/bpf/syscall.c), BPF_F_XDP_HAS_FRAGS */
  readonly bpfProgLoad: (name: string, run: XdpProgram, hasFrags: boolean) => XdpProg | number;
  /**
   * One packet through one program: its verdict, a whole number. The packet stays the caller's, who does what the verdict says. A program that
   * throws, or answers no whole number: report `xdp-program-fault` with packet and reason, and XDP_ABORTED, as an exception of BPF's has it.
   * Memory that the CPU cannot read: report `unreadable-access`, and the same. Softirq. @kernel bpf_prog_run_xdp (include/net/xdp.h)
   */
  readonly bpfProgRunXdp: (prog: XdpProg, buff: XdpBuff) => number;
  /** A verdict that nobody knows: report `xdp-invalid-action`; the packet is dropped by the caller. @kernel bpf_warn_invalid_xdp_action (net/core/filter.c) */
  readonly bpfWarnInvalidXdpAction: (dev: NetDevice | null, prog: XdpProg, act: number) => void;
  /** A packet is dropped for such a verdict, or XDP_ABORTED. @kernel trace_xdp_exception (include/trace/events/xdp.h) */
  readonly xdpException: (dev: NetDevice, prog: XdpProg, act: number) => void;
  /** Traces what a driver did with frames that its poll sends back. @kernel trace_xdp_bulk_tx (include/trace/events/xdp.h) */
  readonly xdpBulkTx: (dev: NetDevice, sent: number, drops: number, err: number) => void;
}
