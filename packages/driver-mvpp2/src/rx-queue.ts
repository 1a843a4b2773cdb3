import type { DriverDeps, NicRxQueue } from "@netmem/driver/api";
import { ENOMEM } from "@netmem/kernel/api";
import { GFP_KERNEL, type CoherentMemory } from "@netmem/mm/api";
import type { NetdevRxQueue, XdpBuff } from "@netmem/xdp/api";
import { BmPool, createBmPool, destroyBmPool } from "./bm-pool.ts";
import { MVPP2_BM_LONG, MVPP2_BM_SHORT, MVPP2_RXD_BM_POOL_ID_MASK, MVPP2_RXD_BM_POOL_ID_OFFS, MVPP2_RX_DESC } from "./constants.ts";

/** A receive queue of one CPU: its ring, which brings no buffers, and the two pools that frames of it go into. @kernel struct mvpp2_rx_queue */
export class Mvpp2RxQueue {
  readonly index: number;
  readonly hw: NicRxQueue;
  readonly ring: CoherentMemory;
  readonly size: number;
  readonly short: BmPool;
  readonly long: BmPool;
  /** Number of the short pool in the hardware; the other is the long one. */
  readonly shortPoolId: number;
  readonly xdp: XdpBuff;
  nextDesc: number;
  /** Descriptors that this poll is done with, and the hardware does not know of yet. */
  handled: number;
  /** Its pools are gone. */
  stopped: boolean;

  constructor(index: number, hw: NicRxQueue, ring: CoherentMemory, size: number, short: BmPool, long: BmPool, xdp: XdpBuff) {
    this.index = index;
    this.hw = hw;
    this.ring = ring;
    this.size = size;
    this.short = short;
    this.long = long;
    this.shortPoolId = index;
    this.xdp = xdp;
    this.nextDesc = 0;
    this.handled = 0;
    this.stopped = false;
  }

  /** A word of the descriptor. */
  read(descriptor: number, word: number): number {
    return this.ring.read32(descriptor * MVPP2_RX_DESC.sizeBytes + word * 4);
  }

  /** Frames that were received and that nobody has looked at: their buffers go home. @kernel mvpp2_rxq_drop_pkts */
  dropPackets(): void {
    for (let left = this.hw.occupied() - this.handled; left > 0; left--) {
      const desc = this.takeDesc();
      this.poolOf(this.read(desc, MVPP2_RX_DESC.statusWord)).dropBuffer(this.read(desc, MVPP2_RX_DESC.bufferManager!.cookieWord), false);
    }
  }

  /** The next descriptor, which the caller is done with. */
  takeDesc(): number {
    const desc = this.nextDesc;
    this.nextDesc = desc + 1 === this.size ? 0 : desc + 1;
    return desc;
  }

  /** The hardware may use again what a poll is done with. @kernel mvpp2_rxq_status_update */
  giveBack(): void {
    if (this.handled === 0) return;
    this.hw.decOccupied(this.handled);
    this.hw.addNonOccupied(this.handled);
    this.handled = 0;
  }

  /** That a received frame's buffer is from. */
  poolOf(status: number): BmPool {
    return ((status >>> MVPP2_RXD_BM_POOL_ID_OFFS) & MVPP2_RXD_BM_POOL_ID_MASK) === this.shortPoolId ? this.short : this.long;
  }
}

/** Pools, then ring; or a negative errno, and nothing is left. @kernel mvpp2_swf_bm_pool_init_percpu, mvpp2_rxq_init */
export function createRxQueue(deps: DriverDeps, queue: NetdevRxQueue, queueCount: number, size: number, dmaDir: number): Mvpp2RxQueue | number {
  const { index } = queue;
  const { bufferPools, rxQueues } = deps.nic;
  const short = createBmPool(deps, queue, MVPP2_BM_SHORT, bufferPools[index]!, dmaDir);
  if (typeof short === "number") return short;
  const long = createBmPool(deps, queue, MVPP2_BM_LONG, bufferPools[queueCount + index]!, dmaDir);
  const ring = typeof long === "number" ? null : deps.dma.allocCoherent(size * MVPP2_RX_DESC.sizeBytes, GFP_KERNEL);
  if (typeof long === "number" || ring === null) {
    destroyBmPool(deps, short);
    if (typeof long === "number") return long;
    destroyBmPool(deps, long);
    return -ENOMEM;
  }
  const hw = rxQueues[index]!;
  hw.configure(ring.dmaAddr, size, MVPP2_BM_LONG.pktSize);
  hw.setBufferPools(index, queueCount + index);
  hw.addNonOccupied(size);
  return new Mvpp2RxQueue(index, hw, ring, size, short, long, deps.xdpStructs.createXdpBuff(short.rxq));
}

/** The hardware is off. @kernel mvpp2_rxq_deinit */
export function destroyRxQueue(deps: DriverDeps, rxq: Mvpp2RxQueue): void {
  rxq.stopped = true;
  rxq.dropPackets();
  destroyBmPool(deps, rxq.short);
  destroyBmPool(deps, rxq.long);
  deps.dma.freeCoherent(rxq.ring);
}
