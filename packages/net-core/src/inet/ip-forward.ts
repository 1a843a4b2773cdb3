import { EEXIST, EINVAL, ENOENT } from "@netmem/kernel/api";
import type { NetDevice } from "@netmem/xdp/api";
import {
  IP_DF, SKB_DROP_REASON_IP_INHDR, SKB_DROP_REASON_IP_INVALID_DEST, SKB_DROP_REASON_IP_INVALID_SOURCE, SKB_DROP_REASON_IP_LOCALNET, SKB_DROP_REASON_NOMEM, SKB_DROP_REASON_NOT_SPECIFIED,
  SKB_DROP_REASON_PKT_TOO_BIG, csumReplace2, read16, read32, skbRegion, write16,
  type InetRoute, type InetStats, type SkBuff, type SkbEdit, type SkbLifetime,
} from "../api/index.ts";
import type { NetCoreDates } from "../rules.ts";
import { ETH_ALEN, LL_RESERVED_SPACE, longestOf, type IpOutput } from "./ip-output.ts";

export interface ForwardParts {
  readonly lifetime: SkbLifetime;
  readonly edit: SkbEdit;
  readonly output: IpOutput;
  readonly stats: InetStats;
  readonly rules: Pick<NetCoreDates, "ipSaysMartian">;
}

/** 255.255.255.255. @kernel INADDR_BROADCAST */
const BROADCAST = -1;

/** Packets for others, and where they go. @kernel net/ipv4/ip_forward.c, fib_trie.c */
export class IpForward {
  private readonly parts: ForwardParts;
  /** The longest prefix first. */
  private readonly routes: InetRoute[];

  constructor(parts: ForwardParts) {
    this.parts = parts;
    this.routes = [];
  }

  add(route: InetRoute): number {
    const { prefixLength, neighbour } = route;
    // It may be signed, as `read32` has it.
    const destination = route.destination >>> 0;
    if (!Number.isInteger(route.destination) || !Number.isInteger(prefixLength) || prefixLength < 0 || prefixLength > 32 || neighbour.length !== ETH_ALEN || ((destination & ~maskOf(prefixLength)) >>> 0) !== 0) return -EINVAL;
    if (this.routes.some((other) => other.destination === destination && other.prefixLength === prefixLength)) return -EEXIST;
    const at = this.routes.findIndex((other) => other.prefixLength < prefixLength);
    this.routes.splice(at < 0 ? this.routes.length : at, 0, { ...route, destination });
    return 0;
  }

  remove(destination: number, prefixLength: number): number {
    const at = this.routes.findIndex((route) => route.destination === destination >>> 0 && route.prefixLength === prefixLength);
    if (at < 0) return -ENOENT;
    this.routes.splice(at, 1);
    return 0;
  }

  /** Nothing goes by way of `dev` any more. @kernel fib_netdev_event */
  forget(dev: NetDevice): void {
    for (let i = this.routes.length - 1; i >= 0; i--) if (this.routes[i]!.dev === dev) this.routes.splice(i, 1);
  }

  /** By its IP header; null: it is for us, as what is for everybody is. @kernel ip_route_input_slow */
  routeOf(skb: SkBuff): InetRoute | null {
    if (this.routes.length === 0) return null;
    const { bytes } = skbRegion(skb);
    const daddr = read32(bytes, skb.networkHeader + 16);
    const isForAll = isGroup(daddr) || daddr === BROADCAST || (daddr === 0 && read32(bytes, skb.networkHeader + 12) === 0);
    return isForAll ? null : this.lookup(daddr);
  }

  private lookup(daddr: number): InetRoute | null {
    for (let i = 0; i < this.routes.length; i++) {
      const route = this.routes[i]!;
      if (((daddr & maskOf(route.prefixLength)) >>> 0) === route.destination) return route;
    }
    return null;
  }

  /** 0: it may be sent on. */
  private whyNot(skb: SkBuff): number {
    const { bytes } = skbRegion(skb);
    const martian = martianReason(read32(bytes, skb.networkHeader + 12), read32(bytes, skb.networkHeader + 16));
    if (martian !== 0) return this.parts.rules.ipSaysMartian ? martian : SKB_DROP_REASON_NOT_SPECIFIED;
    // Not this machine's alone. @kernel PACKET_HOST
    return skb.macHeader >= 0 && (bytes[skb.macHeader]! & 1) !== 0 ? SKB_DROP_REASON_NOT_SPECIFIED : 0;
  }

  /** At its IP header. Consumes. @kernel ip_forward */
  forward(skb: SkBuff, route: InetRoute): void {
    const { lifetime, edit, stats } = this.parts;
    const reason = this.whyNot(skb);
    if (reason !== 0) {
      stats.ipMartians++;
      lifetime.kfreeSkb(skb, reason);
      return;
    }
    if (skbRegion(skb).bytes[skb.networkHeader + 8]! <= 1) {
      stats.ipInHdrErrors++;
      lifetime.kfreeSkb(skb, SKB_DROP_REASON_IP_INHDR);
      return;
    }
    // @kernel ip_exceeds_mtu
    if (longestOf(skb) > route.dev.mtu && (read16(skbRegion(skb).bytes, skb.networkHeader + 6) & IP_DF) !== 0) {
      stats.ipExceedsMtu++;
      stats.ipFragFails++;
      lifetime.kfreeSkb(skb, SKB_DROP_REASON_PKT_TOO_BIG);
      return;
    }
    if (edit.skbCow(skb, LL_RESERVED_SPACE) !== 0) {
      stats.ipInDiscards++;
      lifetime.kfreeSkb(skb, SKB_DROP_REASON_NOMEM);
      return;
    }
    const { bytes } = skbRegion(skb);
    const ip = skb.networkHeader;
    const ttl = read16(bytes, ip + 8);
    write16(bytes, ip + 8, ttl - 0x100);
    write16(bytes, ip + 10, csumReplace2(read16(bytes, ip + 10), ttl, ttl - 0x100));
    stats.ipForwDatagrams++;
    this.parts.output.finish(skb, route);
  }
}

/** 0: a network may have both. @kernel martian_source, martian_destination (net/ipv4/route.c) */
function martianReason(saddr: number, daddr: number): number {
  if (isGroup(saddr) || saddr === BROADCAST || saddr >>> 24 === 0) return SKB_DROP_REASON_IP_INVALID_SOURCE;
  if (daddr >>> 24 === 0) return SKB_DROP_REASON_IP_INVALID_DEST;
  return daddr >>> 24 === 127 || saddr >>> 24 === 127 ? SKB_DROP_REASON_IP_LOCALNET : 0;
}

/** @kernel ipv4_is_multicast */
function isGroup(address: number): boolean {
  return address >>> 28 === 0xe;
}

function maskOf(prefixLength: number): number {
  return prefixLength === 0 ? 0 : -1 << (32 - prefixLength);
}
