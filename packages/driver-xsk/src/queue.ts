import { startRx, stopRx, type DriverDeps, type InterfaceQueue, type NicRxQueue, type QueueShared } from "@netmem/driver/api";
import { ENOMEM, type Timer } from "@netmem/kernel/api";
import { DMA_BIDIRECTIONAL, DMA_FROM_DEVICE, GFP_ATOMIC, GFP_KERNEL, NUMA_NO_NODE, __GFP_NOWARN, type CoherentMemory, type Page } from "@netmem/mm/api";
import { SKB_DROP_REASON_NOT_SPECIFIED, type SkBuff } from "@netmem/net-core/api";
import { PP_FLAG_DMA_MAP, PP_FLAG_DMA_SYNC_DEV, type PagePool } from "@netmem/page-pool/api";
import {
  MEM_TYPE_PAGE_POOL, MEM_TYPE_XSK_BUFF_POOL, NAPI_POLL_WEIGHT, REG_STATE_REGISTERED, type NapiStruct, type XdpBuff, type XdpDesc, type XskBuffPool,
} from "@netmem/xdp/api";
import { DW_HEADROOM, DW_RX_DESC, DW_XDP_HEADROOM, bufferBytesFor } from "./constants.ts";
import { pollPages } from "./poll-pages.ts";
import { pollChunks, sendChunks } from "./poll-chunks.ts";

/** Waits this long before it tries again when memory ran out, in ns. */
const REFILL_RETRY_NS = 1_000_000;

/** Pages, or chunks of a user: what is in each descriptor, null for those that are empty. */
export interface PageBuffers {
  readonly xsk: null;
  readonly posted: (Page | null)[];
}
export interface ChunkBuffers {
  readonly xsk: XskBuffPool;
  readonly posted: (XdpBuff | null)[];
}

/** What a queue runs on while it is up. */
export interface Running<T extends PageBuffers | ChunkBuffers = PageBuffers | ChunkBuffers> {
  readonly ring: CoherentMemory;
  readonly entries: number;
  /** There always, used or not. */
  readonly pool: PagePool;
  /** In front of a packet in a page. */
  readonly headroomBytes: number;
  /** For the hardware, of a page or a chunk. */
  readonly bufferBytes: number;
  readonly buffers: T;
}

/** A receive queue, and what goes with it: pages of its own pool, or, with a program, chunks of an AF_XDP user. @kernel struct stmmac_rx_queue, stmmac_channel (drivers/net/ethernet/stmicro/stmmac/stmmac.h) */
export class DwQueue implements InterfaceQueue {
  readonly index: number;
  readonly shared: QueueShared;
  readonly hw: NicRxQueue;
  readonly napi: NapiStruct;
  readonly xdp: XdpBuff;
  readonly desc: XdpDesc;
  /** The user's, once there is a program. @kernel af_xdp_zc_qps */
  xskPool: XskBuffPool | null;
  /** Null: it stands still. */
  running: Running | null;
  /** The packet being put together, the bytes of it still to come, and whether the rest of it is to be thrown away. @kernel struct stmmac_rx_queue.state */
  skb: SkBuff | null;
  leftBytes: number;
  /** Of the packet's first descriptor. */
  frameStatus: number;
  skipping: boolean;
  /** @kernel cur_rx, dirty_rx, stmmac_rx_dirty */
  nextToClean: number;
  nextToFill: number;
  missing: number;
  readonly #deps: DriverDeps;
  readonly #cpu: number;
  readonly #retry: Timer;

