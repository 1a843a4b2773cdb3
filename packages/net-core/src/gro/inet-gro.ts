import type { PayloadMemory } from "@netmem/mm/api";
import {
  CHECKSUM_NONE, CHECKSUM_UNNECESSARY, IPPROTO_TCP, IP_DF, IP_HLEN, SKB_GSO_TCPV4, TCPHDR_CWR, TCPHDR_FIN, TCPHDR_PSH, TCPHDR_RST, TCPHDR_SYN, TCPHDR_URG, TCP_HLEN,
  csumAdd, csumPseudo, csumReplace2, read16, read32, skbGroLen, skbHeadlen, skbIsGso, skbRegion, write16, type SkBuff, type SkbMerge,
} from "../api/index.ts";
import type { GroNode } from "./gro-node.ts";
import { skbChecksum } from "../inet/checksum.ts";

/** Flags that a packet has as soon as one of its segments does. */
const MAY_DIFFER: number = TCPHDR_FIN | TCPHDR_PSH;
/** What ends a packet. */
const ENDS: number = TCPHDR_URG | TCPHDR_PSH | TCPHDR_RST | TCPHDR_SYN | TCPHDR_FIN;
const VERSION_AND_IHL = 0x45;

/** What GRO knows of IPv4 and TCP: nothing else is merged. @kernel net/ipv4/af_inet.c, net/ipv4/tcp_offload.c */
export class InetGro {
  private readonly payload: PayloadMemory;
  private readonly merge: Pick<SkbMerge, "skbGroReceive">;
  /** Flags in which segments of one packet may differ: those whose bits an acknowledgement does not count by. */
  private readonly mayDiffer: number;

  constructor(payload: PayloadMemory, merge: Pick<SkbMerge, "skbGroReceive">, comparesCwr: boolean) {
    this.payload = payload;
    this.merge = merge;
    this.mayDiffer = comparesCwr ? MAY_DIFFER : MAY_DIFFER | TCPHDR_CWR;
  }

  /**
   * Which of the held packets, those marked `sameFlow`, has had its last segment, or must go before this one: its index, or −1. `skb.gro.sameFlow`: it was merged;
   * `skb.gro.flush`: it is not to be held either. @kernel inet_gro_receive
   */
  receive(node: GroNode, skb: SkBuff): number {
    const { gro } = skb;
    const ip = skb.data + gro.dataOffset;
    const { bytes } = skbRegion(skb);
    if (skbHeadlen(skb) < gro.dataOffset + IP_HLEN || bytes[ip] !== VERSION_AND_IHL || bytes[ip + 9] !== IPPROTO_TCP || this.payload.checksum(skbRegion(skb), ip, IP_HLEN) !== 0xffff) {
      gro.flush = true;
      return -1;
    }
    const fragOff = read16(bytes, ip + 6);
    // Padding, or a piece of a datagram.
    if (read16(bytes, ip + 2) !== skbGroLen(skb) || (fragOff & ~IP_DF) !== 0) gro.flush = true;
    gro.proto = IPPROTO_TCP;
    skb.networkHeader = ip;
    for (let i = 0; i < node.count; i++) {
      const p = node.held[i]!;
      if (!p.gro.sameFlow) continue;
      const held = skbRegion(p).bytes;
      const at = p.networkHeader;
      if (held[at + 9] !== IPPROTO_TCP || read32(held, at + 12) !== read32(bytes, ip + 12) || read32(held, at + 16) !== read32(bytes, ip + 16)) p.gro.sameFlow = false;
    }
    gro.dataOffset += IP_HLEN;
    skb.transportHeader = ip + IP_HLEN;
    return this.receiveTcp(node, skb, bytes, ip);
  }

