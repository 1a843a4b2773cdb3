import { EAGAIN, EBADF, ECONNRESET, EFAULT } from "@netmem/kernel/api";
import type { PayloadRegion, VmArea } from "@netmem/mm/api";
import {
  SKB_DROP_REASON_NOT_SPECIFIED, SKB_DROP_REASON_PROTO_MEM, SKB_DROP_REASON_TCP_CLOSE, SKB_DROP_REASON_TCP_FLAGS, SKB_DROP_REASON_TCP_INVALID_SYN, SKB_DROP_REASON_TCP_OFOMERGE, SKB_DROP_REASON_TCP_OFO_DROP, SKB_DROP_REASON_TCP_OFO_QUEUE_PRUNE, SKB_DROP_REASON_TCP_OLD_DATA,
  SKB_DROP_REASON_TCP_OVERWINDOW, SKB_DROP_REASON_TCP_RESET, TCPHDR_ACK, TCPHDR_FIN, TCPHDR_RST, TCPHDR_SYN, TCP_RMEM_MAX, seqBefore,
  type Coalesced, type Pipe, type SkBuff, type SkbActor, type TcpListenOptions, type TcpSocket, type TcpZerocopyReceive,
} from "../api/index.ts";
import type { PageRing } from "./pipe.ts";
import { SkbQueue } from "../skb-queue.ts";
import { TcpCollapse } from "./tcp-collapse.ts";
import { OutOfOrder, tryCoalesce } from "./tcp-out-of-order.ts";
import { ReceiveSpace } from "./tcp-receive-space.ts";
import type { TcpConnection, TcpParts, TcpRules } from "./tcp-parts.ts";
import type { TcpStream } from "./tcp-zerocopy.ts";
import { dotted } from "./dotted.ts";

/** Numbers ahead of what is expected that may be true: no window is larger. */
const LARGEST_WINDOW: number = 1 << 30;

/** What one connection receives: bytes in order, what is ahead of them, and where a reader is. @kernel struct tcp_sock, net/ipv4/tcp_input.c */
export class TcpReceiver implements TcpSocket {
  readonly name: string;
  readonly saddr: number;
  readonly daddr: number;
  readonly sport: number;
  readonly dport: number;
  readonly hash: number;
  /** @kernel SOCK_MEMALLOC */
  readonly memalloc: boolean;
  nextInChain: TcpReceiver | null;
  private readonly parts: TcpParts;
  private readonly rules: TcpRules;
  private readonly rcvbufBytes: number;
  private dataReady: (() => void) | null;
  private readonly gone: () => void;
  private readonly ended: () => void;
  private readonly queue: SkbQueue;
  private readonly ahead: OutOfOrder;
  private readonly collapse: TcpCollapse;
  private readonly space: ReceiveSpace;
  private readonly stream: TcpStream;
  private readonly result: Coalesced;
  /** Of the next byte, and of the next one to be read. */
  private rcvNxt: number;
  private copiedSeq: number;
  private dropped: number;
  private finished: boolean;
  private wasReset: boolean;
  /** That the next read says. @kernel sk_err */
  private error: number;
  private closed: boolean;

  constructor(listener: TcpListenOptions, parts: TcpParts, connection: TcpConnection) {
    this.name = `${listener.name} ${dotted(connection.daddr)}:${connection.dport} from ${dotted(connection.saddr)}:${connection.sport}`;
    this.saddr = connection.saddr;
    this.daddr = connection.daddr;
    this.sport = connection.sport;
    this.dport = connection.dport;
    this.hash = connection.hash;
    this.memalloc = listener.memalloc ?? false;
    this.nextInChain = null;
    this.parts = parts;
    this.rules = parts.rules;
    this.rcvbufBytes = listener.rcvbufBytes ?? TCP_RMEM_MAX;
    this.dataReady = listener.dataReady ?? null;
    this.gone = connection.gone;
    this.ended = connection.closed;
    this.queue = new SkbQueue();
    this.ahead = new OutOfOrder(parts, (skb, reason) => this.drop(skb, reason));
    this.space = new ReceiveSpace(parts.rules.tcpScalesRoom, parts.rules.tcpFirstRatio);
    this.collapse = new TcpCollapse(parts, (truesize) => this.space.winFromSpace(truesize));
    this.stream = {
      available: () => this.available(),
      isFinished: () => this.finished,
      copiedSeq: () => this.copiedSeq,
      recvSkb: (seq) => this.recvSkb(seq),
      readUpTo: (seq) => {
        this.copiedSeq = seq;
        this.recvSkb(seq);
      },
      recvmsg: (target, offset, bytes) => this.recvmsg(target, offset, bytes),
      copyBits: (skb, offset, target, targetOffset, bytes) => parts.edit.skbCopyBits(skb, offset, target, targetOffset, bytes),
      sockError: () => this.sockError(),
    };
    this.result = { stolen: false, deltaTruesize: 0 };
    this.rcvNxt = connection.firstSeq;
    this.copiedSeq = connection.firstSeq;
    this.dropped = 0;
    this.finished = false;
    this.wasReset = false;
    this.error = 0;
    this.closed = false;
  }

