import type { Netmem } from "@netmem/mm/api";

/** Holders a fragment page is given in advance, half of what a long can count: no page has room for as many fragments. @kernel BIAS_MAX (net/core/page_pool.c) */
export const BIAS_MAX: bigint = (1n << 62n) - 1n;
/** What `ppRefCount` holds in its place, so that it stays a small integer. */
export const PP_FRAG_BIAS: number = 1 << 29;

/**
 * `pp_ref_count` as the kernel has it, 64 bits wide. Counts near our bias stand for those as near to the kernel's. The
 * netmem stays whose it is. @kernel pp_ref_count (include/net/netmem.h)
 */
export function ppRefCountWord(netmem: Netmem): bigint {
  const count = netmem.ppRefCount;
  return count > PP_FRAG_BIAS >> 1 ? BIAS_MAX - BigInt(PP_FRAG_BIAS - count) : BigInt(count);
}

/**
 * Where in its page a fragment lies: what C's callers pass the addresses of. Made by `PagePools.createFrag`, and then the
 * caller's, to use again and again.
 */
export class PagePoolFrag {
  declare private readonly nominal: "PagePoolFrag";
  /** Bytes from the start of the page. Out. */
  offset: number;
  /** Bytes asked for, and what was granted: `allocNetmem` may give the rest of the page with the last fragment. In and out. */
  sizeBytes: number;

  constructor() {
    this.offset = 0;
    this.sizeBytes = 0;
  }
}
