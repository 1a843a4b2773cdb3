import { ENOMEM, type Timer, type Timers } from "@netmem/kernel/api";
import type { DriverDeps, DriverOptions, NicRxQueue } from "@netmem/driver/api";
import { DMA_BIDIRECTIONAL, DMA_FROM_DEVICE, GFP_ATOMIC, GFP_KERNEL, NUMA_NO_NODE, PAGE_SIZE, __GFP_NOWARN, type CoherentMemory, type Page } from "@netmem/mm/api";
import { PP_FLAG_DMA_MAP, PP_FLAG_DMA_SYNC_DEV, type PagePool } from "@netmem/page-pool/api";
import { MEM_TYPE_PAGE_POOL, type NapiStruct, type NetDevice, type NetdevRxQueue, type XdpBuff, type XdpProg } from "@netmem/xdp/api";
import { MVNETA_MAX_RX_BUF_SIZE, MVNETA_REFILL_BATCH, MVNETA_RXD_ADDRESS, MVNETA_RXD_SHIFT, MVNETA_SKB_HEADROOM } from "./constants.ts";

/** Waits this long before it tries again when memory ran out, in ns. */
const REFILL_RETRY_NS = 1_000_000;

/**
 * A receive queue and its memory: the descriptor ring, the page behind each descriptor, and the pool they come from.
 * @kernel struct mvneta_rx_queue (drivers/net/ethernet/marvell/mvneta.c)
 */
export class MvnetaRxQueue {
  readonly dev: NetDevice;
  readonly queue: NetdevRxQueue;
  readonly napi: NapiStruct;
  readonly hw: NicRxQueue;
  readonly pool: PagePool;
  /** As its pages are mapped: in both directions if a program may send them. */
  readonly dmaDir: number;
  readonly ring: CoherentMemory;
  readonly size: number;
  /** The page posted in each descriptor; null once it went to an skb. @kernel buf_virt_addr */
  readonly pages: (Page | null)[];
  /** The frame being put together. Kept here and not on poll's stack: a frame may straddle two polls. */
  readonly xdp: XdpBuff;
  /** Bytes of that frame still to come, its checksum included. */
  leftBytes: number;
  /** What its first descriptor said. */
  frameStatus: number;
  nextDesc: number;
  firstToRefill: number;
  /** Descriptors that wait for a page. */
  refillNum: number;
  /** Its pages and its pool are gone. */
  stopped: boolean;
  readonly #timers: Timers;
  /** Polls again when memory may be back; on the CPU of the interrupt, whose NAPI this is. */
  readonly #retry: Timer;

  constructor(deps: DriverDeps, queue: NetdevRxQueue, napi: NapiStruct, pool: PagePool, ring: CoherentMemory, size: number, xdp: XdpBuff, cpu: number) {
    this.dev = queue.dev;
    this.queue = queue;
    this.napi = napi;
    this.hw = deps.nic.rxQueues[queue.index]!;
    this.pool = pool;
    this.dmaDir = pool.params.dmaDir;
    this.ring = ring;
    this.size = size;
    this.pages = [];
    for (let i = 0; i < size; i++) this.pages.push(null);
    this.xdp = xdp;
    this.leftBytes = 0;
    this.frameStatus = 0;
    this.nextDesc = 0;
    this.firstToRefill = 0;
    this.refillNum = size;
    this.stopped = false;
    this.#timers = deps.kernel.timers;
    this.#retry = this.#timers.timerSetup(() => deps.napi.napiSchedule(napi), cpu);
  }

  /** 0 or -ENOMEM, with what was posted left posted. @kernel mvneta_rxq_fill */
  fill(): number {
    let posted = 0;
    while (this.refillNum > 0) {
      const done = this.#refill(GFP_KERNEL);
      if (done === 0) break;
      posted += done;
    }
    this.hw.addNonOccupied(posted);
    return this.refillNum === 0 ? 0 : -ENOMEM;
  }