  countDrop(): void {
    this.dropped++;
  }

  /** Its payload, headers pulled; `begins`: with this one the connection does. Consumes. @kernel tcp_rcv_established, tcp_data_queue */
  segment(skb: SkBuff, begins: boolean): void {
    const { lifetime } = this.parts;
    skb.tstamp = this.parts.clock.stamp;
    // By whoever was told of it just now.
    if (this.closed) {
      this.drop(skb, SKB_DROP_REASON_TCP_CLOSE);
      return;
    }
    if (begins) {
      // Its bytes come behind its number.
      if ((skb.tcpFlags & TCPHDR_SYN) !== 0) skb.seq = (skb.seq + 1) | 0;
    } else if (!this.validates(skb)) return;
    if (skb.seq === skb.endSeq) {
      // @kernel __kfree_skb
      lifetime.kfreeSkbPartial(skb, false);
      return;
    }
    if (this.finished || this.wasReset) this.drop(skb, SKB_DROP_REASON_TCP_CLOSE);
    else if (!seqBefore(this.rcvNxt, skb.endSeq)) this.drop(skb, SKB_DROP_REASON_TCP_OLD_DATA);
    else if (!seqBefore(skb.seq, (this.rcvNxt + LARGEST_WINDOW) | 0)) this.drop(skb, SKB_DROP_REASON_TCP_OVERWINDOW);
    else if (seqBefore(this.rcvNxt, skb.seq)) {
      if (!this.hasRoom(skb)) {
        if (this.dataReady !== null) this.dataReady();
        this.drop(skb, SKB_DROP_REASON_PROTO_MEM);
        return;
      }
      if (this.rules.tcpMeasuresAhead === true) this.space.measure(skb);
      this.ahead.keep(skb);
    } else if (!this.takes(skb)) this.drop(skb, this.closed ? SKB_DROP_REASON_TCP_CLOSE : SKB_DROP_REASON_PROTO_MEM);
    else {
      const fin = skb.tcpFlags & TCPHDR_FIN;
      this.space.measure(skb);
      this.queueRcv(skb);
      if (fin !== 0) this.fin();
      else this.takeFromAhead();
      if (this.dataReady !== null) this.dataReady();
    }
  }

  /** What is part of the connection, and no end of it; anything else is consumed. @kernel tcp_validate_incoming */
  private validates(skb: SkBuff): boolean {
    const { tcpFlags } = skb;
    if ((tcpFlags & TCPHDR_RST) !== 0) {
      // Of any other number it may be somebody else's. @kernel RFC 5961
      if (skb.seq === this.rcvNxt) this.reset(skb);
      else this.drop(skb, SKB_DROP_REASON_TCP_RESET);
      return false;
    }
    // It has begun, and all but its first say what they have got.
    if ((tcpFlags & TCPHDR_SYN) !== 0) this.drop(skb, SKB_DROP_REASON_TCP_INVALID_SYN);
    else if ((tcpFlags & TCPHDR_ACK) === 0) this.drop(skb, SKB_DROP_REASON_TCP_FLAGS);
    else return true;
    return false;
  }

  /** Of what is next: where nothing waits to be read, however large it is. @kernel tcp_data_queue, sk_forced_mem_schedule */
  private takes(skb: SkBuff): boolean {
    const { tcpTakesBareFin, tcpMakesRoomFirst } = this.rules;
    if (tcpMakesRoomFirst === false && this.queue.first === null) return true;
    if (this.hasRoom(skb)) return true;
    if (this.dataReady !== null) this.dataReady();
    if (this.closed) return false;
    return (tcpMakesRoomFirst === true && this.queue.first === null) || (tcpTakesBareFin === true && skb.len === 0);
  }

  /** True once there is: what waits is copied into less, then what is ahead gives way. @kernel tcp_try_rmem_schedule, tcp_prune_queue */
  private hasRoom(skb: SkBuff): boolean {
    return this.ingests(skb) || this.makesRoom(skb);
  }

