import type { ReportSink } from "@netmem/kernel/api";
import { GFP_ATOMIC } from "@netmem/mm/api";
import { MAX_SKB_FRAGS, netmemFragCopy, type NetmemFrag } from "@netmem/xdp/api";
import { SKBFL_PURE_ZEROCOPY, SKBFL_SHARED_FRAG, skbHeadlen, skbName, skbOwner, skbRegion, skbZcopy, type SkBuff, type SkbZerocopy } from "./api/index.ts";
import type { SkbEdits } from "./edit.ts";
import type { FragRefs } from "./frag-refs.ts";
import { advanceFrag } from "./frags.ts";

/** Moves bytes between packets of one connection; a frag that is cut in two gets one more page reference. */
export class SkbShifts {
  readonly #edit: SkbEdits;
  readonly #refs: FragRefs;
  readonly #zerocopy: SkbZerocopy;
  readonly #reports: ReportSink;

  constructor(edit: SkbEdits, refs: FragRefs, zerocopy: SkbZerocopy, reports: ReportSink) {
    this.#edit = edit;
    this.#refs = refs;
    this.#zerocopy = zerocopy;
    this.#reports = reports;
  }

  /** @kernel skb_split, skb_split_inside_header, skb_split_no_header */
  split(skb: SkBuff, skb1: SkBuff, len: number): void {
    const headlen = skbHeadlen(skb);
    this.#zerocopy.skbZcopyDowngradeManaged(skb);
    skb1.shinfo!.flags |= skb.shinfo!.flags & (SKBFL_SHARED_FRAG | SKBFL_PURE_ZEROCOPY);
    this.#zerocopy.skbZerocopyClone(skb1, skb, 0);
    if (len < headlen) this.#splitInHead(skb, skb1, len, headlen);
    else this.#splitInFrags(skb, skb1, len, headlen);
    skb1.unreadable = skb.unreadable;
  }

  /** @kernel skb_shift */
  shift(tgt: SkBuff, skb: SkBuff, bytes: number): number {
    if (bytes > skb.len) this.#reports.report("skb-shift-too-far", "bug", skbName(skb), skbOwner(skb), `skb_shift of ${bytes} bytes out of ${skb.len}`);
    if (skbHeadlen(skb) > 0 || skbZcopy(tgt) || skbZcopy(skb)) return 0;
    if (tgt.ppRecycle !== skb.ppRecycle) this.#reports.report("skb-shift-recycle", "warn", skbName(skb), skbOwner(skb), "one of the two recycles its pages, the other does not");
    const first = skb.shinfo!.frags[0]!;
    const joins = continues(tgt, first);
    if (joins && first.sizeBytes > bytes) return this.#shiftWithinFrag(tgt, skb, bytes);
    const whole = joins ? 1 : 0;
    // What cannot fit is not begun.
    if (bytes === skb.len && skb.shinfo!.nrFrags - whole > MAX_SKB_FRAGS - tgt.shinfo!.nrFrags) return 0;
    if (!this.#ownHeads(tgt, skb)) return 0;
    const from = skb.shinfo!;
    const to = tgt.shinfo!;
    let left = bytes - (joins ? from.frags[0]!.sizeBytes : 0);
    let next = to.nrFrags;
    let i = whole;
    while (left > 0 && i < from.nrFrags) {
      if (next === MAX_SKB_FRAGS) return 0;
      const frag = from.frags[i]!;
      const part = Math.min(left, frag.sizeBytes);
      const target = to.frags[next++]!;
      netmemFragCopy(target, frag);
      target.sizeBytes = part;
      left -= part;
      if (part === frag.sizeBytes) i++;
      else {
        this.#refs.ref(skb, frag.netmem!);
        advanceFrag(frag, part);
      }
    }
    if (left > 0) this.#reports.report("skb-shift-too-far", "bug", skbName(skb), skbOwner(skb), `skb_shift of ${bytes} bytes, of which ${left} are in no frag`);
    if (joins) {
      to.frags[to.nrFrags - 1]!.sizeBytes += from.frags[0]!.sizeBytes;
      this.#refs.unref(skb, from.frags[0]!.netmem!, false);
    }
    to.nrFrags = next;
    let kept = 0;
    for (; i < from.nrFrags; i++) netmemFragCopy(from.frags[kept++]!, from.frags[i]!);
    from.nrFrags = kept;
    return moved(tgt, skb, bytes);
  }

  #shiftWithinFrag(tgt: SkBuff, skb: SkBuff, bytes: number): number {
    if (!this.#ownHeads(tgt, skb)) return 0;
    const frag = skb.shinfo!.frags[0]!;
    advanceFrag(frag, bytes);
    tgt.shinfo!.frags[tgt.shinfo!.nrFrags - 1]!.sizeBytes += bytes;
    return moved(tgt, skb, bytes);
  }

  /** @kernel skb_prepare_for_shift */
  #ownHeads(tgt: SkBuff, skb: SkBuff): boolean {
    return this.#edit.skbUncloneKeeptruesize(skb, GFP_ATOMIC) === 0 && this.#edit.skbUncloneKeeptruesize(tgt, GFP_ATOMIC) === 0;
  }

  /** Bytes of the head are copied; all frags go. */
  #splitInHead(skb: SkBuff, skb1: SkBuff, len: number, headlen: number): void {
    const from = skb.shinfo!;
    const to = skb1.shinfo!;
    const at = skb1.tail;
    this.#edit.skbPut(skb1, headlen - len);
    this.#edit.skbCopyBits(skb, len, skbRegion(skb1), at, headlen - len);
    for (let i = 0; i < from.nrFrags; i++) netmemFragCopy(to.frags[i]!, from.frags[i]!);
    to.nrFrags = from.nrFrags;
    from.nrFrags = 0;
    skb1.dataLen = skb.dataLen;
    skb1.len += skb1.dataLen;
    skb.dataLen = 0;
    skb.len = len;
    skb.tail = skb.data + len;
  }

  #splitInFrags(skb: SkBuff, skb1: SkBuff, len: number, headlen: number): void {
    const from = skb.shinfo!;
    const to = skb1.shinfo!;
    const frags = from.nrFrags;
    from.nrFrags = 0;
    skb1.dataLen = skb.len - len;
    skb1.len = skb1.dataLen;
    skb.len = len;
    skb.dataLen = len - headlen;
    let pos = headlen;
    let moving = 0;
    for (let i = 0; i < frags; i++) {
      const frag = from.frags[i]!;
      const { sizeBytes } = frag;
      if (pos + sizeBytes > len) {
        const target = to.frags[moving++]!;
        netmemFragCopy(target, frag);
        if (pos < len) {
          this.#refs.ref(skb, frag.netmem!);
          advanceFrag(target, len - pos);
          frag.sizeBytes = len - pos;
          from.nrFrags++;
        }
      } else from.nrFrags++;
      pos += sizeBytes;
    }
    to.nrFrags = moving;
  }
}

/** The frag begins where the packet's last one ends. @kernel skb_can_coalesce */
function continues(skb: SkBuff, frag: NetmemFrag): boolean {
  const { nrFrags, frags } = skb.shinfo!;
  if (nrFrags === 0) return false;
  const last = frags[nrFrags - 1]!;
  return last.netmem === frag.netmem && last.offset + last.sizeBytes === frag.offset;
}

/** @kernel skb_len_add */
function moved(tgt: SkBuff, skb: SkBuff, bytes: number): number {
  tgt.len += bytes;
  tgt.dataLen += bytes;
  tgt.truesize += bytes;
  skb.len -= bytes;
  skb.dataLen -= bytes;
  skb.truesize -= bytes;
  return bytes;
}
