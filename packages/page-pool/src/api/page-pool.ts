import type { Netmem, Page } from "@netmem/mm/api";
import type { MemModel } from "@netmem/xdp/api";
import type { PagePoolParams } from "./params.ts";
import type { PagePoolStats } from "./stats.ts";

/** The consumer's side: the pool's own NAPI poll, or whoever is its single consumer. */
export interface PagePoolAlloc {
  /** A page, reference 1, mapped; the caller's until a last put. Null without memory. @kernel page_pool_alloc_pages */
  readonly allocPages: (gfp: number) => Page | null;
  /** The same for pools that may hold device memory. @kernel page_pool_alloc_netmems (net/core/page_pool.c) */
  readonly allocNetmems: (gfp: number) => Netmem | null;
}

/** Anyone's side; any context but hardirq. `allowDirect` true is the caller's word that it is the consumer. */
export interface PagePoolPut {
  /**
   * Drops one pool-aware reference; the last recycles or releases. `dmaSyncSizeBytes`: what the device may have
   * touched, −1 for all. Consumes. @kernel page_pool_put_netmem (include/net/page_pool/helpers.h)
   */
  readonly putNetmem: (netmem: Netmem, dmaSyncSizeBytes: number, allowDirect: boolean) => void;
  /** Consumes. @kernel page_pool_put_full_netmem */
  readonly putFullNetmem: (netmem: Netmem, allowDirect: boolean) => void;
  /** From the consumer itself. Consumes. @kernel page_pool_recycle_direct */
  readonly recycleDirect: (page: Page) => void;
  /**
   * One more pool-aware holder; a plain page reference in designs that do not count those apart. Shares.
   * @kernel page_pool_ref_netmem
   */
  readonly refNetmem: (netmem: Netmem) => void;
}

export interface PagePoolControl {
  /** Pages taken and not yet given back, wherever they are: cache, ring, device, skbs. @kernel page_pool_inflight */
  readonly inflight: () => number;
  /**
   * Drops one user; the last one starts teardown, which waits in the background for pages still out, retrying each
   * second. Process context, consumer stopped. @kernel page_pool_destroy
   */
  readonly destroy: () => void;
  /** No put is direct any more, whoever calls. Process context, NAPI off. @kernel page_pool_disable_direct_recycling */
  readonly disableDirectRecycling: () => void;
}

/** What a tool may read at any step. */
export interface PagePoolView {
  readonly id: number;
  readonly stats: PagePoolStats;
  readonly params: PagePoolParams;
  readonly holdCnt: number;
  readonly releaseCnt: number;
  readonly cacheCount: number;
  readonly ringCount: () => number;
  /** Teardown attempts so far; 0 while alive. */
  readonly destroyCnt: number;
  /** Freed: nothing may touch it. */
  readonly dead: boolean;
}

/** @kernel struct page_pool (include/net/page_pool/types.h); a memory model like any other */
export interface PagePool extends PagePoolAlloc, PagePoolPut, PagePoolControl, PagePoolView, MemModel {}

/** Tracepoints; the fields are the kernel's, in its order. @kernel include/trace/events/page_pool.h */
export interface PagePoolProbe {
  readonly stateHold: (pool: PagePoolView, netmem: Netmem, hold: number) => void;
  readonly stateRelease: (pool: PagePoolView, netmem: Netmem, release: number) => void;
  readonly release: (pool: PagePoolView, inflight: number, hold: number, release: number, cnt: number) => void;
}

export interface PagePools {
  /** A pool, or a negative errno. Process context. @kernel page_pool_create (net/core/page_pool.c) */
  readonly create: (params: PagePoolParams) => PagePool | number;
  /** A pool whose consumer is one CPU. @kernel page_pool_create_percpu */
  readonly createPercpu: (params: PagePoolParams, cpuid: number) => PagePool | number;
  /** Every pool not freed yet, by id. */
  readonly pools: () => readonly PagePool[];
}
