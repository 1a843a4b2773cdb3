import { EAGAIN } from "@netmem/kernel/api";
import { GFP_KERNEL, type FaultPoint, type FaultGate } from "@netmem/mm/api";
import { NETDEV_TX_BUSY, type FrameReceiver, type GenericPacket, type NetDevice, type ReceiveGro, type Xdp, type XdpFrame, type XdpProg, type XskTransmitter, type XskTxPacket } from "@netmem/xdp/api";
import { SKB_DROP_REASON_NOT_SPECIFIED, skbRegion, type NetReceive, type PacketHolder, type SkBuff } from "./api/index.ts";
import type { GenericXdpPath } from "./generic-xdp.ts";
import type { Gro } from "./gro/gro.ts";
import { GroNode } from "./gro/gro-node.ts";
import { addHolder } from "./holders.ts";
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
  readonly gro: Gro;
  readonly transmit: TransmitPath;
  /** Makes the allocation of skb structs fail, of a batch. */
  readonly failStructs: FaultPoint & FaultGate;
}

/** What the XDP layer asks of the stack above it. */
export class StackPort implements FrameReceiver, XskTransmitter {
  readonly #parts: StackPortParts;
  /** By their names: those of cpumaps' threads. */
  readonly #gros = new Map<GroNode, string>();
  /** Of a batch, for as long as it takes to pass it up. */
  readonly #built: (GenericPacket | null)[] = [];
  readonly #structs: (SkBuff | null)[] = [];

  constructor(parts: StackPortParts) {
    this.#parts = parts;
  }

  takeStructs(n: number): number {
    return this.#parts.conversions.xdpAllocSkbBulk(this.#structs, n);
  }

  buildPackets(frames: (XdpFrame | null)[], n: number, packets: (GenericPacket | null)[], from: number): number {
    const { xdp, conversions, lives } = this.#parts;
    let built = 0;
    for (let i = 0; i < n; i++) {
      const frame = frames[i]!;
      frames[i] = null;
      const struct = this.#structs[i]!;
      this.#structs[i] = null;
      const { devRx } = frame;
      const skb = devRx === null ? null : conversions.xdpBuildSkbAround(struct, frame, devRx);
      if (devRx === null) lives.putStruct(struct);
      if (skb === null) xdp.xdpReturn.xdpReturnFrame(frame);
      else packets[from + built++] = skb;
    }
    return built;
  }

  receivePackets(packets: (GenericPacket | null)[], n: number): void {
    let first: SkBuff | null = null;
    for (let i = n - 1; i >= 0; i--) {
      const skb = packets[i] as SkBuff;
      packets[i] = null;
      skb.next = first;
      first = skb;
    }
    this.#parts.receive.netifReceiveSkbList(first);
  }

  receiveFrames(frames: (XdpFrame | null)[], n: number): number {
    const { lives, xdp, failStructs } = this.#parts;
    const got = failStructs.armed && failStructs.shouldFail(0, 0) ? 0 : lives.slabSkbBulk(this.#structs, n);
    for (let i = got; i < n; i++) {
      xdp.xdpReturn.xdpReturnFrame(frames[i]!);
      frames[i] = null;
    }
    this.receivePackets(this.#built, this.buildPackets(frames, got, this.#built, 0));
    return n - got;
  }

  openGro(name: string): ReceiveGro {
    const node = new GroNode();
    this.#gros.set(node, name);
    return node;
  }

  groReceive(gro: ReceiveGro, packet: GenericPacket): void {
    this.#parts.gro.receive(gro as GroNode, packet as SkBuff);
  }

  groFlush(gro: ReceiveGro, everything: boolean): void {
    if (everything) this.#parts.gro.flush(gro as GroNode, false);
    else this.#parts.gro.flushOld(gro as GroNode);
  }

  closeGro(gro: ReceiveGro): void {
    this.#parts.gro.purge(gro as GroNode);
    this.#gros.delete(gro as GroNode);
  }

  addHolders(to: PacketHolder[]): void {
    for (const [node, name] of this.#gros) addHolder(to, "gro", name, node.packets());
  }

  runGenericXdp(packet: GenericPacket, prog: XdpProg): number {
    return this.#parts.generic.runGenericXdp(packet, prog);
  }

  redirectPacket(packet: GenericPacket, prog: XdpProg): number {
    return this.#parts.generic.redirectPacket(packet, prog);
  }

  dropPacket(packet: GenericPacket, consumed: boolean): void {
    const { lives } = this.#parts;
    if (consumed) lives.napiConsumeSkb(packet as SkBuff, 1);
    else lives.kfreeSkb(packet as SkBuff, SKB_DROP_REASON_NOT_SPECIFIED);
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
