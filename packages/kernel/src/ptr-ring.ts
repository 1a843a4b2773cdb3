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
  /** Where the head will be when what it has consumed is nulled. */
  private nullAt: number;

  constructor(size: number) {
    this.size = size;
    this.slots = [];
    for (let i = 0; i < size; i++) this.slots.push(null);
    // Half the ring at most: with fewer than two groups a producer could wait for slots that nobody will null.
    this.batch = PTR_RING_BATCH > size / 2 || PTR_RING_BATCH < 1 ? 1 : PTR_RING_BATCH;
    this.producer = 0;
    this.head = 0;
    this.tail = 0;
    this.nullAt = Math.min(size, this.batch);
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
    const at = this.head;
    const item = this.slots[at] as T | null;
    if (item === null) return null;
    if (at + 1 === this.nullAt) this.nullConsumed();
    else this.head = at + 1;
    return item;
  }

  consumeBatched(into: (T | null)[], at: number, most: number): number {
    if (this.size === 0) return at;
    const { slots } = this;
    let { head, nullAt } = this;
    let to = at;
    while (to < most) {
      const item = slots[head] as T | null;
      if (item === null) break;
      into[to++] = item;
      if (++head < nullAt) continue;
      this.nullConsumed();
      ({ head, nullAt } = this);
    }
    this.head = head;
    return to;
  }

  /** A batch was consumed, or the ring's end reached. @kernel __ptr_ring_zero_tail */
  private nullConsumed(): void {
    const { slots, tail, size, nullAt } = this;
    // Backwards: the producer may take the tail slot only once every slot behind it is null.
    for (let i = nullAt - 1; i >= tail; i--) slots[i] = null;
    this.tail = nullAt === size ? 0 : nullAt;
    this.head = this.tail;
    this.nullAt = Math.min(size, this.tail + this.batch);
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
