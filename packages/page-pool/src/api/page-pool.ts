import type { Netmem, Page } from "@netmem/mm/api";
import type { FragSource, MemInfo, MemModel, NapiStruct, NetDevice } from "@netmem/xdp/api";
import type { PagePoolFrag } from "./frag.ts";
import type { MemoryProvider, MemoryProviders } from "./memory-provider.ts";
import type { PagePoolNetlink } from "./netlink.ts";
import type { PagePoolParams } from "./params.ts";
import type { PagePoolAllocStats, PagePoolRecycleStats, PagePoolStats } from "./stats.ts";

/**
 * The consumer's side: the pool's own NAPI poll, or whoever is its single consumer. From a pool under teardown: report
 * `pp-use-after-destroy`, and null.
 */
export interface PagePoolAlloc {
  /** A page, reference 1, mapped; the caller's until a last put. Null without memory. @kernel page_pool_alloc_pages */
  readonly allocPages: (gfp: number) => Page | null;
  /** The same for pools that may hold device memory. @kernel page_pool_alloc_netmems (net/core/page_pool.c) */
  readonly allocNetmems: (gfp: number) => Netmem | null;
  /** `allocPages` as drivers call it in their poll: GFP_ATOMIC, no warning. @kernel page_pool_dev_alloc_pages (include/net/page_pool/helpers.h) */
  readonly devAllocPages: () => Page | null;
  /** @kernel page_pool_dev_alloc_netmems */
  readonly devAllocNetmems: () => Netmem | null;
  /**
   * A fragment of a page that several share: `sizeBytes`, 1 … the page, rounded up to the CPU's cache line; `frag.offset` says where.
   * The caller's, one of the netmem's pool-aware references, until put with a sync size of −1. A fragment larger than the page:
   * report `pp-frag-size` and null. Kernels before 5.15 have no fragments: report `pp-no-fragments` and null.
   * C's `…_dev_alloc_…` are these with GFP_ATOMIC and __GFP_NOWARN.
   * @kernel page_pool_alloc_frag_netmem (net/core/page_pool.c)
   */
  readonly allocFragNetmem: (frag: PagePoolFrag, sizeBytes: number, gfp: number) => Netmem | null;
  /** The same for pools of pages. @kernel page_pool_alloc_frag, page_pool_dev_alloc_frag */
  readonly allocFrag: (frag: PagePoolFrag, sizeBytes: number, gfp: number) => Page | null;
  /**
   * A fragment of `frag.sizeBytes`, or a whole page if two such do not fit into one. What is left of a page that has no room for a
   * further one is given with the last: `frag` then says so. The caller's, as above. @kernel page_pool_alloc_netmem, page_pool_dev_alloc_netmem (include/net/page_pool/helpers.h)
   */
  readonly allocNetmem: (frag: PagePoolFrag, gfp: number) => Netmem | null;
  /** The same for pools of pages. @kernel page_pool_alloc, page_pool_dev_alloc */
  readonly alloc: (frag: PagePoolFrag, gfp: number) => Page | null;
  /** The same, of memory the CPU can address: at `page.base + frag.offset` of `page.region`. @kernel page_pool_alloc_va, page_pool_dev_alloc_va */
  readonly allocVa: (frag: PagePoolFrag, gfp: number) => Page | null;
  /** Moves the pool to another memory node: its cache is given up, the ring sheds its pages one a refill. @kernel page_pool_update_nid (net/core/page_pool.c) */
  readonly updateNid: (nid: number) => void;
  /** `updateNid`, if it is another node. @kernel page_pool_nid_changed */
  readonly nidChanged: (nid: number) => void;
}

/**
 * Anyone's side; any context but hardirq. `allowDirect` true is the caller's word that it is the consumer.
 *
 * What the pool does not have out (another's, nobody's, one put already) is report `pp-foreign-put`, `pp-unowned-put`,
 * `pp-double-put` or `pp-use-after-destroy`; nothing is changed then, and it stays the caller's.
 */
