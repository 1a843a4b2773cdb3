import { EFAULT, EINVAL, EIO, EMSGSIZE, ENOMEM, type ReportSink } from "@netmem/kernel/api";
import { GFP_ATOMIC, L1_CACHE_BYTES, NUMA_NO_NODE, PAGE_SIZE, PAGE_SLAB, __GFP_COMP, pageName, type Page, type PageAllocator, type PayloadMemory } from "@netmem/mm/api";
import { MAX_SKB_FRAGS } from "@netmem/xdp/api";
import {
  SKBFL_DONT_ORPHAN, SKBFL_MANAGED_FRAG_REFS, SKBFL_ZEROCOPY_FRAG, UbufInfo, skbCloned, skbHeadFrag, skbHeadlen, skbName, skbOwner, skbRegion, skbTailroom, skbZcopy, skbZcopyManaged, type SkBuff, type SkbZerocopy, type SpliceIter, type UbufOps, type ZerocopySocket,
} from "./api/index.ts";
import type { SkbEdits } from "./edit.ts";
import type { FragRefs } from "./frag-refs.ts";
import { appendFrag, fragBytes } from "./frags.ts";
import { MsgZerocopySocket } from "./msg-zerocopy.ts";
import { mustLive } from "./must-live.ts";
import { zcopyClear, zcopyInit } from "./zcopy-clear.ts";

export interface ZerocopyParts {
  readonly edit: SkbEdits;
  readonly refs: FragRefs;
  readonly pages: PageAllocator;
  readonly payload: PayloadMemory;
  readonly reports: ReportSink;
}

/** Packets that point into memory which is not theirs. @kernel net/core/skbuff.c */
export class SkbUserMemory implements SkbZerocopy {
  readonly #parts: ZerocopyParts;

  constructor(parts: ZerocopyParts) {
    this.#parts = parts;
  }

  createUbufInfo(ops: UbufOps, flags: number): UbufInfo {
    return new UbufInfo(ops, flags);
  }

  netZcopyPut(uarg: UbufInfo): void {
    uarg.ops.complete(null, uarg, true);
  }

