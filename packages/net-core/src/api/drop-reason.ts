/**
 * Why a packet ends. Numbers up to NO_SOCKET are the kernel's; those behind it differ between kernel versions and are
 * ours here.
 * @kernel enum skb_drop_reason (include/net/dropreason-core.h)
 */
export const SKB_NOT_DROPPED_YET = 0;
export const SKB_CONSUMED = 1;
export const SKB_DROP_REASON_NOT_SPECIFIED = 2;
export const SKB_DROP_REASON_NO_SOCKET = 3;
export const SKB_DROP_REASON_SOCKET_CLOSE = 4;
export const SKB_DROP_REASON_SOCKET_RCVBUFF = 5;
export const SKB_DROP_REASON_UNHANDLED_PROTO = 6;
export const SKB_DROP_REASON_NOMEM = 7;
export const SKB_DROP_REASON_XDP = 8;
export const SKB_DROP_REASON_QUEUE_PURGE = 9;
export const SKB_DROP_REASON_PFMEMALLOC = 10;
export const SKB_DROP_REASON_CPU_BACKLOG = 11;
export const SKB_DROP_REASON_DEV_READY = 12;
export const SKB_DROP_REASON_PKT_TOO_SMALL = 13;
export const SKB_DROP_REASON_IP_INHDR = 14;
export const SKB_DROP_REASON_IP_CSUM = 15;
export const SKB_DROP_REASON_IP_NOPROTO = 16;
export const SKB_DROP_REASON_DUP_FRAG = 17;
export const SKB_DROP_REASON_UDP_CSUM = 18;
export const SKB_DROP_REASON_TCP_CSUM = 19;
export const SKB_DROP_REASON_TCP_RESET = 20;
export const SKB_DROP_REASON_TCP_OLD_DATA = 21;
export const SKB_DROP_REASON_TCP_OVERWINDOW = 22;
export const SKB_DROP_REASON_TCP_OFOMERGE = 23;
export const SKB_DROP_REASON_TCP_OFO_DROP = 24;
export const SKB_DROP_REASON_TCP_OFO_QUEUE_PRUNE = 25;
export const SKB_DROP_REASON_PROTO_MEM = 26;
export const SKB_DROP_REASON_TCP_CLOSE = 27;
export const SKB_DROP_REASON_PKT_TOO_BIG = 28;
export const SKB_DROP_REASON_FRAG_REASM_TIMEOUT = 29;
export const SKB_DROP_REASON_FRAG_TOO_FAR = 30;
export const SKB_DROP_REASON_TCP_FLAGS = 31;
export const SKB_DROP_REASON_TCP_INVALID_SYN = 32;
export const SKB_DROP_REASON_PACKET_SOCK_ERROR = 33;
export const SKB_DROP_REASON_IP_INVALID_SOURCE = 34;
export const SKB_DROP_REASON_IP_INVALID_DEST = 35;
export const SKB_DROP_REASON_IP_LOCALNET = 36;

/** Names of the core's, by number. */
export const CORE_DROP_REASONS: readonly string[] = [
  "NOT_DROPPED_YET", "CONSUMED", "NOT_SPECIFIED", "NO_SOCKET", "SOCKET_CLOSE", "SOCKET_RCVBUFF", "UNHANDLED_PROTO", "NOMEM", "XDP", "QUEUE_PURGE", "PFMEMALLOC", "CPU_BACKLOG", "DEV_READY",
  "PKT_TOO_SMALL", "IP_INHDR", "IP_CSUM", "IP_NOPROTO", "DUP_FRAG", "UDP_CSUM", "TCP_CSUM", "TCP_RESET", "TCP_OLD_DATA", "TCP_OVERWINDOW", "TCP_OFOMERGE", "TCP_OFO_DROP", "TCP_OFO_QUEUE_PRUNE", "PROTO_MEM", "TCP_CLOSE", "PKT_TOO_BIG", "FRAG_REASM_TIMEOUT", "FRAG_TOO_FAR", "TCP_FLAGS", "TCP_INVALID_SYN", "PACKET_SOCK_ERROR",
  "IP_INVALID_SOURCE", "IP_INVALID_DEST", "IP_LOCALNET",
];

/** The upper 16 bits of a reason name the subsystem whose it is. @kernel enum skb_drop_reason_subsys (include/net/dropreason.h) */
export const SKB_DROP_REASON_SUBSYS_SHIFT = 16;
export const SKB_DROP_REASON_SUBSYS_CORE = 0;
export const SKB_DROP_REASON_SUBSYS_MAC80211_UNUSABLE = 1;
export const SKB_DROP_REASON_SUBSYS_OPENVSWITCH = 2;
export const SKB_DROP_REASON_SUBSYS_NUM = 3;

/** Reasons of subsystems. Process context. */
export interface SkbDropReasons {
  /** Names of a subsystem's reasons, by number from 0, in place of those it had. The core's, or a subsystem that there is not: report `drop-reason-subsys`, and nothing is done. @kernel drop_reasons_register_subsys (net/core/skbuff.c) */
  readonly registerSubsys: (subsys: number, reasons: readonly string[]) => void;
  /** Its reasons have no names from now on; report as above. @kernel drop_reasons_unregister_subsys */
  readonly unregisterSubsys: (subsys: number) => void;
  /** For people; `reason 131073` if nobody has registered it. */
  readonly reasonName: (reason: number) => string;
}
