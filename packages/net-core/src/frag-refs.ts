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
  private readonly countsHolders: boolean;

  constructor(pages: PageAllocator, netmemReturn: NetmemReturn, rules: Pick<NetCoreRules, "expandKeepsRecycle" | "fragRefsCountHolders">) {
    this.pages = pages;
    this.netmemReturn = netmemReturn;
    this.countsNetIovs = rules.expandKeepsRecycle;
    this.countsHolders = rules.fragRefsCountHolders;
  }

  /** A plain reference, whoever owns the page; a net_iov has no such count. Shares. @kernel get_netmem */
  get(netmem: Netmem): void {
    if (!netmem.isNetIov) this.pages.getPage(netmem);
    else if (this.countsNetIovs) netmem.ppRefCount++;
  }

  /** One more of a buffer in `skb`: plain, whoever owns it, but for the rule of April 2024. Shares. @kernel __skb_frag_ref */
  ref(skb: SkBuff, netmem: Netmem): void {
    if (this.countsHolders && skb.ppRecycle) this.refHolder(skb, netmem);
    else this.get(netmem);
  }

  /** One of each frag. Shares. */
  refAll(skb: SkBuff): void {
    const info = skb.shinfo!;
    for (let i = 0; i < info.nrFrags; i++) this.ref(skb, info.frags[i]!.netmem!);
  }

  /** One more holder of each frag that will go home by its owner. Shares. @kernel skb_pp_frag_ref (net/core/skbuff.c) */
  refRecycling(skb: SkBuff): void {
    const info = skb.shinfo!;
    for (let i = 0; i < info.nrFrags; i++) this.refHolder(skb, info.frags[i]!.netmem!);
  }

  /** One more holder that its owner counts; a page reference if it has none. @kernel skb_page_ref, napi_pp_get_page */
  private refHolder(skb: SkBuff, netmem: Netmem): void {
    const ways = this.netmemReturn;
    if (ways.needsSkb) enter(ways, skb);
    if (!ways.tryRef(netmem)) this.get(netmem);
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
