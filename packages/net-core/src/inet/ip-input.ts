import { GFP_ATOMIC, type PayloadMemory } from "@netmem/mm/api";
import { ETH_P_IP, type NetDevice } from "@netmem/xdp/api";
import {
  IPPROTO_TCP, IPPROTO_UDP, IP_HLEN, IP_MF, IP_OFFSET, SKB_DROP_REASON_IP_CSUM, SKB_DROP_REASON_IP_INHDR, SKB_DROP_REASON_IP_NOPROTO, SKB_DROP_REASON_NOMEM, SKB_DROP_REASON_NOT_SPECIFIED, SKB_DROP_REASON_PKT_TOO_SMALL, SKB_GSO_TCPV4, skbHeadroom, skbIsGso,
  read16, skbRegion, type Inet, type InetRoute, type InetStats, type PacketHolder, type Pipe, type SkBuff, type SkbEdit, type SkbLifetime, type TcpListener, type TcpListenOptions, type UdpSocket, type UdpSocketOptions,
} from "../api/index.ts";
import { ipHeaderHolds } from "./checksum.ts";
import { ipOptions } from "./ip-options.ts";
import { IpFragments, type FragmentParts } from "./ip-fragment.ts";
import { IpForward, type ForwardParts } from "./ip-forward.ts";
import { IpOutput, type OutputParts } from "./ip-output.ts";
import { PageRing, type PipeParts } from "./pipe.ts";
import { TcpInput } from "./tcp-input.ts";
import type { TcpParts } from "./tcp-parts.ts";
import { UdpInput, type UdpParts } from "./udp.ts";

export interface InetParts extends Omit<UdpParts, "stats" | "rules">, Omit<TcpParts, "stats" | "rules">, Omit<ForwardParts, "stats" | "output" | "rules">, Omit<OutputParts, "stats">, Omit<FragmentParts, "stats">, Omit<PipeParts, "filledPipes"> {
  readonly lifetime: SkbLifetime;
  readonly edit: SkbEdit;
  readonly payload: PayloadMemory;
  readonly rules: UdpParts["rules"] & TcpParts["rules"] & ForwardParts["rules"];
}

/** @kernel net/ipv4/ip_input.c */
export class IpInput implements Inet {
  readonly protocol: number = ETH_P_IP;
  readonly stats: InetStats;
  private readonly parts: InetParts;
  private readonly routes: IpForward;
  private readonly fragments: IpFragments;
  readonly udp: UdpInput;
  private readonly tcp: TcpInput;
  private readonly pipes: PipeParts;

  constructor(parts: InetParts) {
    this.parts = parts;
    this.stats = { ipInReceives: 0, ipInHdrErrors: 0, ipInTruncatedPkts: 0, ipInDiscards: 0, ipInUnknownProtos: 0, ipSourceRoutes: 0, ipMartians: 0, ipForwDatagrams: 0, ipExceedsMtu: 0, ipFragOks: 0, ipFragFails: 0, ipFragCreates: 0, ipReasmReqds: 0, ipReasmOks: 0, ipReasmFails: 0, pfMemallocDrop: 0, udpInDatagrams: 0, udpNoPorts: 0, udpInErrors: 0, udpRcvbufErrors: 0, udpRcvbufMerged: 0, udpCsumErrors: 0, tcpInSegs: 0, tcpInErrs: 0, tcpCsumErrors: 0, tcpNoPorts: 0, tcpRcvbufErrors: 0, tcpRepeats: 0, tcpNotTaken: 0, tcpRcvCollapsed: 0 };
    this.routes = new IpForward({ ...parts, stats: this.stats, output: new IpOutput({ ...parts, stats: this.stats }) });
    this.fragments = new IpFragments({ ...parts, stats: this.stats });
    this.udp = new UdpInput({ ...parts, stats: this.stats });
    this.tcp = new TcpInput({ ...parts, stats: this.stats });
    this.pipes = { ...parts, filledPipes: new Set() };
  }

  udpBind(options: UdpSocketOptions): UdpSocket | number {
    return this.udp.bind(options);
  }

  tcpListen(options: TcpListenOptions): TcpListener | number {
    return this.tcp.listen(options);
  }

  createPipe(): Pipe {
    return new PageRing(this.pipes);
  }

  addHolders(to: PacketHolder[]): void {
    this.fragments.addHolders(to);
    this.udp.addHolders(to);
    this.tcp.addHolders(to);
    for (const pipe of this.pipes.filledPipes) to.push(pipe.holder());
  }

  routeAdd(route: InetRoute): number {
    return this.routes.add(route);
  }

  routeDel(destination: number, prefixLength: number): number {
    return this.routes.remove(destination, prefixLength);
  }

  forget(dev: NetDevice): void {
    this.routes.forget(dev);
  }

