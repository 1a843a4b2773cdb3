import { SKBFL_ALL_ZEROCOPY, SKBFL_ZEROCOPY_ENABLE, type SkBuff, type UbufInfo } from "./api/index.ts";

/** Tells the owner of the frags' memory, once, and forgets it; of a cookie nobody is told. @kernel skb_zcopy_clear (include/linux/skbuff.h) */
export function zcopyClear(skb: SkBuff, success: boolean): void {
  const info = skb.shinfo!;
  if ((info.flags & SKBFL_ZEROCOPY_ENABLE) === 0) return;
  const { uarg } = info;
  if (uarg !== null) uarg.ops.complete(skb, uarg, success);
  info.flags &= ~SKBFL_ALL_ZEROCOPY;
  info.uarg = null;
}

/** The skb has none yet. @kernel skb_zcopy_init */
export function zcopyInit(skb: SkBuff, uarg: UbufInfo): void {
  const info = skb.shinfo!;
  info.uarg = uarg;
  info.flags |= uarg.flags;
}
