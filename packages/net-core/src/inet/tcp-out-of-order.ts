import { SKB_DROP_REASON_TCP_OFOMERGE, SKB_DROP_REASON_TCP_OFO_QUEUE_PRUNE, TCPHDR_FIN, seqBefore, type Coalesced, type SkBuff, type SkbEdit, type SkbLifetime, type SkbMerge } from "../api/index.ts";
import { SkbQueue } from "../skb-queue.ts";

export interface CoalesceParts {
  readonly merge: SkbMerge;
  readonly edit: SkbEdit;
  readonly lifetime: SkbLifetime;
}

/** `from` behind `to`, which stands in `queue`. Consumes `from` if so. @kernel tcp_try_coalesce (net/ipv4/tcp_input.c) */
export function tryCoalesce({ merge, lifetime }: CoalesceParts, queue: SkbQueue, to: SkBuff, from: SkBuff, result: Coalesced): boolean {
  // Behind a FIN there is nothing.
  if (from.seq !== to.endSeq || (to.tcpFlags & TCPHDR_FIN) !== 0 || !merge.skbTryCoalesce(to, from, result)) return false;
  queue.rmemAlloc += result.deltaTruesize;
  to.endSeq = from.endSeq;
  to.tcpFlags |= from.tcpFlags;
  lifetime.kfreeSkbPartial(from, result.stolen);
  return true;
}

/** Segments ahead of what is expected, by their first byte. One that grew by coalescing may have all bytes of those behind it, which stay. @kernel tcp_sock.out_of_order_queue */
export class OutOfOrder {
  readonly queue: SkbQueue;
  private readonly parts: CoalesceParts;
  private readonly drop: (skb: SkBuff, reason: number) => void;
  private readonly result: Coalesced;

  constructor(parts: CoalesceParts, drop: (skb: SkBuff, reason: number) => void) {
    this.queue = new SkbQueue();
    this.parts = parts;
    this.drop = drop;
    this.result = { stolen: false, deltaTruesize: 0 };
  }

  /** @kernel tcp_data_queue_ofo */
  keep(skb: SkBuff): void {
    const { queue } = this;
    // Nearly always behind the last.
    let before: SkBuff | null = queue.last;
    if (before === null || seqBefore(skb.seq, before.seq)) {
      before = null;
      for (let at = queue.first; at !== null && !seqBefore(skb.seq, at.seq); at = at.next) before = at;
    }
    if (before !== null && !seqBefore(before.endSeq, skb.endSeq)) {
      this.drop(skb, SKB_DROP_REASON_TCP_OFOMERGE);
      return;
    }
    if (before !== null && tryCoalesce(this.parts, queue, before, skb, this.result)) return;
    queue.insertAfter(before, skb);
    if (before !== null && before.seq === skb.seq) this.dropReplaced(before);
    this.dropCovered(skb);
    const truesize = skb.truesize;
    this.parts.edit.skbCondense(skb);
    queue.rmemAlloc += skb.truesize - truesize;
  }

  /** Those that `skb` has all bytes of. */
  private dropCovered(skb: SkBuff): void {
    for (let next = skb.next; next !== null && !seqBefore(skb.endSeq, next.endSeq); next = skb.next) {
      this.queue.removeAfter(skb, next);
      this.drop(next, SKB_DROP_REASON_TCP_OFOMERGE);
    }
  }

  /** The one that a longer one, which stands behind it, begins as. */
  private dropReplaced(shorter: SkBuff): void {
    let before: SkBuff | null = null;
    for (let at = this.queue.first!; at !== shorter; at = at.next!) before = at;
    this.queue.removeAfter(before, shorter);
    this.drop(shorter, SKB_DROP_REASON_TCP_OFOMERGE);
  }

  /** The first, if it begins at this number or before; the caller's. @kernel tcp_ofo_queue */
  takeUpTo(seq: number): SkBuff | null {
    const { first } = this.queue;
    return first === null || seqBefore(seq, first.seq) ? null : this.queue.shift();
  }

  /**
   * Drops from the end on, as far as `comes` does not lie behind it (null: all that it takes): `goalBytes` of truesize at a time, until there is room.
   * @kernel tcp_prune_ofo_queue
   */
  prune(comes: SkBuff | null, goalBytes: number, fits: () => boolean): void {
    let goal = goalBytes;
    for (;;) {
      const { last } = this.queue;
      if (last === null || (comes !== null && seqBefore(last.seq, comes.seq))) return;
      this.queue.pop();
      goal -= last.truesize;
      this.drop(last, SKB_DROP_REASON_TCP_OFO_QUEUE_PRUNE);
      if (goal > 0 && this.queue.last !== null) continue;
      if (fits()) return;
      goal = goalBytes;
    }
  }
}
