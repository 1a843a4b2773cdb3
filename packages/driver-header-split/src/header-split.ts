import { resizeRings, ringSizeIsIn, type DriverDeps, type DriverOptions, type InRings, type NetDriver, type NetInterface, type TxRing } from "@netmem/driver/api";
import { EINVAL, ENETDOWN, UsageError } from "@netmem/kernel/api";
import { NETDEV_TX_BUSY, type NetDevice, type NetdevRxQueue, type QueueMemory, type QueueMgmtOps } from "@netmem/xdp/api";
import { HS_MAX_FRAME_BYTES, HS_MOST_QUEUES, HS_RING_LIMITS, HS_RX_DESC, HS_TX_DESC, HS_TX_DESCRIPTORS } from "./constants.ts";
import { HsQueue } from "./queue.ts";
import { createQueueMemory, freeQueueMemory, type HsQueueMemory } from "./queue-memory.ts";

class HsInterface implements NetInterface, QueueMgmtOps {
  readonly dev: NetDevice;
  readonly #deps: DriverDeps;
  #size: number;
  readonly #queues: HsQueue[] = [];
  #tx: TxRing | null = null;

  constructor(deps: DriverDeps, options: DriverOptions) {
    this.#deps = deps;
    this.#size = options.rxRingSize;
    this.dev = deps.registerNetdev(options.name, options.rxQueueCount);
    this.dev.queueMgmtOps = this;
    for (let i = 0; i < options.rxQueueCount; i++) {
      const cpu = (options.cpu + i) % deps.kernel.nrCpus;
      // The one transmit queue interrupts on the first line.
      this.#queues.push(new HsQueue(deps, this.dev, i, cpu, options.earlyDrop, (budget) => this.#txDone(i, budget)));
    }
    deps.transmit.setStartXmit(this.dev, { startXmit: (skb) => (this.#tx === null ? NETDEV_TX_BUSY : this.#tx.startXmit(skb)) });
  }

  /** Memory for all queues before any of them starts. @kernel bnxt_open */
  open(): number {
    if (this.#tx !== null) return -EINVAL;
    const memories: HsQueueMemory[] = [];
    for (const queue of this.dev.rxQueues) {
      const memory = createQueueMemory(this.#deps, queue, this.#size);
      if (typeof memory === "number") return this.#giveUp(memories, memory);
      memories.push(memory);
    }
    const tx = this.#deps.txRings.create(HS_TX_DESCRIPTORS);
    if (typeof tx === "number") return this.#giveUp(memories, tx);
    this.#tx = tx;
    this.dev.up = true;
    for (const [i, memory] of memories.entries()) this.#queues[i]!.start(memory);
    return 0;
  }

  #giveUp(memories: readonly HsQueueMemory[], errno: number): number {
    for (const memory of memories) freeQueueMemory(this.#deps, memory);
    return errno;
  }

  /** @kernel bnxt_close */
  stop(): void {
    if (this.#tx === null) return;
    this.dev.up = false;
    const memories = this.#queues.filter(({ memory }) => memory !== null).map((queue) => queue.stop());
    this.#tx.destroy();
    this.#tx = null;
    for (const memory of memories) freeQueueMemory(this.#deps, memory);
  }

  setRingparam(rxPending: number): number {
    return resizeRings(this, HS_RING_LIMITS, rxPending, this.#size, (size) => void (this.#size = size));
  }

  inRings(): InRings {
    return this.#tx === null ? { skbs: [], frames: [] } : this.#tx.inRing();
  }

  queueMemAlloc(queue: NetdevRxQueue): QueueMemory | number {
    return createQueueMemory(this.#deps, queue, this.#size);
  }

  queueMemFree(_queue: NetdevRxQueue, memory: QueueMemory): void {
    freeQueueMemory(this.#deps, memory as HsQueueMemory);
  }

  queueStart(queue: NetdevRxQueue, memory: QueueMemory): number {
    if (!this.dev.up) return -ENETDOWN;
    this.#queues[queue.index]!.start(memory as HsQueueMemory);
    return 0;
  }

  queueStop(queue: NetdevRxQueue): QueueMemory | number {
    const running = this.#queues[queue.index]!;
    return running.memory === null ? -ENETDOWN : running.stop();
  }

  #txDone(queueIndex: number, budget: number): void {
    if (queueIndex === 0 && this.#tx !== null) this.#tx.done(budget);
  }
}

/** A NIC that writes headers and payload of TCP into buffers of their own, as those of gve and bnxt do; each queue can be restarted by itself, with memory of a provider's. @kernel drivers/net/ethernet/google/gve, drivers/net/ethernet/broadcom/bnxt */
export const headerSplit: NetDriver = {
  name: "header-split",
  mostRxQueues: HS_MOST_QUEUES,
  rxDescFormat: HS_RX_DESC,
  txDescFormat: HS_TX_DESC,
  maxFrameBytes: HS_MAX_FRAME_BYTES,
  probe: (deps: DriverDeps, options: DriverOptions): NetInterface => {
    const { rxRingSize } = options;
    if (!ringSizeIsIn(HS_RING_LIMITS, rxRingSize)) throw new UsageError("driver-header-split", "rxRingSize", rxRingSize, `give ${HS_RING_LIMITS.least} to ${HS_RING_LIMITS.most} descriptors`);
    return new HsInterface(deps, options);
  },
};