  constructor(deps: DriverDeps, shared: QueueShared, index: number, cpu: number) {
    const { dev } = shared;
    this.#deps = deps;
    this.#cpu = cpu;
    this.index = index;
    this.shared = shared;
    this.hw = deps.nic.rxQueues[index]!;
    this.xdp = deps.xdpStructs.createXdpBuff(dev.rxQueues[index]!.xdpRxq);
    this.desc = deps.xdpStructs.createXdpDesc();
    this.xskPool = null;
    this.running = null;
    this.skb = null;
    this.leftBytes = 0;
    this.frameStatus = 0;
    this.skipping = false;
    this.nextToClean = 0;
    this.nextToFill = 0;
    this.missing = 0;
    this.napi = deps.napi.netifNapiAdd(dev, { poll: (napi, budget) => this.#poll(napi, budget) }, NAPI_POLL_WEIGHT);
    dev.rxQueues[index]!.napi = this.napi;
    this.#retry = deps.kernel.timers.timerSetup(() => deps.napi.napiSchedule(this.napi), cpu);
  }

  /** Pool, ring, registration, and what is posted first: 0 or a negative errno, nothing then being left. A user's fill ring may be empty still. @kernel __alloc_dma_rx_desc_resources, __init_dma_rx_desc_rings */
  open(entries: number): number {
    const { dma, pagePools, xdpRxqs } = this.#deps;
    const { dev, prog } = this.shared;
    const { xdpRxq } = dev.rxQueues[this.index]!;
    const xsk = prog === null ? null : this.xskPool;
    const pageBytes = bufferBytesFor(dev.mtu);
    const headroomBytes = prog === null ? DW_HEADROOM : DW_XDP_HEADROOM;
    const ring = dma.allocCoherent(entries * DW_RX_DESC.sizeBytes, GFP_KERNEL);
    if (ring === null) return -ENOMEM;
    const pool = pagePools.create({
      flags: PP_FLAG_DMA_MAP | PP_FLAG_DMA_SYNC_DEV, order: 0, poolSize: entries, nid: NUMA_NO_NODE, dev: dma, napi: this.napi,
      dmaDir: prog === null ? DMA_FROM_DEVICE : DMA_BIDIRECTIONAL, maxLen: pageBytes, offset: headroomBytes, netdev: dev, queueIdx: this.index,
    });
    if (typeof pool === "number") {
      dma.freeCoherent(ring);
      return pool;
    }
    const posted = Array.from({ length: entries }, () => null);
    this.running = { ring, entries, pool, headroomBytes, bufferBytes: xsk === null ? pageBytes : xsk.rxFrameSize, buffers: { xsk, posted } as PageBuffers | ChunkBuffers };
    this.skipping = false;
    this.nextToClean = 0;
    this.nextToFill = 0;
    this.missing = entries;
    const registered = xdpRxqs.xdpRxqInfoReg(xdpRxq, dev, this.index);
    const errno = registered < 0 ? registered : xsk === null ? xdpRxqs.xdpRxqInfoRegMemModel(xdpRxq, MEM_TYPE_PAGE_POOL, pool) : xdpRxqs.xdpRxqInfoRegMemModel(xdpRxq, MEM_TYPE_XSK_BUFF_POOL, null);
    if (errno === 0) {
      if (xsk !== null) xsk.setRxqInfo(xdpRxq);
      this.refill(GFP_KERNEL);
      if (xsk !== null || this.missing === 0) return 0;
    }
    this.close();
    return errno < 0 ? errno : -ENOMEM;
  }

  start(): void {
    const { hw } = this;
    const { ring, entries, bufferBytes } = this.running!;
    hw.configure(ring.dmaAddr, entries, bufferBytes);
    hw.addNonOccupied(entries - this.missing);
    startRx(this.#deps, this.index, this.#cpu, hw, this.napi);
  }

  /** The device first, then whoever polls, then what it had. @kernel stmmac_disable_rx_queue */
  stop(): void {
    stopRx(this.#deps, this.index, this.hw, this.napi);
    this.#deps.kernel.timers.timerDelete(this.#retry);
    this.close();
  }

  /** Of one that was opened and never started, too. @kernel __free_dma_rx_desc_resources, dma_free_rx_skbufs, dma_free_rx_xskbufs */
  close(): void {
    const { ring, pool, buffers } = this.running!;
    this.running = null;
    if (this.skb !== null) this.#deps.lifetime.kfreeSkb(this.skb, SKB_DROP_REASON_NOT_SPECIFIED);
    this.skb = null;
    if (buffers.xsk === null) {
      for (const page of buffers.posted) if (page !== null) pool.putFullNetmem(page, false);
    } else for (const chunk of buffers.posted) if (chunk !== null) buffers.xsk.xskBuffFree(chunk);
    const { xdpRxq } = this.shared.dev.rxQueues[this.index]!;
    if (xdpRxq.regState === REG_STATE_REGISTERED) this.#deps.xdpRxqs.xdpRxqInfoUnreg(xdpRxq);
    pool.destroy();
    this.#deps.dma.freeCoherent(ring);
  }

  /** Descriptors that are empty are filled, as long as there is memory; how many. @kernel stmmac_rx_refill, stmmac_rx_refill_zc */
  refill(gfp: number): number {
    const { ring, entries, buffers, headroomBytes, pool } = this.running!;
    let done = 0;
    for (; this.missing > 0; done++) {
      const at = this.nextToFill;
      let dmaAddr: number;
      if (buffers.xsk === null) {
        const page = pool.allocPages(gfp | __GFP_NOWARN);
        if (page === null) break;
        buffers.posted[at] = page;
        dmaAddr = page.dmaAddr + headroomBytes;
      } else {
        const chunk = buffers.xsk.xskBuffAlloc();
        if (chunk === null) break;
        buffers.posted[at] = chunk;
        dmaAddr = buffers.xsk.xskBuffGetDma(chunk);
      }
      ring.write32(at * DW_RX_DESC.sizeBytes + DW_RX_DESC.addressWord * 4, dmaAddr);
      this.nextToFill = at + 1 === entries ? 0 : at + 1;
      this.missing--;
    }
    return done;
  }

  /** @kernel stmmac_napi_poll_rx, stmmac_napi_poll_rxtx */
  #poll(napi: NapiStruct, budget: number): number {
    const { shared, running } = this;
    // The one transmit queue interrupts on the first line.
    if (this.index === 0 && shared.tx !== null) shared.tx.done(budget);
    if (budget === 0) return 0;
    if (running === null) return 0;
    let allSent = true;
    let work: number;
    if (running.buffers.xsk === null) work = pollPages(this.#deps, this, running as Running<PageBuffers>, napi, budget);
    else {
      allSent = sendChunks(shared.tx!, running.buffers.xsk, this.desc);
      work = pollChunks(this.#deps, this, running as Running<ChunkBuffers>, napi, budget);
    }
    // Somebody whom a packet was handed to has taken the interface down, which is reported.
    if (this.running !== running) return work;
    const posted = this.refill(GFP_ATOMIC);
    if (posted > 0) this.hw.addNonOccupied(posted);
    if (this.#mustTryAgain(running.buffers.xsk)) this.#deps.kernel.timers.modTimer(this.#retry, REFILL_RETRY_NS);
    if (!allSent) return budget;
    if (work < budget && this.#deps.napi.napiCompleteDone(napi, work)) this.hw.enableIrq();
    return work;
  }

  /** Without a descriptor no packet comes, and without a packet nobody would look again: but for a user who is asked to say when there are more. @kernel the end of stmmac_rx_zc */
  #mustTryAgain(xsk: XskBuffPool | null): boolean {
    if (xsk !== null && xsk.usesNeedWakeup) {
      if (this.missing > 0) xsk.xskSetRxNeedWakeup();
      else xsk.xskClearRxNeedWakeup();
      return false;
    }
    return this.missing > 0 && !this.#retry.pending;
  }
}