export interface PagePoolPut {
  /**
   * Drops one pool-aware reference; the last recycles or releases. `dmaSyncSizeBytes`: what the device may have
   * touched, −1 for all. Consumes. @kernel page_pool_put_netmem, page_pool_put_page (include/net/page_pool/helpers.h)
   */
  readonly putNetmem: (netmem: Netmem, dmaSyncSizeBytes: number, allowDirect: boolean) => void;
  /** Consumes. @kernel page_pool_put_full_netmem, page_pool_put_full_page */
  readonly putFullNetmem: (netmem: Netmem, allowDirect: boolean) => void;
  /** From the consumer itself. Consumes. @kernel page_pool_recycle_direct, page_pool_recycle_direct_netmem */
  readonly recycleDirect: (netmem: Netmem) => void;
  /** For a caller that has dropped the last pool-aware reference itself; while others are left: report `pp-holders-left`, and it stays out. Consumes. @kernel page_pool_put_unrefed_netmem, page_pool_put_unrefed_page */
  readonly putUnrefedNetmem: (netmem: Netmem, dmaSyncSizeBytes: number, allowDirect: boolean) => void;
  /** What `allocVa` gave. Consumes. @kernel page_pool_free_va */
  readonly freeVa: (page: Page, allowDirect: boolean) => void;
  /**
   * The first `count`, at most 16, of `netmems`, whose slots are the pool's to overwrite; the ring is produced into in one go.
   * Each goes to its own pool; before 6.14 all must be this one's. More than 16: report `pp-bulk-size`. Consumes.
   * @kernel page_pool_put_netmem_bulk, page_pool_put_page_bulk
   */
  readonly putNetmemBulk: (netmems: (Netmem | null)[], count: number) => void;
  /**
   * One more pool-aware holder; a plain page reference in designs that do not count those apart. Shares.
   * @kernel page_pool_ref_netmem
   */
  readonly refNetmem: (netmem: Netmem) => void;
  /**
   * Drops `n` pool-aware references and answers how many are left; at 0 the caller is the last holder and must put it unrefed.
   * Below 0: report `pp-ref-underflow`. Of what the pool does not have out none is dropped, and the answer is 1. Consumes them. @kernel page_pool_unref_netmem
   */
  readonly unrefNetmem: (netmem: Netmem, n: number) => number;
  /** A fresh netmem gets `n` holders at once, instead of one. Shares. @kernel page_pool_fragment_netmem, page_pool_fragment_page */
  readonly fragmentNetmem: (netmem: Netmem, n: number) => void;
  /** The CPU may read `sizeBytes` at `offset` from where the device writes; whatever the pool's flags. The page stays the caller's. @kernel page_pool_dma_sync_for_cpu */
  readonly dmaSyncForCpu: (page: Page, offset: number, sizeBytes: number) => void;
  /** The same, unless the pool's provider says that nothing need be synced. It stays the caller's. @kernel page_pool_dma_sync_netmem_for_cpu */
  readonly dmaSyncNetmemForCpu: (netmem: Netmem, offset: number, sizeBytes: number) => void;
}

export interface PagePoolControl {
  /** Netmems taken and not yet given back, wherever they are: cache, ring, device, skbs. Never below 0. @kernel page_pool_inflight */
  readonly inflight: () => number;
  /**
   * Drops one user; the last one starts teardown, which waits in the background for what is still out, retrying each
   * second. Process context, consumer stopped. Again after that: report `pp-use-after-destroy`. @kernel page_pool_destroy
   */
  readonly destroy: () => void;
  /**
   * Hands the pool to a NAPI instance while that runs. Again for the same: nothing; report `pp-napi-attached` if another is
   * there. One disable undoes any number of these. Process context. @kernel page_pool_enable_direct_recycling
   */
  readonly enableDirectRecycling: (napi: NapiStruct) => void;
  /** No put is direct any more unless its caller says so. Report `pp-napi-running` if the NAPI may run. Process context. @kernel page_pool_disable_direct_recycling, page_pool_unlink_napi */
  readonly disableDirectRecycling: () => void;
  /** Adds the counters to `stats`, which the caller zeroed, and answers it. @kernel page_pool_get_stats */
  readonly getStats: (stats: PagePoolStats) => PagePoolStats;
}

