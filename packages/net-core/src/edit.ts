import { NUMA_NO_NODE } from "@netmem/mm/api";
import {
  SKBFL_SHARED_FRAG, SKB_DROP_REASON_NOT_SPECIFIED, SKB_GSO_FRAGLIST, skbCloned, skbEndOffset, skbHeadlen, skbHeadroom, skbName, skbOwner, skbRegion, type SkBuff, type SkbEdit,
} from "./api/index.ts";
import { appendFrag } from "./frags.ts";
import { mustLive } from "./must-live.ts";
import { SkbPulls } from "./pull.ts";

/** All that may be done to one packet; copies are the last of it. One class in parts: bounds, heads, pulling and trimming. */
export class SkbEdits extends SkbPulls implements SkbEdit {
  skbCopy(skb: SkBuff, gfp: number): SkBuff | null {
    return this.#copyInto(skb, skbHeadroom(skb), skbEndOffset(skb) + skb.dataLen, gfp);
  }

  skbCopyExpand(skb: SkBuff, headroom: number, tailroom: number, gfp: number): SkBuff | null {
    return this.#copyInto(skb, headroom, headroom + skb.len + tailroom, gfp);
  }

  pskbCopy(skb: SkBuff, headroom: number, gfp: number): SkBuff | null {
    mustLive(skb, this.reports);
    const headlen = skbHeadlen(skb);
    const copy = this.lives.allocSkbOnNode(headlen + headroom, gfp, this.lives.rxFlag(skb), NUMA_NO_NODE);
    if (copy === null) return null;
    this.skbReserve(copy, headroom);
    this.skbPut(copy, headlen);
    this.payload.copy(skbRegion(copy), copy.data, skbRegion(skb), skb.data, headlen);
    const info = skb.shinfo!;
    const copied = copy.shinfo!;
    if (info.nrFrags > 0) {
      if (this.zerocopy!.skbOrphanFrags(skb, gfp) < 0 || this.zerocopy!.skbZerocopyClone(copy, skb, gfp) < 0) {
        this.lives.kfreeSkb(copy, SKB_DROP_REASON_NOT_SPECIFIED);
        return null;
      }
      for (let i = 0; i < info.nrFrags; i++) {
        appendFrag(copied, info.frags[i]!);
        this.refs.ref(skb, info.frags[i]!.netmem!);
      }
      copied.flags |= info.flags & SKBFL_SHARED_FRAG;
    }
    copied.fragList = info.fragList;
    for (let member = info.fragList; member !== null; member = member.next) member.users++;
    copy.truesize += skb.dataLen;
    copy.dataLen = skb.dataLen;
    copy.len = skb.len;
    // With other headroom than the original's the offsets of its headers are wrong, in the kernel, too.
    this.lives.copyHeaderAndGso(copy, skb, copy.head - skb.head);
    return copy;
  }

  skbUnshare(skb: SkBuff, gfp: number): SkBuff | null {
    mustLive(skb, this.reports);
    if (!skbCloned(skb)) return skb;
    const copy = this.skbCopy(skb, gfp);
    if (copy === null) this.lives.kfreeSkb(skb, SKB_DROP_REASON_NOT_SPECIFIED);
    else this.lives.consumeSkb(skb);
    return copy;
  }

  /** Head and packet, as much of the headroom as fits. */
  #copyInto(skb: SkBuff, headroom: number, sizeBytes: number, gfp: number): SkBuff | null {
    mustLive(skb, this.reports);
    if (skb.unreadable) return null;
    if ((skb.shinfo!.gsoType & SKB_GSO_FRAGLIST) !== 0) {
      this.reports.report("skb-copy-fraglist", "warn", skbName(skb), skbOwner(skb), "a packet whose frag list is whole packets cannot become one piece");
      return null;
    }
    const copy = this.lives.allocSkbOnNode(sizeBytes, gfp, this.lives.rxFlag(skb), NUMA_NO_NODE);
    if (copy === null) return null;
    this.skbReserve(copy, headroom);
    this.skbPut(copy, skb.len);
    const before = Math.min(headroom, skbHeadroom(skb));
    if (this.skbCopyBits(skb, -before, skbRegion(copy), copy.data - before, before + skb.len) < 0) {
      this.reports.report("skb-copy-unreadable", "bug", skbName(skb), skbOwner(skb), "copied out of a member of the frag list that the CPU cannot read");
    }
    this.lives.copyHeaderAndGso(copy, skb, copy.data - skb.data);
    return copy;
  }
}
