import type { PayloadMemory } from "@netmem/mm/api";
import {
  CHECKSUM_NONE, CHECKSUM_PARTIAL, CSUM_MANGLED_0, IPPROTO_TCP, IPPROTO_UDP, SKB_DROP_REASON_NOT_SPECIFIED, SKB_GSO_TCPV4, SKB_GSO_UDP_L4, TCPHDR_CWR, TCPHDR_FIN, TCPHDR_PSH, TCP_CHECK_AT, TCP_HLEN, UDP_CHECK_AT, UDP_HLEN, csumAdd, csumPseudo, csumReplace2, read16, read32, skbLeaveChecksum, skbRegion, write16, write32,
  type SegmentFeatures, type SkBuff, type SkbEdit, type SkbLifetime, type SkbMerge,
} from "../api/index.ts";
import { skbChecksum } from "./checksum.ts";

/** What a device takes that takes a packet in several pieces. */
const FEATURES: SegmentFeatures = { sg: true, gso: false };
export interface InetGsoParts {
  readonly edit: SkbEdit;
  readonly merge: Pick<SkbMerge, "skbSegment">;
  readonly lifetime: Pick<SkbLifetime, "kfreeSkb" | "consumeSkb">;
  readonly payload: PayloadMemory;
}

/** A packet of several segments or datagrams becomes those again, for a device that sends one at a time, or a socket that reads one at a time. @kernel net/ipv4/af_inet.c, tcp_offload.c, udp_offload.c */
export class InetGso {
  private readonly parts: InetGsoParts;

  constructor(parts: InetGsoParts) {
    this.parts = parts;
  }

  /**
   * The packet, its MAC header first, as segments chained through `next`, each with headers of its own, and a checksum unless the packet's was left to whoever sends it, and `hwCsum`, that is the segments'
   * receiver; null: dropped, being of another protocol or for lack of memory. Consumes. @kernel skb_gso_segment
   */
  segment(skb: SkBuff, hwCsum: boolean): SkBuff | null {
    const { edit, merge, lifetime } = this.parts;
    const info = skb.shinfo!;
    const { gsoSize, gsoType } = info;
    const headers = skb.transportHeader - skb.data;
    const isTcp = (gsoType & SKB_GSO_TCPV4) !== 0;
    if ((!isTcp && (gsoType & SKB_GSO_UDP_L4) === 0) || skb.transportHeader < 0 || !edit.pskbMayPull(skb, headers + (isTcp ? TCP_HLEN : UDP_HLEN))) return this.drop(skb);
    const headerBytes = isTcp ? (skbRegion(skb).bytes[skb.transportHeader + 12]! >> 4) * 4 : UDP_HLEN;
    if (!edit.pskbMayPull(skb, headers + headerBytes)) return this.drop(skb);
    skb.macHeader = skb.data;
    edit.skbPull(skb, headers + headerBytes);
    // Only TCP's remembers that all had one number.
    const fixedId = isTcp && skb.gro.fixedId;
    const first = merge.skbSegment(skb, FEATURES);
    if (typeof first === "number") return this.drop(skb);
    // Each has the headers of the whole as yet.
    this.writeIp(first, fixedId);
    const leavesCsum = hwCsum && skb.ipSummed === CHECKSUM_PARTIAL;
    if (isTcp) this.writeTcp(first, gsoSize, leavesCsum);
    else this.writeUdp(first, leavesCsum);
    lifetime.consumeSkb(skb);
    return first;
  }

  /** @kernel inet_gso_segment */
  private writeIp(first: SkBuff, fixedId: boolean): void {
    let id = read16(skbRegion(first).bytes, first.networkHeader + 4);
    for (let segment: SkBuff | null = first; segment !== null; segment = segment.next) {
      const { bytes } = skbRegion(segment);
      const ip = segment.networkHeader;
      const totalBytes = segment.len - (ip - segment.data);
      const check = csumReplace2(read16(bytes, ip + 10), read16(bytes, ip + 2), totalBytes);
      write16(bytes, ip + 10, csumReplace2(check, read16(bytes, ip + 4), id));
      write16(bytes, ip + 2, totalBytes);
      write16(bytes, ip + 4, id);
      if (!fixedId) id = (id + 1) & 0xffff;
    }
  }

  /** @kernel tcp_gso_segment */
  private writeTcp(first: SkBuff, gsoSize: number, leavesCsum: boolean): void {
    let seq = read32(skbRegion(first).bytes, first.transportHeader + 4);
    for (let segment: SkBuff | null = first; segment !== null; segment = segment.next) {
      const { bytes } = skbRegion(segment);
      const tcp = segment.transportHeader;
      write32(bytes, tcp + 4, seq);
      bytes[tcp + 13] = bytes[tcp + 13]! & ~(segment === first ? 0 : TCPHDR_CWR) & ~(segment.next === null ? 0 : TCPHDR_FIN | TCPHDR_PSH);
      this.writeCheck(segment, IPPROTO_TCP, TCP_CHECK_AT, leavesCsum);
      seq = (seq + gsoSize) | 0;
    }
  }

  /** @kernel __udp_gso_segment */
  private writeUdp(first: SkBuff, leavesCsum: boolean): void {
    for (let segment: SkBuff | null = first; segment !== null; segment = segment.next) {
      const { bytes } = skbRegion(segment);
      const udp = segment.transportHeader;
      write16(bytes, udp + 4, segment.len - (udp - segment.data));
      this.writeCheck(segment, IPPROTO_UDP, UDP_CHECK_AT, leavesCsum);
    }
  }

  private writeCheck(segment: SkBuff, protocol: number, checkAt: number, leavesCsum: boolean): void {
    const { data, len, transportHeader, networkHeader } = segment;
    const { bytes } = skbRegion(segment);
    const offset = transportHeader - data;
    if (leavesCsum) {
      skbLeaveChecksum(segment, protocol, len - offset, checkAt);
      return;
    }
    write16(bytes, transportHeader + checkAt, 0);
    const check = ~csumAdd(skbChecksum(segment, offset, len - offset, this.parts.payload), csumPseudo(bytes, networkHeader, protocol, len - offset)) & 0xffff;
    write16(bytes, transportHeader + checkAt, check === 0 && protocol === IPPROTO_UDP ? CSUM_MANGLED_0 : check);
    segment.ipSummed = CHECKSUM_NONE;
  }

  private drop(skb: SkBuff): null {
    this.parts.lifetime.kfreeSkb(skb, SKB_DROP_REASON_NOT_SPECIFIED);
    return null;
  }
}
