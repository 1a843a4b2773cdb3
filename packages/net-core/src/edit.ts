import { EFAULT, ENOMEM, type ReportSink } from "@netmem/kernel/api";
import type { Netmem, PageAllocator, PayloadMemory, PayloadRegion } from "@netmem/mm/api";
import { GFP_ATOMIC, pageIsPfmemalloc } from "@netmem/mm/api";
import { ETH_HLEN, MAX_SKB_FRAGS, SKB_SHARED_INFO_BYTES } from "@netmem/xdp/api";
import {
  SKB_DATAREF_SHIFT, SKB_DROP_REASON_NOT_SPECIFIED, skbCloned, skbHeadlen, skbName, skbOwner,
  type SkBuff, type SkbEdit,
} from "./api/index.ts";
import type { SkbHeads } from "./heads.ts";
import type { SkbRelease } from "./release.ts";
import type { NetCoreRules } from "./rules.ts";
import type { StructCache } from "./struct-cache.ts";

/** Room behind a packet whose head must grow anyhow. */
const SPARE_TAIL = 128;

export class SkbEdits implements SkbEdit {
  readonly #cache: StructCache;
  readonly #release: SkbRelease;
  readonly #pages: PageAllocator;
  readonly #heads: SkbHeads;
  readonly #payload: PayloadMemory;
  readonly #reports: ReportSink;
  readonly #expandKeepsRecycle: boolean;

  constructor(cache: StructCache, release: SkbRelease, pages: PageAllocator, heads: SkbHeads, payload: PayloadMemory, rules: NetCoreRules, reports: ReportSink) {
    this.#cache = cache;
    this.#release = release;
    this.#pages = pages;
    this.#heads = heads;
    this.#payload = payload;
    this.#reports = reports;
    this.#expandKeepsRecycle = rules.expandKeepsRecycle;
  }

  skbReserve(skb: SkBuff, bytes: number): void {
    skb.data += bytes;
    skb.tail += bytes;
  }

  skbPut(skb: SkBuff, bytes: number): void {
    if (skb.tail + bytes > skb.end || skb.dataLen > 0) {
      this.#reports.report("skb-over-panic", "bug", skbName(skb), skbOwner(skb), `skb_put of ${bytes} bytes, tailroom ${skb.end - skb.tail}, data_len ${skb.dataLen}`);
    }
    skb.tail += bytes;
    skb.len += bytes;
  }

  skbPull(skb: SkBuff, bytes: number): boolean {
    if (bytes > skbHeadlen(skb)) return false;
    skb.data += bytes;
    skb.len -= bytes;
    return true;
  }

  skbAddRxFrag(skb: SkBuff, netmem: Netmem, offset: number, sizeBytes: number, truesizeBytes: number): void {
    const info = skb.shinfo!;
    if (info.nrFrags >= MAX_SKB_FRAGS) {
      this.#reports.report("skb-too-many-frags", "bug", skbName(skb), skbOwner(skb), `more than ${MAX_SKB_FRAGS} frags`);
    }
    const frag = info.frags[info.nrFrags++]!;
    frag.netmem = netmem;
    frag.offset = offset;
    frag.sizeBytes = sizeBytes;
    skb.len += sizeBytes;
    skb.dataLen += sizeBytes;
    skb.truesize += truesizeBytes;
    if (netmem.isNetIov) skb.unreadable = true;
    else if (pageIsPfmemalloc(netmem)) skb.pfmemalloc = true;
  }

  ethTypeTrans(skb: SkBuff): number {
    skb.macHeader = skb.data;
    const { bytes } = skb.region!;
    const typeAt = skb.data + ETH_HLEN - 2;
    // A frame cut short by its capture has no header to pull.
    if (!this.skbPull(skb, ETH_HLEN)) return 0;
    skb.protocol = (bytes[typeAt]! << 8) | bytes[typeAt + 1]!;
    return skb.protocol;
  }

