import type { ExecutionContext, Timer, Timers } from "@netmem/kernel/api";
import { GFP_ATOMIC, type PayloadMemory } from "@netmem/mm/api";
import {
  CHECKSUM_NONE, IP_DF, IP_FRAG_TIME_NS, IP_MF, IP_OFFSET, SKB_CONSUMED, SKB_DROP_REASON_DUP_FRAG, SKB_DROP_REASON_FRAG_REASM_TIMEOUT, SKB_DROP_REASON_FRAG_TOO_FAR, SKB_DROP_REASON_NOT_SPECIFIED, read16, read32, skbRegion, write16,
  type Coalesced, type InetStats, type PacketHolder, type SkBuff, type SkbEdit, type SkbLifetime, type SkbMerge,
} from "../api/index.ts";
import { addHolder } from "../holders.ts";
import { dotted } from "./dotted.ts";

/** Bytes of truesize that all pieces may have; no more are taken then. @kernel net.ipv4.ipfrag_high_thresh */
export const IPFRAG_HIGH_THRESH: number = 4 << 20;
/** Pieces of others that one sender may send between two of a datagram. @kernel net.ipv4.ipfrag_max_dist */
const IPFRAG_MAX_DIST = 64;
const IP_MAX_BYTES = 65_535;
/** What the two lowest bits of the type of service say of congestion, each as a bit. @kernel ip4_frag_ecn (include/net/inet_ecn.h) */
const ECN_NOT_ECT = 1 << 0;
const ECN_CE = 1 << 3;
const INET_ECN_MASK = 3;

export interface FragmentParts {
  readonly lifetime: SkbLifetime;
  readonly edit: SkbEdit;
  readonly merge: SkbMerge;
  readonly payload: PayloadMemory;
  readonly context: ExecutionContext;
  readonly timers: Timers;
  readonly stats: InetStats;
}

/** A piece that waits, without its headers. */
interface Piece {
  readonly skb: SkBuff;
  readonly offset: number;
  readonly end: number;
}

/** Bytes that came one piece after the other. @kernel frag_run_len */
interface Run {
  readonly offset: number;
  end: number;
}

/** How many pieces a sender has sent. @kernel struct inet_peer */
interface Sender {
  readonly saddr: number;
  pieces: number;
  queues: number;
}

/** The pieces of one datagram. @kernel struct ipq, struct inet_frag_queue */
class FragmentQueue {
  readonly key: string;
  readonly sender: Sender;
  readonly timer: Timer;
  /** By offset. */
  readonly pieces: Piece[] = [];
  readonly runs: Run[] = [];
  /** The sender's count as the latest of them came. @kernel rid */
  latest = 0;
  /** Of all of them. */
  ecn = 0;
  /** Bytes that it will have, as far as is known, and that are here. @kernel len, meat */
  len = 0;
  meat = 0;
  truesize = 0;
  hasFirst = false;
  hasLast = false;

  constructor(key: string, sender: Sender, timer: Timer) {
    this.key = key;
    this.sender = sender;
    this.timer = timer;
  }
}

/** Puts the pieces of datagrams together that are for this machine. @kernel net/ipv4/ip_fragment.c, net/ipv4/inet_fragment.c */
export class IpFragments {
  readonly #parts: FragmentParts;
  readonly #queues = new Map<string, FragmentQueue>();
  /** Those that a queue waits for. */
  readonly #senders = new Map<number, Sender>();
  readonly #coalesced: Coalesced = { stolen: false, deltaTruesize: 0 };
  #truesize = 0;

  constructor(parts: FragmentParts) {
    this.#parts = parts;
  }

  addHolders(to: PacketHolder[]): void {
    for (const { key, pieces } of this.#queues.values()) {
      const [saddr, daddr, id] = key.split(" ");
      addHolder(to, "ip-fragments", `${id} to ${dotted(Number(daddr))} from ${dotted(Number(saddr))}`, pieces.map(({ skb }) => skb));
    }
  }

