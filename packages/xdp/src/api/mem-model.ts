import type { Netmem, NetmemOwner } from "@netmem/mm/api";

/**
 * An allocator of network memory, as the layers that free see it. page_pool is one; NetGPU is another; a plugin is
 * no less. What an xdp_mem_info's id stands for.
 */
export interface MemModel extends NetmemOwner {
  /**
   * Takes back one pool-aware reference of a buffer it owns, from XDP. Consumes. `napiDirect`: the caller runs in the
   * model's own consumer context. Any context but hardirq.
   * @kernel the body of __xdp_return for one type (net/core/xdp.c)
   */
  readonly returnNetmem: (netmem: Netmem, napiDirect: boolean) => void;
  /**
   * The same from an skb that is freed. Consumes. `napiSafe`: the caller knows that it is in a NAPI poll, whichever; from
   * 6.4 to 6.9 page_pool went by that. Any context but hardirq.
   * @kernel napi_pp_put_page (net/core/skbuff.c)
   */
  readonly returnSkbNetmem: (netmem: Netmem, napiSafe: boolean) => void;
  /** One more skb will return this buffer. Shares. Any context but hardirq. @kernel page_pool_ref_netmem, from skb_pp_frag_ref (net/core/skbuff.c) */
  readonly refSkbNetmem: (netmem: Netmem) => void;
  /**
   * The same for `count` buffers, the first of which are its own; of the others, if there are any, it knows what to do from 6.14 on. Slots
   * are the model's to overwrite. Consumes. @kernel page_pool_put_netmem_bulk, from xdp_flush_frame_bulk
   */
  readonly returnNetmemBulk: (netmems: (Netmem | null)[], count: number) => void;
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
