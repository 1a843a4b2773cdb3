import {
  CHECKSUM_NONE, CHECKSUM_UNNECESSARY, IPPROTO_TCP, SKB_DROP_REASON_NOT_SPECIFIED, SKB_DROP_REASON_NO_SOCKET, SKB_DROP_REASON_PFMEMALLOC, SKB_DROP_REASON_PKT_TOO_SMALL, SKB_DROP_REASON_TCP_CSUM, SKB_DROP_REASON_TCP_FLAGS, TCPHDR_ACK, TCPHDR_FIN, TCPHDR_RST, TCPHDR_SYN, TCP_HLEN,
  read16, read32, skbRegion, type PacketHolder, type SkBuff, type TcpListener, type TcpListenOptions,
} from "../api/index.ts";
import { addHolder } from "../holders.ts";
import { transportHolds } from "./checksum.ts";
import { PortTable, connectionHash } from "./ports.ts";
import type { TcpParts } from "./tcp-parts.ts";
import { ListeningSocket } from "./tcp-listener.ts";
import { TcpReceiver } from "./tcp-socket.ts";

/** Segments to their connections, by a table of chains. @kernel net/ipv4/tcp_ipv4.c */
export class TcpInput {
  private readonly parts: TcpParts;
  private readonly listeners: PortTable<TcpListenOptions>;
  /** Not closed, also those that are found no more. */
  private readonly open: Set<TcpReceiver>;
  /** Doubled as it fills. @kernel tcp_hashinfo.ehash */
  private established: (TcpReceiver | null)[];
  private connections: number;

  constructor(parts: TcpParts) {
    this.parts = parts;
    this.listeners = new PortTable();
    this.open = new Set();
    this.established = emptyChains(256);
    this.connections = 0;
  }

  listen(options: TcpListenOptions): TcpListener | number {
    const errno = this.listeners.add(options.port, options);
    return errno < 0 ? errno : new ListeningSocket(this.listeners, options, this.parts.zerocopy);
  }

  addHolders(to: PacketHolder[]): void {
    for (const socket of this.open) addHolder(to, "socket", socket.name, socket.packets());
  }

  /** At the TCP header; the IP header lies at `networkHeader`. Consumes. @kernel tcp_v4_rcv */
  receive(skb: SkBuff): void {
    const { edit, stats, lifetime } = this.parts;
    stats.tcpInSegs++;
    if (!edit.pskbMayPull(skb, TCP_HLEN)) {
      this.dropCut(skb);
      return;
    }
    const headerBytes = (skbRegion(skb).bytes[skb.data + 12]! >> 4) * 4;
    if (headerBytes < TCP_HLEN) {
      this.drop(skb, SKB_DROP_REASON_PKT_TOO_SMALL);
      return;
    }
    if (!edit.pskbMayPull(skb, headerBytes)) {
      this.dropCut(skb);
      return;
    }
    const { bytes } = skbRegion(skb);
    const tcp = skb.data;
    const ip = skb.networkHeader;
    if (skb.ipSummed === CHECKSUM_NONE) {
      if (!transportHolds(skb, 0, skb.len, IPPROTO_TCP, this.parts.payload)) {
        stats.tcpCsumErrors++;
        this.drop(skb, SKB_DROP_REASON_TCP_CSUM);
        return;
      }
      skb.ipSummed = CHECKSUM_UNNECESSARY;
    }
    const flags = bytes[tcp + 13]!;
    const seq = read32(bytes, tcp + 4);
    // SYN and FIN have a number each. @kernel tcp_v4_fill_cb
    skb.seq = seq;
    skb.endSeq = (seq + skb.len - headerBytes + ((flags & TCPHDR_SYN) === 0 ? 0 : 1) + ((flags & TCPHDR_FIN) === 0 ? 0 : 1)) | 0;
    skb.tcpFlags = flags;
    const known = this.lookup(bytes, ip, tcp);
    if (skb.pfmemalloc === true && !this.mayHaveReserves(known, bytes, ip, tcp)) {
      stats.pfMemallocDrop++;
      stats.tcpNotTaken++;
      if (known !== null) known.countDrop();
      lifetime.kfreeSkb(skb, SKB_DROP_REASON_PFMEMALLOC);
      return;
    }
    // As a socket that waits for the last of its segments makes way. @kernel tcp_timewait_state_process
    const again = known !== null && (flags & TCPHDR_SYN) !== 0 && known.isOver();
    if (again) known.unhash();
    const begins = known === null || again;
    const socket = begins ? this.connect(bytes, ip, tcp, skb, skb.len > headerBytes) : known;
    if (socket === null) {
      const isRefused = isSynWithFin(flags) && this.listeners.lookup(bytes, ip, tcp) !== null;
      if (isRefused) stats.tcpNotTaken++;
      else stats.tcpNoPorts++;
      lifetime.kfreeSkb(skb, isRefused ? SKB_DROP_REASON_TCP_FLAGS : SKB_DROP_REASON_NO_SOCKET);
      return;
    }
    edit.skbPull(skb, headerBytes);
    socket.segment(skb, begins);
  }

