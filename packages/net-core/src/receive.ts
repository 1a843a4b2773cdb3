import { GFP_ATOMIC } from "@netmem/mm/api";
import { ETH_HLEN, ETH_P_IP, xdpOkFwdDev, type NapiStruct, type NetDevice } from "@netmem/xdp/api";
import {
  NET_RX_DROP, NET_RX_SUCCESS, SKB_DROP_REASON_NOT_SPECIFIED, SKB_DROP_REASON_PFMEMALLOC, SKB_DROP_REASON_UNHANDLED_PROTO,
  type GenericXdp, type NetReceive, type PacketHandler, type ReceiveStats, type SkBuff, type SkbEdit, type SkbProbe, type SkbZerocopy, skbHeadlen, skbIsGso, skbZcopy,
} from "./api/index.ts";
import { instanceOf } from "./dev/napi-instance.ts";
import type { Backlog } from "./dev/backlog.ts";
import type { Gro } from "./gro/gro.ts";
import type { SkbLives } from "./lifetime.ts";
import type { PacketTaps } from "./taps.ts";

/** What may lie in the reserves: IPv4, ARP, IPv6, and what has a tag of a VLAN. @kernel skb_pfmemalloc_protocol */
const PFMEMALLOC_PROTOCOLS: readonly number[] = [ETH_P_IP, 0x0806, 0x86dd, 0x8100, 0x88a8];

/** @kernel __netif_receive_skb_core (net/core/dev.c) */
export class ReceivePath implements NetReceive {
  readonly stats: ReceiveStats = { received: 0, groMerged: 0, unhandled: 0 };
  private readonly lifetime: SkbLives;
  private readonly taps: PacketTaps;
  private readonly probe: SkbProbe | null;
  private protocol: PacketHandler | null = null;
  /** Of what it takes; 0: all. */
  private etherType = 0;
  /** Who is to have what was sorted last. @kernel pt_prev */
  private handler: PacketHandler | null = null;
  /** Programs for drivers without XDP; set once, when both are made. */
  private genericXdp: GenericXdp | null = null;
  /** Set once, when both are made. */
  private gro: Gro | null = null;
  private backlog: Backlog | null = null;
  private readonly edit: Pick<SkbEdit, "ethTypeTrans">;
  private readonly zerocopy: Pick<SkbZerocopy, "skbOrphanFrags" | "skbOrphanFragsRx">;

  constructor(lifetime: SkbLives, edit: Pick<SkbEdit, "ethTypeTrans">, zerocopy: Pick<SkbZerocopy, "skbOrphanFrags" | "skbOrphanFragsRx">, taps: PacketTaps, probe: SkbProbe | null) {
    this.lifetime = lifetime;
    this.taps = taps;
    this.probe = probe;
    this.edit = edit;
    this.zerocopy = zerocopy;
  }

  useGenericXdp(genericXdp: GenericXdp): void {
    this.genericXdp = genericXdp;
  }

  useGro(gro: Gro): void {
    this.gro = gro;
  }

  useBacklog(backlog: Backlog): void {
    this.backlog = backlog;
  }

  netifRx(skb: SkBuff): number {
    return this.backlog!.netifRx(skb);
  }

  devForwardSkb(dev: NetDevice, skb: SkBuff): number {
    // Of several segments each is short enough.
    const fits = dev.up && (skbIsGso(skb) || xdpOkFwdDev(dev, skb.len) === 0);
    if (this.zerocopy.skbOrphanFrags(skb, GFP_ATOMIC) !== 0 || !fits || skbHeadlen(skb) < ETH_HLEN) {
      dev.coreRxDropped++;
      this.lifetime.kfreeSkb(skb, SKB_DROP_REASON_NOT_SPECIFIED);
      return NET_RX_DROP;
    }
    skb.redirected = false;
    skb.dev = dev;
    this.edit.ethTypeTrans(skb);
    return NET_RX_SUCCESS;
  }

  napiGroReceive(napi: NapiStruct, skb: SkBuff): void {
    this.gro!.receive(instanceOf(napi).gro, skb);
  }

