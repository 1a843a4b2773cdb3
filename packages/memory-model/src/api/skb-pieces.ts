import { skbHeadlen, type SkBuff } from "@netmem/net-core/api";
import type { NetmemFrag } from "@netmem/xdp/api";

/** What a model does with a piece of a packet: how many bytes it took; fewer, or a negative errno, ends the walk. The pieces stay the packet's. */
export interface SkbPieces {
  /** `bytes` of the head, from `offset` of the packet's data on. The packet stays the caller's. */
  readonly linear: (skb: SkBuff, offset: number, bytes: number) => number;
  /** `bytes` of a frag, from `skip` bytes behind its beginning on. */
  readonly frag: (frag: NetmemFrag, skip: number, bytes: number) => number;
}

/** Each piece of the packet's `bytes` from `offset` on, in order: how many were taken, or why none was. The packet stays the caller's. @kernel io_zcrx_recv_skb (io_uring/zcrx.c), tcp_recvmsg_dmabuf (net/ipv4/tcp.c) */
export function forEachPiece(skb: SkBuff, offset: number, bytes: number, pieces: SkbPieces): number {
  const headlen = skbHeadlen(skb);
  let done = 0;
  if (offset < headlen) {
    const part = Math.min(bytes, headlen - offset);
    const took = pieces.linear(skb, offset, part);
    if (took < part) return took;
    done = part;
  }
  const { frags, nrFrags, fragList } = skb.shinfo!;
  let start = headlen;
  for (let i = 0; i < nrFrags && done < bytes; i++) {
    const frag = frags[i]!;
    const skip = offset + done - start;
    start += frag.sizeBytes;
    if (skip >= frag.sizeBytes) continue;
    const part = Math.min(bytes - done, frag.sizeBytes - skip);
    const took = pieces.frag(frag, skip, part);
    if (took < part) return done > 0 || took >= 0 ? done + Math.max(0, took) : took;
    done += part;
  }
  for (let member = fragList; member !== null && done < bytes; member = member.next) {
    const skip = offset + done - start;
    start += member.len;
    if (skip >= member.len) continue;
    const part = Math.min(bytes - done, member.len - skip);
    const took = forEachPiece(member, skip, part, pieces);
    if (took < part) return done > 0 || took >= 0 ? done + Math.max(0, took) : took;
    done += part;
  }
  return done;
}