  private makesRoom(skb: SkBuff): boolean {
    const { rcvbufBytes, queue, ahead } = this;
    if (this.rmemAlloc() === 0) return false;
    this.collapse.ahead(ahead.queue, rcvbufBytes);
    this.collapse.inOrder(queue, this.copiedSeq, this.rcvNxt);
    if (this.ingests(skb)) return true;
    ahead.prune(this.rules.tcpPrunesBehind === true ? skb : null, rcvbufBytes >> 3, () => this.ingests(skb));
    return this.ingests(skb);
  }

  /** @kernel tcp_can_ingest */
  private ingests(skb: SkBuff): boolean {
    return this.rmemAlloc() + (this.rules.tcpCountsSegment === true ? skb.len : 0) <= this.rcvbufBytes;
  }

  /** The bytes that are next. @kernel tcp_queue_rcv */
  private queueRcv(skb: SkBuff): void {
    this.rcvNxt = skb.endSeq;
    const { last } = this.queue;
    if (last === null || !tryCoalesce(this.parts, this.queue, last, skb, this.result)) this.queue.append(skb);
  }

  /** What was ahead, and is no more. @kernel tcp_ofo_queue */
  private takeFromAhead(): void {
    for (let skb = this.ahead.takeUpTo(this.rcvNxt); skb !== null; skb = this.ahead.takeUpTo(this.rcvNxt)) {
      if (!seqBefore(this.rcvNxt, skb.endSeq)) {
        this.drop(skb, SKB_DROP_REASON_TCP_OFO_DROP);
        continue;
      }
      const fin = skb.tcpFlags & TCPHDR_FIN;
      this.queueRcv(skb);
      if (fin !== 0) {
        this.fin();
        return;
      }
    }
  }

  /** @kernel tcp_fin */
  private fin(): void {
    this.finished = true;
    this.purgeAhead();
  }

  /** What is ahead stays until it is closed. @kernel tcp_reset, tcp_done */
  private reset(skb: SkBuff): void {
    this.wasReset = true;
    this.error = -ECONNRESET;
    this.parts.lifetime.kfreeSkbPartial(skb, false);
    if (this.dataReady !== null) this.dataReady();
  }

  setDataReady(ready: () => void): void {
    this.dataReady = ready;
  }

  /** A new connection may begin with the same addresses and ports. */
  isOver(): boolean {
    return this.finished || this.wasReset;
  }

  /** It is found no more. */
  unhash(): void {
    this.gone();
  }

  available(): number {
    const last = this.queue.last;
    if (last === null) return 0;
    return ((this.rcvNxt - this.copiedSeq) | 0) - (this.finished ? 1 : 0);
  }

  outOfOrder(): number {
    let bytes = 0;
    for (let skb = this.ahead.queue.first; skb !== null; skb = skb.next) bytes += skb.len;
    return bytes;
  }

  rmemAlloc(): number {
    return this.queue.rmemAlloc + this.ahead.queue.rmemAlloc;
  }

  drops(): number {
    return this.dropped;
  }

  packets(): readonly SkBuff[] {
    return [...this.queue.packets(), ...this.ahead.queue.packets()];
  }

  recvmsg(target: PayloadRegion, offset: number, bytes: number): number {
    const { edit } = this.parts;
    const { queue } = this;
    let copied = 0;
    for (let skb = queue.first; skb !== null && copied < bytes; skb = queue.first) {
      const skip = (this.copiedSeq - skb.seq) | 0;
      const part = Math.min(bytes - copied, skb.len - skip);
      if (part > 0) {
        const errno = edit.skbCopyBits(skb, skip, target, offset + copied, part);
        if (errno < 0) return copied > 0 ? copied : errno;
        copied += part;
        this.copiedSeq = (this.copiedSeq + part) | 0;
      }
      if (skip + Math.max(0, part) < skb.len) break;
      this.eatRecvSkb(skb);
    }
    return copied > 0 || bytes === 0 ? copied : this.nothingToRead();
  }

  readSock(bytes: number, actor: SkbActor): number {
    let used = 0;
    for (let skb = this.recvSkb(this.copiedSeq); skb !== null && used < bytes; skb = this.recvSkb(this.copiedSeq)) {
      const offset = (this.copiedSeq - skb.seq) | 0;
      const part = Math.min(bytes - used, skb.len - offset);
      const took = part === 0 ? 0 : actor(skb, offset, part);
      if (took < 0 && used === 0) return took;
      if (took <= 0 && part > 0) break;
      used += took;
      if (this.wentOn(skb, took) || took < part) break;
    }
    return used > 0 || bytes === 0 ? used : this.nothingToRead();
  }