  /** @kernel ip_rcv, ip_rcv_core */
  packetRcv(received: SkBuff): void {
    const { lifetime, edit, payload } = this.parts;
    this.stats.ipInReceives++;
    const skb = lifetime.skbShareCheck(received, GFP_ATOMIC);
    if (skb === null) {
      this.stats.ipInDiscards++;
      return;
    }
    if (!edit.pskbMayPull(skb, IP_HLEN)) {
      this.badHeader(skb, SKB_DROP_REASON_IP_INHDR);
      return;
    }
    const first = skbRegion(skb).bytes[skb.data]!;
    const headerBytes = (first & 0xf) * 4;
    if (first >> 4 !== 4 || headerBytes < IP_HLEN) {
      this.badHeader(skb, SKB_DROP_REASON_IP_INHDR);
      return;
    }
    if (!edit.pskbMayPull(skb, headerBytes)) {
      this.badHeader(skb, SKB_DROP_REASON_IP_INHDR);
      return;
    }
    const region = skbRegion(skb);
    const ip = skb.data;
    if (!ipHeaderHolds(region, ip, headerBytes, payload)) {
      this.badHeader(skb, SKB_DROP_REASON_IP_CSUM);
      return;
    }
    const written = read16(region.bytes, ip + 2);
    // @kernel iph_totlen, skb_ip_totlen
    const totalBytes = written === 0 && skbIsGso(skb) && (skb.shinfo!.gsoType & SKB_GSO_TCPV4) !== 0 ? skb.len : written;
    if (totalBytes < headerBytes) {
      this.badHeader(skb, SKB_DROP_REASON_IP_INHDR);
      return;
    }
    if (totalBytes > skb.len) {
      this.stats.ipInTruncatedPkts++;
      lifetime.kfreeSkb(skb, SKB_DROP_REASON_PKT_TOO_SMALL);
      return;
    }
    skb.networkHeader = ip;
    skb.transportHeader = ip + headerBytes;
    // What is behind it filled the frame up.
    if (skb.len > totalBytes && edit.pskbTrim(skb, totalBytes) !== 0) {
      this.discard(skb, SKB_DROP_REASON_NOT_SPECIFIED);
      return;
    }
    lifetime.skbOrphan(skb);
    if (headerBytes > IP_HLEN && !this.takesOptions(skb, headerBytes)) return;
    const route = this.routes.routeOf(skb);
    if (route !== null) this.routes.forward(skb, route);
    else this.deliver(skb, headerBytes);
  }

  /** False: it is gone. Whoever reads options may write to them, so that the head is its own then. @kernel ip_rcv_options */
  private takesOptions(skb: SkBuff, headerBytes: number): boolean {
    const { lifetime, edit } = this.parts;
    if (edit.skbCow(skb, skbHeadroom(skb)) !== 0) {
      this.discard(skb, SKB_DROP_REASON_NOMEM);
      return false;
    }
    const verdict = ipOptions(skbRegion(skb).bytes, skb.networkHeader, headerBytes);
    if (verdict === "hold") return true;
    if (verdict === "wrong") this.badHeader(skb, SKB_DROP_REASON_IP_INHDR);
    else {
      this.stats.ipSourceRoutes++;
      lifetime.kfreeSkb(skb, SKB_DROP_REASON_IP_INHDR);
    }
    return false;
  }

  /** @kernel ip_local_deliver, ip_protocol_deliver_rcu */
  private deliver(received: SkBuff, headerBytes: number): void {
    // Trimmed, it may have another head than it had.
    const isPiece = (read16(skbRegion(received).bytes, received.networkHeader + 6) & (IP_MF | IP_OFFSET)) !== 0;
    const skb = isPiece ? this.fragments.defrag(received, headerBytes) : received;
    if (skb === null) return;
    // A datagram has the header of its first piece, which may have options that others lack.
    this.parts.edit.skbPull(skb, isPiece ? (skbRegion(skb).bytes[skb.networkHeader]! & 0xf) * 4 : headerBytes);
    skb.transportHeader = skb.data;
    switch (skbRegion(skb).bytes[skb.networkHeader + 9]) {
      case IPPROTO_UDP:
        this.udp.receive(skb);
        return;
      case IPPROTO_TCP:
        this.tcp.receive(skb);
        return;
      default:
        this.stats.ipInUnknownProtos++;
        this.parts.lifetime.kfreeSkb(skb, SKB_DROP_REASON_IP_NOPROTO);
    }
  }

  private badHeader(skb: SkBuff, reason: number): void {
    this.stats.ipInHdrErrors++;
    this.parts.lifetime.kfreeSkb(skb, reason);
  }

  private discard(skb: SkBuff, reason: number): void {
    this.stats.ipInDiscards++;
    this.parts.lifetime.kfreeSkb(skb, reason);
  }
}
