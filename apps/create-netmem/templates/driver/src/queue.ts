import { startRx, stopRx, type DriverDeps, type InterfaceQueue, type NicRxQueue, type QueueShared } from "@netmem/driver/api";
import { ENOMEM, type Timer } from "@netmem/kernel/api";
import { DMA_FROM_DEVICE, GFP_ATOMIC, GFP_KERNEL, NUMA_NO_NODE, __GFP_NOWARN, type CoherentMemory, type Page } from "@netmem/mm/api";
import type { SkBuff } from "@netmem/net-core/api";
import { PP_FLAG_DMA_MAP, PP_FLAG_DMA_SYNC_DEV, type PagePool } from "@netmem/page-pool/api";
import { MEM_TYPE_PAGE_POOL, NAPI_POLL_WEIGHT, REG_STATE_REGISTERED, type NapiStruct, type NetdevRxQueue } from "@netmem/xdp/api";
import { BUFFER_BYTES, HEADROOM, REFILL_RETRY_NS, RX_DESC } from "./hardware.ts";
import { dropFrame, pollRx } from "./poll.ts";

/** What a queue has while it is up. */
export interface Running {
  readonly ring: CoherentMemory;
  readonly pool: PagePool;
  /** The page in each descriptor; null: it is empty. */
  readonly posted: (Page | null)[];
}

export class RxQueue implements InterfaceQueue {
  readonly shared: QueueShared;
  readonly queue: NetdevRxQueue;
  readonly hw: NicRxQueue;
  running: Running | null = null;
  /** The packet being put together, bytes of it still to come, and whether the rest of it is thrown away. */
  skb: SkBuff | null = null;
  leftBytes = 0;
  skipping = false;
  nextToClean = 0;
  nextToFill = 0;
  missing = 0;
  readonly #deps: DriverDeps;
  readonly #cpu: number;
  readonly #napi: NapiStruct;
  readonly #retry: Timer;

  constructor(deps: DriverDeps, shared: QueueShared, queue: NetdevRxQueue, cpu: number) {
    this.#deps = deps;
    this.#cpu = cpu;
    this.shared = shared;
    this.queue = queue;
    this.hw = deps.nic.rxQueues[queue.index]!;
    this.#napi = deps.napi.netifNapiAdd(shared.dev, { poll: (napi, budget) => this.#poll(napi, budget) }, NAPI_POLL_WEIGHT);
    queue.napi = this.#napi;
    // A timer may not allocate beside a poll: it asks for one.
    this.#retry = deps.kernel.timers.timerSetup(() => deps.napi.napiSchedule(this.#napi), cpu);
  }

  /** Register: pool, queue, memory model, ring, pages, each of which may fail. 0 or a negative errno, and nothing is left. */
  open(size: number): number {
    const { dma, pagePools, xdpRxqs } = this.#deps;
    const { dev } = this.shared;
    const { xdpRxq, index } = this.queue;
    // BEGIN HERE: what memory your NIC receives into, how it is mapped, and which part of a page the device writes.
    const pool = pagePools.create({
      flags: PP_FLAG_DMA_MAP | PP_FLAG_DMA_SYNC_DEV, order: 0, poolSize: size, nid: NUMA_NO_NODE, dev: dma, napi: this.#napi,
      dmaDir: DMA_FROM_DEVICE, offset: HEADROOM, maxLen: BUFFER_BYTES, netdev: dev, queueIdx: index,
    });
    if (typeof pool === "number") return pool;
    const ring = dma.allocCoherent(size * RX_DESC.sizeBytes, GFP_KERNEL);
    if (ring === null) {
      pool.destroy();
      return -ENOMEM;
    }
    this.running = { ring, pool, posted: Array.from({ length: size }, () => null) };
    this.nextToClean = 0;
    this.nextToFill = 0;
    this.missing = size;
    this.skipping = false;
    const registered = xdpRxqs.xdpRxqInfoReg(xdpRxq, dev, index);
    const errno = registered < 0 ? registered : xdpRxqs.xdpRxqInfoRegMemModel(xdpRxq, MEM_TYPE_PAGE_POOL, pool);
    if (errno === 0 && this.refill(GFP_KERNEL) > 0) return 0;
    this.close();
    return errno < 0 ? errno : -ENOMEM;
  }

  start(): void {
    const { ring, posted } = this.running!;
    this.hw.configure(ring.dmaAddr, posted.length, BUFFER_BYTES);
    this.hw.addNonOccupied(posted.length - this.missing);
    startRx(this.#deps, this.queue.index, this.#cpu, this.hw, this.#napi);
    this.#retryIfMissing();
  }

  /** Unload: the device first, then whoever polls, then what they had, the other way round than it was made. */
  stop(): void {
    stopRx(this.#deps, this.queue.index, this.hw, this.#napi);
    this.#deps.kernel.timers.timerDelete(this.#retry);
    this.close();
  }

  close(): void {
    const { ring, pool, posted } = this.running!;
    const { xdpRxq } = this.queue;
    this.running = null;
    dropFrame(this.#deps, this);
    for (const page of posted) if (page !== null) pool.putFullNetmem(page, false);
    if (xdpRxq.regState === REG_STATE_REGISTERED) this.#deps.xdpRxqs.xdpRxqInfoUnreg(xdpRxq);
    pool.destroy();
    this.#deps.dma.freeCoherent(ring);
  }

  /** Empty descriptors get a page, as long as there is memory; how many. */
  refill(gfp: number): number {
    const { ring, pool, posted } = this.running!;
    let done = 0;
    for (; this.missing > 0; done++) {
      const page = pool.allocPages(gfp | __GFP_NOWARN);
      if (page === null) break;
      const at = this.nextToFill;
      posted[at] = page;
      ring.write32(at * RX_DESC.sizeBytes + RX_DESC.addressWord * 4, page.dmaAddr + HEADROOM);
      this.nextToFill = at + 1 === posted.length ? 0 : at + 1;
      this.missing--;
    }
    return done;
  }

  #poll(napi: NapiStruct, budget: number): number {
    const { running } = this;
    if (running === null) return 0;
    this.shared.tx?.done(budget);
    // Interrupts are off, and the pool is whose poll this is not.
    if (budget === 0) return 0;
    const work = pollRx(this.#deps, this, running, napi, budget);
    // Whoever got a packet may have taken the interface down.
    if (this.running !== running) return work;
    const posted = this.refill(GFP_ATOMIC);
    if (posted > 0) this.hw.addNonOccupied(posted);
    this.#retryIfMissing();
    if (work < budget && this.#deps.napi.napiCompleteDone(napi, work)) this.hw.enableIrq();
    return work;
  }

  /** Without descriptors no packet comes, and without a packet nobody would look again. */
  #retryIfMissing(): void {
    if (this.missing > 0 && !this.#retry.pending) this.#deps.kernel.timers.modTimer(this.#retry, REFILL_RETRY_NS);
  }
}
