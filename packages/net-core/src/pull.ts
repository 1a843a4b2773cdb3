import { EFAULT, ENOMEM } from "@netmem/kernel/api";
import { GFP_ATOMIC } from "@netmem/mm/api";
import { netmemFragCopy } from "@netmem/xdp/api";
import {
  SKB_DROP_REASON_NOT_SPECIFIED, SKB_GSO_DODGY, skbCloned, skbEndOffset, skbHeadFrag, skbHeadlen, skbIsGso, skbName, skbOwner, skbRegion, skbShared, skbTruesize, type SkBuff, type SkbPullTrim,
} from "./api/index.ts";
import { SkbExpansion } from "./expand.ts";
import { advanceFrag } from "./frags.ts";
import { mustLive } from "./must-live.ts";
import { zcopyClear } from "./zcopy-clear.ts";

/** Room behind a packet whose head must grow anyhow. */
const SPARE_TAIL = 128;

/** What is in the head, and where a packet ends. */
export class SkbPulls extends SkbExpansion implements SkbPullTrim {
  pskbPullTail(skb: SkBuff, delta: number): boolean {
    mustLive(skb, this.reports);
    if (skb.unreadable) return false;
    const missing = skb.tail + delta - skb.end;
    if ((missing > 0 || skbCloned(skb)) && this.pskbExpandHead(skb, 0, missing > 0 ? missing + SPARE_TAIL : 0, GFP_ATOMIC) < 0) return false;
    if (this.skbCopyBits(skb, skbHeadlen(skb), skbRegion(skb), skb.tail, delta) < 0) {
      this.reports.report("skb-pull-tail", "bug", skbName(skb), skbOwner(skb), `${delta} bytes pulled into the head, of ${skb.dataLen} behind it, or out of a member of the frag list that the CPU cannot read`);
    }
    if (skb.shinfo!.fragList !== null && !this.#eatFragList(skb, delta)) return false;
    this.#eatFrags(skb, delta);
    skb.tail += delta;
    skb.dataLen -= delta;
    if (skb.dataLen === 0) zcopyClear(skb, false);
    return true;
  }

  pskbMayPull(skb: SkBuff, bytes: number): boolean {
    const missing = bytes - skbHeadlen(skb);
    return missing <= 0 || (bytes <= skb.len && this.pskbPullTail(skb, missing));
  }

  pskbPull(skb: SkBuff, bytes: number): boolean {
    return this.pskbMayPull(skb, bytes) && this.skbPull(skb, bytes);
  }

  pskbTrim(skb: SkBuff, len: number): number {
    mustLive(skb, this.reports);
    if (len >= skb.len) return 0;
    if (skb.dataLen === 0) {
      setLinearLen(skb, len);
      return 0;
    }
    if (skbCloned(skb)) {
      const errno = this.pskbExpandHead(skb, 0, 0, GFP_ATOMIC);
      if (errno < 0) return errno;
    }
    const errno = this.#dropBehind(skb, len);
    if (errno < 0) return errno;
    if (len > skbHeadlen(skb)) {
      skb.dataLen -= skb.len - len;
      skb.len = len;
    } else setLinearLen(skb, len);
    if (this.trimClearsUnreadable && skb.shinfo!.nrFrags === 0 && skb.shinfo!.fragList === null) skb.unreadable = false;
    if (skb.destructor === null) this.skbCondense(skb);
    return 0;
  }

  skbCondense(skb: SkBuff): void {
    mustLive(skb, this.reports);
    if (skb.dataLen > 0) {
      if (skb.dataLen > skb.end - skb.tail || skbCloned(skb) || skb.unreadable) return;
      this.pskbPullTail(skb, skb.dataLen);
    }
    // Frags did not tell what they were charged for; now there is nothing but the head.
    skb.truesize = skbTruesize(skbEndOffset(skb));
  }

  skbLinearize(skb: SkBuff): number {
    mustLive(skb, this.reports);
    if (skb.dataLen === 0) return 0;
    if (skb.unreadable) return -EFAULT;
    return this.pskbPullTail(skb, skb.dataLen) ? 0 : -ENOMEM;
  }

  /** @kernel ___pskb_trim */
  #dropBehind(skb: SkBuff, len: number): number {
    const info = skb.shinfo!;
    let offset = skbHeadlen(skb);
    let keep = 0;
    while (keep < info.nrFrags && offset < len) {
      const frag = info.frags[keep++]!;
      const end = offset + frag.sizeBytes;
      if (end >= len) frag.sizeBytes = len - offset;
      offset = end;
    }
    // The frag that reaches `len` is the last, and there is nothing behind it.
    if (offset >= len) {
      for (let i = keep; i < info.nrFrags; i++) this.refs.unrefFrag(skb, i);
      info.nrFrags = keep;
      const list = info.fragList;
      info.fragList = null;
      this.release.dropList(list, SKB_DROP_REASON_NOT_SPECIFIED);
      return 0;
    }
    return this.#trimFragList(skb, offset, len);
  }

