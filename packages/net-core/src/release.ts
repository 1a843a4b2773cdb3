import { inHardirq, type ExecutionContext, type ReportSink } from "@netmem/kernel/api";
import { SKBFL_MANAGED_FRAG_REFS, SKBFL_ZEROCOPY_ENABLE, SKB_CONSUMED, SKB_DATAREF_SHIFT, SKB_DROP_REASON_NOT_SPECIFIED, SKB_FCLONE_UNAVAILABLE, SKB_FREED, SKB_FREED_UNTRACED, SKB_FREED_DEFERRED, skbName, skbOwner, type SkBuff, type SkbProbe } from "./api/index.ts";
import type { DropReasonTable } from "./drop-reasons.ts";
import type { FragRefs } from "./frag-refs.ts";
import type { SkbHeads } from "./heads.ts";
import type { NetCoreRules } from "./rules.ts";
import type { StructCache } from "./struct-cache.ts";
import { zcopyClear } from "./zcopy-clear.ts";

const PAYLOAD_AND_HEADER: number = (1 << SKB_DATAREF_SHIFT) + 1;
/** Structs of a list that go back at a time. @kernel KFREE_SKB_BULK_SIZE (net/core/skbuff.c) */
const KFREE_SKB_BULK_SIZE = 16;

export interface ReleaseParts {
  readonly cache: StructCache;
  readonly refs: FragRefs;
  readonly heads: SkbHeads;
  readonly context: ExecutionContext;
  readonly rules: NetCoreRules;
  readonly reasons: DropReasonTable;
  readonly reports: ReportSink;
  readonly probe: SkbProbe | null;
}

/** How a packet's memory goes home. The order of the steps is the kernel's. */
export class SkbRelease {
  private readonly cache: StructCache;
  private readonly refs: FragRefs;
  private readonly heads: SkbHeads;
  private readonly context: ExecutionContext;
  private readonly clearsRecycle: boolean;
  private readonly keepsReason: boolean;
  private readonly listsFreeInBulk: boolean;
  private readonly reasons: DropReasonTable;
  readonly reports: ReportSink;
  private readonly probe: SkbProbe | null;

  constructor(parts: ReleaseParts) {
    this.cache = parts.cache;
    this.refs = parts.refs;
    this.heads = parts.heads;
    this.context = parts.context;
    this.clearsRecycle = parts.rules.releaseClearsRecycle;
    this.keepsReason = parts.rules.releaseKeepsReason;
    this.listsFreeInBulk = parts.rules.listsFreeInBulk;
    this.reasons = parts.reasons;
    this.reports = parts.reports;
    this.probe = parts.probe;
  }

  /** Drops one user; the last one frees data and struct. @kernel sk_skb_reason_drop, __kfree_skb */
  drop(skb: SkBuff, reason: number): void {
    this.dropAs(skb, reason, SKB_FREED);
  }

  /** The same where the struct may stay with this CPU: in its softirq. @kernel napi_consume_skb, __napi_kfree_skb */
  dropInSoftirq(skb: SkBuff, reason: number): void {
    this.dropInSoftirqAs(skb, reason, SKB_FREED);
  }

  /** `dropInSoftirq` of what was read on another CPU. @kernel skb_defer_free_flush (net/core/dev.c) */
  dropDeferred(skb: SkBuff): void {
    this.dropInSoftirqAs(skb, SKB_CONSUMED, SKB_FREED_DEFERRED);
  }

  /** `drop` of what other packets have the bytes of, or of what was read where older kernels do not defer. @kernel __kfree_skb, as kfree_skb_partial and skb_attempt_defer_free call it */
  dropUntraced(skb: SkBuff): void {
    this.dropAs(skb, SKB_CONSUMED, SKB_FREED_UNTRACED);
  }

  /** `dropInSoftirq` without an event: of what was read where it was built, or merged. @kernel kfree_skb_napi_cache, __napi_kfree_skb (net/core/skbuff.c) */
  dropUntracedInSoftirq(skb: SkBuff): void {
    this.dropInSoftirqAs(skb, SKB_CONSUMED, SKB_FREED_UNTRACED);
  }

  private dropAs(skb: SkBuff, reason: number, how: number): void {
    if (this.unref(skb) === false) return;
    this.end(skb, reason, SKB_DROP_REASON_NOT_SPECIFIED, false, how);
    this.cache.putSkb(skb);
  }

  private dropInSoftirqAs(skb: SkBuff, reason: number, how: number): void {
    if (this.unref(skb) === false) return;
    this.end(skb, reason, skb.fclone === SKB_FCLONE_UNAVAILABLE && this.keepsReason === true ? reason : SKB_DROP_REASON_NOT_SPECIFIED, true, how);
    this.cache.putNapiSkb(skb);
  }

