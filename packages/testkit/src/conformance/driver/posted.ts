import { PAGE_SIZE, type CoherentMemory, type Netmem } from "@netmem/mm/api";
import type { NicBufferPool, NicRxQueue, RxDescFormat } from "@netmem/driver/api";
import type { NetmemLogs } from "./netmems.ts";

/** A stretch that the device may write: where, and how long. */
interface Buffer {
  readonly dmaAddr: number;
  readonly bytes: number;
  /** What lies there; null: nothing that the driver was given. */
  readonly netmem: Netmem | null;
}

/** One receive queue as its registers were written. */
class PostedQueue {
  readonly hw: NicRxQueue;
  running = false;
  ring: CoherentMemory | null = null;
  entries = 1;
  bufferBytes = 0;
  headerBytes = 0;
  next = 0;
  /** By descriptor, the oldest first; those at the front may be done. */
  readonly descriptors: (readonly Buffer[])[] = [];
  completions: CoherentMemory | null = null;
  completionEntries = 1;
  nextCompletion = 0;
  strides = 0;
  stridesEach = 1;

  constructor(hw: NicRxQueue) {
    this.hw = hw;
  }
}

/** What the device has: buffers of descriptors that it has not filled, and of its own pools. */
export class PostedBuffers {
  readonly queues: readonly PostedQueue[];
  readonly #format: RxDescFormat;
  readonly #coherent: ReadonlyMap<number, CoherentMemory>;
  readonly #pools: { readonly hw: NicBufferPool; bytes: number; readonly buffers: Buffer[] }[];
  readonly #logs: NetmemLogs;
  readonly #onPosted: (dmaAddr: number, bytes: number) => void;
  /** How many buffers above lie in it: most netmems are in none. */
  readonly #counts: Map<Netmem, number> = new Map<Netmem, number>();

  constructor(format: RxDescFormat, rxQueues: readonly NicRxQueue[], pools: readonly NicBufferPool[], coherent: ReadonlyMap<number, CoherentMemory>, logs: NetmemLogs, onPosted: (dmaAddr: number, bytes: number) => void) {
    this.#format = format;
    this.queues = rxQueues.map((hw) => new PostedQueue(hw));
    this.#pools = pools.map((hw) => ({ hw, bytes: 0, buffers: [] }));
    this.#coherent = coherent;
    this.#logs = logs;
    this.#onPosted = onPosted;
  }

  configure(index: number, ringDmaAddr: number, entries: number, bufferBytes: number): void {
    const queue = this.queues[index]!;
    queue.ring = this.#coherent.get(ringDmaAddr) ?? null;
    queue.entries = entries;
    queue.bufferBytes = bufferBytes;
    queue.next = 0;
    this.#forget(queue, queue.descriptors.length);
  }

