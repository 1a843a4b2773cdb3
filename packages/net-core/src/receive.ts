import { GFP_ATOMIC } from "@netmem/mm/api";
import { ETH_HLEN, xdpOkFwdDev, type NapiStruct, type NetDevice } from "@netmem/xdp/api";
import {
  NET_RX_DROP, NET_RX_SUCCESS, SKB_DROP_REASON_NOT_SPECIFIED, SKB_DROP_REASON_SOCKET_CLOSE, SKB_DROP_REASON_SOCKET_RCVBUFF, SKB_DROP_REASON_UNHANDLED_PROTO,
  type GenericXdp, type NetReceive, type PacketHandler, type ReceiveSocket, type SkBuff, type SkbLifetime, type SkbEdit, type SkbZerocopy, type SocketOptions, type Sockets, skbHeadlen, skbIsGso,
} from "./api/index.ts";
import { instanceOf } from "./dev/napi-instance.ts";
import type { Backlog } from "./dev/backlog.ts";
import type { Gro } from "./gro/gro.ts";
import { SkbQueue } from "./skb-queue.ts";

/** @kernel __netif_receive_skb_core (net/core/dev.c), without protocols yet */
export class ReceivePath implements NetReceive {
  readonly #lifetime: SkbLifetime;
  /** Another one when it changes: one that goes as it gets a packet does not hide the next. */
  #taps: readonly PacketHandler[] = [];
  #protocol: PacketHandler | null = null;
  /** Programs for drivers without XDP; set once, when both are made. */
  #genericXdp: GenericXdp | null = null;
  /** Set once, when both are made. */
  #gro: Gro | null = null;
  #backlog: Backlog | null = null;
  readonly #edit: Pick<SkbEdit, "ethTypeTrans">;
  readonly #zerocopy: Pick<SkbZerocopy, "skbOrphanFragsRx">;

  constructor(lifetime: SkbLifetime, edit: Pick<SkbEdit, "ethTypeTrans">, zerocopy: Pick<SkbZerocopy, "skbOrphanFragsRx">) {
    this.#lifetime = lifetime;
    this.#edit = edit;
    this.#zerocopy = zerocopy;
  }

  useGenericXdp(genericXdp: GenericXdp): void {
    this.#genericXdp = genericXdp;
  }

  useGro(gro: Gro): void {
    this.#gro = gro;
  }

  useBacklog(backlog: Backlog): void {
    this.#backlog = backlog;
  }

  netifRx(skb: SkBuff): number {
    return this.#backlog!.netifRx(skb);
  }

  devForwardSkb(dev: NetDevice, skb: SkBuff): number {
    // Of several segments each is short enough.
    const fits = dev.up && (skbIsGso(skb) || xdpOkFwdDev(dev, skb.len) === 0);
    if (!fits || skbHeadlen(skb) < ETH_HLEN || this.#zerocopy.skbOrphanFragsRx(skb, GFP_ATOMIC) !== 0) {
      dev.rxDropped++;
      this.#lifetime.kfreeSkb(skb, SKB_DROP_REASON_NOT_SPECIFIED);
      return NET_RX_DROP;
    }
    skb.redirected = false;
    skb.dev = dev;
    this.#edit.ethTypeTrans(skb);
    return NET_RX_SUCCESS;
  }

  napiGroReceive(napi: NapiStruct, skb: SkBuff): void {
    this.#gro!.receive(instanceOf(napi).gro, skb);
  }

  netifReceiveSkbList(first: SkBuff | null): void {
    for (let skb = first; skb !== null;) {
      const { next }: { next: SkBuff | null } = skb;
      skb.next = null;
      this.netifReceiveSkb(skb);
      skb = next;
    }
  }

  netifReceiveSkb(received: SkBuff): void {
    const prog = received.dev === null ? null : received.dev.xdpGenericProg;
    const skb = prog === null ? received : this.#genericXdp!.doXdpGeneric(prog, received);
    if (skb === null) return;
    const taps = this.#taps;
    for (let i = 0; i < taps.length; i++) taps[i]!.packetRcv(this.#lifetime.skbGet(skb));
    if (this.#protocol === null) this.#lifetime.kfreeSkb(skb, SKB_DROP_REASON_UNHANDLED_PROTO);
    else this.#protocol.packetRcv(skb);
  }

  addTap(handler: PacketHandler): void {
    this.#taps = [...this.#taps, handler];
  }

  removeTap(handler: PacketHandler): void {
    this.#taps = this.#taps.filter((tap) => tap !== handler);
  }

  setProtocol(handler: PacketHandler | null): void {
    this.#protocol = handler;
  }
}

class QueueSocket implements ReceiveSocket {
  readonly name: string;
  readonly #lifetime: SkbLifetime;
  readonly #rcvbufBytes: number;
  readonly #dataReady: (() => void) | null;
  /** A tap must not touch the packet that others will still see. */
  readonly #clones: boolean;
  readonly #queue: SkbQueue = new SkbQueue();
  #drops = 0;
  #closed = false;

  constructor(options: SocketOptions, clones: boolean, lifetime: SkbLifetime) {
    this.name = options.name;
    this.#rcvbufBytes = options.rcvbufBytes ?? Infinity;
    this.#dataReady = options.dataReady ?? null;
    this.#clones = clones;
    this.#lifetime = lifetime;
  }

  packetRcv(shared: SkBuff): void {
    // A tap may go beyond by one. @kernel packet_rcv
    const { rmemAlloc } = this.#queue;
    const full = this.#clones ? rmemAlloc >= this.#rcvbufBytes : rmemAlloc + shared.truesize > this.#rcvbufBytes;
    if (this.#closed || full) {
      this.#drops++;
      this.#lifetime.kfreeSkb(shared, this.#closed ? SKB_DROP_REASON_SOCKET_CLOSE : SKB_DROP_REASON_SOCKET_RCVBUFF);
      return;
    }
    const skb = this.#clones ? this.#lifetime.skbShareCheck(shared, GFP_ATOMIC) : shared;
    if (skb === null) {
      this.#drops++;
      return;
    }
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

  dequeue(): SkBuff | null {
    return this.#queue.shift();
  }

  close(): void {
    this.#closed = true;
    for (let skb = this.dequeue(); skb !== null; skb = this.dequeue()) this.#lifetime.kfreeSkb(skb, SKB_DROP_REASON_SOCKET_CLOSE);
  }
}

export function createSockets(lifetime: SkbLifetime): Sockets {
  return {
    open: (options: SocketOptions): ReceiveSocket => new QueueSocket(options, false, lifetime),
    openTap: (options: SocketOptions): ReceiveSocket => new QueueSocket(options, true, lifetime),
  };
}
