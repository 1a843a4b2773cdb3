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

/** Names of the core's, by number. */
export const CORE_DROP_REASONS: readonly string[] = [
  "NOT_DROPPED_YET", "CONSUMED", "NOT_SPECIFIED", "NO_SOCKET", "SOCKET_CLOSE", "SOCKET_RCVBUFF", "UNHANDLED_PROTO", "NOMEM", "XDP", "QUEUE_PURGE", "PFMEMALLOC",
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
