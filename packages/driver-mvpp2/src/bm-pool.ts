import type { DriverDeps, NicBufferPool } from "@netmem/driver/api";
import { ENOMEM } from "@netmem/kernel/api";
import { GFP_KERNEL, NUMA_NO_NODE, PAGE_SIZE, __GFP_NOWARN, type Page } from "@netmem/mm/api";
import { PP_FLAG_DMA_MAP, PP_FLAG_DMA_SYNC_DEV, type PagePool } from "@netmem/page-pool/api";
import { MEM_TYPE_PAGE_POOL, type NetdevRxQueue, type XdpRxqInfo } from "@netmem/xdp/api";
import { MVPP2_SKB_HEADROOM, fragSize, type BmPoolKind } from "./constants.ts";

/**
 * A pool of the hardware's, and the page pool that fills it: a page a buffer, wherever the hardware puts it. The cookie that comes back with a buffer is its
 * slot here, as the kernel's is its physical address. @kernel struct mvpp2_bm_pool, priv.page_pool (drivers/net/ethernet/marvell/mvpp2/mvpp2.h)
 */
export class BmPool {
  readonly kind: BmPoolKind;
  readonly hw: NicBufferPool;
  readonly pool: PagePool;
  /** Under which its pages are known, to programs and to whoever frees a packet. @kernel xdp_rxq_short, xdp_rxq_long */
  readonly rxq: XdpRxqInfo;
  readonly dmaDir: number;
  readonly fragSize: number;
  /** By cookie: what the hardware has, or the frame that is being received. */
  readonly #pages: (Page | null)[];
  readonly #freeCookies: number[];

  constructor(kind: BmPoolKind, hw: NicBufferPool, pool: PagePool, rxq: XdpRxqInfo) {
    this.kind = kind;
    this.hw = hw;
    this.pool = pool;
    this.rxq = rxq;
    this.dmaDir = pool.params.dmaDir;
    this.fragSize = fragSize(kind);
    // One more than there are buffers: a frame's is taken out after the next one has gone in.
    this.#pages = Array.from({ length: kind.bufNum + 1 }, () => null);
    this.#freeCookies = this.#pages.map((_, cookie) => cookie);
  }

  page(cookie: number): Page {
    return this.#pages[cookie]!;
  }

  /** The buffer is the caller's; its cookie is used again. */
  takeOut(cookie: number): void {
    this.#pages[cookie] = null;
    this.#freeCookies.push(cookie);
  }

  /** A fresh buffer for the hardware; false: no memory. @kernel mvpp2_rx_refill, mvpp2_bm_pool_put (drivers/net/ethernet/marvell/mvpp2/mvpp2_main.c) */
  refill(gfp: number): boolean {
    const page = this.pool.allocPages(gfp | __GFP_NOWARN);
    if (page === null) return false;
    const cookie = this.#freeCookies.pop()!;
    this.#pages[cookie] = page;
    this.putBack(cookie);
    return true;
  }

  /** A buffer goes back into the hardware. @kernel mvpp2_bm_pool_put */
  putBack(cookie: number): void {
    this.hw.put(this.page(cookie).dmaAddr + MVPP2_SKB_HEADROOM, cookie);
  }

  /** What the hardware has goes home; it is stopped. @kernel mvpp2_bm_bufs_free */
  drain(): void {
    for (let cookie = this.hw.take(); cookie >= 0; cookie = this.hw.take()) this.dropBuffer(cookie, false);
  }

  /** @kernel mvpp2_frag_free */
  dropBuffer(cookie: number, allowDirect: boolean): void {
    const page = this.page(cookie);
    this.takeOut(cookie);
    this.pool.putFullNetmem(page, allowDirect);
  }
}

/** Pool, registration and all buffers; or a negative errno, and nothing is left. Process context. @kernel mvpp2_create_page_pool, mvpp2_bm_pool_use_percpu */
export function createBmPool(deps: DriverDeps, queue: NetdevRxQueue, kind: BmPoolKind, hw: NicBufferPool, dmaDir: number): BmPool | number {
  const { xdpRxqs } = deps;
  const pool = deps.pagePools.create({
    // No instance: the original never names one, so that later kernels recycle to its ring where they would go direct.
    flags: PP_FLAG_DMA_MAP | PP_FLAG_DMA_SYNC_DEV, order: 0, poolSize: kind.bufNum, nid: NUMA_NO_NODE, dev: deps.dma, napi: null,
    dmaDir, maxLen: kind.pktSize, offset: MVPP2_SKB_HEADROOM, netdev: queue.dev,
  });
  if (typeof pool === "number") return pool;
  const rxq = deps.xdpStructs.createXdpRxqInfo();
  const registered = xdpRxqs.xdpRxqInfoRegFrags(rxq, queue.dev, queue.index, PAGE_SIZE);
  const connected = registered < 0 ? registered : xdpRxqs.xdpRxqInfoRegMemModel(rxq, MEM_TYPE_PAGE_POOL, pool);
  if (connected < 0) {
    if (registered === 0) xdpRxqs.xdpRxqInfoUnreg(rxq);
    pool.destroy();
    return connected;
  }
  hw.configure(kind.bufNum + 1, kind.pktSize);
  const bmPool = new BmPool(kind, hw, pool, rxq);
  for (let i = 0; i < kind.bufNum; i++) {
    if (bmPool.refill(GFP_KERNEL)) continue;
    destroyBmPool(deps, bmPool);
    return -ENOMEM;
  }
  return bmPool;
}

/** @kernel mvpp2_bm_pool_destroy */
export function destroyBmPool(deps: DriverDeps, bmPool: BmPool): void {
  bmPool.drain();
  deps.xdpRxqs.xdpRxqInfoUnreg(bmPool.rxq);
  bmPool.pool.destroy();
}