  /** At the IP header. The whole datagram, at its header, whose caller's it is; null while pieces are missing. Keeps, or drops. Softirq. @kernel ip_defrag */
  defrag(skb: SkBuff, headerBytes: number): SkBuff | null {
    const { stats, lifetime } = this.#parts;
    stats.ipReasmReqds++;
    if (this.#truesize > IPFRAG_HIGH_THRESH) {
      stats.ipReasmFails++;
      lifetime.kfreeSkb(skb, SKB_DROP_REASON_NOT_SPECIFIED);
      return null;
    }
    const { bytes } = skbRegion(skb);
    const ip = skb.networkHeader;
    const saddr = read32(bytes, ip + 12) >>> 0;
    const queue = this.#find(`${saddr} ${read32(bytes, ip + 16) >>> 0} ${read16(bytes, ip + 4)} ${bytes[ip + 9]}`, saddr);
    if (this.#isTooFar(queue)) this.#startAgain(queue);
    return this.#insert(queue, skb, headerBytes);
  }

  #find(key: string, saddr: number): FragmentQueue {
    const known = this.#queues.get(key);
    if (known !== undefined) return known;
    const { timers, context } = this.#parts;
    const sender = this.#senders.get(saddr) ?? { saddr, pieces: 0, queues: 0 };
    this.#senders.set(saddr, sender);
    sender.queues++;
    const queue: FragmentQueue = new FragmentQueue(key, sender, timers.timerSetup(() => this.#discard(queue, SKB_DROP_REASON_FRAG_REASM_TIMEOUT), context.cpu));
    timers.modTimer(queue.timer, IP_FRAG_TIME_NS);
    this.#queues.set(key, queue);
    return queue;
  }

  /** Its number may be in use again. @kernel ip_frag_too_far */
  #isTooFar(queue: FragmentQueue): boolean {
    const { sender, latest } = queue;
    queue.latest = ++sender.pieces;
    return queue.pieces.length > 0 && queue.latest - latest > IPFRAG_MAX_DIST;
  }

  /** What is there belongs to another datagram. @kernel ip_frag_reinit */
  #startAgain(queue: FragmentQueue): void {
    const { lifetime, stats, timers } = this.#parts;
    stats.ipReasmFails++;
    timers.modTimer(queue.timer, IP_FRAG_TIME_NS);
    this.#truesize -= queue.truesize;
    for (const { skb } of queue.pieces.splice(0)) lifetime.kfreeSkb(skb, SKB_DROP_REASON_FRAG_TOO_FAR);
    queue.runs.length = 0;
    queue.ecn = 0;
    queue.len = 0;
    queue.meat = 0;
    queue.truesize = 0;
    queue.hasFirst = false;
    queue.hasLast = false;
  }

