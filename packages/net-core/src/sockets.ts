import type { Clock } from "@netmem/kernel/api";
import { GFP_ATOMIC } from "@netmem/mm/api";
import { SKB_DROP_REASON_PACKET_SOCK_ERROR, SKB_DROP_REASON_QUEUE_PURGE, SKB_DROP_REASON_SOCKET_CLOSE, SKB_DROP_REASON_SOCKET_RCVBUFF, type PacketHolder, type ReceiveSocket, type SkBuff, type SkbBounds, type SkbLifetime, type SocketOptions, type Sockets } from "./api/index.ts";
import { addHolder } from "./holders.ts";
import { SkbQueue } from "./skb-queue.ts";

interface SocketParts {
  readonly lifetime: SkbLifetime;
  readonly edit: Pick<SkbBounds, "skbPush">;
  readonly clock: Clock;
  readonly open: Set<QueueSocket>;
}

class QueueSocket implements ReceiveSocket {
  readonly name: string;
  readonly #parts: SocketParts;
  readonly #rcvbufBytes: number;
  readonly #dataReady: (() => void) | null;
  /** A tap must not touch the packet that others will still see. */
  readonly isTap: boolean;
  readonly #queue: SkbQueue = new SkbQueue();
  #drops = 0;
  #closed = false;

  constructor(options: SocketOptions, isTap: boolean, parts: SocketParts) {
    this.name = options.name;
    this.#rcvbufBytes = options.rcvbufBytes ?? Infinity;
    this.#dataReady = options.dataReady ?? null;
    this.isTap = isTap;
    this.#parts = parts;
  }

  packetRcv(shared: SkBuff): void {
    // A tap may go beyond by one. @kernel packet_rcv
    const { rmemAlloc } = this.#queue;
    const full = this.isTap ? rmemAlloc >= this.#rcvbufBytes : rmemAlloc + shared.truesize > this.#rcvbufBytes;
    if (this.#closed || full) {
      this.#drops++;
      this.#parts.lifetime.kfreeSkb(shared, this.#closed ? SKB_DROP_REASON_SOCKET_CLOSE : this.isTap ? SKB_DROP_REASON_PACKET_SOCK_ERROR : SKB_DROP_REASON_SOCKET_RCVBUFF);
      return;
    }
    const skb = this.isTap ? this.#parts.lifetime.skbShareCheck(shared, GFP_ATOMIC) : shared;
    if (skb === null) {
      this.#drops++;
      return;
    }
    // From its link-layer header on, if it has one, which others have pulled. @kernel packet_rcv
    if (this.isTap && skb.macHeader >= 0) this.#parts.edit.skbPush(skb, skb.data - skb.macHeader);
    skb.tstamp = this.#parts.clock.stamp;
    this.#queue.append(skb);
    if (this.#dataReady !== null) this.#dataReady();
  }

  length(): number {
    return this.#queue.length;
  }

  rmemAlloc(): number {
    return this.#queue.rmemAlloc;
  }

  drops(): number {
    return this.#drops;
  }

  packets(): readonly SkBuff[] {
    return this.#queue.packets();
  }

  dequeue(): SkBuff | null {
    return this.#queue.shift();
  }

  /** @kernel packet_release (net/packet/af_packet.c), skb_queue_purge */
  close(): void {
    this.#closed = true;
    this.#parts.open.delete(this);
    for (let skb = this.dequeue(); skb !== null; skb = this.dequeue()) this.#parts.lifetime.kfreeSkb(skb, SKB_DROP_REASON_QUEUE_PURGE);
  }
}

/** Sockets of whole packets, and which of them are open. */
export class SocketTable implements Sockets {
  readonly #parts: SocketParts;

  constructor(lifetime: SkbLifetime, edit: Pick<SkbBounds, "skbPush">, clock: Clock) {
    this.#parts = { lifetime, edit, clock, open: new Set() };
  }

  open(options: SocketOptions): ReceiveSocket {
    return this.#add(new QueueSocket(options, false, this.#parts));
  }

  openTap(options: SocketOptions): ReceiveSocket {
    return this.#add(new QueueSocket(options, true, this.#parts));
  }

  addHolders(to: PacketHolder[]): void {
    for (const socket of this.#parts.open) addHolder(to, socket.isTap ? "tap" : "socket", socket.name, socket.packets());
  }

  #add(socket: QueueSocket): ReceiveSocket {
    this.#parts.open.add(socket);
    return socket;
  }
}
