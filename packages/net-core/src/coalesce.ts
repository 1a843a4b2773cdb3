import { MAX_SKB_FRAGS } from "@netmem/xdp/api";
import {
  SKB_STRUCT_BYTES, skbCloned, skbEndOffset, skbHeadFrag, skbHeadlen, skbRegion, skbTailroom, skbTruesize, skbZcopy, type Coalesced, type SkBuff,
} from "./api/index.ts";
import type { SkbEdits } from "./edit.ts";
import type { FragRefs } from "./frag-refs.ts";
import { appendFrag } from "./frags.ts";
import type { ClonedCoalesce } from "./rules.ts";

/** @kernel skb_try_coalesce (net/core/skbuff.c) */
export function tryCoalesce(to: SkBuff, from: SkBuff, result: Coalesced, edit: SkbEdits, refs: FragRefs, clonedRule: ClonedCoalesce): boolean {
  result.stolen = false;
  result.deltaTruesize = 0;
  const { len } = from;
  const fromCloned = skbCloned(from);
  if (skbCloned(to) || !maySharePages(to, from, fromCloned, clonedRule) || to.unreadable !== from.unreadable) return false;
  if (len <= skbTailroom(to) && !from.unreadable) {
    if (len > 0) {
      const at = to.tail;
      edit.skbPut(to, len);
      edit.skbCopyBits(from, 0, skbRegion(to), at, len);
    }
    return true;
  }
  const toInfo = to.shinfo!;
  const fromInfo = from.shinfo!;
  if (toInfo.fragList !== null || fromInfo.fragList !== null || skbZcopy(to) || skbZcopy(from)) return false;
  const frags = toInfo.nrFrags + fromInfo.nrFrags;
  const headlen = skbHeadlen(from);
  let delta: number;
  if (headlen > 0) {
    // Nobody else may have the head.
    if (frags >= MAX_SKB_FRAGS || !skbHeadFrag(from) || fromCloned) return false;
    delta = from.truesize - SKB_STRUCT_BYTES;
    edit.skbFillNetmemDesc(to, toInfo.nrFrags, fromInfo.headPage!, from.data - fromInfo.headPage!.base, headlen);
    result.stolen = true;
  } else {
    if (frags > MAX_SKB_FRAGS) return false;
    delta = from.truesize - skbTruesize(skbEndOffset(from));
  }
  for (let i = 0; i < fromInfo.nrFrags; i++) appendFrag(toInfo, fromInfo.frags[i]!);
  if (!fromCloned) fromInfo.nrFrags = 0;
  else if (clonedRule === "pp-ref" && from.ppRecycle) refs.refRecycling(from);
  else refs.refAll(from);
  to.truesize += delta;
  to.len += len;
  to.dataLen += len;
  result.deltaTruesize = delta;
  return true;
}

/** Whether frags of both may be in one packet, whose one bit says how they are released. */
function maySharePages(to: SkBuff, from: SkBuff, fromCloned: boolean, clonedRule: ClonedCoalesce): boolean {
  switch (clonedRule) {
    case "into-plain": return to.ppRecycle === (from.ppRecycle && !fromCloned);
    case "refused": return to.ppRecycle === from.ppRecycle && !(from.ppRecycle && fromCloned);
    default: return to.ppRecycle === from.ppRecycle;
  }
}
