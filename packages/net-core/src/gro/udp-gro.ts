import type { PayloadMemory, PayloadRegion } from "@netmem/mm/api";
import { IPPROTO_UDP, IP_HLEN, SKB_GSO_UDP_L4, UDP_CHECK_AT, UDP_HLEN, read16, skbGroLen, skbHeadlen, skbLeaveChecksum, skbRegion, write16, type SkBuff, type SkbMerge, type SkbPullTrim } from "../api/index.ts";
import type { NetCoreDates } from "../rules.ts";
import { groHeadersElsewhere, groHeadersStart } from "./gro-headers.ts";
import type { GroNode } from "./gro-node.ts";
import { groLookup, groTransportHolds, ipFollows } from "./inet-checks.ts";

/** Datagrams of one packet: many small ones would be charged for many pages. @kernel UDP_GRO_CNT_MAX */
const UDP_GRO_CNT_MAX = 64;

/** Whose datagrams may come merged. */
export interface UdpGroSockets {
  /** How many asked. @kernel udp_encap_needed_key */
  readonly groSockets: () => number;
  /** Whether the socket of the datagram with these headers did; null: it is no socket's. @kernel udp4_gro_lookup_skb, UDP_GRO */
  readonly asksForGro: (bytes: Uint8Array, ip: number, udp: number) => boolean | null;
}

/** Datagrams of one flow, for sockets that asked for it, or to be sent on. @kernel net/ipv4/udp_offload.c */
export class UdpGro {
  private readonly payload: PayloadMemory;
  private readonly edit: Pick<SkbPullTrim, "pskbMayPull">;
  private readonly merge: Pick<SkbMerge, "skbGroReceive">;
  private readonly sockets: UdpGroSockets;
  /** From 6.9 IP headers must agree as those of TCP do. */
  private readonly comparesIp: boolean;
  private readonly fixedIds: boolean;

  constructor(payload: PayloadMemory, edit: Pick<SkbPullTrim, "pskbMayPull">, merge: Pick<SkbMerge, "skbGroReceive">, sockets: UdpGroSockets, rules: Pick<NetCoreDates, "groComparesUdpsIp" | "groTakesFixedIds">) {
    this.payload = payload;
    this.edit = edit;
    this.merge = merge;
    this.sockets = sockets;
    this.comparesIp = rules.groComparesUdpsIp;
    this.fixedIds = rules.groTakesFixedIds;
  }

  /** As `InetGro.receive`, behind the IP header at `at` of `headers`. Any datagram is summed here; without a checksum there is none that each of several could have. @kernel udp4_gro_receive, udp_gro_receive, udp_gro_receive_segment */
  receive(node: GroNode, skb: SkBuff, headers: PayloadRegion, at: number): number {
    const { gro } = skb;
    let region = headers;
    let ip = at;
    if (skbHeadlen(skb) < gro.dataOffset + UDP_HLEN) {
      const elsewhere = groHeadersElsewhere(skb, gro.dataOffset + UDP_HLEN, this.edit);
      if (elsewhere === null) return -1;
      region = elsewhere;
      ip = groHeadersStart(skb) + gro.dataOffset - IP_HLEN;
    }
    const { bytes } = region;
    const udp = ip + IP_HLEN;
    const udpBytes = skbGroLen(skb);
    const hasSum = read16(bytes, udp + UDP_CHECK_AT) !== 0;
    if ((gro.flush === false && hasSum && !groTransportHolds(skb, region, ip, IPPROTO_UDP, this.payload)) || !this.mayMerge(skb, bytes, ip, udp)
      || !hasSum || udpBytes <= UDP_HLEN || read16(bytes, udp + 4) !== udpBytes) {
      gro.flush = true;
      return -1;
    }
    gro.dataOffset += UDP_HLEN;
    const i = groLookup(node, region, udp);
    return i < 0 ? -1 : this.into(i, node.held[i]!, skb, bytes, ip, udpBytes);
  }

  /** For a socket that asked, or to be sent on. @kernel udp_gro_receive */
  private mayMerge(skb: SkBuff, bytes: Uint8Array, ip: number, udp: number): boolean {
    const { sockets } = this;
    const forwards = skb.dev!.groUdpFwd;
    if (sockets.groSockets() === 0) return forwards;
    const asks = sockets.asksForGro(bytes, ip, udp);
    return asks === null ? forwards : asks;
  }

  /** Into the packet at `i` of its flow: one that is shorter is its last. */
  private into(i: number, p: SkBuff, skb: SkBuff, bytes: Uint8Array, ip: number, udpBytes: number): number {
    const held = skbRegion(p).bytes;
    const heldBytes = read16(held, p.transportHeader + 4);
    if (udpBytes > heldBytes || (this.comparesIp === true && !ipFollows(bytes, ip, held, p.networkHeader, p, this.fixedIds)) || this.merge.skbGroReceive(p, skb) !== 0) return i;
    return udpBytes !== heldBytes || p.gro.count >= UDP_GRO_CNT_MAX ? i : -1;
  }

  /** Of a packet with `udpBytes` of UDP. @kernel udp_gro_complete, udp4_gro_complete */
  complete(skb: SkBuff, udpBytes: number): void {
    write16(skbRegion(skb).bytes, skb.transportHeader + 4, udpBytes);
    skbLeaveChecksum(skb, IPPROTO_UDP, udpBytes, UDP_CHECK_AT);
    skb.shinfo!.gsoType = SKB_GSO_UDP_L4;
  }
}
