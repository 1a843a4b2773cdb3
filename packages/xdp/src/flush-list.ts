/** Who has something waiting on one CPU. Slots are used again, so that a batch leaves no garbage. */
export class FlushList<T> {
  length: number;
  private readonly items: (T | null)[];

  constructor() {
    this.length = 0;
    this.items = [];
  }

  push(item: T): void {
    if (this.length === this.items.length) this.items.push(item);
    else this.items[this.length] = item;
    this.length++;
  }

  /** The one that came last, as `list_add` has it; null when there is none. */
  pop(): T | null {
    if (this.length === 0) return null;
    this.length--;
    const item = this.items[this.length]!;
    this.items[this.length] = null;
    return item;
  }

  remove(item: T): void {
    for (let i = 0; i < this.length; i++) {
      if (this.items[i] !== item) continue;
      this.length--;
      for (; i < this.length; i++) this.items[i] = this.items[i + 1]!;
      this.items[i] = null;
      return;
    }
  }
}
