/**
 * Where a packet is copied to that a program must be able to write: fragments of a pool, from 6.7; pages of nobody's, one for the head and one for each frag, from 5.18; one
 * page alone, before. @kernel veth_convert_skb_to_xdp_buff, veth_xdp_rcv_skb
 */
export type VethCopies = "pool" | "pages" | "page";

/** What changed in drivers/net/veth.c, and when. */
export interface VethRules {
  readonly copies: VethCopies;
  /** A program brings GRO with it, whether it was asked for or not: up to 6.8 (d7db7775ea2e). */
  readonly xdpBringsGro: boolean;
  /** The sender is told of a packet that was dropped (NET_XMIT_DROP): from 6.7 (151e887d8ff9). */
  readonly tellsDrops: boolean;
  /** A packet for which there was no room wakes the peer, too: up to 6.15 (dc82a33297fc). */
  readonly dropsNotify: boolean;
  /** What a poll redirects leaves before the poll is complete: from 6.2 (fa349e396e48). */
  readonly redirectsFirst: boolean;
  /** What it sends back, too: from 6.18 (a14602fcae17). */
  readonly sendsBackFirst: boolean;
  /** It is not polled but by softirqs: from 6.12 (45160cebd6ac). */
  readonly refusesNetpoll: boolean;
}

/** As of 6.18. */
export const VETH_RULES: VethRules = { copies: "pool", xdpBringsGro: false, tellsDrops: true, dropsNotify: false, redirectsFirst: true, sendsBackFirst: true, refusesNetpoll: true };
/** From 6.7 to 6.8. */
export const VETH_RULES_6_7: VethRules = { copies: "pool", xdpBringsGro: true, tellsDrops: true, dropsNotify: true, redirectsFirst: true, sendsBackFirst: false, refusesNetpoll: false };
/** From 5.18 to 6.1. */
export const VETH_RULES_5_18: VethRules = { copies: "pages", xdpBringsGro: true, tellsDrops: false, dropsNotify: true, redirectsFirst: false, sendsBackFirst: false, refusesNetpoll: false };
/** Before. */
export const VETH_RULES_4_14: VethRules = { copies: "page", xdpBringsGro: true, tellsDrops: false, dropsNotify: true, redirectsFirst: false, sendsBackFirst: false, refusesNetpoll: false };