/** What a tool may read at any step. */
export interface PagePoolView {
  readonly id: number;
  readonly params: PagePoolParams;
  readonly allocStats: PagePoolAllocStats;
  /** Those of all system pools together, for one of them. */
  readonly recycleStats: PagePoolRecycleStats;
  /** Netmems ever taken from the backing allocator and given back to it; `| 0`, they wrap at 2^32. */
  readonly holdCnt: number;
  readonly releaseCnt: number;
  readonly cacheCount: number;
  readonly ringSize: number;
  readonly ringCount: () => number;
  /** What lies in the cache and in the ring; the pool's. */
  readonly cacheItems: () => Netmem[];
  readonly ringItems: () => Netmem[];
  /** The page fragments are being cut from, the pool's, or null. */
  readonly fragPage: Netmem | null;
  /** Bytes of it given out; fragments it has given out. */
  readonly fragOffset: number;
  readonly fragUsers: number;
  /** The node it prefers now. */
  readonly nid: number;
  /** The device its users find it by: its own, loopback after that has gone, null for none. */
  readonly netdev: NetDevice | null;
  readonly napi: NapiStruct | null;
  /** CPU of its consumer, −1 for none. */
  readonly cpuid: number;
  readonly userCnt: number;
  readonly dmaMap: boolean;
  readonly dmaSync: boolean;
  readonly dmaSyncCpu: boolean;
  /** Mapped netmems it keeps track of. */
  readonly dmaMapped: () => number;
  /** One of the stack's own. */
  readonly system: boolean;
  /** Null for ordinary pages. @kernel page_pool_is_unreadable */
  readonly memoryProvider: MemoryProvider | null;
  /** Teardown attempts so far; 0 while alive. */
  readonly destroyCnt: number;
  /** Seconds since boot when its teardown had to wait; 0 while it has not. */
  readonly detachTime: number;
  /** Freed: nothing may touch it. */
  readonly dead: boolean;
}

/** @kernel struct page_pool (include/net/page_pool/types.h); a memory model like any other */
export interface PagePool extends PagePoolAlloc, PagePoolPut, PagePoolControl, PagePoolView, MemModel {}

/** Tracepoints; the fields are the kernel's, in its order. The netmem stays whose it is. @kernel include/trace/events/page_pool.h */
export interface PagePoolProbe {
  /** After each count of one more held. */
  readonly stateHold: (pool: PagePoolView, netmem: Netmem, hold: number, pfn: number) => void;
  /** After each count of one more released, its mark still on. */
  readonly stateRelease: (pool: PagePoolView, netmem: Netmem, release: number, pfn: number) => void;
  /** At each attempt to free the pool, after its scrub; `cnt` says the how-manieth. */
  readonly release: (pool: PagePoolView, inflight: number, hold: number, release: number, cnt: number) => void;
  /** Before the node changes. */
  readonly updateNid: (pool: PagePoolView, poolNid: number, newNid: number) => void;
}

export interface PagePools {
  /**
   * A pool, or a negative errno with report `pp-create-failed`, which names the parameter: -EINVAL, -E2BIG, -EOPNOTSUPP, -EFAULT for a queue bound to what is no provider, or what the
   * provider answers; -ENOMEM for the pool itself comes without a report. Process context. @kernel page_pool_create (net/core/page_pool.c)
   */
  readonly create: (params: PagePoolParams) => PagePool | number;
  /** A pool whose consumer is softirq on one CPU. @kernel page_pool_create_percpu */
  readonly createPercpu: (params: PagePoolParams, cpuid: number) => PagePool | number;
  /** Every pool not freed yet, by id. */
  readonly pools: () => readonly PagePool[];
  /** For callers of `allocFrag` and its like, once each. */
  readonly createFrag: () => PagePoolFrag;
  /** `pool` as the stack takes fragments from it, for copies; `mem` is what it is registered under. Of kernels with fragments: 5.15. */
  readonly createFragSource: (pool: PagePool, mem: MemInfo) => FragSource;
  /** Counters at 0, for `getStats`; the caller's. */
  readonly createStats: () => PagePoolStats;
  /** Whether `allocFrag` does anything: from 5.15. */
  readonly hasFragments: boolean;
  readonly netlink: PagePoolNetlink;
  readonly providers: MemoryProviders;
}
