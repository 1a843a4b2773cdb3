import { ENOMEM } from "@netmem/kernel/api";
import { DMA_FROM_DEVICE, GFP_KERNEL, NUMA_NO_NODE, PAGE_SIZE, __GFP_NOWARN, type CoherentMemory, type Netmem, type Page } from "@netmem/mm/api";
import { NET_SKB_PAD } from "@netmem/net-core/api";
import { PP_FLAG_ALLOW_UNREADABLE_NETMEM, PP_FLAG_DMA_MAP, PP_FLAG_DMA_SYNC_DEV, type PagePool, type PagePoolFrag, type PagePoolParams } from "@netmem/page-pool/api";
import { MEM_TYPE_PAGE_POOL, type MemInfo, type NetdevRxQueue, type QueueMemory } from "@netmem/xdp/api";
import type { DriverDeps } from "@netmem/driver/api";
import { HS_HEADER_TRUESIZE, HS_PAYLOAD_BYTES, HS_RX_DESC } from "./constants.ts";

/**
 * What one queue runs on: a ring, a pool for headers, which the CPU reads, and a pool for payload, whose memory may be a provider's. Made
 * and filled before the queue stops running on another. @kernel struct bnxt_rx_ring_info, bnxt_queue_mem_alloc (drivers/net/ethernet/broadcom/bnxt/bnxt.c)
 */
export class HsQueueMemory implements QueueMemory {
  readonly queueIndex: number;
  readonly headPool: PagePool;
  readonly payloadPool: PagePool;
  /** Under which the two are known to whoever frees a packet. */
  readonly headMem: MemInfo;
  readonly payloadMem: MemInfo;
  readonly ring: CoherentMemory;
  readonly size: number;
  /** Posted in each descriptor, the device's; null once they went to an skb. */
  readonly heads: (Page | null)[];
  readonly headOffsets: number[];
  readonly payloads: (Netmem | null)[];
  readonly frag: PagePoolFrag;
  nextDesc: number;
  firstToRefill: number;
  /** Descriptors that wait for buffers. */
  refillNum: number;
  /** Of a page, for one header: kernels without fragments give it all. */
  readonly headBytes: number;

  constructor(queueIndex: number, pools: readonly [PagePool, PagePool], mems: readonly [MemInfo, MemInfo], ring: CoherentMemory, size: number, frag: PagePoolFrag, cutsPages: boolean) {
    this.queueIndex = queueIndex;
    [this.headPool, this.payloadPool] = pools;
    [this.headMem, this.payloadMem] = mems;
    this.ring = ring;
    this.size = size;
    this.heads = Array.from({ length: size }, () => null);
    this.headOffsets = Array.from({ length: size }, () => 0);
    this.payloads = Array.from({ length: size }, () => null);
    this.frag = frag;
    this.nextDesc = 0;
    this.firstToRefill = 0;
    this.refillNum = size;
    this.headBytes = cutsPages ? HS_HEADER_TRUESIZE : PAGE_SIZE;
  }

  /** The device begins with the first descriptor again, and the buffers in them are posted to it anew. */
  restartRing(): void {
    this.nextDesc = 0;
    this.firstToRefill = 0;
    this.refillNum = this.size;
    this.refill(this.size, GFP_KERNEL);
  }

  /** Byte offset in the ring of a word of a descriptor. */
  wordOffset(descriptor: number, word: number): number {
    return descriptor * HS_RX_DESC.sizeBytes + word * 4;
  }

  /** Up to `most` descriptors get buffers; how many. */
  refill(most: number, gfp: number): number {
    const flags = gfp | __GFP_NOWARN;
    let done = 0;
    while (done < most && this.refillNum > 0) {
      const at = this.firstToRefill;
      // What a try before this one got, or what was posted before the ring began anew, is there still.
      const head = this.heads[at] ?? this.#allocHead(at, flags);
      if (head === null) break;
      const payload = this.payloads[at] ?? this.payloadPool.allocNetmems(flags);
      if (payload === null) break;
      this.payloads[at] = payload;
      this.ring.write32(this.wordOffset(at, HS_RX_DESC.addressWord), payload.dmaAddr);
      this.ring.write32(this.wordOffset(at, HS_RX_DESC.headerSplit!.headerAddressWord), head.dmaAddr + this.headOffsets[at]! + NET_SKB_PAD);
      this.firstToRefill = at + 1 === this.size ? 0 : at + 1;
      this.refillNum--;
      done++;
    }
    return done;
  }

