import type { PayloadMemory } from "@netmem/mm/api";
import {
  IPPROTO_TCP, SKB_DROP_REASON_NOT_SPECIFIED, SKB_GSO_TCPV4, TCPHDR_CWR, TCPHDR_FIN, TCPHDR_PSH, csumAdd, csumPseudo, csumReplace2, read16, read32, skbRegion, write16, write32,
  type SegmentFeatures, type SkBuff, type SkbEdit, type SkbLifetime, type SkbMerge,
} from "../api/index.ts";
import { skbChecksum } from "./checksum.ts";

/** What a device takes that takes a packet in several pieces. */
const FEATURES: SegmentFeatures = { sg: true, gso: false };

export interface TcpGsoParts {
  readonly edit: SkbEdit;
  readonly merge: Pick<SkbMerge, "skbSegment">;
  readonly lifetime: Pick<SkbLifetime, "kfreeSkb" | "consumeSkb">;
  readonly payload: PayloadMemory;
}

/** A packet of several segments becomes those again, for a device that sends one at a time. @kernel net/ipv4/tcp_offload.c, af_inet.c */
export class TcpGso {
  private readonly parts: TcpGsoParts;

  constructor(parts: TcpGsoParts) {
    this.parts = parts;
  }

  /** The packet, its MAC header first, as segments chained through `next`, each with headers and checksums of its own; null: dropped, being of another protocol or for lack of memory. Consumes. @kernel skb_gso_segment, inet_gso_segment, tcp_gso_segment */
  segment(skb: SkBuff): SkBuff | null {
    const { edit, merge, lifetime } = this.parts;
    const info = skb.shinfo!;
    const { gsoSize, gsoType } = info;
    const headers = skb.transportHeader - skb.data;
    if ((gsoType & SKB_GSO_TCPV4) === 0 || skb.transportHeader < 0 || !edit.pskbMayPull(skb, headers + 20)) return this.drop(skb);
    const headerBytes = (skbRegion(skb).bytes[skb.transportHeader + 12]! >> 4) * 4;
    if (!edit.pskbMayPull(skb, headers + headerBytes)) return this.drop(skb);
    skb.macHeader = skb.data;
    edit.skbPull(skb, headers + headerBytes);
    const { bytes } = skbRegion(skb);
    const flags = bytes[skb.transportHeader + 13]!;
    const seq = read32(bytes, skb.transportHeader + 4);
    const id = read16(bytes, skb.networkHeader + 4);
    const { fixedId } = skb.gro;
    const first = merge.skbSegment(skb, FEATURES);
    if (typeof first === "number") return this.drop(skb);
    let index = 0;
    for (let segment: SkBuff | null = first; segment !== null; segment = segment.next) {
      const last = segment.next === null;
      const kept = flags & ~(index === 0 ? 0 : TCPHDR_CWR) & ~(last ? 0 : TCPHDR_FIN | TCPHDR_PSH);
      this.writeHeaders(segment, (seq + index * gsoSize) | 0, kept, fixedId ? id : (id + index) & 0xffff);
      index++;
    }
    lifetime.consumeSkb(skb);
    return first;
  }

  private writeHeaders(segment: SkBuff, seq: number, flags: number, id: number): void {
    const { bytes } = skbRegion(segment);
    const ip = segment.networkHeader;
    const tcp = segment.transportHeader;
    const totalBytes = segment.len - (ip - segment.data);
    let check = csumReplace2(read16(bytes, ip + 10), read16(bytes, ip + 2), totalBytes);
    check = csumReplace2(check, read16(bytes, ip + 4), id);
    write16(bytes, ip + 2, totalBytes);
    write16(bytes, ip + 4, id);
    write16(bytes, ip + 10, check);
    write32(bytes, tcp + 4, seq);
    bytes[tcp + 13] = flags;
    write16(bytes, tcp + 16, 0);
    const tcpBytes = segment.len - (tcp - segment.data);
    write16(bytes, tcp + 16, ~csumAdd(skbChecksum(segment, tcp - segment.data, tcpBytes, this.parts.payload), csumPseudo(bytes, ip, IPPROTO_TCP, tcpBytes)) & 0xffff);
  }

  private drop(skb: SkBuff): null {
    this.parts.lifetime.kfreeSkb(skb, SKB_DROP_REASON_NOT_SPECIFIED);
    return null;
  }
}