  #trimFragList(skb: SkBuff, from: number, len: number): number {
    const info = skb.shinfo!;
    let offset = from;
    let before: SkBuff | null = null;
    for (let member = info.fragList; member !== null; member = member.next) {
      if (skbShared(member)) {
        const own = this.lives.skbClone(member, GFP_ATOMIC);
        if (own === null) return -ENOMEM;
        own.next = member.next;
        this.lives.consumeSkb(member);
        member = own;
        if (before === null) info.fragList = own;
        else before.next = own;
      }
      before = member;
      const end = offset + member.len;
      if (end < len) {
        offset = end;
        continue;
      }
      const errno = end > len ? this.pskbTrim(member, len - offset) : 0;
      if (errno < 0) return errno;
      const rest = member.next;
      member.next = null;
      this.release.dropList(rest, SKB_DROP_REASON_NOT_SPECIFIED);
      return 0;
    }
    return 0;
  }

  /** What of `delta` the frags do not have is taken from members of the frag list. False without memory for a clone of one. */
  #eatFragList(skb: SkBuff, delta: number): boolean {
    const info = skb.shinfo!;
    let eat = delta;
    for (let i = 0; i < info.nrFrags && eat > 0; i++) eat -= info.frags[i]!.sizeBytes;
    if (eat <= 0) return true;
    let list = info.fragList;
    let clone: SkBuff | null = null;
    while (list !== null && list.len <= eat) {
      eat -= list.len;
      list = list.next;
    }
    let rest = list;
    if (eat > 0 && list !== null) {
      if (skbIsGso(skb) && !skbHeadFrag(list) && skbHeadlen(list) > 0) info.gsoType |= SKB_GSO_DODGY;
      if (skbShared(list)) {
        clone = this.lives.skbClone(list, GFP_ATOMIC);
        if (clone === null) return false;
        rest = list.next;
        list = clone;
      }
      if (!this.pskbPull(list, eat)) {
        if (clone !== null) this.lives.consumeSkb(clone);
        return false;
      }
    }
    while (info.fragList !== rest) {
      const eaten: SkBuff = info.fragList!;
      info.fragList = eaten.next;
      this.lives.consumeSkb(eaten);
    }
    if (clone !== null) {
      clone.next = rest;
      info.fragList = clone;
    }
    return true;
  }

  #eatFrags(skb: SkBuff, delta: number): void {
    const info = skb.shinfo!;
    let eat = delta;
    let kept = 0;
    for (let i = 0; i < info.nrFrags; i++) {
      const frag = info.frags[i]!;
      if (frag.sizeBytes <= eat) {
        this.refs.unrefFrag(skb, i);
        eat -= frag.sizeBytes;
        continue;
      }
      const to = info.frags[kept++]!;
      netmemFragCopy(to, frag);
      advanceFrag(to, eat);
      eat = 0;
    }
    info.nrFrags = kept;
  }
}

function setLinearLen(skb: SkBuff, len: number): void {
  skb.len = len;
  skb.dataLen = 0;
  skb.tail = skb.data + len;
}