  pskbExpandHead(skb: SkBuff, nhead: number, ntail: number, gfp: number): number {
    const oldSize = skb.end - skb.head;
    if (skb.users !== 1 || nhead < 0 || oldSize + ntail < skb.tail - skb.head) {
      this.#reports.report("skb-bad-expand", "bug", skbName(skb), skbOwner(skb), `pskb_expand_head with ${skb.users} users, nhead ${nhead}, ntail ${ntail}`);
    }
    const object = this.#heads.reserve(oldSize + nhead + ntail, gfp);
    if (object === null) return -ENOMEM;
    this.#payload.copy(object.region, object.base + nhead, skb.region!, skb.head, skb.tail - skb.head);
    if (skbCloned(skb)) this.#leaveSharedData(skb);
    else this.#release.freeHead(skb, false);

    const shift = object.base + nhead - skb.head;
    const size = object.sizeBytes - SKB_SHARED_INFO_BYTES;
    skb.region = object.region;
    skb.head = object.base;
    skb.headSlab = object;
    skb.headPage = null;
    skb.headFrag = false;
    skb.data += shift;
    skb.tail += shift;
    if (skb.macHeader >= 0) skb.macHeader += shift;
    skb.end = object.base + size;
    skb.cloned = false;
    skb.nohdr = false;
    skb.shinfo!.dataref = 1;
    skb.shinfo!.metaLen = 0;
    skb.truesize += size - oldSize;
    return 0;
  }

  /**
   * Takes the skb's own references on what the others keep: a plain page reference each, whoever owns the page.
   * The old data is let go of, and with it, unless the design says otherwise, the recycle bit.
   */
  #leaveSharedData(skb: SkBuff): void {
    const old = skb.shinfo!;
    const info = this.#cache.takeInfo();
    for (let i = 0; i < old.nrFrags; i++) {
      const from = old.frags[i]!;
      const to = info.frags[i]!;
      to.netmem = from.netmem;
      to.offset = from.offset;
      to.sizeBytes = from.sizeBytes;
      const netmem = from.netmem!;
      if (!netmem.isNetIov) this.#pages.getPage(netmem);
      // A net_iov has no page count; where the last holder recycles, its holders are counted in the pool's word.
      else if (this.#expandKeepsRecycle) netmem.ppRefCount++;
    }
    info.nrFrags = old.nrFrags;
    info.fragList = old.fragList;
    for (let frag = old.fragList; frag !== null; frag = frag.next) frag.users++;
    const recycle = skb.ppRecycle;
    this.#release.releaseData(skb, SKB_DROP_REASON_NOT_SPECIFIED, false);
    if (this.#expandKeepsRecycle) skb.ppRecycle = recycle;
    skb.shinfo = info;
  }

  skbLinearize(skb: SkBuff): number {
    if (skb.dataLen === 0) return 0;
    if (skb.unreadable) return -EFAULT;
    const missing = skb.dataLen - (skb.end - skb.tail);
    if (missing > 0 || skbCloned(skb)) {
      const errno = this.pskbExpandHead(skb, 0, Math.max(0, missing) + SPARE_TAIL, GFP_ATOMIC);
      if (errno < 0) return errno;
    }
    const copied = this.skbCopyBits(skb, skbHeadlen(skb), skb.region!, skb.tail, skb.dataLen);
    if (copied < 0) return copied;
    skb.tail += skb.dataLen;
    skb.dataLen = 0;
    this.#release.releaseFrags(skb, SKB_DROP_REASON_NOT_SPECIFIED, false);
    return 0;
  }

  skbHeaderRelease(skb: SkBuff): void {
    skb.nohdr = true;
    skb.shinfo!.dataref = 1 + (1 << SKB_DATAREF_SHIFT);
  }

  skbCopyBits(skb: SkBuff, offset: number, target: PayloadRegion, targetOffset: number, bytes: number): number {
    if (offset < skb.head - skb.data || bytes < 0 || offset + bytes > skb.len) return -EFAULT;
    const headlen = skbHeadlen(skb);
    let done = 0;
    if (offset < headlen) {
      done = Math.min(bytes, headlen - offset);
      this.#payload.copy(target, targetOffset, skb.region!, skb.data + offset, done);
    }
    const info = skb.shinfo!;
    let start = headlen;
    for (let i = 0; i < info.nrFrags && done < bytes; i++) {
      const frag = info.frags[i]!;
      const skip = Math.max(0, offset + done - start);
      if (skip < frag.sizeBytes) {
        const part = Math.min(bytes - done, frag.sizeBytes - skip);
        const netmem = frag.netmem!;
        if (!netmem.region.cpuReadable) return -EFAULT;
        this.#payload.copy(target, targetOffset + done, netmem.region, netmem.base + frag.offset + skip, part);
        done += part;
      }
      start += frag.sizeBytes;
    }
    for (let frag = info.fragList; frag !== null && done < bytes; frag = frag.next) {
      const skip = Math.max(0, offset + done - start);
      if (skip < frag.len) {
        const part = Math.min(bytes - done, frag.len - skip);
        if (this.skbCopyBits(frag, skip, target, targetOffset + done, part) < 0) return -EFAULT;
        done += part;
      }
      start += frag.len;
    }
    return done < bytes ? -EFAULT : 0;
  }
}
