import { netmemFragCopy, type NetmemFrag } from "@netmem/xdp/api";
import type { SkBuff, SkbSharedInfo } from "./api/index.ts";

/** Another frag of the packet's, as it is: neither its kind nor its origin is looked at. */
export function appendFrag(info: SkbSharedInfo, from: NetmemFrag): void {
  netmemFragCopy(info.frags[info.nrFrags++]!, from);
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
