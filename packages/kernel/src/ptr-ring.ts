import { PTR_RING_BATCH, type PtrRing, type PtrRings, UsageError } from "./api/index.ts";

class FixedPtrRing<T> implements PtrRing<T> {
  readonly size: number;
  private readonly slots: (T | null)[];
  private readonly batch: number;
  private producer: number;
  /** Next slot to consume. */
  private head: number;
  /** First slot consumed but not nulled yet. */
  private tail: number;

  constructor(size: number) {
    this.size = size;
    this.slots = [];
    for (let i = 0; i < size; i++) this.slots.push(null);
    // Half the ring at most: with fewer than two groups a producer could wait for slots that nobody will null.
    this.batch = PTR_RING_BATCH > size / 2 || PTR_RING_BATCH < 1 ? 1 : PTR_RING_BATCH;
    this.producer = 0;
    this.head = 0;
    this.tail = 0;
  }

  produce(item: T): boolean {
    const at = this.producer;
    if (this.size === 0 || this.slots[at] !== null) return false;
    this.slots[at] = item;
    this.producer = at + 1 === this.size ? 0 : at + 1;
    return true;
  }

  consume(): T | null {
    if (this.size === 0) return null;
    const item = this.slots[this.head] as T | null;
    if (item !== null) this.discardOne();
    return item;
  }

  private discardOne(): void {
    const head = this.head + 1;
    if (head - this.tail >= this.batch || head === this.size) {
      const slots = this.slots;
      // Backwards: the producer may take the tail slot only once every slot behind it is null.
      for (let i = head - 1; i >= this.tail; i--) slots[i] = null;
      this.tail = head === this.size ? 0 : head;
    }
    this.head = head === this.size ? 0 : head;
  }

  isEmpty(): boolean {
    return this.size === 0 || this.slots[this.head] === null;
  }

  isFull(): boolean {
    return this.size === 0 || this.slots[this.producer] !== null;
  }

  count(): number {
    return this.items().length;
  }

  items(): T[] {
    const items: T[] = [];
    for (let i = 0, at = this.head; i < this.size; i++, at = at + 1 === this.size ? 0 : at + 1) {
      const item = this.slots[at] as T | null;
      if (item === null) break;
      // Behind the head lie consumed slots that are not nulled yet.
      if (i > 0 && at === this.tail && this.tail !== this.head) break;
      items.push(item);
    }
    return items;
  }
}

export function createPtrRings(): PtrRings {
  return {
    create: <T>(size: number): PtrRing<T> => {
      if (!Number.isInteger(size) || size < 0) {
        throw new UsageError("kernel", "ptr_ring size", size, "give a whole number of slots, 0 or more");
      }
      return new FixedPtrRing<T>(size);
    },
  };
}
