import type { PayloadRegion } from "@netmem/mm/api";
import { skbHeadlen, skbRegion, type SkBuff, type SkbPullTrim } from "../api/index.ts";

/**
 * Where the first `bytes` of a packet, from `data` on, can be read, which are not all in its head: in its first frag, where the head is empty, and has room for them later; or in the head, to
 * which they are moved. Null: it has not as many, the CPU cannot read them, or there is no memory, and it merges with nothing. @kernel skb_gro_reset_offset, skb_gro_header_slow (net/core/gro.c, include/net/gro.h)
 */
export function groHeadersElsewhere(skb: SkBuff, bytes: number, edit: Pick<SkbPullTrim, "pskbMayPull">): PayloadRegion | null {
  if (areInFrag0(skb, bytes)) return skb.shinfo!.frags[0]!.netmem!.region;
  if (edit.pskbMayPull(skb, bytes)) return skbRegion(skb);
  skb.gro.flush = true;
  return null;
}

function areInFrag0(skb: SkBuff, bytes: number): boolean {
  const { nrFrags, frags } = skb.shinfo!;
  return skbHeadlen(skb) === 0 && nrFrags > 0 && frags[0]!.netmem!.region.cpuReadable && bytes <= frags[0]!.sizeBytes && bytes <= skb.end - skb.tail;
}

/** Where `data` is, in the region that `groHeadersElsewhere` found, or of the head. */
export function groHeadersStart(skb: SkBuff): number {
  if (skbHeadlen(skb) > 0) return skb.data;
  const { netmem, offset } = skb.shinfo!.frags[0]!;
  return netmem!.base + offset;
}

/** Headers that were read in the first frag come into the head, which has room, of a packet that is held or goes up by itself. @kernel gro_try_pull_from_frag0 (net/core/gro.c) */
export function groPullFromFrag0(skb: SkBuff, edit: Pick<SkbPullTrim, "pskbPullTail">): void {
  const grow = skb.gro.dataOffset - skbHeadlen(skb);
  if (grow > 0) edit.pskbPullTail(skb, grow);
}
