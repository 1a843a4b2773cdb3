import { inHardirq, inSoftirq, type Softirqs } from "@netmem/kernel/api";
import {
  NAPI_GRO_FREE_STOLEN_HEAD, SKBFL_DONT_ORPHAN, SKBFL_ZEROCOPY_ENABLE, SKB_CONSUMED, SKB_DROP_REASON_NOT_SPECIFIED, skbHeadroom, skbName, skbOwner, skbZcopy,
  type SkBuff, type SkbLifetime, type SkbZerocopy,
} from "./api/index.ts";
import { SkbBirths, type BirthParts } from "./births.ts";
import type { CompletionQueue } from "./completion.ts";
import type { DeferredFree } from "./defer.ts";

export interface LifeParts extends BirthParts {
  readonly deferred: DeferredFree;
  readonly completions: CompletionQueue;
  readonly softirqs: Softirqs;
}

/** @kernel net/core/skbuff.c */
export class SkbLives extends SkbBirths implements SkbLifetime {
  private readonly deferred: DeferredFree;
  private readonly completions: CompletionQueue;
  private readonly defersFrees: boolean;
  private readonly deferSkipsZcopy: boolean;
  private readonly napiConsumeDefers: boolean;
  private readonly undeferredInSoftirq: boolean;
  private readonly softirqs: Softirqs;
  /** Set once, when both are made. */
  private zerocopy: Pick<SkbZerocopy, "skbOrphanFrags"> | null = null;

  constructor(parts: LifeParts) {
    super(parts);
    this.deferred = parts.deferred;
    this.completions = parts.completions;
    this.defersFrees = parts.rules.defersFrees;
    this.deferSkipsZcopy = parts.rules.deferSkipsZcopy;
    this.napiConsumeDefers = parts.rules.napiConsumeDefers;
    this.undeferredInSoftirq = parts.rules.undeferredInSoftirq;
    this.softirqs = parts.softirqs;
  }

  useZerocopy(zerocopy: Pick<SkbZerocopy, "skbOrphanFrags">): void {
    this.zerocopy = zerocopy;
  }

  /** What a copy knows of its packet beside the bytes, of which those of the original lie `shift` further. @kernel __copy_skb_header, skb_headers_offset_update */
  copyHeader(copy: SkBuff, skb: SkBuff, shift: number): void {
    copy.dev = skb.dev;
    copy.protocol = skb.protocol;
    copy.ipSummed = skb.ipSummed;
    copy.csumStart = skb.csumStart + shift;
    copy.csumOffset = skb.csumOffset;
    copy.rxQueue = skb.rxQueue;
    copy.redirected = skb.redirected;
    copy.allocCpu = skb.allocCpu;
    copy.unreadable = skb.unreadable;
    copy.macHeader = skb.macHeader < 0 ? -1 : skb.macHeader + shift;
    copy.networkHeader = skb.networkHeader < 0 ? -1 : skb.networkHeader + shift;
    copy.transportHeader = skb.transportHeader < 0 ? -1 : skb.transportHeader + shift;
    copy.tstamp = skb.tstamp;
    copy.seq = skb.seq;
    copy.endSeq = skb.endSeq;
    copy.tcpFlags = skb.tcpFlags;
  }

  /** The same, and how it is to be segmented. @kernel skb_copy_header */
  copyHeaderAndGso(copy: SkBuff, skb: SkBuff, shift: number): void {
    this.copyHeader(copy, skb, shift);
    const { gsoSize, gsoSegs, gsoType } = skb.shinfo!;
    const info = copy.shinfo!;
    info.gsoSize = gsoSize;
    info.gsoSegs = gsoSegs;
    info.gsoType = gsoType;
  }

  skbClone(skb: SkBuff, gfp: number): SkBuff | null {
    if (skb.free === true) {
      this.release.reportUseAfterFree(skb, "cloned");
      return null;
    }
    if ((skb.shinfo!.flags & (SKBFL_ZEROCOPY_ENABLE | SKBFL_DONT_ORPHAN)) === SKBFL_ZEROCOPY_ENABLE && this.zerocopy!.skbOrphanFrags(skb, gfp) < 0) return null;
    const companion = this.cache.takeCompanion(skb);
    if (companion === null && this.structsFail()) return null;
    const clone = companion ?? this.cache.takeSkb();
    clone.users = 1;
    this.share(clone, skb);
    this.cache.clones++;
    return clone;
  }

  skbMorph(dst: SkBuff, src: SkBuff): SkBuff {
    this.release.releaseHeadState(dst);
    if (dst.shinfo !== null) this.release.releaseData(dst, SKB_CONSUMED, false);
    this.share(dst, src);
    return dst;
  }

