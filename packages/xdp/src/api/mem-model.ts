import type { Netmem, NetmemOwner } from "@netmem/mm/api";

/**
 * An allocator of network memory, as the layers that free see it. page_pool is one; NetGPU is another; a plugin is
 * no less. What an xdp_mem_info's id stands for.
 */
export interface MemModel extends NetmemOwner {
  /**
   * Takes back one pool-aware reference of a buffer it owns. Consumes. `napiDirect`: the caller runs in the model's
   * own consumer context. `napiSafe`: the caller frees an skb and knows that it is in a NAPI poll, whichever; from 6.4 until
   * page_pool found out by itself it went by that. Any context but hardirq.
   * @kernel the body of __xdp_return for one type (net/core/xdp.c); napi_pp_put_page
   */
  readonly returnNetmem: (netmem: Netmem, napiDirect: boolean, napiSafe: boolean) => void;
  /**
   * Lets a page go for good: unmapped, no longer counted, an ordinary page from now on. The caller keeps its
   * reference. A net_iov cannot be anybody else's: it stays, with a report.
   * @kernel page_pool_release_page, removed in 6.6; xdp_release_frame
   */
  readonly releaseNetmem: (netmem: Netmem) => void;
  /** Registered under `memId`; the model must call `disconnect` before it dies. @kernel page_pool_use_xdp_mem */
  readonly useXdpMem: (memId: number, disconnect: () => void) => void;
  /** The registration is gone; a model without users destroys itself. @kernel page_pool_destroy, from xdp_unreg_mem_model */
  readonly unuseXdpMem: () => void;
}
