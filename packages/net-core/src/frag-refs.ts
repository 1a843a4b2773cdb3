import type { Netmem, PageAllocator } from "@netmem/mm/api";
import type { NetmemReturn } from "@netmem/xdp/api";
import { skbZcopyManaged, type SkBuff } from "./api/index.ts";
import type { NetCoreRules } from "./rules.ts";

/** References that skbs have to their buffers. @kernel include/linux/skbuff_ref.h */
export class FragRefs {
  private readonly pages: PageAllocator;
  private readonly netmemReturn: NetmemReturn;
  /** The seed's proposal: where the last holder recycles, a net_iov's holders are counted in the pool's word. */
  private readonly countsNetIovs: boolean;

  constructor(pages: PageAllocator, netmemReturn: NetmemReturn, rules: Pick<NetCoreRules, "expandKeepsRecycle">) {
    this.pages = pages;
    this.netmemReturn = netmemReturn;
    this.countsNetIovs = rules.expandKeepsRecycle;
  }

  /** A plain reference, whoever owns the page; a net_iov has no such count. Shares. @kernel __skb_frag_ref, get_netmem */
  ref(netmem: Netmem): void {
    if (!netmem.isNetIov) this.pages.getPage(netmem);
    else if (this.countsNetIovs) netmem.ppRefCount++;
  }

  /** One of each frag. Shares. */
  refAll(skb: SkBuff): void {
    const info = skb.shinfo!;
    for (let i = 0; i < info.nrFrags; i++) this.ref(info.frags[i]!.netmem!);
  }

  /** One more holder of each frag that will go home by its owner; a page reference of those that have none. Shares. @kernel skb_pp_frag_ref (net/core/skbuff.c) */
  refRecycling(skb: SkBuff): void {
    const info = skb.shinfo!;
    const ways = this.netmemReturn;
    if (ways.needsSkb) ways.enterSkb(info.memType, info.memId);
    for (let i = 0; i < info.nrFrags; i++) {
      const netmem = info.frags[i]!.netmem!;
      if (!ways.tryRef(netmem)) this.ref(netmem);
    }
  }

  /** One buffer of the skb's: to its owner if the skb recycles and there is one. Consumes. @kernel skb_page_unref */
  unref(skb: SkBuff, netmem: Netmem, napiSafe: boolean): void {
    if (skb.ppRecycle === true) {
      const ways = this.netmemReturn;
      if (ways.needsSkb === true) enter(ways, skb);
      if (ways.tryReturn(netmem, napiSafe)) return;
    }
    // A net_iov outside recycling belongs to its provider's own counts; put_netmem leaves it alone.
    if (!netmem.isNetIov) this.pages.putPage(netmem);
  }

  /** Frag `i`, unless it has no reference of its own. Consumes. @kernel skb_frag_unref */
  unrefFrag(skb: SkBuff, i: number): void {
    if (!skbZcopyManaged(skb)) this.unref(skb, skb.shinfo!.frags[i]!.netmem!, false);
  }
}

function enter(ways: NetmemReturn, skb: SkBuff): void {
  const { memType, memId } = skb.shinfo!;
  ways.enterSkb(memType, memId);
}
