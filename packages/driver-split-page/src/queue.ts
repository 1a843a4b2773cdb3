import { startRx, stopRx, type DriverDeps, type InterfaceQueue, type NicRxQueue, type QueueShared } from "@netmem/driver/api";
import { ENOMEM, type Timer } from "@netmem/kernel/api";
import { GFP_ATOMIC, GFP_KERNEL, type CoherentMemory } from "@netmem/mm/api";
import type { SkBuff } from "@netmem/net-core/api";
import { MEM_TYPE_PAGE_SHARED, NAPI_POLL_WEIGHT, type NapiStruct, type XdpBuff } from "@netmem/xdp/api";
import { SP_BUFFER_BYTES, SP_REFILL_BATCH, SP_RX_DESC, SP_TRUESIZE } from "./constants.ts";
import { dropFrame, pollRx } from "./poll.ts";
import { SplitBuffer, allocMappedPage, drain, syncForDevice, type SplitParts } from "./split-buffer.ts";

/** Waits this long before it tries again when memory ran out, in ns. */
const REFILL_RETRY_NS = 1_000_000;

/** A receive queue, its ring and the pages behind its descriptors. @kernel struct ixgbe_ring (drivers/net/ethernet/intel/ixgbe/ixgbe.h) */
export class SplitQueue implements InterfaceQueue {
  readonly index: number;
  readonly shared: QueueShared;
  readonly hw: NicRxQueue;
  readonly napi: NapiStruct;
  size: number;
  readonly parts: SplitParts;
  buffers: SplitBuffer[];
  readonly xdp: XdpBuff;
  /** Null: it stands still. */
  ring: CoherentMemory | null;
  /** The packet being put together, and bytes of it still to come. */
  skb: SkBuff | null;
  leftBytes: number;
  nextToClean: number;
  nextToUse: number;
  /** Where a page that is used again goes. @kernel next_to_alloc */
  nextToAlloc: number;
  readonly #deps: DriverDeps;
  readonly #cpu: number;
  readonly #retry: Timer;

  constructor(deps: DriverDeps, shared: QueueShared, index: number, cpu: number) {
    const { dev } = shared;
    this.#deps = deps;
    this.#cpu = cpu;
    this.index = index;
    this.shared = shared;
    this.size = 0;
    this.hw = deps.nic.rxQueues[index]!;
    this.parts = { dma: deps.dma, pages: deps.pages, node: () => deps.kernel.context.node };
    this.buffers = [];
    this.xdp = deps.xdpStructs.createXdpBuff(dev.rxQueues[index]!.xdpRxq);
    this.ring = null;
    this.skb = null;
    this.leftBytes = 0;
    this.nextToClean = 0;
    this.nextToUse = 0;
    this.nextToAlloc = 0;
    this.napi = deps.napi.netifNapiAdd(dev, { poll: (napi, budget) => this.#poll(napi, budget) }, NAPI_POLL_WEIGHT);
    dev.rxQueues[index]!.napi = this.napi;
    this.#retry = deps.kernel.timers.timerSetup(() => deps.napi.napiSchedule(this.napi), cpu);
  }

  /** The ring, registered and filled: 0 or a negative errno, nothing then being left. @kernel ixgbe_setup_rx_resources, ixgbe_configure_rx_ring */
  open(size: number): number {
    const { dma, xdpRxqs } = this.#deps;
    const { dev } = this.shared;
    const { xdpRxq } = dev.rxQueues[this.index]!;
    const ring = dma.allocCoherent(size * SP_RX_DESC.sizeBytes, GFP_KERNEL);
    if (ring === null) return -ENOMEM;
    this.ring = ring;
    this.size = size;
    this.buffers = Array.from({ length: size }, () => new SplitBuffer());
    this.nextToClean = 0;
    this.nextToUse = 0;
    this.nextToAlloc = 0;
    // One descriptor stays empty, so that a full ring is not an empty one.
    const filled = this.refill(this.size - 1, GFP_KERNEL) === 0 ? -ENOMEM : 0;
    const registered = filled < 0 ? filled : xdpRxqs.xdpRxqInfoRegFrags(xdpRxq, dev, this.index, SP_TRUESIZE);
    const connected = registered < 0 ? registered : xdpRxqs.xdpRxqInfoRegMemModel(xdpRxq, MEM_TYPE_PAGE_SHARED, null);
    if (connected === 0) return 0;
    if (registered === 0) xdpRxqs.xdpRxqInfoUnreg(xdpRxq);
    this.#freeRing();
    return connected;
  }

  start(): void {
    const { hw } = this;
    hw.configure(this.ring!.dmaAddr, this.size, SP_BUFFER_BYTES);
    hw.addNonOccupied(this.nextToUse);
    startRx(this.#deps, this.index, this.#cpu, hw, this.napi);
  }

  /** The device first, then whoever polls, then what it had. @kernel ixgbe_down, ixgbe_clean_rx_ring, ixgbe_free_rx_resources */
  stop(): void {
    stopRx(this.#deps, this.index, this.hw, this.napi);
    this.#deps.kernel.timers.timerDelete(this.#retry);
    this.close();
  }

  /** Of one that was opened and never started, too. */
  close(): void {
    dropFrame(this.#deps, this);
    this.#deps.xdpRxqs.xdpRxqInfoUnreg(this.shared.dev.rxQueues[this.index]!.xdpRxq);
    this.#freeRing();
  }

  #freeRing(): void {
    for (const buffer of this.buffers) if (buffer.page !== null) drain(this.parts, buffer);
    this.#deps.dma.freeCoherent(this.ring);
    this.ring = null;
  }

  /** Descriptors that can be filled. @kernel ixgbe_desc_unused */
  unused(): number {
    return (this.nextToClean > this.nextToUse ? 0 : this.size) + this.nextToClean - this.nextToUse - 1;
  }

  /** Up to `most` descriptors get a page, one that is used again if there is one; how many. @kernel ixgbe_alloc_rx_buffers */
  refill(most: number, gfp: number): number {
    const ring = this.ring!;
    let done = 0;
    for (; done < most; done++) {
      const at = this.nextToUse;
      const buffer = this.buffers[at]!;
      if (!allocMappedPage(this.parts, buffer, gfp)) break;
      syncForDevice(this.parts, buffer);
      ring.write32(at * SP_RX_DESC.sizeBytes + SP_RX_DESC.addressWord * 4, buffer.dmaAddr + buffer.pageOffset);
      this.nextToUse = at + 1 === this.size ? 0 : at + 1;
    }
    this.nextToAlloc = this.nextToUse;
    return done;
  }

  #poll(napi: NapiStruct, budget: number): number {
    const { shared } = this;
    // The one transmit queue interrupts on the first line.
    if (this.index === 0 && shared.tx !== null) shared.tx.done(budget);
    if (budget === 0) return 0;
    const { ring } = this;
    if (ring === null) return 0;
    const work = pollRx(this.#deps, this, ring, napi, budget);
    if (this.ring !== ring) return work;
    this.#refillAfterPoll();
    if (work < budget && this.#deps.napi.napiCompleteDone(napi, work)) this.hw.enableIrq();
    return work;
  }

  #refillAfterPoll(): void {
    const wanted = this.unused();
    if (wanted < SP_REFILL_BATCH) return;
    const done = this.refill(wanted, GFP_ATOMIC);
    if (done > 0) this.hw.addNonOccupied(done);
    // With too few descriptors for the next frame no interrupt may ever come to poll again.
    if (done < wanted && !this.#retry.pending) this.#deps.kernel.timers.modTimer(this.#retry, REFILL_RETRY_NS);
  }
}
