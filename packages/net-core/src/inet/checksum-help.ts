import { EFAULT, EINVAL, ENOMEM } from "@netmem/kernel/api";
import { GFP_ATOMIC, type PayloadMemory } from "@netmem/mm/api";
import { CHECKSUM_NONE, CSUM_MANGLED_0, SKBFL_SHARED_FRAG, skbCloneWritable, skbCloned, skbIsGso, skbRegion, write16, type SkBuff, type SkbEdit } from "../api/index.ts";
import { skbChecksum } from "./checksum.ts";

/** Bytes of a checksum. */
const CSUM_BYTES = 2;

/**
 * Writes the checksum of a packet that has `CHECKSUM_PARTIAL`, into a head of its own. 0; -ENOMEM; -EFAULT of what the CPU cannot read; -EINVAL where the checksum has no place, or of several segments. The skb stays the caller's.
 * @kernel skb_checksum_help (net/core/dev.c)
 */
export function skbChecksumHelp(skb: SkBuff, edit: Pick<SkbEdit, "pskbMayPull" | "pskbExpandHead" | "skbLinearize">, payload: PayloadMemory): number {
  // One sum would be of all its segments.
  if (skbIsGso(skb)) return -EINVAL;
  if (skb.unreadable === true) return -EFAULT;
  // Who shares the frags may write to them, and they are to go as they were summed.
  if ((skb.shinfo!.flags & SKBFL_SHARED_FRAG) !== 0 && edit.skbLinearize(skb) !== 0) return -ENOMEM;
  const offset = skb.csumStart - skb.data;
  const end = offset + skb.csumOffset + CSUM_BYTES;
  if (!edit.pskbMayPull(skb, end)) return -EINVAL;
  if (skbCloned(skb) && !skbCloneWritable(skb, end) && edit.pskbExpandHead(skb, 0, 0, GFP_ATOMIC) !== 0) return -ENOMEM;
  const sum = ~skbChecksum(skb, offset, skb.len - offset, payload) & 0xffff;
  write16(skbRegion(skb).bytes, skb.csumStart + skb.csumOffset, sum === 0 ? CSUM_MANGLED_0 : sum);
  skb.ipSummed = CHECKSUM_NONE;
  return 0;
}