  /** Of nobody's it does not matter. @kernel tcp_filter, sk_filter_trim_cap */
  private mayHaveReserves(known: TcpReceiver | null, bytes: Uint8Array, ip: number, tcp: number): boolean {
    if (known !== null) return known.memalloc;
    const listener = this.listeners.lookup(bytes, ip, tcp);
    return listener === null || listener.memalloc === true;
  }

  private lookup(bytes: Uint8Array, ip: number, tcp: number): TcpReceiver | null {
    const saddr = read32(bytes, ip + 12);
    const daddr = read32(bytes, ip + 16);
    const sport = read16(bytes, tcp);
    const dport = read16(bytes, tcp + 2);
    let socket: TcpReceiver | null = this.established[connectionHash(bytes, ip, tcp) & (this.established.length - 1)]!;
    while (socket !== null && ((socket.saddr | 0) !== saddr || socket.sport !== sport || socket.dport !== dport || (socket.daddr | 0) !== daddr)) socket = socket.nextInChain;
    return socket;
  }

  /** A connection that nobody has seen yet begins here: with a SYN, or, met under way, with bytes. What comes after one that was closed begins none. */
  private connect(bytes: Uint8Array, ip: number, tcp: number, skb: SkBuff, hasBytes: boolean): TcpReceiver | null {
    const { tcpFlags } = skb;
    if ((tcpFlags & TCPHDR_RST) !== 0 || isSynWithFin(tcpFlags)) return null;
    if ((tcpFlags & TCPHDR_SYN) === 0 && ((tcpFlags & TCPHDR_ACK) === 0 || !hasBytes)) return null;
    const listener = this.listeners.lookup(bytes, ip, tcp);
    if (listener === null) return null;
    const hash = connectionHash(bytes, ip, tcp);
    const first = (skb.tcpFlags & TCPHDR_SYN) === 0 ? skb.seq : (skb.seq + 1) | 0;
    const socket: TcpReceiver = new TcpReceiver(listener, this.parts, { saddr: read32(bytes, ip + 12) >>> 0, daddr: read32(bytes, ip + 16) >>> 0, sport: read16(bytes, tcp), dport: read16(bytes, tcp + 2), hash, firstSeq: first, gone: () => this.remove(socket), closed: () => this.open.delete(socket) });
    this.open.add(socket);
    if (++this.connections > this.established.length) this.grow();
    this.insert(socket);
    listener.accept(socket);
    return socket;
  }

  private insert(socket: TcpReceiver): void {
    const chain = socket.hash & (this.established.length - 1);
    socket.nextInChain = this.established[chain]!;
    this.established[chain] = socket;
  }

  private grow(): void {
    const old = this.established;
    this.established = emptyChains(2 * old.length);
    for (const chain of old) {
      for (let socket = chain; socket !== null;) {
        const next: TcpReceiver | null = socket.nextInChain;
        this.insert(socket);
        socket = next;
      }
    }
  }

  private remove(socket: TcpReceiver): void {
    const chain = socket.hash & (this.established.length - 1);
    let before: TcpReceiver | null = null;
    for (let at: TcpReceiver | null = this.established[chain]!; at !== null; at = at.nextInChain) {
      if (at === socket) {
        if (before === null) this.established[chain] = socket.nextInChain;
        else before.nextInChain = socket.nextInChain;
        this.connections--;
        return;
      }
      before = at;
    }
  }

  /** Too short for what it says of itself, or without memory: no error of its own. @kernel tcp_v4_rcv, discard_it */
  private dropCut(skb: SkBuff): void {
    this.parts.stats.tcpNotTaken++;
    this.parts.lifetime.kfreeSkb(skb, SKB_DROP_REASON_NOT_SPECIFIED);
  }

  private drop(skb: SkBuff, reason: number): void {
    this.parts.stats.tcpInErrs++;
    this.parts.lifetime.kfreeSkb(skb, reason);
  }
}

function emptyChains(n: number): (TcpReceiver | null)[] {
  return Array.from({ length: n }, () => null);
}

/** Which nobody who listens takes. @kernel tcp_rcv_state_process, TCP_LISTEN (net/ipv4/tcp_input.c) */
function isSynWithFin(flags: number): boolean {
  return (flags & TCPHDR_SYN) !== 0 && (flags & TCPHDR_FIN) !== 0;
}
