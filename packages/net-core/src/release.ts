import type { ReportSink } from "@netmem/kernel/api";
import type { Netmem, PageAllocator, SlabAllocator } from "@netmem/mm/api";
import type { NetmemReturn } from "@netmem/xdp/api";
import { SKB_DATAREF_SHIFT, skbName, skbOwner, type SkBuff, type SkbProbe } from "./api/index.ts";
import type { NetCoreRules } from "./rules.ts";
import type { StructCache } from "./struct-cache.ts";

const PAYLOAD_AND_HEADER: number = (1 << SKB_DATAREF_SHIFT) + 1;

/** How a packet's memory goes home. The order of the steps is the kernel's. */
export class SkbRelease {
  readonly #cache: StructCache;
  readonly #pages: PageAllocator;
  readonly #slab: SlabAllocator;
  readonly #netmemReturn: NetmemReturn;
  readonly #rules: NetCoreRules;
  readonly reports: ReportSink;
  readonly #probe: SkbProbe | null;

  constructor(cache: StructCache, pages: PageAllocator, slab: SlabAllocator, netmemReturn: NetmemReturn, rules: NetCoreRules, reports: ReportSink, probe: SkbProbe | null) {
    this.#cache = cache;
    this.#pages = pages;
    this.#slab = slab;
    this.#netmemReturn = netmemReturn;
    this.#rules = rules;
    this.reports = reports;
    this.#probe = probe;
  }

  /** Drops one user; the last one frees data and struct. @kernel skb_unref, __kfree_skb */
  drop(skb: SkBuff, reason: number, napiSafe: boolean): void {
    if (skb.free) {
      this.reportUseAfterFree(skb, "freed again");
      return;
    }
    if (skb.users !== 1) {
      skb.users--;
      return;
    }
    if (this.#probe !== null) this.#probe.freed(skb, reason);
    if (skb.destructor !== null) skb.destructor.destruct();
    this.releaseData(skb, reason, napiSafe);
    this.#cache.putSkb(skb);
  }

  reportUseAfterFree(skb: SkBuff, what: string): void {
    this.reports.report("skb-use-after-free", "warn", skbName(skb), skbOwner(skb), `${what} after its last user let go`);
  }

  /** @kernel skb_release_data (net/core/skbuff.c) */
  releaseData(skb: SkBuff, reason: number, napiSafe: boolean): void {
    const info = skb.shinfo!;
    if (skb.cloned && !dataUnref(skb)) {
      if (this.#rules.releaseClearsRecycle) skb.ppRecycle = false;
      return;
    }
    this.releaseFrags(skb, reason, napiSafe);
    this.freeHead(skb, napiSafe);
    skb.ppRecycle = false;
    this.#cache.putInfo(info);
  }

  /** The skb has none afterwards. */
  releaseFrags(skb: SkBuff, reason: number, napiSafe: boolean): void {
    const info = skb.shinfo!;
    for (let i = 0; i < info.nrFrags; i++) this.#netmemUnref(skb, info.frags[i]!.netmem!, napiSafe);
    for (let frag = info.fragList; frag !== null;) {
      const { next } = frag;
      this.drop(frag, reason, napiSafe);
      frag = next;
    }
    info.nrFrags = 0;
    info.fragList = null;
  }

  /** One buffer of the skb's. Consumes. @kernel __skb_frag_unref, skb_page_unref (include/linux/skbuff_ref.h) */
  #netmemUnref(skb: SkBuff, netmem: Netmem, napiSafe: boolean): void {
    if (skb.ppRecycle) {
      if (this.#netmemReturn.needsSkb) this.#netmemReturn.enterSkb(skb.memType, skb.memId);
      if (this.#netmemReturn.tryReturn(netmem, napiSafe)) return;
    }
    // A net_iov outside recycling belongs to its provider's own counts; put_netmem leaves it alone.
    if (!netmem.isNetIov) this.#pages.putPage(netmem);
  }

  /** The kind of head is asked before the recycle bit: a slab head never touches page state. @kernel skb_free_head */
  freeHead(skb: SkBuff, napiSafe: boolean): void {
    if (skb.headFrag) this.#netmemUnref(skb, skb.headPage!, napiSafe);
    else this.#slab.kfree(skb.headSlab!);
  }
}

/** True for the last holder of the data. @kernel skb_data_unref (include/linux/skbuff.h) */
function dataUnref(skb: SkBuff): boolean {
  const info = skb.shinfo!;
  const mine = skb.nohdr ? PAYLOAD_AND_HEADER : 1;
  if (info.dataref === mine) return true;
  info.dataref -= mine;
  return info.dataref === 0;
}
