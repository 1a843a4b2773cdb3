import { EAGAIN } from "@netmem/kernel/api";
import { GFP_KERNEL, type FaultPoint, type FaultGate } from "@netmem/mm/api";
import { NETDEV_TX_BUSY, type FrameReceiver, type GenericPacket, type NetDevice, type Xdp, type XdpFrame, type XdpProg, type XskTransmitter, type XskTxPacket } from "@netmem/xdp/api";
import { SKB_DROP_REASON_NOT_SPECIFIED, skbRegion, type NetReceive, type SkBuff } from "./api/index.ts";
import type { GenericXdpPath } from "./generic-xdp.ts";
import type { SkbEdits } from "./edit.ts";
import type { SkbLives } from "./lifetime.ts";
import type { TransmitPath } from "./transmit.ts";
import type { XdpConversions } from "./xdp-skbs.ts";

export interface StackPortParts {
  readonly xdp: Pick<Xdp, "xdpReturn">;
  readonly lives: SkbLives;
  readonly edit: SkbEdits;
  readonly conversions: XdpConversions;
  readonly generic: GenericXdpPath;
  readonly receive: NetReceive;
  readonly transmit: TransmitPath;
  /** Makes the allocation of skb structs fail. */
  readonly failStructs: FaultPoint & FaultGate;
}

/** What the XDP layer asks of the stack above it. */
export class StackPort implements FrameReceiver, XskTransmitter {
  readonly #parts: StackPortParts;

  constructor(parts: StackPortParts) {
    this.#parts = parts;
  }

  receiveFrames(frames: (XdpFrame | null)[], n: number): number {
    const { failStructs, xdp, conversions, receive } = this.#parts;
    const without = failStructs.armed && failStructs.shouldFail(0, 0);
    for (let i = 0; i < n; i++) {
      const frame = frames[i]!;
      frames[i] = null;
      const { devRx } = frame;
      const skb = without || devRx === null ? null : conversions.xdpBuildSkbFromFrame(frame, devRx);
      if (skb === null) xdp.xdpReturn.xdpReturnFrame(frame);
      else receive.netifReceiveSkb(skb);
    }
    return without ? n : 0;
  }

  receivePacket(packet: GenericPacket): void {
    this.#parts.receive.netifReceiveSkb(packet as SkBuff);
  }

  runGenericXdp(packet: GenericPacket, prog: XdpProg): number {
    return this.#parts.generic.runGenericXdp(packet, prog);
  }

  redirectPacket(packet: GenericPacket, prog: XdpProg): number {
    return this.#parts.generic.redirectPacket(packet, prog);
  }

  dropPacket(packet: GenericPacket): void {
    this.#parts.lives.kfreeSkb(packet as SkBuff, SKB_DROP_REASON_NOT_SPECIFIED);
  }

  /** @kernel xsk_build_skb (net/xdp/xsk.c), __dev_direct_xmit */
  directXmit(dev: NetDevice, queueId: number, packet: XskTxPacket): number {
    const { lives, edit, transmit } = this.#parts;
    const skb = lives.allocSkb(packet.len, GFP_KERNEL);
    if (skb === null) return -EAGAIN;
    edit.skbPut(skb, packet.len);
    packet.copyTo(skbRegion(skb), skb.data);
    skb.macHeader = skb.data;
    skb.destructor = packet;
    const answer = transmit.devDirectXmit(skb, dev, queueId);
    if (answer === NETDEV_TX_BUSY) {
      // Not sent: its chunks are not the user's yet. @kernel xsk_consume_skb
      skb.destructor = null;
      lives.consumeSkb(skb);
    }
    return answer;
  }
}
