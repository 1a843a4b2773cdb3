import type { Clock, Softirqs } from "@netmem/kernel/api";
import type { PayloadMemory } from "@netmem/mm/api";
import type { InetStats, SkbEdit, SkbLifetime, SkbMerge } from "../api/index.ts";
import type { NetCoreDates } from "../rules.ts";
import type { TcpZerocopy } from "./tcp-zerocopy.ts";

export type TcpRules = Pick<NetCoreDates, "tcpCloseDefersFrees" | "tcpTakesBareFin" | "tcpMakesRoomFirst" | "tcpMeasuresAhead" | "tcpFirstRatio" | "tcpCountsSegment" | "tcpScalesRoom" | "tcpPrunesBehind">;

/** What connections are made of, and the dates that they keep to. */
export interface TcpParts {
  readonly lifetime: SkbLifetime;
  readonly edit: SkbEdit;
  readonly merge: SkbMerge;
  readonly payload: PayloadMemory;
  readonly zerocopy: TcpZerocopy;
  readonly clock: Clock;
  readonly softirqs: Softirqs;
  readonly stats: InetStats;
  readonly rules: TcpRules;
}

/** Which connection, and where its bytes begin. */
export interface TcpConnection {
  readonly saddr: number;
  readonly daddr: number;
  readonly sport: number;
  readonly dport: number;
  readonly hash: number;
  readonly firstSeq: number;
  /** It is found no more. */
  readonly gone: () => void;
  readonly closed: () => void;
}
