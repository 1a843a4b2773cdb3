import { EAGAIN, EBADF, type Clock, type Rcu } from "@netmem/kernel/api";
import type { PayloadMemory, PayloadRegion } from "@netmem/mm/api";
import {
  CHECKSUM_NONE, CHECKSUM_UNNECESSARY, IPPROTO_UDP, RMEM_DEFAULT, SKB_DROP_REASON_NO_SOCKET, SKB_DROP_REASON_NOT_SPECIFIED, SKB_DROP_REASON_PFMEMALLOC, SKB_DROP_REASON_PKT_TOO_SMALL, SKB_DROP_REASON_SOCKET_RCVBUFF, SKB_DROP_REASON_UDP_CSUM, UDP_CHECK_AT, UDP_HLEN,
  read16, skbIsGso, skbRegion, type InetStats, type PacketHolder, type SkBuff, type SkbEdit, type SkbLifetime, type UdpSocket, type UdpSocketOptions,
} from "../api/index.ts";
import { addHolder } from "../holders.ts";
import { SkbQueue } from "../skb-queue.ts";
import type { UdpGroSockets } from "../gro/udp-gro.ts";
import type { NetCoreDates } from "../rules.ts";
import { transportHolds } from "./checksum.ts";
import type { InetGso } from "./inet-gso.ts";
import { PortTable } from "./ports.ts";

/** Bytes up to which a datagram is summed as it comes. @kernel CHECKSUM_BREAK (include/linux/skbuff.h) */
const CHECKSUM_BREAK = 76;

export interface UdpParts {
  readonly lifetime: SkbLifetime;
  readonly edit: SkbEdit;
  readonly gso: Pick<InetGso, "segment">;
  readonly payload: PayloadMemory;
  readonly clock: Clock;
  readonly rcu: Rcu;
  readonly stats: InetStats;
  readonly rules: Pick<NetCoreDates, "udpNeverBeyondRcvbuf" | "udpDefersFrees">;
}

/** @kernel net/ipv4/udp.c */
export class UdpInput implements UdpGroSockets {
  private readonly parts: UdpParts;
  private readonly ports: PortTable<UdpQueue>;
  /** Of sockets that were closed: what they are still to let go of. */
  private readonly closing: Set<UdpQueue>;
  private askedForGro: number;

  constructor(parts: UdpParts) {
    this.parts = parts;
    this.ports = new PortTable();
    this.closing = new Set();
    this.askedForGro = 0;
  }

  bind(options: UdpSocketOptions): UdpSocket | number {
    const socket: UdpQueue = new UdpQueue(options, this.parts, () => this.release(options.port, socket));
    const errno = this.ports.add(options.port, socket);
    if (errno < 0) return errno;
    if (socket.gro) this.askedForGro++;
    return socket;
  }

  /** Whoever looks it up may still have it. @kernel sk_common_release, SOCK_RCU_FREE (include/net/sock.h) */
  private release(port: number | null, socket: UdpQueue): void {
    this.ports.remove(port, socket);
    if (socket.gro) this.askedForGro--;
    this.closing.add(socket);
    this.parts.rcu.callRcu(() => {
      this.closing.delete(socket);
      socket.destruct();
    });
  }

  groSockets(): number {
    return this.askedForGro;
  }

  asksForGro(bytes: Uint8Array, ip: number, udp: number): boolean | null {
    const socket = this.ports.lookup(bytes, ip, udp);
    return socket === null ? null : socket.gro;
  }

  addHolders(to: PacketHolder[]): void {
    for (const socket of this.ports.all()) addHolder(to, "socket", socket.name, socket.packets());
    for (const socket of this.closing) addHolder(to, "socket", `${socket.name}, closed`, socket.packets());
  }

  /** At the UDP header; the IP header lies at `networkHeader`. Consumes. @kernel udp_rcv, __udp4_lib_rcv */
  receive(skb: SkBuff): void {
    const { edit, stats } = this.parts;
    if (!edit.pskbMayPull(skb, UDP_HLEN)) {
      this.drop(skb, SKB_DROP_REASON_NOT_SPECIFIED);
      return;
    }
    const length = read16(skbRegion(skb).bytes, skb.data + 4);
    if (length < UDP_HLEN || length > skb.len || edit.pskbTrim(skb, length) !== 0) {
      this.drop(skb, SKB_DROP_REASON_PKT_TOO_SMALL);
      return;
    }
    // Trimmed, it may have another head than it had.
    const { bytes } = skbRegion(skb);
    const udp = skb.data;
    // A longer one is summed as it is read.
    if (length <= CHECKSUM_BREAK && !this.holds(skb)) return;
    const socket = this.ports.lookup(bytes, skb.networkHeader, udp);
    if (socket === null) {
      if (!this.holds(skb)) return;
      stats.udpNoPorts++;
      this.parts.lifetime.kfreeSkb(skb, SKB_DROP_REASON_NO_SOCKET);
      return;
    }
    if (!skbIsGso(skb)) this.queue(socket, skb);
    else if (socket.gro === false) this.queueEach(socket, skb);
    else this.queueMerged(socket, skb);
  }

