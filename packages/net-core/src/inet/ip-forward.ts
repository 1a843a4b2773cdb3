import { EEXIST, EINVAL, ENOENT } from "@netmem/kernel/api";
import type { NetDevice } from "@netmem/xdp/api";
import {
  IP_DF, SKB_DROP_REASON_IP_INHDR, SKB_DROP_REASON_NOMEM, SKB_DROP_REASON_PKT_TOO_BIG, csumReplace2, read16, read32, skbRegion, write16,
  type InetRoute, type InetStats, type SkBuff, type SkbEdit, type SkbLifetime,
} from "../api/index.ts";
import { ETH_ALEN, LL_RESERVED_SPACE, longestOf, type IpOutput } from "./ip-output.ts";

export interface ForwardParts {
  readonly lifetime: SkbLifetime;
  readonly edit: SkbEdit;
  readonly output: IpOutput;
  readonly stats: InetStats;
}

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

  /** By its IP header; null: it is for us. @kernel ip_route_input */
  routeOf(skb: SkBuff): InetRoute | null {
    return this.routes.length === 0 ? null : this.lookup(read32(skbRegion(skb).bytes, skb.networkHeader + 16));
  }

  private lookup(daddr: number): InetRoute | null {
    for (let i = 0; i < this.routes.length; i++) {
      const route = this.routes[i]!;
      if (((daddr & maskOf(route.prefixLength)) >>> 0) === route.destination) return route;
    }
    return null;
  }

  /** At its IP header. Consumes. @kernel ip_forward */
  forward(skb: SkBuff, route: InetRoute): void {
    const { lifetime, edit, stats } = this.parts;
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

function maskOf(prefixLength: number): number {
  return prefixLength === 0 ? 0 : -1 << (32 - prefixLength);
}
