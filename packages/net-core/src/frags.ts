import type { NetmemFrag } from "@netmem/xdp/api";
import type { SkBuff } from "./api/index.ts";

/** The same bytes. Whose reference it is then, is the caller's to say. */
export function copyFrag(to: NetmemFrag, from: NetmemFrag): void {
  to.netmem = from.netmem;
  to.offset = from.offset;
  to.sizeBytes = from.sizeBytes;
}

/** What is left of it when its first `bytes` are gone. */
export function advanceFrag(frag: NetmemFrag, bytes: number): void {
  frag.offset += bytes;
  frag.sizeBytes -= bytes;
}

/** Of the frags, without the frag list. @kernel __skb_pagelen */
export function fragBytes(skb: SkBuff): number {
  const info = skb.shinfo!;
  let bytes = 0;
  for (let i = 0; i < info.nrFrags; i++) bytes += info.frags[i]!.sizeBytes;
  return bytes;
}
