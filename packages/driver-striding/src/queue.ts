import { startRx, stopRx, type DriverDeps, type InterfaceQueue, type NicRxQueue, type QueueShared } from "@netmem/driver/api";
import { ENOMEM, type Timer } from "@netmem/kernel/api";
import { DMA_BIDIRECTIONAL, DMA_FROM_DEVICE, GFP_ATOMIC, GFP_KERNEL, NUMA_NO_NODE, PAGE_SIZE, __GFP_NOWARN, type CoherentMemory } from "@netmem/mm/api";
import { PP_FLAG_DMA_MAP, PP_FLAG_DMA_SYNC_DEV, type PagePool } from "@netmem/page-pool/api";
import { MEM_TYPE_PAGE_POOL, NAPI_POLL_WEIGHT, REG_STATE_REGISTERED, type NapiStruct, type XdpBuff } from "@netmem/xdp/api";
import { ST_CQE_BYTES, ST_RX_DESC } from "./constants.ts";
import type { StrideLayout } from "./layout.ts";
import { pollRx } from "./poll.ts";
import { FragCounts, Wqe } from "./wqe.ts";

/** Waits this long before it tries again when memory ran out, in ns. */
const REFILL_RETRY_NS = 1_000_000;

/** What a queue runs on while it is up. */
export interface Running {
  readonly layout: StrideLayout;
  readonly ring: CoherentMemory;
  readonly completions: CoherentMemory;
  readonly pool: PagePool;
  readonly counts: FragCounts;
  readonly wqes: readonly Wqe[];
}

/** A receive queue: descriptors with memory, completions with packets. @kernel struct mlx5e_rq (drivers/net/ethernet/mellanox/mlx5/core/en.h) */
export class StridingQueue implements InterfaceQueue {
  readonly index: number;
  readonly shared: QueueShared;
  readonly hw: NicRxQueue;
  readonly xdp: XdpBuff;
  /** Null: it stands still. */
  running: Running | null;
  nextCompletion: number;
  /** Descriptors that are empty, the next to be filled, and how many. */
  nextToPost: number;
  missing: number;
  readonly #deps: DriverDeps;
  readonly #cpu: number;
  readonly #napi: NapiStruct;
  readonly #retry: Timer;

  constructor(deps: DriverDeps, shared: QueueShared, index: number, cpu: number) {
    const { dev } = shared;
    this.#deps = deps;
    this.#cpu = cpu;
    this.index = index;
    this.shared = shared;
    this.hw = deps.nic.rxQueues[index]!;
    this.xdp = deps.xdpStructs.createXdpBuff(dev.rxQueues[index]!.xdpRxq);
    this.running = null;
    this.nextCompletion = 0;
    this.nextToPost = 0;
    this.missing = 0;
    this.#napi = deps.napi.netifNapiAdd(dev, { poll: (napi, budget) => this.#poll(napi, budget) }, NAPI_POLL_WEIGHT);
    dev.rxQueues[index]!.napi = this.#napi;
    this.#retry = deps.kernel.timers.timerSetup(() => deps.napi.napiSchedule(this.#napi), cpu);
  }

  /** Rings, pool, and a first descriptor that is filled: 0 or a negative errno, nothing then being left. @kernel mlx5e_open_rq, mlx5e_alloc_rq */
  open(layout: StrideLayout): number {
    const { dma, pagePools, xdpRxqs, pages } = this.#deps;
    const { dev } = this.shared;
    const { xdpRxq } = dev.rxQueues[this.index]!;
    const { wqes, stridesPerWqe } = layout;
    const ring = dma.allocCoherent(wqes * ST_RX_DESC.sizeBytes, GFP_KERNEL);
    const completions = ring === null ? null : dma.allocCoherent(wqes * stridesPerWqe * ST_CQE_BYTES, GFP_KERNEL);
    if (ring === null || completions === null) {
      if (ring !== null) dma.freeCoherent(ring);
      return -ENOMEM;
    }
    const pool = pagePools.create({
      flags: PP_FLAG_DMA_MAP | PP_FLAG_DMA_SYNC_DEV, order: 0, poolSize: wqes * ST_RX_DESC.striding!.pages, nid: NUMA_NO_NODE, dev: dma, napi: this.#napi,
      dmaDir: this.shared.prog === null ? DMA_FROM_DEVICE : DMA_BIDIRECTIONAL, maxLen: PAGE_SIZE, offset: 0, netdev: dev, queueIdx: this.index,
    });
    if (typeof pool === "number") {
      dma.freeCoherent(completions);
      dma.freeCoherent(ring);
      return pool;
    }
    const registered = xdpRxqs.xdpRxqInfoRegFrags(xdpRxq, dev, this.index, layout.strideBytes);
    const errno = registered < 0 ? registered : xdpRxqs.xdpRxqInfoRegMemModel(xdpRxq, MEM_TYPE_PAGE_POOL, pool);
    const counts = new FragCounts(pool, pagePools.hasFragments, (page) => pages.getPage(page));
    this.running = { layout, ring, completions, pool, counts, wqes: Array.from({ length: wqes }, () => new Wqe()) };
    this.nextCompletion = 0;
    this.nextToPost = 0;
    this.missing = wqes;
    if (errno === 0 && this.post(GFP_KERNEL) > 0) return 0;
    this.close();
    return errno < 0 ? errno : -ENOMEM;
  }

