/**
 * Why a packet ends. Numbers up to NO_SOCKET are the kernel's; those behind it differ between kernel versions and are
 * ours here.
 * @kernel enum skb_drop_reason (include/net/dropreason-core.h)
 */
export const SKB_CONSUMED = 1;
export const SKB_DROP_REASON_NOT_SPECIFIED = 2;
export const SKB_DROP_REASON_NO_SOCKET = 3;
export const SKB_DROP_REASON_SOCKET_CLOSE = 4;
export const SKB_DROP_REASON_SOCKET_RCVBUFF = 5;
export const SKB_DROP_REASON_UNHANDLED_PROTO = 6;
export const SKB_DROP_REASON_NOMEM = 7;
export const SKB_DROP_REASON_XDP = 8;
