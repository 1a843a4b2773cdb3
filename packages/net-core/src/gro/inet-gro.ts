import type { PayloadMemory } from "@netmem/mm/api";
import { IPPROTO_TCP, IPPROTO_UDP, IP_DF, IP_HLEN, IP_MF, IP_OFFSET, csumReplace2, read16, skbGroLen, skbHeadlen, skbRegion, write16, type SkBuff, type SkbPullTrim } from "../api/index.ts";
import { ipHeaderHolds } from "../inet/checksum.ts";
import { groHeadersElsewhere, groHeadersStart } from "./gro-headers.ts";
import type { GroNode } from "./gro-node.ts";
import { sameWord } from "./inet-checks.ts";
import type { TcpGro } from "./tcp-gro.ts";
import type { UdpGro } from "./udp-gro.ts";

const VERSION_AND_IHL = 0x45;

/** What GRO knows of IPv4: TCP and UDP behind headers without options. @kernel net/ipv4/af_inet.c */
export class InetGro {
  private readonly payload: PayloadMemory;
  private readonly tcp: TcpGro;
  private readonly udp: UdpGro;
  private readonly edit: Pick<SkbPullTrim, "pskbMayPull">;

  constructor(payload: PayloadMemory, edit: Pick<SkbPullTrim, "pskbMayPull">, tcp: TcpGro, udp: UdpGro) {
    this.payload = payload;
    this.edit = edit;
    this.tcp = tcp;
    this.udp = udp;
  }

  /**
   * Which of the held packets, those marked `sameFlow`, has had its last segment, or must go before this one: its index, or −1. `skb.gro.sameFlow`: it was merged;
   * `skb.gro.flush`: it is not to be held either. @kernel inet_gro_receive
   */
  receive(node: GroNode, skb: SkBuff): number {
    const { gro } = skb;
    let region = skbRegion(skb);
    let ip = skb.data + gro.dataOffset;
    if (skbHeadlen(skb) < gro.dataOffset + IP_HLEN) {
      const elsewhere = groHeadersElsewhere(skb, gro.dataOffset + IP_HLEN, this.edit);
      if (elsewhere === null) return -1;
      region = elsewhere;
      ip = groHeadersStart(skb) + gro.dataOffset;
    }
    const { bytes } = region;
    const protocol = bytes[ip + 9]!;
    const fragOff = read16(bytes, ip + 6);
    // A piece of a datagram goes up, and those that are held stay.
    if (bytes[ip] !== VERSION_AND_IHL || (protocol !== IPPROTO_TCP && protocol !== IPPROTO_UDP) || (fragOff & (IP_MF | IP_OFFSET)) !== 0 || !ipHeaderHolds(region, ip, IP_HLEN, this.payload)) {
      gro.flush = true;
      return -1;
    }
    // Padding, or the bit that nobody sets.
    if (read16(bytes, ip + 2) !== skbGroLen(skb) || (fragOff & ~IP_DF) !== 0) gro.flush = true;
    gro.proto = protocol;
    skb.networkHeader = skb.data + gro.dataOffset;
    for (let i = 0; i < node.count; i++) {
      const p = node.held[i]!;
      if (p.gro.sameFlow === false) continue;
      const held = skbRegion(p);
      const at = p.networkHeader;
      if (held.bytes[at + 9] !== protocol || !sameWord(held, at + 12, region, ip + 12) || !sameWord(held, at + 16, region, ip + 16)) p.gro.sameFlow = false;
    }
    gro.dataOffset += IP_HLEN;
    skb.transportHeader = skb.networkHeader + IP_HLEN;
    return protocol === IPPROTO_TCP ? this.tcp.receive(node, skb, region, ip) : this.udp.receive(node, skb, region, ip);
  }

  /** The packet's headers say what it has become. @kernel inet_gro_complete */
  complete(skb: SkBuff): void {
    const { bytes } = skbRegion(skb);
    const ip = skb.networkHeader;
    const { proto, count } = skb.gro;
    const totalBytes = skb.len - (ip - skb.data);
    // What no length can say is 0: its length is the packet's. @kernel iph_set_totlen
    const written = totalBytes > 0xffff ? 0 : totalBytes;
    write16(bytes, ip + 10, csumReplace2(read16(bytes, ip + 10), read16(bytes, ip + 2), written));
    write16(bytes, ip + 2, written);
    skb.shinfo!.gsoSegs = count;
    const transport = proto === IPPROTO_TCP ? this.tcp : this.udp;
    transport.complete(skb, totalBytes - IP_HLEN);
  }
}
