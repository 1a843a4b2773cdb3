import { PP_DMA_INDEX_SHIFT, PP_MAGIC_64, PP_MAGIC_MASK, type PpMagicLayout } from "./pp-magic.ts";
import type { NetIov } from "./net-iov.ts";
import { pageIsPfmemalloc, pageName, type Page } from "./page.ts";

/**
 * Network memory: a page or a net_iov. A path that can only serve pages says `Page`, and does not compile when handed
 * a `Netmem`.
 * @kernel netmem_ref (include/net/netmem.h)
 */
export type Netmem = Page | NetIov;

/** @kernel netmem_ref_count */
export function netmemRefCount(netmem: Netmem): number {
  return netmem.isNetIov ? 1 : netmem.head.refcount;
}

/** Whether a pool marks it as its own, in whichever word this machine's design keeps that. @kernel page_pool_page_is_pp */
export function netmemIsMarked({ signature, ppMagic }: Netmem): boolean {
  return signature !== 0 || (ppMagic & PP_MAGIC_MASK) !== 0;
}

/** @kernel netmem_compound_head */
export function netmemCompoundHead(netmem: Netmem): Netmem {
  return netmem.isNetIov ? netmem : netmem.head;
}

/** @kernel netmem_is_pfmemalloc */
export function netmemIsPfmemalloc(netmem: Netmem): boolean {
  return netmem.isNetIov ? false : pageIsPfmemalloc(netmem);
}

/** Page frame number for traces, 0 for a net_iov. @kernel netmem_pfn_trace */
export function netmemPfnTrace(netmem: Netmem): number {
  return netmem.isNetIov ? 0 : netmem.pfn;
}

export function netmemName(netmem: Netmem): string {
  return netmem.isNetIov ? `net_iov ${netmem.index} of area at 0x${netmem.region.base.toString(16)}` : pageName(netmem);
}

/**
 * Word 1 as a kernel of this layout shows it in a page dump: `dead000000000040` for an unmapped pool page of a 64-bit
 * one. The poison belongs to the signature: a page that is only pfmemalloc has none. For inspection and layout tests.
 */
export function ppMagicWord(netmem: Netmem, layout: PpMagicLayout = PP_MAGIC_64): bigint {
  if (netmem.ppMagic === 0) return 0n;
  const poison = netmem.ppMagic > 0x3 ? layout.poisonDelta : 0n;
  return poison | (BigInt(netmem.ppDmaIndex) << BigInt(PP_DMA_INDEX_SHIFT)) | BigInt(netmem.ppMagic);
}
