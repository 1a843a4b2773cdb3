import { EEXIST, EINVAL, ENOENT } from "@netmem/kernel/api";
import { ETH_HLEN, ETH_P_IP, type NetDevice } from "@netmem/xdp/api";
import {
  SKB_DROP_REASON_IP_INHDR, SKB_DROP_REASON_NOMEM, SKB_DROP_REASON_PKT_TOO_BIG, SKB_GSO_UDP_L4, UDP_HLEN, csumReplace2, read16, read32, skbIsGso, skbRegion, write16,
  type InetRoute, type InetStats, type NetTransmit, type SkBuff, type SkbEdit, type SkbLifetime,
} from "../api/index.ts";

/** Room in front of the IP header for the next device's. @kernel LL_RESERVED_SPACE */
const LL_RESERVED_SPACE = 16;
const ETH_ALEN = 6;

export interface ForwardParts {
  readonly lifetime: SkbLifetime;
  readonly edit: SkbEdit;
  readonly transmit: NetTransmit;
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
    const { destination, prefixLength, neighbour } = route;
    if (!Number.isInteger(prefixLength) || prefixLength < 0 || prefixLength > 32 || neighbour.length !== ETH_ALEN || ((destination & ~maskOf(prefixLength)) >>> 0) !== 0) return -EINVAL;
    if (this.routes.some((other) => other.destination === destination && other.prefixLength === prefixLength)) return -EEXIST;
    const at = this.routes.findIndex((other) => other.prefixLength < prefixLength);
    this.routes.splice(at < 0 ? this.routes.length : at, 0, route);
    return 0;
  }

  remove(destination: number, prefixLength: number): number {
    const at = this.routes.findIndex((route) => route.destination === destination && route.prefixLength === prefixLength);
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
    const { lifetime, edit, stats, transmit } = this.parts;
    if (skbRegion(skb).bytes[skb.networkHeader + 8]! <= 1) {
      stats.ipInHdrErrors++;
      lifetime.kfreeSkb(skb, SKB_DROP_REASON_IP_INHDR);
      return;
    }
    if (longestOf(skb) > route.dev.mtu) {
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
    // @kernel neigh_output, dev_hard_header
    edit.skbPush(skb, ETH_HLEN);
    bytes.set(route.neighbour, skb.data);
    bytes.set(route.dev.devAddr, skb.data + ETH_ALEN);
    write16(bytes, skb.data + 2 * ETH_ALEN, ETH_P_IP);
    skb.macHeader = skb.data;
    transmit.devQueueXmit(skb, route.dev);
  }
}

/** Bytes, from its IP header on, that it has on the wire, or each of its segments at most. @kernel ip_exceeds_mtu, skb_gso_validate_network_len */
function longestOf(skb: SkBuff): number {
  if (!skbIsGso(skb)) return skb.len;
  const { gsoType, gsoSize } = skb.shinfo!;
  const { transportHeader, networkHeader } = skb;
  return transportHeader - networkHeader + ((gsoType & SKB_GSO_UDP_L4) === 0 ? (skbRegion(skb).bytes[transportHeader + 12]! >> 4) * 4 : UDP_HLEN) + gsoSize;
}

function maskOf(prefixLength: number): number {
  return prefixLength === 0 ? 0 : -1 << (32 - prefixLength);
}