  start(): void {
    const { hw } = this;
    const { layout, ring, completions } = this.running!;
    const { wqes, stridesPerWqe, strideBytes, headroomBytes } = layout;
    hw.configure(ring.dmaAddr, wqes, this.running!.layout.mostFrameBytes);
    hw.setStrides(completions.dmaAddr, wqes * stridesPerWqe, strideBytes, headroomBytes);
    hw.addNonOccupied(wqes - this.missing);
    startRx(this.#deps, this.index, this.#cpu, hw, this.#napi);
    this.#retryIfMissing();
  }

  /** The device first, then whoever polls, then what it had. @kernel mlx5e_deactivate_rq, mlx5e_close_rq */
  stop(): void {
    stopRx(this.#deps, this.index, this.hw, this.#napi);
    this.#deps.kernel.timers.timerDelete(this.#retry);
    this.close();
  }

  /** Of one that was opened and never started, too. @kernel mlx5e_free_rx_descs, mlx5e_free_rq */
  close(): void {
    const { ring, completions, counts, pool, wqes } = this.running!;
    this.running = null;
    for (const { pages } of wqes) for (const fragPage of pages) if (fragPage.page !== null) counts.release(fragPage, false);
    const { xdpRxq } = this.shared.dev.rxQueues[this.index]!;
    if (xdpRxq.regState === REG_STATE_REGISTERED) this.#deps.xdpRxqs.xdpRxqInfoUnreg(xdpRxq);
    pool.destroy();
    this.#deps.dma.freeCoherent(completions);
    this.#deps.dma.freeCoherent(ring);
  }

  /** Fills descriptors that are empty, each with all its pages or none; how many. @kernel mlx5e_post_rx_mpwqes, mlx5e_alloc_rx_mpwqe */
  post(gfp: number): number {
    const { ring, counts, wqes } = this.running!;
    let posted = 0;
    for (; this.missing > 0; posted++) {
      const wqe = wqes[this.nextToPost]!;
      for (const [i, fragPage] of wqe.pages.entries()) {
        if (!counts.alloc(fragPage, gfp | __GFP_NOWARN)) {
          for (const got of wqe.pages.slice(0, i)) counts.release(got, true);
          return posted;
        }
        ring.write32(this.nextToPost * ST_RX_DESC.sizeBytes + (ST_RX_DESC.addressWord + i) * 4, fragPage.page!.dmaAddr);
      }
      wqe.consumedStrides = 0;
      this.nextToPost = this.nextToPost + 1 === wqes.length ? 0 : this.nextToPost + 1;
      this.missing--;
    }
    return posted;
  }

  /** All of its strides are taken. @kernel mlx5e_free_rx_mpwqe */
  freeWqe(wqe: Wqe): void {
    const { counts } = this.running!;
    for (const fragPage of wqe.pages) counts.release(fragPage, true);
    this.missing++;
  }

  #poll(napi: NapiStruct, budget: number): number {
    const { shared, running } = this;
    // The one transmit queue interrupts on the first line.
    if (this.index === 0 && shared.tx !== null) shared.tx.done(budget);
    if (budget === 0) return 0;
    if (running === null) return 0;
    const work = pollRx(this.#deps, this, running, napi, budget);
    // Somebody whom a packet was handed to has taken the interface down, which is reported.
    if (this.running !== running) return work;
    const posted = this.post(GFP_ATOMIC);
    if (posted > 0) this.hw.addNonOccupied(posted);
    this.#retryIfMissing();
    if (work < budget && this.#deps.napi.napiCompleteDone(napi, work)) this.hw.enableIrq();
    return work;
  }

  /** Without a descriptor no packet comes, and without a packet nobody would try again. */
  #retryIfMissing(): void {
    if (this.missing > 0 && !this.#retry.pending) this.#deps.kernel.timers.modTimer(this.#retry, REFILL_RETRY_NS);
  }
}
