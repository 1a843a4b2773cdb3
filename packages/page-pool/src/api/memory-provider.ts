import type { Netmem, NetIov } from "@netmem/mm/api";
import type { NetDevice, NetdevRxQueue, QueueMemoryProvider } from "@netmem/xdp/api";
import type { PagePoolView } from "./page-pool.ts";

/**
 * A pool as its provider has it: what the kernel's `net_mp_…` helpers do to it, and the bits a provider may clear.
 * @kernel include/net/page_pool/memory_provider.h
 */
export interface ProviderPool extends PagePoolView {
  /** Cleared by a provider whose memory needs no sync for the device. */
  dmaSync: boolean;
  /** The same for the CPU. Starts true. @kernel pool->dma_sync_for_cpu */
  dmaSyncCpu: boolean;
  /** Marks the niov as the pool's and counts it as held. The pool owns it now; one that a pool has is left alone, with report `mp-counted-twice`. Consumer context. Consumes. @kernel net_mp_niov_set_page_pool */
  readonly niovSetPagePool: (niov: NetIov) => void;
  /** Takes the mark off; the niov is the provider's. Only from `releaseNetmem`, before it answers false. Keeps: the provider has it. @kernel net_mp_niov_clear_page_pool */
  readonly niovClearPagePool: (niov: NetIov) => void;
  /** Where the device finds it; true if the pool cannot store such an address. It stays the provider's. @kernel net_mp_niov_set_dma_addr */
  readonly niovSetDmaAddr: (niov: NetIov, dmaAddr: number) => boolean;
  /** Room left in the cache, up to a refill of 64. @kernel PP_ALLOC_CACHE_REFILL − pool.alloc.count */
  readonly cacheRoom: () => number;
  /**
   * Puts one more beside the netmem that `allocNetmems` answers: already marked and counted, sync it yourself. False
   * with report `mp-cache-full` when there is no room: it stays the provider's then. Consumer context. Consumes.
   * @kernel net_mp_netmem_place_in_cache
   */
  readonly netmemPlaceInCache: (netmem: Netmem) => boolean;
  /** Whether this pool counts the netmem among its own and has handed it out. It stays whose it is. @kernel the pp test of io_zcrx_ring_refill (io_uring/zcrx.c) */
  readonly hasOut: (netmem: Netmem) => boolean;
  /** Drops `n` pool-aware references and answers how many are left; at 0 the caller holds the netmem. Consumes them. @kernel page_pool_unref_netmem */
  readonly unrefNetmem: (netmem: Netmem, n: number) => number;
  /** Drops the last holder's; recycles or releases. Consumes. @kernel page_pool_put_unrefed_netmem */
  readonly putUnrefedNetmem: (netmem: Netmem, dmaSyncSizeBytes: number, allowDirect: boolean) => void;
  /** As before a recyclable netmem is kept. It stays the pool's. @kernel page_pool_dma_sync_for_device */
  readonly dmaSyncForDevice: (netmem: Netmem, sizeBytes: number) => void;
}

/**
 * Where a pool's memory comes from when it is not the page allocator: device memory, a user's area. Members are
 * function properties: an implementation that can only take pages back does not type-check.
 *
 * Bound to a receive queue by `MemoryProviders.openRxq`; a pool that is created for that queue with
 * PP_FLAG_ALLOW_UNREADABLE_NETMEM then uses it.
 * @kernel struct memory_provider_ops (include/net/page_pool/memory_provider.h)
 */
export interface MemoryProvider extends QueueMemoryProvider {
  /**
   * 0 or a negative errno, which fails the pool's creation, and then nothing of it is undone. Takes its own reference on
   * what it provides, and may clear the pool's sync bits. Process context.
   */
  readonly init: (pool: ProviderPool) => number;
  /**
   * One buffer or null, cache and ring being empty; more may go into the cache. Each one new to the pool is marked and
   * counted by `niovSetPagePool` first, and has its DMA address. The pool's afterwards. The pool's consumer context.
   */
  readonly allocNetmems: (pool: ProviderPool, gfp: number) => Netmem | null;
  /**
   * Takes a buffer back for good. False: it has cleared the mark itself, and there is nothing left to do. True: the pool
   * should clear it and put the page; of a net_iov, which only the provider can take, that is report `mp-not-taken`. Any context that may put. Consumes.
   */
  readonly releaseNetmem: (pool: ProviderPool, netmem: Netmem) => boolean;
  /** The pool is gone, nothing is in flight: drop what `init` took. */
  readonly destroy: (pool: ProviderPool) => void;
}

/** Binding providers to receive queues. Process context, instance lock held. */
export interface MemoryProviders {
  /** Pools that have a provider. @kernel the static key page_pool_mem_providers */
  readonly count: () => number;
  /**
   * Binds it and restarts the queue, whose driver then creates its pools anew. 0, or the first of these that holds, in this
   * order: -EOPNOTSUPP (no queue management), -ERANGE (no such queue), -EBUSY (leased or virtual), -EINVAL (tcp-data-split
   * off, then hds-thresh not 0), -EEXIST (XDP program attached, then another provider bound), -EBUSY (AF_XDP pool); then what the restart answers,
   * -ENODATA among it: no pool of that queue took the provider. Nothing stays bound after an error.
   * @kernel net_mp_open_rxq (net/core/netdev_rx_queue.c)
   */
  readonly openRxq: (dev: NetDevice, rxqIndex: number, provider: MemoryProvider) => number;
  /** Unbinds what was bound and restarts the queue; report `mp-close-mismatch` if something else is, `mp-close-failed` if its driver cannot, unless with -ENETDOWN. @kernel net_mp_close_rxq */
  readonly closeRxq: (dev: NetDevice, rxqIndex: number, provider: MemoryProvider) => void;
  /** -ENODATA if the queue has a provider that no pool of its uses, else 0. @kernel page_pool_check_memory_provider (net/core/page_pool_user.c) */
  readonly check: (queue: NetdevRxQueue) => number;
  /** Stops, rebuilds and starts one queue. 0 or a negative errno: the queue then runs as before. @kernel netdev_rx_queue_restart */
  readonly restartRxq: (dev: NetDevice, rxqIndex: number) => number;
}