  #allocHead(at: number, gfp: number): Page | null {
    let head: Page | null;
    if (this.headBytes === PAGE_SIZE) {
      head = this.headPool.allocPages(gfp);
      this.headOffsets[at] = 0;
    } else {
      head = this.headPool.allocFrag(this.frag, this.headBytes, gfp);
      this.headOffsets[at] = this.frag.offset;
    }
    this.heads[at] = head;
    return head;
  }

  /** Hardware is off: what it had goes back to its pools. */
  dropPosted(): void {
    for (let i = 0; i < this.size; i++) {
      if (this.heads[i] !== null) this.headPool.putFullNetmem(this.heads[i]!, false);
      if (this.payloads[i] !== null) this.payloadPool.putFullNetmem(this.payloads[i]!, false);
      this.heads[i] = null;
      this.payloads[i] = null;
    }
  }
}

function params(deps: DriverDeps, queue: NetdevRxQueue, size: number): PagePoolParams {
  return {
    flags: PP_FLAG_DMA_MAP | PP_FLAG_DMA_SYNC_DEV, order: 0, poolSize: size, nid: NUMA_NO_NODE, dev: deps.dma,
    // Whose poll may recycle directly is said when the queue starts: until then that instance runs on other memory.
    napi: null, dmaDir: DMA_FROM_DEVICE,
    maxLen: PAGE_SIZE, offset: 0, netdev: queue.dev, queueIdx: queue.index,
  };
}

/** Both pools, both registered, the ring, and buffers in all descriptors; or a negative errno, and nothing is left. Process context. @kernel bnxt_queue_mem_alloc */
export function createQueueMemory(deps: DriverDeps, queue: NetdevRxQueue, size: number): HsQueueMemory | number {
  const { pagePools, dma } = deps;
  // Headers are the CPU's to read: of this pool no provider knows.
  const headPool = pagePools.create({ ...params(deps, queue, size), maxLen: PAGE_SIZE });
  if (typeof headPool === "number") return headPool;
  const payloadPool = pagePools.create({ ...params(deps, queue, size), maxLen: HS_PAYLOAD_BYTES, flags: PP_FLAG_DMA_MAP | PP_FLAG_DMA_SYNC_DEV | PP_FLAG_ALLOW_UNREADABLE_NETMEM });
  if (typeof payloadPool === "number") {
    headPool.destroy();
    return payloadPool;
  }
  const ring = dma.allocCoherent(size * HS_RX_DESC.sizeBytes, GFP_KERNEL);
  const mems = ring === null ? -ENOMEM : registerPools(deps, headPool, payloadPool);
  if (ring === null || typeof mems === "number") {
    if (ring !== null) dma.freeCoherent(ring);
    headPool.destroy();
    payloadPool.destroy();
    return mems as number;
  }
  const memory = new HsQueueMemory(queue.index, [headPool, payloadPool], mems, ring, size, pagePools.createFrag(), pagePools.hasFragments);
  // With fewer it runs, too, if not as well.
  if (memory.refill(size, GFP_KERNEL) > 0) return memory;
  freeQueueMemory(deps, memory);
  return -ENOMEM;
}

/** Two memory models on one queue: each is known under an id of its own. */
function registerPools(deps: DriverDeps, headPool: PagePool, payloadPool: PagePool): readonly [MemInfo, MemInfo] | number {
  const { xdpRxqs, xdpStructs } = deps;
  const mems = [xdpStructs.createMemInfo(), xdpStructs.createMemInfo()] as const;
  const head = xdpRxqs.xdpRegMemModel(mems[0], MEM_TYPE_PAGE_POOL, headPool);
  if (head < 0) return head;
  const payload = xdpRxqs.xdpRegMemModel(mems[1], MEM_TYPE_PAGE_POOL, payloadPool);
  if (payload === 0) return mems;
  xdpRxqs.xdpUnregMemModel(mems[0]);
  return payload;
}

/** @kernel bnxt_queue_mem_free */
export function freeQueueMemory(deps: DriverDeps, memory: HsQueueMemory): void {
  memory.dropPosted();
  deps.xdpRxqs.xdpUnregMemModel(memory.headMem);
  deps.xdpRxqs.xdpUnregMemModel(memory.payloadMem);
  memory.headPool.destroy();
  memory.payloadPool.destroy();
  deps.dma.freeCoherent(memory.ring);
}
