/**
 * Why a packet ends. The first four numbers are the kernel's; those behind them differ between kernel versions, so
 * tools match by name.
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

export const SKB_DROP_REASON_NAMES: readonly string[] = [
  "NOT_DROPPED_YET", "CONSUMED", "NOT_SPECIFIED", "NO_SOCKET", "SOCKET_CLOSE", "SOCKET_RCVBUFF", "UNHANDLED_PROTO", "NOMEM",
];
