import type { PayloadMemory, PayloadRegion } from "@netmem/mm/api";
import { IP_HLEN, csumAdd, csumPseudo, ipFastCsum, skbHeadlen, skbRegion, type SkBuff } from "../api/index.ts";

/** Whether the IP header at `ip`, in a packet's head, is as it was sent. */
export function ipHeaderHolds(region: PayloadRegion, ip: number, headerBytes: number, payload: PayloadMemory): boolean {
  return (headerBytes === IP_HLEN && (ip & 1) === 0 ? ipFastCsum(region.words, ip) : payload.checksum(region, ip, headerBytes)) === 0xffff;
}

/** Source and destination, the last of an IP header without options. */
const ADDRESSES_BYTES = 8;

/** Whether the `bytes` of a segment or datagram from `offset` (relative to `data`) on hold with the pseudo header of the packet's IP header. @kernel tcp_v4_check, udp4_csum_init, __skb_checksum_complete */
export function transportHolds(skb: SkBuff, offset: number, bytes: number, protocol: number, payload: PayloadMemory): boolean {
  const { networkHeader } = skb;
  const region = skbRegion(skb);
  const at = skb.data + offset;
  // Without options the addresses lie right in front of it, and are summed with it.
  if (at === networkHeader + IP_HLEN && offset + bytes <= skbHeadlen(skb)) return csumAdd(payload.checksum(region, at - ADDRESSES_BYTES, ADDRESSES_BYTES + bytes), protocol + bytes) === 0xffff;
  return csumAdd(skbChecksum(skb, offset, bytes, payload), csumPseudo(region.bytes, networkHeader, protocol, bytes)) === 0xffff;
}

/**
 * One's complement sum of `bytes` of the packet from `offset` (relative to `data`) on, 0 … 65535, not inverted; the packet has as many, and the CPU can read them.
 * @kernel skb_checksum (net/core/skbuff.c)
 */
export function skbChecksum(skb: SkBuff, offset: number, bytes: number, payload: PayloadMemory): number {
  const headlen = skbHeadlen(skb);
  // Most packets are in one piece.
  if (offset + bytes <= headlen) return payload.checksum(skbRegion(skb), skb.data + offset, bytes);
  let done = 0;
  let sum = 0;
  if (offset < headlen) {
    done = headlen - offset;
    sum = payload.checksum(skbRegion(skb), skb.data + offset, done);
  }
  const info = skb.shinfo!;
  let start = headlen;
  for (let i = 0; i < info.nrFrags && done < bytes; i++) {
    const { netmem, offset: at, sizeBytes } = info.frags[i]!;
    const skip = Math.max(0, offset + done - start);
    if (skip < sizeBytes) {
      const part = Math.min(bytes - done, sizeBytes - skip);
      sum = addBlock(sum, payload.checksum(netmem!.region, netmem!.base + at + skip, part), done);
      done += part;
    }
    start += sizeBytes;
  }
  for (let member = info.fragList; member !== null && done < bytes; member = member.next) {
    const skip = Math.max(0, offset + done - start);
    if (skip < member.len) {
      const part = Math.min(bytes - done, member.len - skip);
      sum = addBlock(sum, skbChecksum(member, skip, part, payload), done);
      done += part;
    }
    start += member.len;
  }
  return sum;
}

/** What lies at an odd place has its bytes the other way round. @kernel csum_block_add */
function addBlock(sum: number, block: number, offset: number): number {
  return csumAdd(sum, (offset & 1) === 0 ? block : ((block & 0xff) << 8) | (block >> 8));
}
