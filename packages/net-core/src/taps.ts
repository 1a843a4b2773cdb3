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
  /** Another one when it changes: one that goes as it gets a packet does not hide the next. */
  private taps: readonly Tap[] = [];

  constructor(lifetime: TapLifetime, zerocopy: Pick<SkbZerocopy, "skbOrphanFragsRx">) {
    this.lifetime = lifetime;
    this.zerocopy = zerocopy;
  }

  add(handler: PacketHandler, dev: NetDevice | null): void {
    this.taps = [...this.taps, { handler, dev }];
  }

  remove(handler: PacketHandler): void {
    this.taps = this.taps.filter((tap) => tap.handler !== handler);
  }

  /** The packet itself, one user more each. @kernel deliver_ptype_list_skb, deliver_skb */
  received(skb: SkBuff): void {
    const taps = this.taps;
    for (let i = 0; i < taps.length; i++) {
      const { handler, dev } = taps[i]!;
      if ((dev === null || dev === skb.dev) && this.zerocopy.skbOrphanFragsRx(skb, GFP_ATOMIC) === 0) handler.packetRcv(this.lifetime.skbGet(skb));
    }
  }

  /** One clone for all: the packet is the driver's in a moment. Its MAC header is where its data begins. @kernel dev_queue_xmit_nit */
  sent(skb: SkBuff): void {
    const taps = this.taps;
    let clone: SkBuff | null = null;
    for (let i = 0; i < taps.length; i++) {
      const { handler, dev } = taps[i]!;
      if (dev !== null && dev !== skb.dev) continue;
      clone ??= this.cloneOf(skb);
      if (clone === null) return;
      handler.packetRcv(this.lifetime.skbGet(clone));
    }
    if (clone !== null) this.lifetime.consumeSkb(clone);
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
