import type { SkBuff } from "./api/index.ts";

/** Packets in order, chained through `next`: the structs are the list's nodes. `rmemAlloc` is what they are charged. @kernel struct sk_buff_head, sk_rmem_alloc */
export class SkbQueue {
  first: SkBuff | null = null;
  last: SkBuff | null = null;
  length = 0;
  rmemAlloc = 0;

  append(skb: SkBuff): void {
    skb.next = null;
    if (this.last === null) this.first = skb;
    else this.last.next = skb;
    this.last = skb;
    this.length++;
    this.rmemAlloc += skb.truesize;
  }

  /** Behind `before`, or in front of all. */
  insertAfter(before: SkBuff | null, skb: SkBuff): void {
    if (before === this.last) {
      this.append(skb);
      return;
    }
    skb.next = before === null ? this.first : before.next;
    if (before === null) this.first = skb;
    else before.next = skb;
    this.length++;
    this.rmemAlloc += skb.truesize;
  }

  /** The oldest, the caller's from now on, or null. */
  shift(): SkBuff | null {
    const skb = this.first;
    if (skb !== null) this.removeAfter(null, skb);
    return skb;
  }

  /** The newest, the caller's from now on, or null. */
  pop(): SkBuff | null {
    const { last } = this;
    if (last === null) return null;
    let before: SkBuff | null = null;
    for (let at = this.first!; at !== last; at = at.next!) before = at;
    this.removeAfter(before, last);
    return last;
  }

  /** `skb`, which stands behind `before`; the caller's. */
  removeAfter(before: SkBuff | null, skb: SkBuff): void {
    if (before === null) this.first = skb.next;
    else before.next = skb.next;
    if (this.last === skb) this.last = before;
    skb.next = null;
    this.length--;
    this.rmemAlloc -= skb.truesize;
  }

  /** All of `other` behind these. @kernel skb_queue_splice_tail_init */
  takeAll(other: SkbQueue): void {
    if (other.first === null) return;
    if (this.last === null) this.first = other.first;
    else this.last.next = other.first;
    this.last = other.last;
    this.length += other.length;
    this.rmemAlloc += other.rmemAlloc;
    other.first = null;
    other.last = null;
    other.length = 0;
    other.rmemAlloc = 0;
  }

  packets(): SkBuff[] {
    return chained(this.first);
  }
}

/** Those chained through `next`. */
export function chained(first: SkBuff | null): SkBuff[] {
  const all: SkBuff[] = [];
  for (let skb = first; skb !== null; skb = skb.next) all.push(skb);
  return all;
}