  setStrides(index: number, completionDmaAddr: number, completions: number, strideBytes: number): void {
    const queue = this.queues[index]!;
    queue.completions = this.#coherent.get(completionDmaAddr) ?? null;
    queue.completionEntries = completions;
    queue.nextCompletion = 0;
    queue.strides = 0;
    queue.stridesEach = (this.#format.striding!.pages * PAGE_SIZE) / strideBytes;
  }

  addNonOccupied(index: number, n: number): void {
    const queue = this.queues[index]!;
    if (queue.ring === null) return;
    for (let i = 0; i < n; i++) {
      const buffers = this.#buffersOf(queue, queue.next);
      for (const buffer of buffers) this.#post(buffer);
      queue.descriptors.push(buffers);
      queue.next = queue.next + 1 === queue.entries ? 0 : queue.next + 1;
    }
  }

  decOccupied(index: number, n: number): void {
    const queue = this.queues[index]!;
    if (queue.completions === null) {
      this.#forget(queue, n);
      return;
    }
    queue.strides += this.#stridesOf(queue, n);
    queue.nextCompletion = (queue.nextCompletion + n) % queue.completionEntries;
    const done = Math.floor(queue.strides / queue.stridesEach);
    this.#forget(queue, done);
    queue.strides -= done * queue.stridesEach;
  }

  configurePool(index: number, bytes: number): void {
    const pool = this.#pools[index]!;
    pool.bytes = bytes;
    for (const buffer of pool.buffers.splice(0)) this.#count(buffer, -1);
  }

  putInPool(index: number, dmaAddr: number): void {
    const pool = this.#pools[index]!;
    // The oldest ones are in frames.
    this.#inFrames(pool.buffers, pool.hw.buffers() - 1);
    const buffer = this.#bufferAt(dmaAddr, pool.bytes);
    pool.buffers.push(buffer);
    this.#post(buffer);
  }

  /** Who may write to it, in words; null: no device. */
  holderOf(netmem: Netmem): string | null {
    if ((this.#counts.get(netmem) ?? 0) === 0) return null;
    for (const [i, queue] of this.queues.entries()) {
      if (!queue.running) continue;
      for (const buffers of queue.descriptors.slice(this.#doneOf(queue))) if (this.#has(buffers, netmem)) return `receive queue ${i}, which runs`;
    }
    if (!this.queues.some(({ running }) => running)) return null;
    for (const [i, { hw, buffers }] of this.#pools.entries()) {
      this.#inFrames(buffers, hw.buffers());
      if (this.#has(buffers, netmem)) return `buffer pool ${i} of the NIC, which runs`;
    }
    return null;
  }

  /** Number of the queue that runs on this ring; −1: none. */
  runsOn(memory: CoherentMemory): number {
    return this.queues.findIndex(({ running, ring, completions }) => running && (ring === memory || completions === memory));
  }

  /** All but the youngest `left`. */
  #inFrames(buffers: Buffer[], left: number): void {
    if (buffers.length > left) for (const buffer of buffers.splice(0, buffers.length - left)) this.#count(buffer, -1);
  }

  #has(buffers: readonly Buffer[], netmem: Netmem): boolean {
    return buffers.some((buffer) => buffer.netmem === netmem);
  }

  #post(buffer: Buffer): void {
    this.#count(buffer, 1);
    this.#onPosted(buffer.dmaAddr, buffer.bytes);
  }

  /** The oldest `n` descriptors are done. */
  #forget({ descriptors }: PostedQueue, n: number): void {
    for (const buffers of descriptors.splice(0, n)) for (const buffer of buffers) this.#count(buffer, -1);
  }

  #count({ netmem }: Buffer, by: number): void {
    if (netmem !== null) this.#counts.set(netmem, (this.#counts.get(netmem) ?? 0) + by);
  }

  #bufferAt(dmaAddr: number, bytes: number): Buffer {
    return { dmaAddr, bytes, netmem: this.#logs.netmemAt(dmaAddr) };
  }

  #doneOf(queue: PostedQueue): number {
    const occupied = queue.hw.occupied();
    return queue.completions === null ? occupied : Math.floor((queue.strides + this.#stridesOf(queue, occupied)) / queue.stridesEach);
  }

  /** Of the oldest `n` completions. */
  #stridesOf({ completions, completionEntries, nextCompletion }: PostedQueue, n: number): number {
    const { completionBytes, bytesWord } = this.#format.striding!;
    let strides = 0;
    for (let i = 0; i < n; i++) strides += completions!.read32(((nextCompletion + i) % completionEntries) * completionBytes + bytesWord * 4) >>> 16;
    return strides;
  }

  #buffersOf({ ring, bufferBytes, headerBytes }: PostedQueue, descriptor: number): readonly Buffer[] {
    const { sizeBytes, addressWord, headerSplit, bufferManager, striding } = this.#format;
    const word = (at: number): number => ring!.read32(descriptor * sizeBytes + at * 4) >>> 0;
    if (bufferManager !== undefined) return [];
    if (striding !== undefined) return Array.from({ length: striding.pages }, (_, i) => this.#bufferAt(word(addressWord + i), PAGE_SIZE));
    const buffers = [this.#bufferAt(word(addressWord), bufferBytes)];
    if (headerSplit !== undefined && headerBytes > 0) buffers.push(this.#bufferAt(word(headerSplit.headerAddressWord), headerBytes));
    return buffers;
  }
}