  /**
   * Puts pages into used descriptors, at most 64: one at a time would ring the doorbell too often. What fails stays
   * counted for the next poll. @kernel mvneta_rx_refill_queue
   */
  refillAfterPoll(): void {
    const wanted = Math.min(this.refillNum, MVNETA_REFILL_BATCH);
    const done = this.#refill(GFP_ATOMIC);
    if (done > 0) this.hw.addNonOccupied(done);
    // With too few descriptors for the next frame no interrupt may ever come to call poll again.
    if (done < wanted && !this.#retry.pending) this.#timers.modTimer(this.#retry, REFILL_RETRY_NS);
  }

  #refill(gfp: number): number {
    let done = 0;
    while (this.refillNum > 0 && done < MVNETA_REFILL_BATCH) {
      const page = this.pool.allocPages(gfp | __GFP_NOWARN);
      if (page === null) break;
      const at = this.firstToRefill;
      this.pages[at] = page;
      this.ring.write32((at << MVNETA_RXD_SHIFT) + MVNETA_RXD_ADDRESS, page.dmaAddr + MVNETA_SKB_HEADROOM);
      this.firstToRefill = at + 1 === this.size ? 0 : at + 1;
      this.refillNum--;
      done++;
    }
    return done;
  }

  /** The pages of the frame being put together, if any, go back to the pool. @kernel mvneta_xdp_put_buff */
  dropFrame(allowDirect: boolean): void {
    const { xdp, pool } = this;
    for (let i = 0; i < xdp.nrFrags; i++) {
      const frag = xdp.frags[i]!;
      pool.putFullNetmem(frag.netmem!, allowDirect);
      frag.netmem = null;
    }
    if (xdp.head !== null) pool.putFullNetmem(xdp.head, allowDirect);
    xdp.head = null;
    xdp.nrFrags = 0;
    xdp.flags = 0;
  }

  /** Hardware is off: every page that it held goes back to the pool. @kernel mvneta_rxq_drop_pkts */
  dropPackets(): void {
    this.#timers.timerDelete(this.#retry);
    this.dropFrame(false);
    for (let i = 0; i < this.size; i++) {
      const page = this.pages[i]!;
      if (page === null) continue;
      this.pages[i] = null;
      this.pool.putFullNetmem(page, false);
    }
  }
}

/**
 * Makes pool, registration, ring and posted pages, in that order; undoes in reverse on the way out. The queue or a
 * negative errno. @kernel mvneta_create_page_pool, mvneta_rxq_sw_init
 */
export function createRxQueue(deps: DriverDeps, queue: NetdevRxQueue, napi: NapiStruct, options: DriverOptions, prog: XdpProg | null): MvnetaRxQueue | number {
  const pool = deps.pagePools.create({
    flags: PP_FLAG_DMA_MAP | PP_FLAG_DMA_SYNC_DEV,
    order: 0,
    poolSize: options.rxRingSize,
    nid: NUMA_NO_NODE,
    dev: deps.dma,
    napi,
    dmaDir: prog === null ? DMA_FROM_DEVICE : DMA_BIDIRECTIONAL,
    maxLen: MVNETA_MAX_RX_BUF_SIZE,
    offset: MVNETA_SKB_HEADROOM,
    netdev: queue.dev,
  });
  if (typeof pool === "number") return pool;
  const { xdpRxq } = queue;
  const registered = deps.xdpRxqs.xdpRxqInfoRegFrags(xdpRxq, queue.dev, queue.index, PAGE_SIZE);
  const connected = registered < 0 ? registered : deps.xdpRxqs.xdpRxqInfoRegMemModel(xdpRxq, MEM_TYPE_PAGE_POOL, pool);
  const ring = connected < 0 ? null : deps.dma.allocCoherent(options.rxRingSize << MVNETA_RXD_SHIFT, GFP_KERNEL);
  if (ring === null) {
    if (registered === 0) deps.xdpRxqs.xdpRxqInfoUnreg(xdpRxq);
    pool.destroy();
    return connected < 0 ? connected : -ENOMEM;
  }
  const rxq = new MvnetaRxQueue(deps, queue, napi, pool, ring, options.rxRingSize, deps.xdpStructs.createXdpBuff(xdpRxq), options.cpu);
  rxq.hw.configure(ring.dmaAddr, options.rxRingSize, MVNETA_MAX_RX_BUF_SIZE);
  const filled = rxq.fill();
  if (filled === 0) return rxq;
  destroyRxQueue(deps, rxq);
  return filled;
}

/** @kernel mvneta_rxq_deinit */
export function destroyRxQueue(deps: DriverDeps, rxq: MvnetaRxQueue): void {
  rxq.stopped = true;
  rxq.dropPackets();
  deps.xdpRxqs.xdpRxqInfoUnreg(rxq.queue.xdpRxq);
  rxq.pool.destroy();
  deps.dma.freeCoherent(rxq.ring);
}