  /** @kernel ip_frag_queue, inet_frag_queue_insert */
  #insert(queue: FragmentQueue, skb: SkBuff, headerBytes: number): SkBuff | null {
    const { edit, lifetime } = this.#parts;
    const { bytes } = skbRegion(skb);
    const word = read16(bytes, skb.networkHeader + 6);
    const ecn = 1 << (bytes[skb.networkHeader + 1]! & INET_ECN_MASK);
    const offset = (word & IP_OFFSET) << 3;
    const isLast = (word & IP_MF) === 0;
    // All but the last are of whole words of eight bytes.
    const length = skb.len - headerBytes;
    const end = isLast ? offset + length : (offset + length) & ~7;
    const fits = isLast ? end >= queue.len && (!queue.hasLast || end === queue.len) : end <= queue.len || !queue.hasLast;
    if (!fits || end === offset || !edit.pskbPull(skb, headerBytes) || (end - offset < skb.len && edit.pskbTrim(skb, end - offset) !== 0)) {
      this.#refuse(queue, skb);
      return null;
    }
    if (end - offset < length) skb.ipSummed = CHECKSUM_NONE;
    const run = queue.runs.find((one) => one.end > offset && one.offset < end);
    if (run !== undefined) {
      // The same again is a repetition; anything else that overlaps is an attack, and all of it goes.
      if (run.offset <= offset && run.end >= end) lifetime.kfreeSkb(skb, SKB_DROP_REASON_DUP_FRAG);
      else this.#refuse(queue, skb);
      return null;
    }
    // Only what continues the highest makes its run longer.
    const continued = queue.pieces.at(-1)?.end === offset ? queue.runs.find((one) => one.end === offset) : undefined;
    if (continued === undefined) queue.runs.push({ offset, end });
    else continued.end = end;
    const at = queue.pieces.findIndex((piece) => piece.end > offset);
    queue.pieces.splice(at < 0 ? queue.pieces.length : at, 0, { skb, offset, end });
    queue.ecn |= ecn;
    queue.len = Math.max(queue.len, end);
    queue.meat += skb.len;
    queue.truesize += skb.truesize;
    this.#truesize += skb.truesize;
    if (offset === 0) queue.hasFirst = true;
    if (isLast) queue.hasLast = true;
    if (queue.hasFirst && queue.hasLast && queue.meat === queue.len) return this.#reassemble(queue, skb);
    lifetime.skbOrphan(skb);
    return null;
  }

  /** A piece that does not fit is dropped; with it go all that are here, which nobody dropped. */
  #refuse(queue: FragmentQueue, skb: SkBuff): void {
    this.#parts.lifetime.kfreeSkb(skb, SKB_DROP_REASON_NOT_SPECIFIED);
    this.#discard(queue, SKB_CONSUMED);
  }

  /** `last` is the piece that came last, whose struct the datagram gets. @kernel ip_frag_reasm, inet_frag_reasm_prepare, inet_frag_reasm_finish */
  #reassemble(queue: FragmentQueue, last: SkBuff): SkBuff | null {
    const { edit, lifetime, merge, payload, stats } = this.#parts;
    const head = this.#firstIn(queue, last);
    if (head === null) {
      this.#discard(queue, SKB_CONSUMED);
      return null;
    }
    const { ecn } = queue;
    // Who cannot be told of congestion was.
    if ((ecn & ECN_NOT_ECT) !== 0 && ecn !== ECN_NOT_ECT) {
      this.#discard(queue, SKB_CONSUMED);
      return null;
    }
    const headerBytes = head.data - head.networkHeader;
    if (headerBytes + queue.len > IP_MAX_BYTES) {
      this.#discard(queue, SKB_CONSUMED);
      return null;
    }
    // Taps may have clones of it, whose bytes are to stay as they came.
    if (edit.skbUnclone(head, GFP_ATOMIC) !== 0 || !this.#splitsList(head)) {
      this.#discard(queue, SKB_CONSUMED);
      return null;
    }
    this.#forget(queue);
    edit.skbPush(head, headerBytes);
    let listed: SkBuff | null = head.shinfo!.fragList;
    for (let i = 1; i < queue.pieces.length; i++) {
      const { skb } = queue.pieces[i]!;
      if (skb.ipSummed !== head.ipSummed) head.ipSummed = CHECKSUM_NONE;
      if (listed === null && merge.skbTryCoalesce(head, skb, this.#coalesced)) {
        lifetime.kfreeSkbPartial(skb, this.#coalesced.stolen);
        continue;
      }
      if (listed === null) head.shinfo!.fragList = skb;
      else listed.next = skb;
      listed = skb;
      head.len += skb.len;
      head.dataLen += skb.len;
      head.truesize += skb.truesize;
    }
    const region = skbRegion(head);
    const ip = head.networkHeader;
    if ((ecn & ECN_CE) !== 0 && ecn !== ECN_CE) region.bytes[ip + 1]! |= INET_ECN_MASK;
    write16(region.bytes, ip + 2, headerBytes + queue.len);
    write16(region.bytes, ip + 6, read16(region.bytes, ip + 6) & IP_DF);
    write16(region.bytes, ip + 10, 0);
    write16(region.bytes, ip + 10, ~payload.checksum(region, ip, headerBytes) & 0xffff);
    stats.ipReasmOks++;
    return head;
  }

  /** The first piece, in the struct of the last that came, whose own bytes go on in a clone; null without memory. @kernel inet_frag_reasm_prepare */
  #firstIn({ pieces }: FragmentQueue, last: SkBuff): SkBuff | null {
    const { lifetime } = this.#parts;
    const [{ skb: first }] = pieces as [Piece];
    if (first === last) return first;
    const clone = lifetime.skbClone(last, GFP_ATOMIC);
    if (clone === null) return null;
    const at = pieces.findIndex(({ skb }) => skb === last);
    pieces[at] = { ...pieces[at]!, skb: clone };
    pieces[0] = { ...pieces[0]!, skb: lifetime.skbMorph(last, first) };
    lifetime.consumeSkb(first);
    return last;
  }

  /** A list of packets that the first piece has goes into one that heads the list to come: they may be others', too. False without memory. @kernel inet_frag_reasm_prepare */
  #splitsList(head: SkBuff): boolean {
    const info = head.shinfo!;
    if (info.fragList === null) return true;
    const carrier = this.#parts.lifetime.allocSkb(0, GFP_ATOMIC);
    if (carrier === null) return false;
    carrier.shinfo!.fragList = info.fragList;
    info.fragList = carrier;
    let bytesInFrags = 0;
    for (let i = 0; i < info.nrFrags; i++) bytesInFrags += info.frags[i]!.sizeBytes;
    carrier.len = head.dataLen - bytesInFrags;
    carrier.dataLen = carrier.len;
    carrier.ipSummed = head.ipSummed;
    head.truesize += carrier.truesize;
    return true;
  }

  /** @kernel ip_expire, inet_frag_destroy */
  #discard(queue: FragmentQueue, reason: number): void {
    this.#parts.stats.ipReasmFails++;
    this.#forget(queue);
    for (const { skb } of queue.pieces) this.#parts.lifetime.kfreeSkb(skb, reason);
  }

  #forget(queue: FragmentQueue): void {
    const { sender } = queue;
    this.#queues.delete(queue.key);
    if (--sender.queues === 0) this.#senders.delete(sender.saddr);
    this.#parts.timers.timerDelete(queue.timer);
    this.#truesize -= queue.truesize;
  }
}
