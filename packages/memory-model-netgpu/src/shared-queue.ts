import { UsageError } from "@netmem/kernel/api";

/**
 * A ring that kernel and user share: one side produces, the other consumes, indices run free. Entries are an address and a length.
 * @kernel struct shared_queue (include/uapi/misc/shqueue.h of the proposal)
 */
export class SharedQueue {
  readonly entries: number;
  readonly #addresses: Float64Array;
  readonly #lengths: Int32Array;
  #prod = 0;
  #cons = 0;

  constructor(entries: number) {
    if (!Number.isInteger(entries) || entries < 1 || (entries & (entries - 1)) !== 0) throw new UsageError("memory-model-netgpu", "entries of a shared queue", entries, "give a power of two");
    this.entries = entries;
    this.#addresses = new Float64Array(entries);
    this.#lengths = new Int32Array(entries);
  }

  count(): number {
    return (this.#prod - this.#cons) | 0;
  }

  /** False: it is full. @kernel sq_prod_reserve, sq_prod_submit */
  push(address: number, lengthBytes: number): boolean {
    if (this.count() === this.entries) return false;
    const at = this.#prod & (this.entries - 1);
    this.#addresses[at] = address;
    this.#lengths[at] = lengthBytes;
    this.#prod = (this.#prod + 1) | 0;
    return true;
  }

  /** Of the oldest entry; −1: there is none. @kernel sq_cons_peek */
  peekAddress(): number {
    return this.count() === 0 ? -1 : this.#addresses[this.#cons & (this.entries - 1)]!;
  }

  peekLength(): number {
    return this.#lengths[this.#cons & (this.entries - 1)]!;
  }

  /** @kernel sq_cons_advance */
  advance(): void {
    if (this.count() > 0) this.#cons = (this.#cons + 1) | 0;
  }
}