  /** @kernel tcp4_gro_receive, tcp_gro_pull_header, tcp_gro_lookup */
  private receiveTcp(node: GroNode, skb: SkBuff, bytes: Uint8Array, ip: number): number {
    const { gro } = skb;
    const tcp = ip + IP_HLEN;
    const headerBytes = skbHeadlen(skb) < gro.dataOffset + TCP_HLEN ? 0 : (bytes[tcp + 12]! >> 4) * 4;
    if (headerBytes < TCP_HLEN || skbHeadlen(skb) < gro.dataOffset + headerBytes || (!gro.flush && !this.tcpIsWhole(skb, bytes, ip))) {
      gro.flush = true;
      return -1;
    }
    gro.dataOffset += headerBytes;
    for (let i = 0; i < node.count; i++) {
      const p = node.held[i]!;
      if (!p.gro.sameFlow) continue;
      // Both ports at once.
      if (read32(skbRegion(p).bytes, p.transportHeader) === read32(bytes, tcp)) return this.mergeTcp(i, p, skb, bytes, ip, headerBytes);
      p.gro.sameFlow = false;
    }
    const len = skbGroLen(skb);
    if (len === 0 || (skbIsGso(skb) && len !== gro.count * skb.shinfo!.gsoSize) || (bytes[tcp + 13]! & ENDS) !== 0) gro.flush = true;
    return -1;
  }

  /** Into the packet at `i` of its connection. @kernel tcp_gro_receive */
  private mergeTcp(i: number, p: SkBuff, skb: SkBuff, bytes: Uint8Array, ip: number, headerBytes: number): number {
    const { gro } = skb;
    const tcp = ip + IP_HLEN;
    const held = skbRegion(p).bytes;
    const at = p.transportHeader;
    const len = skbGroLen(skb);
    const flags = bytes[tcp + 13]!;
    const gso = skbIsGso(skb);
    const mss = p.shinfo!.gsoSize;
    const apart = (flags & TCPHDR_CWR) !== 0
      || ((flags ^ held[at + 13]!) & ~this.mayDiffer) !== 0 || bytes[tcp + 12] !== held[at + 12]
      // The window may not differ, either: it is in the same word.
      || read16(bytes, tcp + 14) !== read16(held, at + 14) || read32(bytes, tcp + 8) !== read32(held, at + 8)
      || !sameOptions(bytes, tcp, held, at, headerBytes) || !follows(bytes, ip, held, p.networkHeader, p)
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

  private tcpIsWhole(skb: SkBuff, bytes: Uint8Array, ip: number): boolean {
    if (skb.ipSummed !== CHECKSUM_NONE) return true;
    const len = skbGroLen(skb);
    if (csumAdd(skbChecksum(skb, skb.gro.dataOffset, len, this.payload), csumPseudo(bytes, ip, IPPROTO_TCP, len)) !== 0xffff) return false;
    skb.ipSummed = CHECKSUM_UNNECESSARY;
    return true;
  }

  /** The packet's headers say what it has become. @kernel inet_gro_complete, tcp4_gro_complete */
  complete(skb: SkBuff): void {
    const { bytes } = skbRegion(skb);
    const ip = skb.networkHeader;
    const tcp = skb.transportHeader;
    const totalBytes = skb.len - (ip - skb.data);
    // What no length can say is 0: its length is the packet's. @kernel iph_set_totlen
    const written = totalBytes > 0xffff ? 0 : totalBytes;
    write16(bytes, ip + 10, csumReplace2(read16(bytes, ip + 10), read16(bytes, ip + 2), written));
    write16(bytes, ip + 2, written);
    // The sum of the pseudo header: whoever sends it on completes it.
    write16(bytes, tcp + 16, csumPseudo(bytes, ip, IPPROTO_TCP, totalBytes - IP_HLEN));
    const info = skb.shinfo!;
    info.gsoSegs = skb.gro.count;
    info.gsoType = SKB_GSO_TCPV4;
  }
}

function sameOptions(a: Uint8Array, atA: number, b: Uint8Array, atB: number, headerBytes: number): boolean {
  for (let i = TCP_HLEN; i < headerBytes; i += 4) if (read32(a, atA + i) !== read32(b, atB + i)) return false;
  return true;
}

/** Everything but length and checksum as in the held packet; and the number is as many further as there are packets in it, or always the same, where it must not be fragmented. @kernel inet_gro_flush */
function follows(bytes: Uint8Array, ip: number, held: Uint8Array, at: number, p: SkBuff): boolean {
  const df = bytes[ip + 6]! & (IP_DF >> 8);
  if (bytes[ip + 8] !== held[at + 8] || bytes[ip + 1] !== held[at + 1] || df !== (held[at + 6]! & (IP_DF >> 8))) return false;
  const further = (read16(bytes, ip + 4) - read16(held, at + 4)) & 0xffff;
  if (p.gro.count === 1 && df !== 0 && further === 0) p.gro.fixedId = true;
  return p.gro.fixedId ? further === 0 : further === p.gro.count;
}
