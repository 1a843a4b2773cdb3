import { ENOMEM, type ReportSink } from "@netmem/kernel/api";
import { GFP_ATOMIC, __GFP_MEMALLOC, type PayloadMemory } from "@netmem/mm/api";
import { SKB_SHARED_INFO_BYTES, netmemFragCopy } from "@netmem/xdp/api";
import {
  NET_SKB_PAD, SKB_CONSUMED, skbCloned, skbEndOffset, skbHeaderCloned, skbHeadroom, skbName, skbOwner, skbRegion, skbZcopy, type SkBuff, type SkbExpand, type SkbZerocopy,
} from "./api/index.ts";
import { SkbBoundary } from "./bounds.ts";
import type { FragRefs } from "./frag-refs.ts";
import type { SkbHeads } from "./heads.ts";
import type { SkbLives } from "./lifetime.ts";
import { mustLive } from "./must-live.ts";
import type { SkbRelease } from "./release.ts";
import type { NetCoreRules } from "./rules.ts";
import type { StructCache } from "./struct-cache.ts";

export interface EditParts {
  readonly cache: StructCache;
  readonly release: SkbRelease;
  readonly refs: FragRefs;
  readonly heads: SkbHeads;
  readonly lives: SkbLives;
  readonly payload: PayloadMemory;
  readonly rules: NetCoreRules;
  readonly reports: ReportSink;
}

/** Heads of one's own. */
export class SkbExpansion extends SkbBoundary implements SkbExpand {
  private readonly cache: StructCache;
  protected readonly release: SkbRelease;
  protected readonly refs: FragRefs;
  protected readonly lives: SkbLives;
  private readonly heads: SkbHeads;
  private readonly expandKeepsRecycle: boolean;
  protected readonly trimClearsUnreadable: boolean;
  /** Set once, when both are made. */
  protected zerocopy: SkbZerocopy | null = null;

  constructor(parts: EditParts) {
    super(parts.payload, parts.reports);
    this.cache = parts.cache;
    this.release = parts.release;
    this.refs = parts.refs;
    this.lives = parts.lives;
    this.heads = parts.heads;
    this.expandKeepsRecycle = parts.rules.expandKeepsRecycle;
    this.trimClearsUnreadable = parts.rules.trimClearsUnreadable;
  }

  useZerocopy(zerocopy: SkbZerocopy): void {
    this.zerocopy = zerocopy;
  }

  pskbExpandHead(skb: SkBuff, nhead: number, ntail: number, gfp: number): number {
    mustLive(skb, this.reports);
    const oldSize = skbEndOffset(skb);
    if (skb.users !== 1 || nhead < 0 || oldSize + ntail < skb.tail - skb.head) {
      this.reports.report("skb-bad-expand", "bug", skbName(skb), skbOwner(skb), `pskb_expand_head with ${skb.users} users, nhead ${nhead}, ntail ${ntail}`);
    }
    this.zerocopy!.skbZcopyDowngradeManaged(skb);
    const object = this.heads.reserve(oldSize + nhead + ntail, skb.pfmemalloc ? gfp | __GFP_MEMALLOC : gfp);
    if (object === null) return -ENOMEM;
    this.payload.copy(object.region, object.base + nhead, skbRegion(skb), skb.head, skb.tail - skb.head);
    if (skbCloned(skb)) {
      if (this.zerocopy!.skbOrphanFrags(skb, gfp) < 0) {
        this.heads.free(object, object.sizeBytes - SKB_SHARED_INFO_BYTES);
        return -ENOMEM;
      }
      this.leaveSharedData(skb);
    } else this.release.freeHead(skb, false);

    const shift = object.base + nhead - skb.head;
    const size = object.sizeBytes - SKB_SHARED_INFO_BYTES;
    const info = skb.shinfo!;
    info.headSlab = object;
    info.headPage = null;
    info.headRegion = object.region;
    skb.head = object.base;
    skb.data += shift;
    skb.tail += shift;
    if (skb.macHeader >= 0) skb.macHeader += shift;
    if (skb.networkHeader >= 0) skb.networkHeader += shift;
    if (skb.transportHeader >= 0) skb.transportHeader += shift;
    skb.csumStart += shift;
    skb.end = object.base + size;
    skb.cloned = false;
    skb.nohdr = false;
    skb.hdrLen = 0;
    info.dataref = 1;
    info.metaLen = 0;
    // What somebody is charged for is not changed behind his back.
    if (skb.destructor === null) skb.truesize += size - oldSize;
    return 0;
  }

  skbUnclone(skb: SkBuff, gfp: number): number {
    mustLive(skb, this.reports);
    return skbCloned(skb) ? this.pskbExpandHead(skb, 0, 0, gfp) : 0;
  }

  skbUncloneKeeptruesize(skb: SkBuff, gfp: number): number {
    mustLive(skb, this.reports);
    if (!skbCloned(skb)) return 0;
    const end = skbEndOffset(skb);
    const { truesize } = skb;
    const errno = this.pskbExpandHead(skb, 0, 0, gfp);
    if (errno < 0) return errno;
    skb.truesize = truesize;
    const { smallEnd } = this.heads;
    const now = skbEndOffset(skb);
    if (now === end) return 0;
    if (end !== smallEnd && now !== smallEnd) skb.end = skb.head + end;
    else this.reports.report("skb-unclone-end", "warn", skbName(skb), skbOwner(skb), `its head ended at ${end} and ends at ${now}: by that a small head is known, and it stays`);
    return 0;
  }

  skbCow(skb: SkBuff, headroom: number): number {
    return this.cow(skb, headroom, skbCloned(skb));
  }

  skbCowHead(skb: SkBuff, headroom: number): number {
    return this.cow(skb, headroom, skbHeaderCloned(skb));
  }

  /** @kernel __skb_cow */
  private cow(skb: SkBuff, headroom: number, shared: boolean): number {
    mustLive(skb, this.reports);
    const missing = Math.max(0, headroom - skbHeadroom(skb));
    return missing > 0 || shared ? this.pskbExpandHead(skb, (missing + NET_SKB_PAD - 1) & -NET_SKB_PAD, 0, GFP_ATOMIC) : 0;
  }

  /**
   * Takes the skb's own references on what the others keep: a plain page reference each, whoever owns the page.
   * The old data is let go of, and with it, unless the design says otherwise, the recycle bit.
   */
  private leaveSharedData(skb: SkBuff): void {
    const old = skb.shinfo!;
    const info = this.cache.takeInfo();
    if (skbZcopy(skb) && old.uarg !== null) old.uarg.refcnt++;
    this.refs.refAll(skb);
    for (let i = 0; i < old.nrFrags; i++) netmemFragCopy(info.frags[i]!, old.frags[i]!);
    info.nrFrags = old.nrFrags;
    info.fragList = old.fragList;
    info.flags = old.flags;
    info.uarg = old.uarg;
    info.zcopyCookie = old.zcopyCookie;
    info.gsoSize = old.gsoSize;
    info.gsoSegs = old.gsoSegs;
    info.gsoType = old.gsoType;
    info.memType = old.memType;
    info.memId = old.memId;
    for (let frag = old.fragList; frag !== null; frag = frag.next) frag.users++;
    const recycle = skb.ppRecycle;
    this.release.releaseData(skb, SKB_CONSUMED, false);
    if (this.expandKeepsRecycle) skb.ppRecycle = recycle;
    skb.shinfo = info;
  }
}