  /** Those that go to one handler, of one device, go together, once another is met or all are looked at. @kernel __netif_receive_skb_list_core */
  netifReceiveSkbList(list: SkBuff | null): void {
    let first: SkBuff | null = null;
    let last: SkBuff | null = null;
    let to: PacketHandler | null = null;
    let from: NetDevice | null = null;
    for (let received = list; received !== null;) {
      const { next, dev }: { next: SkBuff | null; dev: NetDevice | null } = received;
      const skb = this.sorted(received);
      received = next;
      if (skb === null) continue;
      // Whoever gets those before it may receive something, too.
      const { handler } = this;
      if (handler !== to || dev !== from) {
        if (first !== null) passAll(first, last!, to!);
        first = null;
        to = handler;
        from = dev;
      }
      // As they came they are chained already.
      if (first === null) first = skb;
      else if (last!.next !== skb) last!.next = skb;
      last = skb;
    }
    if (first !== null) passAll(first, last!, to!);
  }

  netifReceiveSkb(received: SkBuff): void {
    const skb = this.sorted(received);
    if (skb !== null) this.handler!.packetRcv(skb);
  }

  /** What `handler`, the last that is to have it, gets; null: it is gone, to programs, or nobody. @kernel __netif_receive_skb_core */
  private sorted(received: SkBuff): SkBuff | null {
    this.stats.received++;
    if (this.probe !== null) this.probe.received(received);
    const prog = received.dev === null ? null : received.dev.xdpGenericProg;
    let skb = received;
    let tap: PacketHandler | null = null;
    if (prog !== null || this.taps.none === false) {
      // Whoever gets it here is to have it alone.
      received.next = null;
      const passed = prog === null ? received : this.genericXdp!.doXdpGeneric(prog, received);
      if (passed === null) return null;
      skb = passed;
      // For whoever swaps, and nobody else is to hold it.
      tap = this.isReserved(skb) ? null : this.taps.received(skb);
    }
    const { protocol, etherType } = this;
    if (protocol === null || (etherType !== 0 && etherType !== skb.protocol)) return this.unhandled(skb, tap);
    if (tap !== null) this.taps.deliver(skb, tap);
    if (skbZcopy(skb) && this.zerocopy.skbOrphanFragsRx(skb, GFP_ATOMIC) !== 0) return this.unhandled(skb, null);
    if (this.handler !== protocol) this.handler = protocol;
    return skb;
  }

  /** The last tap's, if there is one. */
  private unhandled(skb: SkBuff, tap: PacketHandler | null): SkBuff | null {
    this.stats.unhandled++;
    if (tap !== null && this.zerocopy.skbOrphanFragsRx(skb, GFP_ATOMIC) === 0) {
      this.handler = tap;
      return skb;
    }
    skb.next = null;
    if (skb.dev !== null) skb.dev.coreRxDropped++;
    this.lifetime.kfreeSkb(skb, this.isReserved(skb) && !PFMEMALLOC_PROTOCOLS.includes(skb.protocol) ? SKB_DROP_REASON_PFMEMALLOC : SKB_DROP_REASON_UNHANDLED_PROTO);
    return null;
  }

  /** It lies in the page allocator's reserves, and the system swaps through a socket. */
  private isReserved(skb: SkBuff): boolean {
    return skb.pfmemalloc === true && this.lifetime.skMemallocSocks;
  }

  addTap(handler: PacketHandler, dev: NetDevice | null = null): void {
    this.taps.add(handler, dev);
  }

  removeTap(handler: PacketHandler): void {
    this.taps.remove(handler);
  }

  setProtocol(handler: PacketHandler | null): void {
    this.protocol = handler;
    this.etherType = handler?.protocol ?? 0;
  }
}

/** Up to `last`, whatever is chained behind. @kernel __netif_receive_skb_list_ptype */
function passAll(first: SkBuff, last: SkBuff, to: PacketHandler): void {
  last.next = null;
  for (let skb: SkBuff | null = first; skb !== null;) {
    const { next }: { next: SkBuff | null } = skb;
    skb.next = null;
    to.packetRcv(skb);
    skb = next;
  }
}