  skbZcopySet(skb: SkBuff, uarg: UbufInfo, haveRef: boolean): boolean {
    mustLive(skb, this.#parts.reports);
    if (skbZcopy(skb)) return false;
    this.#mustBeAlone(skb, uarg.flags);
    if (!haveRef) uarg.refcnt++;
    zcopyInit(skb, uarg);
    return haveRef;
  }

  skbZcopySetNouarg(skb: SkBuff, cookie: number): void {
    mustLive(skb, this.#parts.reports);
    this.#mustBeAlone(skb, SKBFL_ZEROCOPY_FRAG);
    const info = skb.shinfo!;
    info.uarg = null;
    info.zcopyCookie = cookie;
    info.flags |= SKBFL_ZEROCOPY_FRAG;
  }

  skbZcopyClear(skb: SkBuff, success: boolean): void {
    mustLive(skb, this.#parts.reports);
    zcopyClear(skb, success);
  }

  skbOrphanFrags(skb: SkBuff, gfp: number): number {
    mustLive(skb, this.#parts.reports);
    return skbZcopy(skb) && (skb.shinfo!.flags & SKBFL_DONT_ORPHAN) === 0 ? this.skbCopyUbufs(skb, gfp) : 0;
  }

  skbOrphanFragsRx(skb: SkBuff, gfp: number): number {
    mustLive(skb, this.#parts.reports);
    return skbZcopy(skb) ? this.skbCopyUbufs(skb, gfp) : 0;
  }

  skbCopyUbufs(skb: SkBuff, gfp: number): number {
    mustLive(skb, this.#parts.reports);
    const { edit, refs } = this.#parts;
    if (skb.unreadable) return -EFAULT;
    if (skb.users !== 1 || edit.skbUnclone(skb, gfp) < 0) return -EINVAL;
    const old = skb.shinfo!;
    if (old.nrFrags > 0) {
      const bytes = fragBytes(skb);
      let order = 0;
      while ((PAGE_SIZE << order) * MAX_SKB_FRAGS < bytes) order++;
      const pages = this.#blocks(Math.ceil(bytes / (PAGE_SIZE << order)), order, gfp);
      if (pages === null) return -ENOMEM;
      this.#fill(skb, pages, PAGE_SIZE << order);
      for (let i = 0; i < old.nrFrags; i++) refs.unrefFrag(skb, i);
      old.nrFrags = 0;
      for (const [i, page] of pages.entries()) edit.skbFillNetmemDesc(skb, i, page, 0, Math.min(PAGE_SIZE << order, bytes - i * (PAGE_SIZE << order)));
    }
    zcopyClear(skb, false);
    return 0;
  }

  skbZerocopyClone(skb: SkBuff, orig: SkBuff, gfp: number): number {
    mustLive(skb, this.#parts.reports);
    mustLive(orig, this.#parts.reports);
    const info = orig.shinfo!;
    if (!skbZcopy(orig)) return 0;
    if (skbZcopy(skb)) {
      if (gfp === 0) {
        this.#parts.reports.report("zcopy-clone-twice", "warn", skbName(skb), skbOwner(skb), "has memory of somebody's already, and none can be allocated to copy it");
        return -ENOMEM;
      }
      if (skb.shinfo!.uarg === info.uarg) return 0;
      if (this.skbCopyUbufs(skb, GFP_ATOMIC) < 0) return -EIO;
    }
    if (info.uarg === null) this.skbZcopySetNouarg(skb, info.zcopyCookie);
    else this.skbZcopySet(skb, info.uarg, false);
    return 0;
  }

  skbZcopyDowngradeManaged(skb: SkBuff): void {
    mustLive(skb, this.#parts.reports);
    if (!skbZcopyManaged(skb)) return;
    skb.shinfo!.flags &= ~SKBFL_MANAGED_FRAG_REFS;
    this.#parts.refs.refAll(skb);
  }

  skbZerocopyHeadlen(from: SkBuff): number {
    mustLive(from, this.#parts.reports);
    const info = from.shinfo!;
    if (info.fragList !== null) return from.len;
    if (skbHeadFrag(from) && skbHeadlen(from) >= L1_CACHE_BYTES && info.nrFrags < MAX_SKB_FRAGS) return 0;
    return skbHeadlen(from) === 0 ? from.len : skbHeadlen(from);
  }

  skbZerocopy(to: SkBuff, from: SkBuff, lenBytes: number, hlenBytes: number): number {
    mustLive(to, this.#parts.reports);
    mustLive(from, this.#parts.reports);
    const { edit, refs, reports } = this.#parts;
    if (!skbHeadFrag(from) && hlenBytes === 0) reports.report("skb-zerocopy-head", "bug", skbName(from), skbOwner(from), "its head is no page, so that some of it must be copied");
    if (lenBytes <= skbTailroom(to)) return this.#append(to, from, lenBytes);
    let left = lenBytes;
    let linear = 0;
    if (hlenBytes > 0) {
      const errno = this.#append(to, from, hlenBytes);
      if (errno < 0) return errno;
      left -= hlenBytes;
    } else {
      linear = Math.min(skbHeadlen(from), lenBytes);
      if (linear > 0) {
        const page = from.shinfo!.headPage!;
        edit.skbFillNetmemDesc(to, 0, page, from.data - page.base, linear);
        refs.get(page);
        left -= linear;
      }
    }
    to.len += left + linear;
    to.dataLen += left + linear;
    to.truesize += left + linear;
    if (this.skbOrphanFrags(from, GFP_ATOMIC) < 0) {
      this.#txError(from);
      return -ENOMEM;
    }
    this.skbZerocopyClone(to, from, GFP_ATOMIC);
    const info = from.shinfo!;
    // The kernel forgets this.
    if (from.unreadable) to.unreadable = true;
    const copied = to.shinfo!;
    copied.nrFrags = linear > 0 ? 1 : 0;
    for (let i = 0; i < info.nrFrags && left > 0; i++) {
      appendFrag(copied, info.frags[i]!);
      const frag = copied.frags[copied.nrFrags - 1]!;
      frag.sizeBytes = Math.min(frag.sizeBytes, left);
      refs.ref(to, frag.netmem!);
      left -= frag.sizeBytes;
    }
    return 0;
  }

  skbSpliceFromIter(skb: SkBuff, iter: SpliceIter, maxBytes: number): number {
    mustLive(skb, this.#parts.reports);
    const { refs, reports } = this.#parts;
    let spliced = 0;
    let answer = 0;
    let at = 0;
    for (const { page, offset, sizeBytes } of iter.pages) {
      const skip = Math.max(0, iter.position - at);
      at += sizeBytes;
      if (skip >= sizeBytes) continue;
      if (spliced >= maxBytes) break;
      const part = Math.min(sizeBytes - skip, maxBytes - spliced);
      if (page.head.state === PAGE_SLAB) {
        reports.report("splice-slab-page", "warn", pageName(page), skbOwner(skb), "a slab's page cannot be held by a reference");
        answer = -EIO;
        break;
      }
      if (!this.#appendPagefrag(skb, page, offset + skip, part, refs)) {
        answer = -EMSGSIZE;
        break;
      }
      spliced += part;
      iter.position += part;
    }
    skb.len += spliced;
    skb.dataLen += spliced;
    skb.truesize += spliced;
    return spliced > 0 ? spliced : answer;
  }

  openZerocopySocket(optmemCalls: number): ZerocopySocket {
    return new MsgZerocopySocket(optmemCalls);
  }

  /** The packet comes to nothing: its owner has his memory back. @kernel skb_tx_error */
  #txError(skb: SkBuff): void {
    this.skbZcopyDowngradeManaged(skb);
    zcopyClear(skb, true);
  }

  /** @kernel skb_append_pagefrags */
  #appendPagefrag(skb: SkBuff, page: Page, offset: number, sizeBytes: number, refs: FragRefs): boolean {
    const info = skb.shinfo!;
    const last = info.nrFrags === 0 ? null : info.frags[info.nrFrags - 1]!;
    if (!skbZcopy(skb) && last !== null && last.netmem === page && last.offset + last.sizeBytes === offset) {
      last.sizeBytes += sizeBytes;
      return true;
    }
    if (info.nrFrags >= MAX_SKB_FRAGS) return false;
    this.skbZcopyDowngradeManaged(skb);
    refs.get(page);
    const frag = info.frags[info.nrFrags++]!;
    frag.netmem = page;
    frag.offset = offset;
    frag.sizeBytes = sizeBytes;
    return true;
  }

  #append(to: SkBuff, from: SkBuff, bytes: number): number {
    const { edit } = this.#parts;
    const at = to.tail;
    edit.skbPut(to, bytes);
    return edit.skbCopyBits(from, 0, skbRegion(to), at, bytes);
  }

  /** All or none. */
  #blocks(n: number, order: number, gfp: number): Page[] | null {
    const { pages } = this.#parts;
    const blocks: Page[] = [];
    for (let i = 0; i < n; i++) {
      const page = pages.allocPages(gfp | __GFP_COMP, order, NUMA_NO_NODE);
      if (page === null) {
        for (const block of blocks) pages.putPage(block);
        return null;
      }
      blocks.push(page);
    }
    return blocks;
  }

  #fill(skb: SkBuff, pages: readonly Page[], blockBytes: number): void {
    const info = skb.shinfo!;
    let done = 0;
    for (let i = 0; i < info.nrFrags; i++) {
      const { netmem, offset, sizeBytes } = info.frags[i]!;
      for (let from = 0; from < sizeBytes;) {
        const block = pages[Math.floor(done / blockBytes)]!;
        const part = Math.min(sizeBytes - from, blockBytes - (done % blockBytes));
        this.#parts.payload.copy(block.region, block.base + (done % blockBytes), netmem!.region, netmem!.base + offset + from, part);
        from += part;
        done += part;
      }
    }
  }

  /** Whoever shares the data would have the frags under his feet copied, which takes a private head, which copies the frags, without end. */
  #mustBeAlone(skb: SkBuff, flags: number): void {
    if (!skbCloned(skb) || (flags & SKBFL_DONT_ORPHAN) !== 0) return;
    this.#parts.reports.report("zcopy-set-cloned", "bug", skbName(skb), skbOwner(skb), "memory of somebody's, which clones may not keep, is attached to shared data");
  }
}
