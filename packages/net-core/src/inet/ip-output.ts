import { GFP_ATOMIC, type PayloadMemory } from "@netmem/mm/api";
import { ETH_HLEN, ETH_P_IP } from "@netmem/xdp/api";
import {
  CHECKSUM_PARTIAL, IP_MF, IP_OFFSET, SKB_DROP_REASON_NOMEM, SKB_DROP_REASON_NOT_SPECIFIED, SKB_GSO_UDP_L4, UDP_HLEN, read16, skbIsGso, skbRegion, write16,
  type InetRoute, type InetStats, type NetTransmit, type SkBuff, type SkbEdit, type SkbLifetime,
} from "../api/index.ts";
import { skbChecksumHelp } from "./checksum-help.ts";
import type { InetGso } from "./inet-gso.ts";
import { withoutUncopied } from "./ip-options.ts";

/** Room in front of the IP header for the next device's. @kernel LL_RESERVED_SPACE */
export const LL_RESERVED_SPACE = 16;
export const ETH_ALEN = 6;
/** All pieces but the last are of whole words of these. */
const PIECE_WORD = 8;

export interface OutputParts {
  readonly lifetime: SkbLifetime;
  readonly edit: SkbEdit;
  readonly gso: Pick<InetGso, "segment">;
  readonly payload: PayloadMemory;
  readonly transmit: NetTransmit;
  readonly stats: InetStats;
}

/** Packets that leave by a route. @kernel net/ipv4/ip_output.c */
export class IpOutput {
  private readonly parts: OutputParts;

  constructor(parts: OutputParts) {
    this.parts = parts;
  }

  /** At its IP header, with room for the next one's; what is too long goes in pieces, whether it may or not. Consumes. @kernel ip_finish_output */
  finish(skb: SkBuff, route: InetRoute): void {
    if (longestOf(skb) <= route.dev.mtu) this.leave(skb, route);
    else if (skbIsGso(skb)) this.inSegments(skb, route);
    else this.fragment(skb, route);
  }

  /** @kernel ip_finish_output_gso */
  private inSegments(skb: SkBuff, route: InetRoute): void {
    for (let segment = this.parts.gso.segment(skb, false); segment !== null;) {
      const { next }: { next: SkBuff | null } = segment;
      segment.next = null;
      this.fragment(segment, route);
      segment = next;
    }
  }

  /** Its bytes are copied, so that its pages go home before the pieces do. @kernel ip_do_fragment, its slow path: nothing that is forwarded here has a list of pieces as they came */
  private fragment(skb: SkBuff, route: InetRoute): void {
    const { edit, payload } = this.parts;
    if (skb.ipSummed === CHECKSUM_PARTIAL && skbChecksumHelp(skb, edit, payload) !== 0) {
      this.fails(skb);
      return;
    }
    const { lifetime, stats } = this.parts;
    const { bytes } = skbRegion(skb);
    const headerBytes = (bytes[skb.data]! & 0xf) * 4;
    const word = read16(bytes, skb.data + 6);
    const most = (route.dev.mtu - headerBytes) & ~(PIECE_WORD - 1);
    for (let at = headerBytes; at < skb.len; ) {
      const left = skb.len - at;
      const length = left <= route.dev.mtu - headerBytes ? left : most;
      const piece = length <= 0 ? null : this.piece(skb, headerBytes, at, length);
      if (piece === null) {
        this.fails(skb);
        return;
      }
      this.writeHeader(piece, headerBytes, ((word & IP_OFFSET) + ((at - headerBytes) >> 3)) | (left > length ? IP_MF : word & IP_MF), at > headerBytes && (word & IP_OFFSET) === 0);
      stats.ipFragCreates++;
      this.leave(piece, route);
      at += length;
    }
    stats.ipFragOks++;
    lifetime.consumeSkb(skb);
  }

  private fails(skb: SkBuff): void {
    this.parts.stats.ipFragFails++;
    this.parts.lifetime.kfreeSkb(skb, SKB_DROP_REASON_NOMEM);
  }

  /** The header, and bytes from `at` on; null without memory, or of what the CPU cannot read. @kernel ip_frag_next */
  private piece(skb: SkBuff, headerBytes: number, at: number, length: number): SkBuff | null {
    const { lifetime, edit } = this.parts;
    const piece = lifetime.allocSkb(LL_RESERVED_SPACE + headerBytes + length, GFP_ATOMIC);
    if (piece === null) return null;
    edit.skbReserve(piece, LL_RESERVED_SPACE);
    edit.skbPut(piece, headerBytes + length);
    const region = skbRegion(piece);
    if (edit.skbCopyBits(skb, 0, region, piece.data, headerBytes) < 0 || edit.skbCopyBits(skb, at, region, piece.data + headerBytes, length) < 0) {
      lifetime.kfreeSkb(piece, SKB_DROP_REASON_NOT_SPECIFIED);
      return null;
    }
    piece.networkHeader = piece.data;
    piece.transportHeader = piece.data + headerBytes;
    piece.protocol = skb.protocol;
    piece.dev = skb.dev;
    return piece;
  }

  private writeHeader(piece: SkBuff, headerBytes: number, word: number, wasFirst: boolean): void {
    const region = skbRegion(piece);
    const { bytes } = region;
    const ip = piece.data;
    if (wasFirst) withoutUncopied(bytes, ip, headerBytes);
    write16(bytes, ip + 2, piece.len);
    write16(bytes, ip + 6, word);
    write16(bytes, ip + 10, 0);
    write16(bytes, ip + 10, ~this.parts.payload.checksum(region, ip, headerBytes) & 0xffff);
  }

  /** @kernel ip_finish_output2, neigh_output, dev_hard_header */
  private leave(skb: SkBuff, route: InetRoute): void {
    const { edit, transmit } = this.parts;
    edit.skbPush(skb, ETH_HLEN);
    const { bytes } = skbRegion(skb);
    bytes.set(route.neighbour, skb.data);
    bytes.set(route.dev.devAddr, skb.data + ETH_ALEN);
    write16(bytes, skb.data + 2 * ETH_ALEN, ETH_P_IP);
    skb.macHeader = skb.data;
    transmit.devQueueXmit(skb, route.dev);
  }
}

/** Bytes, from its IP header on, that it has on the wire, or each of its segments at most. @kernel skb_gso_validate_network_len (net/core/gso.c) */
export function longestOf(skb: SkBuff): number {
  if (!skbIsGso(skb)) return skb.len;
  const { gsoType, gsoSize } = skb.shinfo!;
  const { transportHeader, networkHeader } = skb;
  return transportHeader - networkHeader + ((gsoType & SKB_GSO_UDP_L4) === 0 ? (skbRegion(skb).bytes[transportHeader + 12]! >> 4) * 4 : UDP_HLEN) + gsoSize;
}