  /** @kernel udp_queue_rcv_one_skb, sk_filter_trim_cap (net/core/filter.c) */
  private queue(socket: UdpQueue, skb: SkBuff): void {
    const { stats, lifetime } = this.parts;
    if (skb.pfmemalloc === true && socket.memalloc === false) {
      stats.pfMemallocDrop++;
      stats.udpInErrors++;
      socket.countDrops(1);
      lifetime.kfreeSkb(skb, SKB_DROP_REASON_PFMEMALLOC);
      return;
    }
    // Without its header from here on. @kernel udp_csum_pull_header
    this.parts.edit.skbPull(skb, UDP_HLEN);
    if (socket.queueRcv(skb)) return;
    stats.udpRcvbufErrors++;
    stats.udpInErrors++;
  }

  private queueMerged(socket: UdpQueue, skb: SkBuff): void {
    const { stats } = this.parts;
    const { gsoSegs } = skb.shinfo!;
    const before = stats.udpRcvbufErrors;
    this.queue(socket, skb);
    if (stats.udpRcvbufErrors !== before) stats.udpRcvbufMerged += gsoSegs - 1;
  }

  /** Merged for a socket that is no longer the one that asked. @kernel udp_queue_rcv_skb, udp_unexpected_gso, udp_rcv_segment (include/net/udp.h) */
  private queueEach(socket: UdpQueue, skb: SkBuff): void {
    const { edit, gso, stats } = this.parts;
    const { gsoSegs } = skb.shinfo!;
    edit.skbPush(skb, skb.data - skb.macHeader);
    // They are not summed: what was merged is right.
    let segment = gso.segment(skb, true);
    if (segment === null) {
      socket.countDrops(gsoSegs);
      stats.udpInErrors += gsoSegs;
    }
    while (segment !== null) {
      const { next }: { next: SkBuff | null } = segment;
      segment.next = null;
      edit.skbPull(segment, segment.transportHeader - segment.data);
      this.queue(socket, segment);
      segment = next;
    }
  }

  /** False: its checksum is wrong, and it is gone. */
  private holds(skb: SkBuff): boolean {
    const { payload, stats } = this.parts;
    if (checksumHolds(skb, 0, payload)) return true;
    stats.udpCsumErrors++;
    this.drop(skb, SKB_DROP_REASON_UDP_CSUM);
    return false;
  }

  private drop(skb: SkBuff, reason: number): void {
    this.parts.stats.udpInErrors++;
    this.parts.lifetime.kfreeSkb(skb, reason);
  }
}

/** Whether a datagram, its UDP header `at` bytes from its data, is as it was sent, or says nothing of it; it is not looked at again. @kernel udp_lib_checksum_complete */
function checksumHolds(skb: SkBuff, at: number, payload: PayloadMemory): boolean {
  if (skb.ipSummed !== CHECKSUM_NONE) return true;
  if (read16(skbRegion(skb).bytes, skb.data + at + UDP_CHECK_AT) !== 0 && !transportHolds(skb, at, skb.len - at, IPPROTO_UDP, payload)) return false;
  skb.ipSummed = CHECKSUM_UNNECESSARY;
  return true;
}

class UdpQueue implements UdpSocket {
  readonly name: string;
  /** @kernel UDP_GRO */
  readonly gro: boolean;
  /** @kernel SOCK_MEMALLOC */
  readonly memalloc: boolean;
  private readonly parts: UdpParts;
  private readonly neverBeyondRcvbuf: boolean;
  private readonly defersFrees: boolean;
  private readonly rcvbufBytes: number;
  /** Null, too, once it is closed. @kernel sock_orphan */
  private dataReady: (() => void) | null;
  private readonly queue: SkbQueue;
  /** What the reader has taken over, all that waited at a time, and reads one by one. @kernel reader_queue */
  private readonly reading: SkbQueue;
  /** Truesize that the socket is charged, and what of it was read and not given back yet. @kernel sk_rmem_alloc, forward_deficit */
  private charged: number;
  private deficit: number;
  private readonly released: () => void;
  private dropped: number;
  private closed: boolean;
  /** Of what was read last. */
  private gsoBytes: number;

