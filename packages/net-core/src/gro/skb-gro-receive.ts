import { E2BIG, ETOOMANYREFS } from "@netmem/kernel/api";
import { ETH_P_IPV6, GRO_LEGACY_MAX_SIZE, MAX_SKB_FRAGS } from "@netmem/xdp/api";
import {
  IPPROTO_TCP, NAPI_GRO_FREE, NAPI_GRO_FREE_STOLEN_HEAD, SKB_GSO_DODGY, SKB_GSO_TCPV4, SKB_GSO_TCPV6, SKB_STRUCT_BYTES, skbEndOffset, skbGroLen, skbHeadFrag, skbHeadlen, skbHeadroom, skbIsGso, skbTruesize, skbZcopy, type SkBuff,
} from "../api/index.ts";
import type { SkbEdits } from "../edit.ts";
import { advanceFrag, appendFrag } from "../frags.ts";
import type { GroBigTcp, NetCoreDates } from "../rules.ts";

/** @kernel sizeof(struct hop_jumbo_hdr) */
const HOP_JUMBO_HEADER_BYTES = 8;

/** The struct may have been another packet's. @kernel dev_gro_receive, skb_gro_reset_offset (net/core/gro.c) */
export function groStart(skb: SkBuff, dataOffset: number): void {
  const { gro } = skb;
  const { fragList, gsoSize, gsoSegs, gsoType } = skb.shinfo!;
  gro.dataOffset = dataOffset;
  gro.count = gsoSize === 0 ? 1 : gsoSegs;
  gro.last = null;
  gro.sameFlow = false;
  // Of those that are several segments already, TCP's, if who said so is trusted.
  gro.flush = fragList !== null || (gsoSize !== 0 && ((gsoType & (SKB_GSO_TCPV4 | SKB_GSO_TCPV6)) === 0 || (gsoType & SKB_GSO_DODGY) !== 0));
  gro.free = 0;
  gro.proto = 0;
  gro.encapsulated = false;
  gro.fixedId = false;
  gro.age = 0;
}

/** @kernel dev_gro_receive, where it answers GRO_HELD */
export function groHold(skb: SkBuff): void {
  skb.gro.last = skb;
  if (!skbIsGso(skb)) skb.shinfo!.gsoSize = skbGroLen(skb);
}

/** @kernel skb_gro_receive (net/core/gro.c) */
export function groReceive(p: SkBuff, skb: SkBuff, edit: SkbEdits, rules: Pick<NetCoreDates, "groRefusesMixed" | "groRefusesZcopy" | "groBigTcp">): number {
  const len = skbGroLen(skb);
  const { groRefusesMixed, groRefusesZcopy: refusesZcopy } = rules;
  if ((groRefusesMixed === true && p.ppRecycle !== skb.ppRecycle) || (refusesZcopy === true && (skbZcopy(p) || skbZcopy(skb)))) return -ETOOMANYREFS;
  if (isTooBig(p, skb, p.len + len, rules.groBigTcp)) return -E2BIG;
  skb.gro.free = 0;
  let last = p.gro.last!;
  let delta = mergeFrags(last, skb);
  if (delta === null) {
    delta = chain(p, skb, edit);
    last = p;
  }
  p.gro.count += skb.gro.count;
  grow(p, len, delta);
  if (last !== p) grow(last, len, delta);
  skb.gro.sameFlow = true;
  return 0;
}

function isTooBig(p: SkBuff, skb: SkBuff, bytes: number, bigTcp: GroBigTcp): boolean {
  const { gro } = skb;
  const dev = p.dev!;
  if (bytes >= (bigTcp !== "any" || p.protocol === ETH_P_IPV6 ? dev.groMaxSize : dev.groIpv4MaxSize) || gro.flush === true) return true;
  if (bytes < GRO_LEGACY_MAX_SIZE) return false;
  if (bigTcp === "none" || (bigTcp === "ipv6" && p.protocol !== ETH_P_IPV6)) return true;
  return gro.proto !== IPPROTO_TCP || (p.protocol === ETH_P_IPV6 && skbHeadroom(p) < HOP_JUMBO_HEADER_BYTES) || gro.encapsulated;
}

/** Frags, and the head if it is a page's, become the last packet's frags: what they were charged for, or null where that cannot be. */
function mergeFrags(last: SkBuff, skb: SkBuff): number | null {
  const to = last.shinfo!;
  const from = skb.shinfo!;
  const headlen = skbHeadlen(skb);
  const beyond = skb.gro.dataOffset - headlen;
  const headToo = beyond < 0 ? 1 : 0;
  if (from.fragList !== null || to.nrFrags + headToo + from.nrFrags > MAX_SKB_FRAGS || (headToo === 1 && skbHeadFrag(skb) === false)) return null;
  const before = to.nrFrags;
  if (headToo === 1) {
    const frag = to.frags[to.nrFrags++]!;
    frag.netmem = from.headPage;
    frag.offset = skb.data + skb.gro.dataOffset - from.headPage!.base;
    frag.sizeBytes = -beyond;
  }
  for (let i = 0; i < from.nrFrags; i++) appendFrag(to, from.frags[i]!);
  // Headers that lie in the first frag stay out.
  if (headToo === 0) advanceFrag(to.frags[before]!, beyond);
  if (headToo === 1) {
    // The head has a new owner, and `nrFrags` stays: only the struct is freed.
    skb.gro.free = NAPI_GRO_FREE_STOLEN_HEAD;
    return charge(skb, SKB_STRUCT_BYTES);
  }
  from.nrFrags = 0;
  skb.len -= skb.dataLen;
  skb.dataLen = 0;
  skb.gro.free = NAPI_GRO_FREE;
  return charge(skb, skbTruesize(skbEndOffset(skb)));
}

/** The whole packet, its headers off, at the end of the frag list. */
function chain(p: SkBuff, skb: SkBuff, edit: SkbEdits): number {
  const { gro } = skb;
  const headlen = skbHeadlen(skb);
  skb.destructor = null;
  if (gro.dataOffset > headlen) {
    const eat = gro.dataOffset - headlen;
    const first = skb.shinfo!.frags[0]!;
    advanceFrag(first, eat);
    skb.dataLen -= eat;
    skb.len -= eat;
  }
  edit.skbPull(skb, Math.min(gro.dataOffset, headlen));
  skb.next = null;
  if (p.gro.last === p) p.shinfo!.fragList = skb;
  else p.gro.last!.next = skb;
  p.gro.last = skb;
  edit.skbHeaderRelease(skb);
  return skb.truesize;
}

/** What is charged for it beyond what stays; below 0 if it has given away more than it was charged. */
function charge(skb: SkBuff, stays: number): number {
  const delta = skb.truesize - stays;
  skb.truesize = stays;
  return delta;
}

function grow(skb: SkBuff, len: number, truesize: number): void {
  skb.dataLen += len;
  skb.len += len;
  skb.truesize += truesize;
}