  /** @kernel __skb_clone */
  private share(clone: SkBuff, skb: SkBuff): void {
    // Another one, if frags were copied.
    const info = skb.shinfo!;
    clone.head = skb.head;
    clone.data = skb.data;
    clone.tail = skb.tail;
    clone.end = skb.end;
    clone.len = skb.len;
    clone.dataLen = skb.dataLen;
    clone.truesize = skb.truesize;
    clone.shinfo = info;
    clone.cloned = true;
    clone.hdrLen = skb.nohdr === true ? skbHeadroom(skb) : skb.hdrLen;
    clone.nohdr = false;
    clone.ppRecycle = skb.ppRecycle;
    clone.pfmemalloc = skb.pfmemalloc;
    clone.unreadable = skb.unreadable;
    clone.allocCpu = skb.allocCpu;
    clone.macHeader = skb.macHeader;
    clone.networkHeader = skb.networkHeader;
    clone.transportHeader = skb.transportHeader;
    clone.protocol = skb.protocol;
    clone.dev = skb.dev;
    clone.ipSummed = skb.ipSummed;
    clone.csumStart = skb.csumStart;
    clone.csumOffset = skb.csumOffset;
    clone.rxQueue = skb.rxQueue;
    clone.redirected = skb.redirected;
    skb.cloned = true;
    info.dataref++;
  }

  skbGet(skb: SkBuff): SkBuff {
    if (skb.free) this.release.reportUseAfterFree(skb, "taken a reference on");
    else skb.users++;
    return skb;
  }

  skbShareCheck(skb: SkBuff, gfp: number): SkBuff | null {
    if (skb.users === 1) return skb;
    const clone = this.skbClone(skb, gfp);
    if (clone === null) this.kfreeSkb(skb, SKB_DROP_REASON_NOT_SPECIFIED);
    else this.consumeSkb(skb);
    return clone;
  }

  kfreeSkb(skb: SkBuff, reason: number): void {
    this.release.drop(skb, reason);
  }

  skbOrphan(skb: SkBuff): void {
    this.release.releaseHeadState(skb);
  }

  consumeSkb(skb: SkBuff): void {
    this.release.drop(skb, SKB_CONSUMED);
  }

  kfreeSkbList(first: SkBuff | null, reason: number): void {
    this.release.dropList(first, reason);
  }

  napiConsumeSkb(skb: SkBuff, budget: number): void {
    if (budget === 0) {
      this.devConsumeSkbAny(skb);
      return;
    }
    if (!inSoftirq(this.context)) this.reportNotSoftirq(skb);
    if (this.napiConsumeDefers && skb.allocCpu !== this.context.cpu && skb.users === 1 && !skb.free) {
      this.release.releaseHeadState(skb);
      this.skbAttemptDeferFree(skb);
    } else this.release.dropInSoftirq(skb, SKB_CONSUMED);
  }

  devKfreeSkbAny(skb: SkBuff, reason: number): void {
    if (inHardirq(this.context)) this.completions.add(skb, reason);
    else this.release.drop(skb, reason);
  }

  devConsumeSkbAny(skb: SkBuff): void {
    this.devKfreeSkbAny(skb, SKB_CONSUMED);
  }

  kfreeSkbPartial(skb: SkBuff, headStolen: boolean): void {
    if (headStolen) this.release.freeStolen(skb, false);
    else this.release.dropUntraced(skb);
  }

  napiSkbFinishMerged(skb: SkBuff): void {
    if (skb.gro.free === NAPI_GRO_FREE_STOLEN_HEAD) this.release.freeStolen(skb, true);
    else if (skb.gro.free !== 0) this.release.dropUntracedInSoftirq(skb);
  }

  skbAttemptDeferFree(skb: SkBuff): void {
    if (skb.free === true) {
      this.release.reportUseAfterFree(skb, "freed again");
      return;
    }
    const now = this.defersFrees === false || skb.users !== 1 || (this.deferSkipsZcopy === true && skbZcopy(skb));
    if (!now && skb.destructor !== null && skb.allocCpu !== this.context.cpu) this.reportDeferredDestructor(skb);
    if (!now && this.deferred.add(skb)) return;
    if (this.undeferredInSoftirq === false) {
      this.release.dropUntraced(skb);
      return;
    }
    this.softirqs.localBhDisable();
    this.release.dropUntracedInSoftirq(skb);
    this.softirqs.localBhEnable();
  }

  private reportNotSoftirq(skb: SkBuff): void {
    this.reports.report("skb-napi-consume-context", "warn", skbName(skb), skbOwner(skb), "napi_consume_skb with a budget outside softirq: this CPU's structs are not the caller's to touch");
  }

  private reportDeferredDestructor(skb: SkBuff): void {
    this.reports.report("skb-defer-destructor", "warn", skbName(skb), skbOwner(skb), "deferred with its destructor: whoever is charged for it waits for another CPU");
  }
}
