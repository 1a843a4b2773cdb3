import type { Page } from "@netmem/mm/api";
import type { SkBuff } from "./skbuff.ts";

/** A socket's queue, a tap's, a pipe, a CPU's backlog, what an instance holds back to merge or on its way up, packets that another CPU is to free, pieces of a datagram that wait for the rest. */
export type PacketHolderKind = "socket" | "tap" | "pipe" | "backlog" | "gro" | "deferred-free" | "ip-fragments";

/** Somebody in whose hands packets are, and so their pages. */
export interface PacketHolder {
  readonly kind: PacketHolderKind;
  /** Of the socket or the instance's device, or `cpu 1`. */
  readonly name: string;
  /** Oldest first. They stay the holder's. */
  readonly packets: readonly SkBuff[];
  /** Beside those of the packets; each is held once for each time that it is here. They stay the holder's. */
  readonly pages: readonly Page[];
  /** When it got the oldest: a stamp of the clock. */
  readonly since: number;
}