  /** So many of its bytes are read, and it is freed if those were its last. True: and the stream's. @kernel __tcp_read_sock */
  private wentOn(skb: SkBuff, bytes: number): boolean {
    this.copiedSeq = (this.copiedSeq + bytes) | 0;
    if (((this.copiedSeq - skb.seq) | 0) < skb.len) return false;
    this.eatRecvSkb(skb);
    return (skb.tcpFlags & TCPHDR_FIN) !== 0;
  }

  /** Why there is none; an error is said once. @kernel sock_error */
  private nothingToRead(): number {
    if (this.closed) return -EBADF;
    if (this.queue.first !== null) return -EAGAIN;
    if (this.finished) return 0;
    const error = this.sockError();
    return error !== 0 || this.wasReset ? error : -EAGAIN;
  }

  /** @kernel sock_error (include/net/sock.h) */
  private sockError(): number {
    const { error } = this;
    this.error = 0;
    return error;
  }

  spliceRead(pipe: Pipe, bytes: number): number {
    let done = 0;
    for (let skb = this.recvSkb(this.copiedSeq); skb !== null && done < bytes; skb = this.recvSkb(this.copiedSeq)) {
      if (skb.unreadable) return done > 0 ? done : -EFAULT;
      const offset = (this.copiedSeq - skb.seq) | 0;
      const part = offset === skb.len ? 0 : (pipe as PageRing).splice(skb, offset, bytes - done);
      if (part === 0 && offset < skb.len) break;
      done += part;
      if (this.wentOn(skb, part)) break;
    }
    return done > 0 || bytes === 0 ? done : this.nothingToRead();
  }

  mmap(prot: number, lengthBytes: number): VmArea | number {
    return this.parts.zerocopy.mmap(prot, lengthBytes, this.name);
  }

  zerocopyReceive(zc: TcpZerocopyReceive): number {
    return this.closed ? -EBADF : this.parts.zerocopy.receive(this.stream, zc);
  }

  /** Those that are read to their end are freed, but the one that says that the stream ends: that is still to be read. @kernel tcp_recv_skb */
  private recvSkb(seq: number): SkBuff | null {
    for (let skb = this.queue.first; skb !== null; skb = this.queue.first) {
      if (((seq - skb.seq) | 0) < skb.len || (skb.tcpFlags & TCPHDR_FIN) !== 0) return skb;
      this.eatRecvSkb(skb);
    }
    return null;
  }

  /** The first. @kernel tcp_eat_recv_skb */
  private eatRecvSkb(skb: SkBuff): void {
    this.queue.shift();
    this.parts.lifetime.skbAttemptDeferFree(skb);
  }

  /** @kernel __tcp_close (net/ipv4/tcp.c), tcp_v4_destroy_sock */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.gone();
    this.ended();
    const { lifetime, softirqs } = this.parts;
    for (let skb = this.queue.shift(); skb !== null; skb = this.queue.shift()) {
      if (this.rules.tcpCloseDefersFrees) lifetime.skbAttemptDeferFree(skb);
      else lifetime.kfreeSkbPartial(skb, false);
    }
    softirqs.localBhDisable();
    this.purgeAhead();
    softirqs.localBhEnable();
  }

  /** @kernel skb_rbtree_purge (net/core/skbuff.c) */
  private purgeAhead(): void {
    const { queue } = this.ahead;
    for (let skb = queue.shift(); skb !== null; skb = queue.shift()) this.parts.lifetime.kfreeSkb(skb, SKB_DROP_REASON_NOT_SPECIFIED);
  }

  private drop(skb: SkBuff, reason: number): void {
    this.dropped++;
    const { stats } = this.parts;
    if (reason === SKB_DROP_REASON_PROTO_MEM || reason === SKB_DROP_REASON_TCP_OFO_QUEUE_PRUNE) stats.tcpRcvbufErrors++;
    else if (reason === SKB_DROP_REASON_TCP_OLD_DATA || reason === SKB_DROP_REASON_TCP_OFOMERGE || reason === SKB_DROP_REASON_TCP_OFO_DROP) stats.tcpRepeats++;
    else stats.tcpNotTaken++;
    this.parts.lifetime.kfreeSkb(skb, reason);
  }
}