  /** The packets chained through `next`, whose last users' structs go back in bulks. @kernel kfree_skb_list_reason */
  dropList(first: SkBuff | null, reason: number): void {
    let bulk = 0;
    for (let skb = first; skb !== null;) {
      // One that others hold is in their list, too: its `next` is theirs.
      const { next } = skb;
      if (skb.free === true) {
        // Its `next` leads among the free structs.
        this.reportUseAfterFree(skb, "freed again");
        return;
      }
      if (this.unref(skb)) {
        const alone = skb.fclone === SKB_FCLONE_UNAVAILABLE && this.listsFreeInBulk;
        this.end(skb, reason, alone && this.keepsReason ? reason : SKB_DROP_REASON_NOT_SPECIFIED, false, SKB_FREED);
        this.cache.putSkb(skb);
        if (alone && ++bulk % KFREE_SKB_BULK_SIZE === 0) this.cache.bulkFrees++;
      }
      skb = next;
    }
    if (bulk % KFREE_SKB_BULK_SIZE !== 0) this.cache.bulkFrees++;
  }

  /** True: that was the last user, and the caller ends it. @kernel skb_unref */
  unref(skb: SkBuff): boolean {
    if (skb.free === true) {
      this.reportUseAfterFree(skb, "freed again");
      return false;
    }
    if (skb.users === 1) return true;
    skb.users--;
    return false;
  }

  /** All but the struct; members of its frag list end for `listReason`, and as packets of their own, however this one does: `SKB_FREED…`. @kernel skb_release_all */
  private end(skb: SkBuff, reason: number, listReason: number, napiSafe: boolean, how: number): void {
    if (reason !== SKB_CONSUMED) this.checkReason(skb, reason);
    if (this.probe !== null) this.probe.freed(skb, reason, how);
    if (skb.destructor !== null) this.releaseHeadState(skb);
    // Without data: a head that has gone elsewhere already.
    if (skb.shinfo !== null) this.releaseData(skb, listReason, napiSafe);
  }

  private checkReason(skb: SkBuff, reason: number): void {
    if (!this.reasons.isReason(reason)) this.reports.report("skb-bad-reason", "warn", skbName(skb), skbOwner(skb), `freed for reason ${reason}, which is none`);
  }

  /** Whoever is to know that the packet is gone is told now. @kernel skb_release_head_state */
  releaseHeadState(skb: SkBuff): void {
    const { destructor } = skb;
    if (destructor === null) return;
    if (inHardirq(this.context)) this.reports.report("skb-destructor-hardirq", "warn", skbName(skb), skbOwner(skb), "its destructor runs in hardirq: free it with devKfreeSkbAny");
    skb.destructor = null;
    destructor.destruct();
  }

  reportUseAfterFree(skb: SkBuff, what: string): void {
    this.reports.report("skb-use-after-free", "warn", skbName(skb), skbOwner(skb), `${what} after its last user let go`);
  }

  /** @kernel skb_release_data (net/core/skbuff.c) */
  releaseData(skb: SkBuff, reason: number, napiSafe: boolean): void {
    const info = skb.shinfo!;
    if (skb.cloned === true && !dataUnref(skb)) {
      if (this.clearsRecycle === true) skb.ppRecycle = false;
      return;
    }
    if (info.flags !== 0 || info.nrFrags > 0 || info.fragList !== null) this.releaseFrags(skb, reason, napiSafe);
    this.freeHead(skb, napiSafe);
    skb.ppRecycle = false;
    this.cache.putInfo(info);
  }

  /** The owner of zero-copy memory is told first; frags that it manages are its. The skb has none afterwards. */
  releaseFrags(skb: SkBuff, reason: number, napiSafe: boolean): void {
    const info = skb.shinfo!;
    const { flags } = info;
    if ((flags & SKBFL_ZEROCOPY_ENABLE) !== 0) zcopyClear(skb, true);
    if (info.nrFrags > 0) {
      if ((flags & SKBFL_MANAGED_FRAG_REFS) === 0) for (let i = 0; i < info.nrFrags; i++) this.refs.unref(skb, info.frags[i]!.netmem!, napiSafe);
      info.nrFrags = 0;
    }
    if (info.fragList !== null) {
      this.dropList(info.fragList, reason);
      info.fragList = null;
    }
  }

  /** The kind of head is asked before the recycle bit: a slab head never touches page state. @kernel skb_free_head */
  freeHead(skb: SkBuff, napiSafe: boolean): void {
    const info = skb.shinfo!;
    const { headPage } = info;
    if (headPage !== null) this.refs.unref(skb, headPage, napiSafe);
    else this.heads.free(info.headSlab!, skb.end - skb.head);
  }

  /** The struct alone: its head is somebody else's by now. @kernel kfree_skb_partial, napi_skb_free_stolen_head */
  freeStolen(skb: SkBuff, inSoftirq: boolean): void {
    if (skb.free === true) {
      this.reportUseAfterFree(skb, "freed again");
      return;
    }
    this.releaseHeadState(skb);
    const info = skb.shinfo!;
    info.nrFrags = 0;
    info.fragList = null;
    this.cache.putInfo(info);
    if (inSoftirq) this.cache.putNapiSkb(skb);
    else this.cache.putSkb(skb);
  }
}

/** True for the last holder of the data. @kernel skb_data_unref (include/linux/skbuff.h) */
function dataUnref(skb: SkBuff): boolean {
  const info = skb.shinfo!;
  const mine = skb.nohdr === true ? PAYLOAD_AND_HEADER : 1;
  if (info.dataref === mine) return true;
  info.dataref -= mine;
  return info.dataref === 0;
}
