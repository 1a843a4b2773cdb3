import { GFP_ATOMIC, PAGE_SIZE } from "@netmem/mm/api";
import { SKB_SHARED_INFO_BYTES } from "@netmem/xdp/api";
import { TCPHDR_FIN, TCPHDR_SYN, seqBefore, skbRegion, type InetStats, type SkBuff, type SkbEdit, type SkbLifetime } from "../api/index.ts";
import type { SkbQueue } from "../skb-queue.ts";

/** What a head of one page has room for. @kernel SKB_MAX_ORDER(0, 0), SKB_WITH_OVERHEAD(PAGE_SIZE) */
const MOST_BYTES: number = PAGE_SIZE - SKB_SHARED_INFO_BYTES;

export interface CollapseParts {
  readonly lifetime: SkbLifetime;
  readonly edit: SkbEdit;
  readonly stats: InetStats;
}

/**
 * Packets of a socket that is short of room are copied into fewer, each a head of a page: their own pages go home before anybody has read them.
 * @kernel net/ipv4/tcp_input.c
 */
export class TcpCollapse {
  private readonly parts: CollapseParts;
  /** Bytes of payload that a packet charged for so many may have without being bloated. @kernel tcp_win_from_space */
  private readonly winFromSpace: (truesize: number) => number;

  constructor(parts: CollapseParts, winFromSpace: (truesize: number) => number) {
    this.parts = parts;
    this.winFromSpace = winFromSpace;
  }

  /** All of a queue that is in order, from the byte numbered `start` to `end`. */
  inOrder(queue: SkbQueue, start: number, end: number): void {
    if (queue.first !== null) this.range(queue, null, queue.first, null, start, end, false);
  }

  /** What is ahead, stretch by stretch of bytes without a gap; single packets that are small are left alone, and end it when an eighth of the buffer is such. @kernel tcp_collapse_ofo_queue */
  ahead(queue: SkbQueue, rcvbufBytes: number): void {
    let tiny = 0;
    for (let head: SkBuff | null = queue.first, before: SkBuff | null = null; head !== null;) {
      let { seq: start, endSeq: end, truesize } = head;
      let last = head;
      for (let next = head.next; next !== null && !seqBefore(end, next.seq) && !seqBefore(next.endSeq, start); next = last.next) {
        truesize += next.truesize;
        if (seqBefore(next.seq, start)) start = next.seq;
        if (seqBefore(end, next.endSeq)) end = next.endSeq;
        last = next;
      }
      const tail: SkBuff | null = last.next;
      if (truesize !== head.truesize || ((end - start) | 0) >= MOST_BYTES) before = this.range(queue, before, head, tail, start, end, true);
      else {
        tiny += truesize;
        if (tiny > rcvbufBytes >> 3) return;
        before = last;
      }
      head = tail;
    }
  }

  /** From `head`, which stands behind `before`, up to `tail`: the packet that stands in front of `tail` then. `sorted`: packets stay in the order of their numbers, whatever becomes of the copies. @kernel tcp_collapse */
  private range(queue: SkbQueue, before: SkBuff | null, head: SkBuff, tail: SkBuff | null, start: number, end: number, sorted: boolean): SkBuff | null {
    let prev = before;
    let from = start;
    let skb: SkBuff | null = head;
    while (skb !== null && skb !== tail && !this.isWorthIt(skb, tail, from)) {
      // Others have all of its bytes, as it is possible ahead.
      if (!skb.unreadable && !seqBefore(from, skb.endSeq)) skb = this.free(queue, prev, skb);
      else {
        from = skb.endSeq;
        prev = skb;
        skb = skb.next;
      }
    }
    if (skb !== null && skb !== tail && isPlain(skb)) this.copy(queue, prev, skb, tail, from, end, sorted);
    return lastBefore(queue, before, tail);
  }

  /** Whether copying begins with it: bloated, begun to be read, or the next one does not begin where it ends. Not one that cannot be copied, or that has nothing beyond `start`. */
  private isWorthIt(skb: SkBuff, tail: SkBuff | null, start: number): boolean {
    if (skb.unreadable || !seqBefore(start, skb.endSeq)) return false;
    if (isPlain(skb) && (this.winFromSpace(skb.truesize) > skb.len || seqBefore(skb.seq, start))) return true;
    const { next } = skb;
    return next !== null && next !== tail && !next.unreadable && skb.endSeq !== next.seq;
  }

  /** From `first` on, which stands behind `before`, until one cannot be copied, or there is no memory. */
  private copy(queue: SkbQueue, before: SkBuff | null, first: SkBuff, tail: SkBuff | null, start: number, end: number, sorted: boolean): void {
    const { lifetime, edit } = this.parts;
    let skb = first;
    let prev = before;
    let at = start;
    while (seqBefore(at, end)) {
      let room = Math.min(MOST_BYTES, (end - at) | 0);
      const copy = lifetime.allocSkb(room, GFP_ATOMIC);
      if (copy === null) {
        if (sorted) inOrderOf(queue, before, prev, skb);
        return;
      }
      copy.seq = at;
      copy.endSeq = at;
      copy.tcpFlags = skb.tcpFlags;
      copy.tstamp = skb.tstamp;
      queue.insertAfter(prev, copy);
      prev = copy;
      while (room > 0) {
        const bytes = Math.min(room, (skb.endSeq - at) | 0);
        if (bytes > 0) {
          const to = copy.tail;
          edit.skbPut(copy, bytes);
          edit.skbCopyBits(skb, (at - skb.seq) | 0, skbRegion(copy), to, bytes);
          at = (at + bytes) | 0;
          copy.endSeq = at;
          room -= bytes;
        }
        if (seqBefore(at, skb.endSeq)) continue;
        const next = this.free(queue, prev, skb);
        if (next === null || next === tail || next.unreadable || !isPlain(next)) return;
        skb = next;
      }
    }
  }

  /** The one behind it. @kernel tcp_collapse_one */
  private free(queue: SkbQueue, before: SkBuff | null, skb: SkBuff): SkBuff | null {
    const { next } = skb;
    queue.removeAfter(before, skb);
    this.parts.lifetime.kfreeSkbPartial(skb, false);
    this.parts.stats.tcpRcvCollapsed++;
    return next;
  }
}

/** `skb`, which stands behind `prev`, goes where its number belongs behind `before`: it may begin before its copies do. */
function inOrderOf(queue: SkbQueue, before: SkBuff | null, prev: SkBuff | null, skb: SkBuff): void {
  queue.removeAfter(prev, skb);
  let at = before;
  for (let next = at === null ? queue.first : at.next; next !== null && !seqBefore(skb.seq, next.seq); next = next.next) at = next;
  queue.insertAfter(at, skb);
}

/** Neither the beginning nor the end of the stream. */
function isPlain({ tcpFlags }: SkBuff): boolean {
  return (tcpFlags & (TCPHDR_SYN | TCPHDR_FIN)) === 0;
}

/** Which stands in front of `tail`, behind `before` or that itself. */
function lastBefore(queue: SkbQueue, before: SkBuff | null, tail: SkBuff | null): SkBuff | null {
  let last = before;
  for (let next = last === null ? queue.first : last.next; next !== tail && next !== null; next = next.next) last = next;
  return last;
}
