import { startRx, stopRx, type DriverDeps, type NicRxQueue } from "@netmem/driver/api";
import type { Timer } from "@netmem/kernel/api";
import { GFP_ATOMIC } from "@netmem/mm/api";
import type { SkBuff } from "@netmem/net-core/api";
import { NAPI_POLL_WEIGHT, type NapiStruct, type NetDevice } from "@netmem/xdp/api";
import { HS_HEADER_BYTES, HS_PAYLOAD_BYTES, HS_REFILL_BATCH } from "./constants.ts";
import { dropFrame, pollRx } from "./poll.ts";
import type { HsQueueMemory } from "./queue-memory.ts";

/** Waits this long before it tries again when memory ran out, in ns. gve has a timer for a queue that starves, too. */
const REFILL_RETRY_NS = 1_000_000;

/** A receive queue with an instance of its own: it runs on one memory, and can be given another while the others run. */
export class HsQueue {
  readonly index: number;
  readonly dev: NetDevice;
  readonly hw: NicRxQueue;
  readonly napi: NapiStruct;
  /** Null: it stands still. */
  memory: HsQueueMemory | null;
  /** The packet being put together, and bytes of it still to come. A frame may straddle two polls. */
  skb: SkBuff | null;
  leftBytes: number;
  readonly #deps: DriverDeps;
  readonly #cpu: number;
  readonly #retry: Timer;

  constructor(deps: DriverDeps, dev: NetDevice, index: number, cpu: number, earlyDrop: boolean, txDone: (budget: number) => void) {
    this.#deps = deps;
    this.#cpu = cpu;
    this.index = index;
    this.dev = dev;
    this.hw = deps.nic.rxQueues[index]!;
    this.memory = null;
    this.skb = null;
    this.leftBytes = 0;
    this.napi = deps.napi.netifNapiAdd(dev, { poll: (napi, budget) => {
      txDone(budget);
      if (budget === 0) return 0;
      const { memory } = this;
      if (memory === null) return 0;
      const work = pollRx(deps, this, memory, napi, budget, earlyDrop);
      if (this.memory === memory && work < budget && deps.napi.napiCompleteDone(napi, work)) this.hw.enableIrq();
      return work;
    } }, NAPI_POLL_WEIGHT);
    dev.rxQueues[index]!.napi = this.napi;
    this.#retry = deps.kernel.timers.timerSetup(() => deps.napi.napiSchedule(this.napi), cpu);
  }

  /** Runs on `memory`, all of whose descriptors have buffers, or as many as there is memory for. Keeps it. @kernel bnxt_queue_start */
  start(memory: HsQueueMemory): void {
    this.memory = memory;
    const { hw } = this;
    memory.headPool.enableDirectRecycling(this.napi);
    memory.payloadPool.enableDirectRecycling(this.napi);
    hw.configure(memory.ring.dmaAddr, memory.size, HS_PAYLOAD_BYTES);
    hw.setHeaderSplit(HS_HEADER_BYTES);
    memory.restartRing();
    hw.addNonOccupied(memory.size - memory.refillNum);
    startRx(this.#deps, this.index, this.#cpu, hw, this.napi);
    if (memory.refillNum > 0) this.#deps.kernel.timers.modTimer(this.#retry, REFILL_RETRY_NS);
  }

  /** The device first, then whoever polls; no page comes back directly any more. What it ran on is the caller's. @kernel bnxt_queue_stop */
  stop(): HsQueueMemory {
    const memory = this.memory!;
    stopRx(this.#deps, this.index, this.hw, this.napi);
    this.#deps.kernel.timers.timerDelete(this.#retry);
    this.memory = null;
    dropFrame(this.#deps, this);
    memory.headPool.disableDirectRecycling();
    memory.payloadPool.disableDirectRecycling();
    return memory;
  }

  refillAfterPoll(memory: HsQueueMemory): void {
    const wanted = Math.min(memory.refillNum, HS_REFILL_BATCH);
    const done = memory.refill(wanted, GFP_ATOMIC);
    if (done > 0) this.hw.addNonOccupied(done);
    // With too few descriptors for the next frame no interrupt may ever come to poll again.
    if (done < wanted && !this.#retry.pending) this.#deps.kernel.timers.modTimer(this.#retry, REFILL_RETRY_NS);
  }
}
