import { NETDEV_TX_BUSY, NETDEV_TX_OK, NET_XMIT_DROP, type NetDevice } from "@netmem/xdp/api";
import { SKB_DROP_REASON_NOT_SPECIFIED, skbIsGso, type NetTransmit, type SkBuff, type SkbLifetime, type StartXmit, type TransmitStats } from "./api/index.ts";
import type { TcpGso } from "./inet/tcp-gso.ts";

/** From the stack to a driver, without queueing disciplines. @kernel net/core/dev.c */
export class TransmitPath implements NetTransmit {
  readonly stats: TransmitStats = { sent: 0, dropped: 0 };
  readonly #lifetime: SkbLifetime;
  /** Set once, when both are made. */
  #gso: Pick<TcpGso, "segment"> | null = null;
  /** By ifindex. */
  readonly #ops: (StartXmit | null)[] = [];

  constructor(lifetime: SkbLifetime) {
    this.#lifetime = lifetime;
  }

  setStartXmit(dev: NetDevice, ops: StartXmit | null): void {
    while (this.#ops.length < dev.ifindex) this.#ops.push(null);
    this.#ops[dev.ifindex] = ops;
  }

  devDirectXmit(skb: SkBuff, dev: NetDevice, queueId: number): number {
    const ops = this.#ops[dev.ifindex] ?? null;
    if (ops === null || !dev.up) {
      this.#drop(skb);
      return NET_XMIT_DROP;
    }
    skb.dev = dev;
    const answer = ops.startXmit(skb, dev, queueId);
    if (answer === NETDEV_TX_OK) this.stats.sent++;
    return answer;
  }

  useGso(gso: Pick<TcpGso, "segment">): void {
    this.#gso = gso;
  }

  devQueueXmit(skb: SkBuff, dev: NetDevice): void {
    if (!skbIsGso(skb) || dev.tso) {
      this.genericXdpTx(skb, dev);
      return;
    }
    for (let segment = this.#gso!.segment(skb); segment !== null;) {
      const { next }: { next: SkBuff | null } = segment;
      segment.next = null;
      this.genericXdpTx(segment, dev);
      segment = next;
    }
  }

  /** A packet that generic XDP sends; it goes, or is dropped. Consumes. @kernel generic_xdp_tx */
  genericXdpTx(skb: SkBuff, dev: NetDevice): void {
    if (this.devDirectXmit(skb, dev, Math.max(0, skb.rxQueue - 1)) === NETDEV_TX_BUSY) this.#drop(skb);
  }

  #drop(skb: SkBuff): void {
    this.stats.dropped++;
    this.#lifetime.kfreeSkb(skb, SKB_DROP_REASON_NOT_SPECIFIED);
  }
}
