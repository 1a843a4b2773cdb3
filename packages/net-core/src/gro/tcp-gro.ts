import type { PayloadMemory, PayloadRegion } from "@netmem/mm/api";
import {
  IPPROTO_TCP, IP_HLEN, SKB_GSO_TCPV4, TCPHDR_CWR, TCPHDR_FIN, TCPHDR_PSH, TCPHDR_RST, TCPHDR_SYN, TCPHDR_URG, TCP_CHECK_AT, TCP_HLEN,
  read16, read32, skbGroLen, skbHeadlen, skbIsGso, skbLeaveChecksum, skbRegion, type SkBuff, type SkbMerge, type SkbPullTrim,
} from "../api/index.ts";
import type { NetCoreDates } from "../rules.ts";
import { groHeadersElsewhere, groHeadersStart } from "./gro-headers.ts";
import type { GroNode } from "./gro-node.ts";
import { groLookup, groTransportHolds, ipFollows, sameWord } from "./inet-checks.ts";

/** Flags that a packet has as soon as one of its segments does. */
const MAY_DIFFER: number = TCPHDR_FIN | TCPHDR_PSH;
/** What ends a packet. */
const ENDS: number = TCPHDR_URG | TCPHDR_PSH | TCPHDR_RST | TCPHDR_SYN | TCPHDR_FIN;

/** Segments of a connection. @kernel net/ipv4/tcp_offload.c */
export class TcpGro {
  private readonly payload: PayloadMemory;
  private readonly edit: Pick<SkbPullTrim, "pskbMayPull">;
  private readonly merge: Pick<SkbMerge, "skbGroReceive">;
  /** Flags in which segments of one packet may differ: those whose bits an acknowledgement does not count by. */
  private readonly mayDiffer: number;
  private readonly fixedIds: boolean;

  constructor(payload: PayloadMemory, edit: Pick<SkbPullTrim, "pskbMayPull">, merge: Pick<SkbMerge, "skbGroReceive">, rules: Pick<NetCoreDates, "groComparesCwr" | "groTakesFixedIds">) {
    this.payload = payload;
    this.edit = edit;
    this.merge = merge;
    this.mayDiffer = rules.groComparesCwr ? MAY_DIFFER : MAY_DIFFER | TCPHDR_CWR;
    this.fixedIds = rules.groTakesFixedIds;
  }

  /** As `InetGro.receive`, behind the IP header at `at` of `headers`. @kernel tcp4_gro_receive, tcp_gro_pull_header */
  receive(node: GroNode, skb: SkBuff, headers: PayloadRegion, at: number): number {
    const { gro } = skb;
    let region = headers;
    let ip = at;
    const headlen = skbHeadlen(skb);
    if (headlen < gro.dataOffset + TCP_HLEN || headlen < gro.dataOffset + headerLength(region, ip)) {
      const elsewhere = this.wholeHeader(skb);
      if (elsewhere === null) return -1;
      region = elsewhere;
      ip = groHeadersStart(skb) + gro.dataOffset - IP_HLEN;
    }
    const headerBytes = headerLength(region, ip);
    if (headerBytes < TCP_HLEN || (gro.flush === false && !groTransportHolds(skb, region, ip, IPPROTO_TCP, this.payload))) {
      gro.flush = true;
      return -1;
    }
    const tcp = ip + IP_HLEN;
    gro.dataOffset += headerBytes;
    const i = groLookup(node, region, tcp);
    if (i >= 0) return this.into(i, node.held[i]!, skb, region, ip, headerBytes);
    const len = skbGroLen(skb);
    if (len === 0 || (skbIsGso(skb) && len !== gro.count * skb.shinfo!.gsoSize) || (region.bytes[tcp + 13]! & ENDS) !== 0) gro.flush = true;
    return -1;
  }

  /** Where it is that is not all in the head. */
  private wholeHeader(skb: SkBuff): PayloadRegion | null {
    const { dataOffset } = skb.gro;
    const region = groHeadersElsewhere(skb, dataOffset + TCP_HLEN, this.edit);
    return region === null ? null : groHeadersElsewhere(skb, dataOffset + Math.max(TCP_HLEN, headerLength(region, groHeadersStart(skb) + dataOffset - IP_HLEN)), this.edit);
  }

  /** Into the packet at `i` of its connection. @kernel tcp_gro_receive */
  private into(i: number, p: SkBuff, skb: SkBuff, region: PayloadRegion, ip: number, headerBytes: number): number {
    const { gro } = skb;
    const { bytes } = region;
    const tcp = ip + IP_HLEN;
    const heldRegion = skbRegion(p);
    const held = heldRegion.bytes;
    const at = p.transportHeader;
    const len = skbGroLen(skb);
    const flags = bytes[tcp + 13]!;
    const gso = skbIsGso(skb);
    const mss = p.shinfo!.gsoSize;
    const apart = (flags & TCPHDR_CWR) !== 0
      || ((flags ^ held[at + 13]!) & ~this.mayDiffer) !== 0 || bytes[tcp + 12] !== held[at + 12]
      // The window may not differ, either: it is in the same word.
      || read16(bytes, tcp + 14) !== read16(held, at + 14) || !sameWord(region, tcp + 8, heldRegion, at + 8)
      || !sameOptions(region, tcp, heldRegion, at, headerBytes) || !ipFollows(bytes, ip, held, p.networkHeader, p, this.fixedIds)
      || (gso ? mss !== skb.shinfo!.gsoSize : len === 0 || len > mss)
      || ((read32(held, at + 4) + skbGroLen(p)) | 0) !== read32(bytes, tcp + 4);
    // What it gives up is no longer in it.
    const short = gso ? len !== gro.count * skb.shinfo!.gsoSize : len < mss;
    if (apart || this.merge.skbGroReceive(p, skb) !== 0) {
      if ((gso && short) || len === 0 || (flags & ENDS) !== 0) gro.flush = true;
      return i;
    }
    held[at + 13] = held[at + 13]! | (flags & MAY_DIFFER);
    // Nothing may be merged behind one that is shorter than the others, or says so.
    return short || (flags & ENDS) !== 0 ? i : -1;
  }

  /** Of a packet with `tcpBytes` of TCP. @kernel tcp4_gro_complete */
  complete(skb: SkBuff, tcpBytes: number): void {
    skbLeaveChecksum(skb, IPPROTO_TCP, tcpBytes, TCP_CHECK_AT);
    skb.shinfo!.gsoType = SKB_GSO_TCPV4;
  }
}

function sameOptions(a: PayloadRegion, atA: number, b: PayloadRegion, atB: number, headerBytes: number): boolean {
  for (let i = TCP_HLEN; i < headerBytes; i += 4) if (!sameWord(a, atA + i, b, atB + i)) return false;
  return true;
}

/** Of the TCP header behind the IP header at `ip`. */
function headerLength({ bytes }: PayloadRegion, ip: number): number {
  return (bytes[ip + IP_HLEN + 12]! >> 4) * 4;
}
