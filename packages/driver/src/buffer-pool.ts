import type { DeviceBus } from "@netmem/mm/api";
import type { NicBufferPool } from "./api/index.ts";

/** Buffers that wait for frames, oldest first: their device addresses and cookies, in a ring. */
export class BufferPool implements NicBufferPool {
  bufferBytes = 0;
  readonly #bus: DeviceBus;
  readonly #doorbell: () => void;
  #addresses: Float64Array = new Float64Array(0);
  #cookies: Uint32Array = new Uint32Array(0);
  #first = 0;
  #count = 0;

  constructor(bus: DeviceBus, doorbell: () => void) {
    this.#bus = bus;
    this.#doorbell = doorbell;
  }

  configure(capacity: number, bufferBytes: number): void {
    this.#addresses = new Float64Array(capacity);
    this.#cookies = new Uint32Array(capacity);
    this.bufferBytes = bufferBytes;
    this.#first = 0;
    this.#count = 0;
  }

  buffers(): number {
    return this.#count;
  }

  put(dmaAddr: number, cookie: number): boolean {
    this.#bus.registerWrite();
    const capacity = this.#cookies.length;
    if (this.#count === capacity) return false;
    const at = (this.#first + this.#count) % capacity;
    this.#addresses[at] = dmaAddr;
    this.#cookies[at] = cookie;
    this.#count++;
    this.#doorbell();
    return true;
  }

  take(): number {
    this.#bus.registerRead();
    if (this.#count === 0) return -1;
    const cookie = this.cookie();
    this.advance();
    return cookie;
  }

  /** Of the oldest. */
  address(): number {
    return this.#addresses[this.#first]!;
  }

  cookie(): number {
    return this.#cookies[this.#first]!;
  }

  /** The oldest is a frame's now. */
  advance(): void {
    this.#first = this.#first + 1 === this.#cookies.length ? 0 : this.#first + 1;
    this.#count--;
  }
}
