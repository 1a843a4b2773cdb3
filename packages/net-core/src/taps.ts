import { GFP_ATOMIC } from "@netmem/mm/api";
import type { NetDevice } from "@netmem/xdp/api";
import { SKB_DROP_REASON_NOT_SPECIFIED, type PacketHandler, type SkBuff, type SkbLifetime, type SkbZerocopy } from "./api/index.ts";

type TapLifetime = Pick<SkbLifetime, "consumeSkb" | "kfreeSkb" | "skbClone" | "skbGet">;

/** @kernel struct packet_type, of ETH_P_ALL */
interface Tap {
  readonly handler: PacketHandler;
  /** Null: whatever the device. */
  readonly dev: NetDevice | null;
}

/** Who sees every packet, whatever its protocol; of a user's memory they get a copy, since nobody knows when they read it. @kernel ptype_all, net_device.ptype_all (net/core/dev.c) */
export class PacketTaps {
  private readonly lifetime: TapLifetime;
  private readonly zerocopy: Pick<SkbZerocopy, "skbOrphanFragsRx">;
  /** Replaced, never changed: a tap that is removed as it gets a packet does not make its neighbour miss it. */
  private taps: readonly Tap[] = [];

  constructor(lifetime: TapLifetime, zerocopy: Pick<SkbZerocopy, "skbOrphanFragsRx">) {
    this.lifetime = lifetime;
    this.zerocopy = zerocopy;
  }

  /** Newest first, and those of all devices before those of one. */
  add(handler: PacketHandler, dev: NetDevice | null): void {
    const all = [{ handler, dev }, ...this.taps];
    this.taps = [...all.filter((tap) => tap.dev === null), ...all.filter((tap) => tap.dev !== null)];
  }

  get none(): boolean {
    return this.taps.length === 0;
  }

  remove(handler: PacketHandler): void {
    this.taps = this.taps.filter((tap) => tap.handler !== handler);
  }

  /** All but the last, to which the caller gives it: one user more each. Null: there is none. @kernel pt_prev in __netif_receive_skb_core */
  received(skb: SkBuff): PacketHandler | null {
    const taps = this.taps;
    let last: PacketHandler | null = null;
    for (let i = 0; i < taps.length; i++) {
      const { handler, dev } = taps[i]!;
      if (dev !== null && dev !== skb.dev) continue;
      if (last !== null) this.deliver(skb, last);
      last = handler;
    }
    return last;
  }

  /** @kernel deliver_skb */
  deliver(skb: SkBuff, handler: PacketHandler): void {
    if (this.zerocopy.skbOrphanFragsRx(skb, GFP_ATOMIC) === 0) handler.packetRcv(this.lifetime.skbGet(skb));
  }

  /** One clone for all, which is the last one's: the packet is the driver's in a moment. Its MAC header is where its data begins. @kernel dev_queue_xmit_nit */
  sent(skb: SkBuff): void {
    const taps = this.taps;
    let clone: SkBuff | null = null;
    let last: PacketHandler | null = null;
    for (let i = 0; i < taps.length; i++) {
      const { handler, dev } = taps[i]!;
      if (dev !== null && dev !== skb.dev) continue;
      clone ??= this.cloneOf(skb);
      if (clone === null) return;
      if (last !== null) last.packetRcv(this.lifetime.skbGet(clone));
      last = handler;
    }
    if (clone !== null && last !== null) last.packetRcv(clone);
  }

  private cloneOf(skb: SkBuff): SkBuff | null {
    const clone = this.lifetime.skbClone(skb, GFP_ATOMIC);
    if (clone === null) return null;
    if (this.zerocopy.skbOrphanFragsRx(clone, GFP_ATOMIC) !== 0) {
      this.lifetime.kfreeSkb(clone, SKB_DROP_REASON_NOT_SPECIFIED);
      return null;
    }
    clone.macHeader = clone.data;
    return clone;
  }
}