  constructor(options: UdpSocketOptions, parts: UdpParts, released: () => void) {
    this.name = options.name;
    this.gro = options.gro ?? false;
    this.memalloc = options.memalloc ?? false;
    this.parts = parts;
    this.neverBeyondRcvbuf = parts.rules.udpNeverBeyondRcvbuf;
    this.defersFrees = parts.rules.udpDefersFrees;
    this.rcvbufBytes = options.rcvbufBytes ?? RMEM_DEFAULT;
    this.dataReady = options.dataReady ?? null;
    this.queue = new SkbQueue();
    this.reading = new SkbQueue();
    this.charged = 0;
    this.deficit = 0;
    this.released = released;
    this.dropped = 0;
    this.closed = false;
    this.gsoBytes = 0;
  }

  /** False: there is no room, and it is gone. @kernel __udp_enqueue_schedule_skb */
  queueRcv(skb: SkBuff): boolean {
    const { lifetime, edit } = this.parts;
    const { charged, rcvbufBytes } = this;
    const full = this.neverBeyondRcvbuf === true ? charged > 0 && charged + skb.truesize > rcvbufBytes : charged > rcvbufBytes;
    if (full) {
      this.dropped++;
      lifetime.kfreeSkb(skb, SKB_DROP_REASON_SOCKET_RCVBUFF);
      return false;
    }
    // Short of room, small datagrams give up their pages.
    if (charged > rcvbufBytes >> 1) edit.skbCondense(skb);
    skb.tstamp = this.parts.clock.stamp;
    this.queue.append(skb);
    this.charged = charged + skb.truesize;
    if (this.dataReady !== null) this.dataReady();
    return true;
  }

  length(): number {
    return this.queue.length + this.reading.length;
  }

  rmemAlloc(): number {
    return this.charged;
  }

  drops(): number {
    return this.dropped;
  }

  countDrops(datagrams: number): void {
    this.dropped += datagrams;
  }

  gsoSize(): number {
    return this.gsoBytes;
  }

  packets(): readonly SkBuff[] {
    return [...this.reading.packets(), ...this.queue.packets()];
  }

  recvmsg(target: PayloadRegion, offset: number, bytes: number): number {
    const { edit, lifetime, stats } = this.parts;
    if (this.closed === true) return -EBADF;
    let skb = this.dequeue();
    if (skb !== null && skb.ipSummed === CHECKSUM_NONE) skb = this.firstThatHolds(skb);
    if (skb === null) return -EAGAIN;
    const { len } = skb;
    const copied = bytes < len ? bytes : len;
    const errno = edit.skbCopyBits(skb, 0, target, offset, copied);
    if (errno < 0) {
      this.lose(skb, SKB_DROP_REASON_NOT_SPECIFIED);
      return errno;
    }
    stats.udpInDatagrams++;
    this.gsoBytes = skb.shinfo!.gsoSize;
    if (this.defersFrees === true) lifetime.skbAttemptDeferFree(skb);
    else lifetime.consumeSkb(skb);
    return copied;
  }

  /** Those before it are dropped. */
  private firstThatHolds(first: SkBuff): SkBuff | null {
    const { stats, payload } = this.parts;
    for (let skb: SkBuff | null = first; skb !== null; skb = this.dequeue()) {
      if (checksumHolds(skb, -UDP_HLEN, payload)) return skb;
      stats.udpCsumErrors++;
      this.lose(skb, SKB_DROP_REASON_UDP_CSUM);
    }
    return null;
  }

  /** As it is read. */
  private lose(skb: SkBuff, reason: number): void {
    const { lifetime, stats } = this.parts;
    this.dropped++;
    stats.udpInErrors++;
    lifetime.kfreeSkb(skb, reason);
  }

  /** @kernel __skb_recv_udp, udp_skb_destructor */
  private dequeue(): SkBuff | null {
    const { reading } = this;
    if (reading.first === null) reading.takeAll(this.queue);
    const skb = reading.shift();
    if (skb !== null) this.giveBack(skb.truesize);
    return skb;
  }

  /** In lumps: a quarter of the buffer, or what is left as the reader has read all that it took over; it takes over what has come since, then. @kernel udp_rmem_release */
  private giveBack(truesize: number): void {
    this.deficit += truesize;
    if (this.deficit < this.rcvbufBytes >> 2 && this.reading.first !== null) return;
    this.charged -= this.deficit;
    this.deficit = 0;
    this.reading.takeAll(this.queue);
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.dataReady = null;
    this.released();
  }

  /** @kernel udp_destruct_common */
  destruct(): void {
    const { reading } = this;
    reading.takeAll(this.queue);
    for (let skb = reading.shift(); skb !== null; skb = reading.shift()) this.parts.lifetime.kfreeSkb(skb, SKB_DROP_REASON_NOT_SPECIFIED);
    this.charged = 0;
    this.deficit = 0;
  }
}
