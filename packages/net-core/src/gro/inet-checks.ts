import type { PayloadMemory } from "@netmem/mm/api";
import { CHECKSUM_NONE, CHECKSUM_UNNECESSARY, IP_DF, csumAdd, csumPseudo, read16, skbGroLen, type SkBuff } from "../api/index.ts";
import { skbChecksum } from "../inet/checksum.ts";

/** Everything but length and checksum as in the held packet; and the number is as many further as there are packets in it, or always the same, where it must not be fragmented. @kernel inet_gro_flush (include/net/gro.h) */
export function ipFollows(bytes: Uint8Array, ip: number, held: Uint8Array, at: number, p: SkBuff): boolean {
  const df = bytes[ip + 6]! & (IP_DF >> 8);
  if (bytes[ip + 8] !== held[at + 8] || bytes[ip + 1] !== held[at + 1] || df !== (held[at + 6]! & (IP_DF >> 8))) return false;
  const further = (read16(bytes, ip + 4) - read16(held, at + 4)) & 0xffff;
  if (p.gro.count === 1 && df !== 0 && further === 0) p.gro.fixedId = true;
  return p.gro.fixedId ? further === 0 : further === p.gro.count;
}

/** Whether a segment or datagram, at GRO's offset, is as it was sent; it is not looked at again. @kernel skb_gro_checksum_validate */
export function transportHolds(skb: SkBuff, bytes: Uint8Array, ip: number, protocol: number, payload: PayloadMemory): boolean {
  if (skb.ipSummed !== CHECKSUM_NONE) return true;
  const len = skbGroLen(skb);
  if (csumAdd(skbChecksum(skb, skb.gro.dataOffset, len, payload), csumPseudo(bytes, ip, protocol, len)) !== 0xffff) return false;
  skb.ipSummed = CHECKSUM_UNNECESSARY;
  return true;
}
