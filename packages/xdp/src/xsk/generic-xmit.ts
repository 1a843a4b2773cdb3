import { EAGAIN, EBUSY, ENXIO } from "@netmem/kernel/api";
import type { PayloadRegion } from "@netmem/mm/api";
import { MAX_SKB_FRAGS, NETDEV_TX_BUSY, NET_XMIT_DROP, TX_BATCH_SIZE, XDP_PKT_CONTD, XdpDesc, type XskTxPacket } from "../api/index.ts";
import type { Stack } from "../stack.ts";
import type { XskBinding } from "./binding.ts";
import type { BuffPool } from "./pool.ts";
import type { XskQueue } from "./queue.ts";
import type { XskSocket } from "./socket.ts";
import type { Umems } from "./umem.ts";

/** One packet on its way out, and the descriptors it was made of. */
class TxPacket implements XskTxPacket {
  len = 0;
  readonly descs: XdpDesc[] = [];
  readonly #umems: Umems;
  readonly #pool: BuffPool;
  readonly #binding: XskBinding;

  constructor(umems: Umems, pool: BuffPool, binding: XskBinding) {
    this.#umems = umems;
    this.#pool = pool;
    this.#binding = binding;
  }

  copyTo(target: PayloadRegion, targetOffset: number): void {
    let at = targetOffset;
    for (const { addr, len } of this.descs) {
      this.#umems.copyOut(this.#pool.umem, addr, target, at, len);
      at += len;
    }
  }

  /** It is on its way: its memory outlives the socket. */
  hold(): void {
    this.#pool.users++;
  }

  /** In the order in which packets are freed, not sent. */
  destruct(): void {
    this.complete();
    this.#binding.putPool(this.#pool);
  }

  complete(): void {
    for (const { base, offset } of this.descs) this.#pool.cq.prodSubmitAddr(base, offset);
  }
}

/** Sending in copy mode, in the system call. @kernel __xsk_generic_xmit (net/xdp/xsk.c) */
export class GenericXmit {
  readonly #umems: Umems;
  readonly #stack: Stack;
  readonly #binding: XskBinding;
  readonly #desc: XdpDesc = new XdpDesc();

  constructor(umems: Umems, stack: Stack, binding: XskBinding) {
    this.#umems = umems;
    this.#stack = stack;
    this.#binding = binding;
  }

  xmit(socket: XskSocket): number {
    const { transmitter } = this.#stack;
    if (!socket.bound || transmitter === null) return -ENXIO;
    const pool = socket.buffPool!;
    const tx = socket.txQueue!;
    const { cq } = pool;
    let packet: TxPacket | null = null;
    for (let budget = TX_BATCH_SIZE; tx.consPeekDesc(this.#desc, pool); budget--) {
      if (budget === 0) return this.#stop(tx, cq, packet, -EAGAIN);
      // No packet is sent that could not be reported as sent.
      if (cq.prodReserve() < 0) return this.#stop(tx, cq, packet, -EAGAIN);
      packet ??= new TxPacket(this.#umems, pool, this.#binding);
      packet.descs.push(this.#copyOfDesc());
      packet.len += this.#desc.len;
      tx.consRelease(1);
      if (packet.descs.length > MAX_SKB_FRAGS + 1) {
        this.#dropTooLong(tx, packet);
        packet = null;
        continue;
      }
      if ((this.#desc.options & XDP_PKT_CONTD) !== 0) continue;
      packet.hold();
      const answer = transmitter.directXmit(socket.dev!, socket.queueId, packet);
      if (answer === NETDEV_TX_BUSY || answer < 0) {
        this.#binding.putPool(pool);
        return this.#stop(tx, cq, packet, answer < 0 ? answer : -EAGAIN);
      }
      packet = null;
      if (answer === NET_XMIT_DROP) return this.#publish(tx, -EBUSY);
    }
    if (tx.hasDescs()) {
      // The entry is invalid, and with it the packet that it is in the middle of.
      if (packet !== null) this.#dropTooLong(tx, packet);
      tx.consRelease(1);
      packet = null;
    }
    // A packet that goes on in what the user has not written yet waits for it in the ring.
    return this.#stop(tx, cq, packet, 0);
  }

  /** Its descriptors are the ring's again, and their completions free. */
  #stop(tx: XskQueue, cq: XskQueue, packet: TxPacket | null, answer: number): number {
    if (packet !== null) {
      tx.consCancel(packet.descs.length);
      cq.prodCancel(packet.descs.length);
    }
    return this.#publish(tx, answer);
  }

  /** Counted as invalid, and completed: the chunks are the user's. @kernel xsk_drop_skb */
  #dropTooLong(tx: XskQueue, packet: TxPacket): void {
    tx.invalidDescs += packet.descs.length;
    packet.complete();
  }

  #publish(tx: XskQueue, answer: number): number {
    tx.consPublish();
    return answer;
  }

  #copyOfDesc(): XdpDesc {
    const copy = new XdpDesc();
    const { addr, base, offset, len, options } = this.#desc;
    copy.addr = addr;
    copy.base = base;
    copy.offset = offset;
    copy.len = len;
    copy.options = options;
    return copy;
  }
}
