import type { PayloadMemory, PayloadRegion } from "@netmem/mm/api";
import { CHECKSUM_NONE, CHECKSUM_UNNECESSARY, IP_DF, csumAdd, csumPseudo, read16, read32, skbGroLen, skbHeadlen, skbRegion, type SkBuff } from "../api/index.ts";
import type { GroNode } from "./gro-node.ts";
import { skbChecksum, transportHolds } from "../inet/checksum.ts";

/** Whether four bytes of two headers are the same: a word of each, where they lie on one, as drivers place them. */
export function sameWord(a: PayloadRegion, atA: number, b: PayloadRegion, atB: number): boolean {
  return ((atA | atB) & 3) === 0 ? a.words[atA >> 2] === b.words[atB >> 2] : read32(a.bytes, atA) === read32(b.bytes, atB);
}

/** Which of the held packets has the same ports, the header of its protocol at `transport`: its index, or −1; those that have others are of another flow. @kernel tcp_gro_lookup, udp_gro_receive_segment */
export function groLookup(node: GroNode, region: PayloadRegion, transport: number): number {
  for (let i = 0; i < node.count; i++) {
    const p = node.held[i]!;
    if (p.gro.sameFlow === false) continue;
    // Both ports at once.
    if (sameWord(skbRegion(p), p.transportHeader, region, transport)) return i;
    p.gro.sameFlow = false;
  }
  return -1;
}

/** Everything but length and checksum as in the held packet; and the number is as many further as there are packets in it, or always the same: `fixedIds`, even where it may be fragmented. @kernel inet_gro_flush (include/net/gro.h) */
export function ipFollows(bytes: Uint8Array, ip: number, held: Uint8Array, at: number, p: SkBuff, fixedIds: boolean): boolean {
  const { gro } = p;
  const df = bytes[ip + 6]! & (IP_DF >> 8);
  if (bytes[ip + 8] !== held[at + 8] || bytes[ip + 1] !== held[at + 1] || df !== (held[at + 6]! & (IP_DF >> 8))) return false;
  const further = (read16(bytes, ip + 4) - read16(held, at + 4)) & 0xffff;
  if (gro.count === 1 && further === 0 && (df !== 0 || fixedIds === true)) gro.fixedId = true;
  return gro.fixedId === true ? further === 0 : further === gro.count;
}

/** Whether a segment or datagram, at GRO's offset, its IP header at `ip` of `region`, is as it was sent; it is not looked at again. @kernel skb_gro_checksum_validate */
export function groTransportHolds(skb: SkBuff, region: PayloadRegion, ip: number, protocol: number, payload: PayloadMemory): boolean {
  if (skb.ipSummed !== CHECKSUM_NONE) return true;
  const { dataOffset } = skb.gro;
  const bytes = skbGroLen(skb);
  const holds = skbHeadlen(skb) > 0 ? transportHolds(skb, dataOffset, bytes, protocol, payload) : csumAdd(skbChecksum(skb, dataOffset, bytes, payload), csumPseudo(region.bytes, ip, protocol, bytes)) === 0xffff;
  if (!holds) return false;
  skb.ipSummed = CHECKSUM_UNNECESSARY;
  return true;
}
