import type { Clock, Softirqs } from "@netmem/kernel/api";
import type { PayloadMemory } from "@netmem/mm/api";
import type { InetStats, SkbEdit, SkbLifetime, SkbMerge } from "../api/index.ts";
import type { TcpZerocopy } from "./tcp-zerocopy.ts";

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
  /** What was not read is freed where it was allocated; else by who closes. */
  readonly tcpCloseDefersFrees: boolean;
  /** A segment of nothing but a FIN that is next is taken without room. */
  readonly tcpTakesBareFin: boolean;
  /** What is next makes room even where nothing waits to be read, before it is taken in any case; and its reader is told before it is dropped, and may make some. Else it is taken at once. */
  readonly tcpMakesRoomFirst: boolean;
  /** Segments that are ahead tell of the room, too. */
  readonly tcpMeasuresAhead: boolean;
  /** What is taken to be payload of the room at first, in 256ths. */
  readonly tcpFirstRatio: number;
  /** There must be room for a segment's bytes, too; else for one that is full already there is none. */
  readonly tcpCountsSegment: boolean;
  /** What of the room is payload was measured; else half of it is taken for that. */
  readonly tcpScalesRoom: boolean;
  /** Short of room, those give way that lie behind the one that comes; else any do. */
  readonly tcpPrunesBehind: boolean;
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
