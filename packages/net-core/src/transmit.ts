import type { Clock } from "@netmem/kernel/api";
import type { PayloadMemory } from "@netmem/mm/api";
import { NETDEV_TX_BUSY, NETDEV_TX_OK, NET_XMIT_DROP, type NetDevice } from "@netmem/xdp/api";
import { CHECKSUM_PARTIAL, SKB_DROP_REASON_NOT_SPECIFIED, skbIsGso, type NetTransmit, type SkBuff, type SkbEdit, type SkbLifetime, type StartXmit, type TransmitStats } from "./api/index.ts";
import { skbChecksumHelp } from "./inet/checksum-help.ts";
import type { InetGso } from "./inet/inet-gso.ts";
import type { PacketTaps } from "./taps.ts";

type Edits = Pick<SkbEdit, "skbLinearize" | "pskbMayPull" | "pskbExpandHead">;

/** From the stack to a driver, without queueing disciplines. @kernel net/core/dev.c */
export class TransmitPath implements NetTransmit {
  readonly stats: TransmitStats = { sent: 0, dropped: 0 };
  readonly #lifetime: SkbLifetime;
  readonly #edit: Edits;
  readonly #payload: PayloadMemory;
  readonly #taps: PacketTaps;
  readonly #clock: Clock;
  /** Set once, when both are made. */
  #gso: Pick<InetGso, "segment"> | null = null;
  /** By ifindex. */
  readonly #ops: (StartXmit | null)[] = [];

  constructor(lifetime: SkbLifetime, edit: Edits, payload: PayloadMemory, taps: PacketTaps, clock: Clock) {
    this.#lifetime = lifetime;
    this.#edit = edit;
    this.#payload = payload;
    this.#taps = taps;
    this.#clock = clock;
  }

  setStartXmit(dev: NetDevice, ops: StartXmit | null): void {
    while (this.#ops.length < dev.ifindex) this.#ops.push(null);
    this.#ops[dev.ifindex] = ops;
  }

  devDirectXmit(skb: SkBuff, dev: NetDevice, queueId: number): number {
    if (takesWhole(skb, dev) && this.#validate(skb, dev)) return this.#startXmit(skb, dev, queueId, true);
    this.drop(skb);
    return NET_XMIT_DROP;
  }

  /** @kernel xmit_one, netdev_start_xmit */
  #startXmit(skb: SkBuff, dev: NetDevice, queueId: number, tapped: boolean): number {
    const ops = this.#ops[dev.ifindex] ?? null;
    if (ops === null || !dev.up) {
      this.drop(skb);
      return NET_XMIT_DROP;
    }
    skb.dev = dev;
    skb.tstamp = this.#clock.stamp;
    if (tapped) this.#taps.sent(skb);
    const answer = ops.startXmit(skb, dev, queueId);
    if (answer === NETDEV_TX_OK) this.stats.sent++;
    return answer;
  }

  useGso(gso: Pick<InetGso, "segment">): void {
    this.#gso = gso;
  }

  /** @kernel __dev_queue_xmit */
  devQueueXmit(skb: SkBuff, dev: NetDevice): void {
    if (takesWhole(skb, dev)) {
      if (this.#validate(skb, dev)) this.#sendOrDrop(skb, dev);
      else this.drop(skb);
      return;
    }
    for (let segment = this.#gso!.segment(skb, dev.hwCsum); segment !== null;) {
      const { next }: { next: SkBuff | null } = segment;
      segment.next = null;
      this.#sendOrDrop(segment, dev);
      segment = next;
    }
  }

  /** What the device cannot do is done: false, it cannot be. @kernel validate_xmit_skb */
  #validate(skb: SkBuff, dev: NetDevice): boolean {
    if (skb.shinfo!.fragList !== null && !dev.fragList && this.#edit.skbLinearize(skb) < 0) return false;
    return skb.ipSummed !== CHECKSUM_PARTIAL || dev.hwCsum || skbChecksumHelp(skb, this.#edit, this.#payload) === 0;
  }

  /** A packet that generic XDP sends, which no tap sees. Consumes; false: there was no room for it, and it stays the caller's, to be dropped. @kernel generic_xdp_tx */
  genericXdpTx(skb: SkBuff, dev: NetDevice): boolean {
    return this.#startXmit(skb, dev, queueOf(skb), false) !== NETDEV_TX_BUSY;
  }

  #sendOrDrop(skb: SkBuff, dev: NetDevice): void {
    if (this.#startXmit(skb, dev, queueOf(skb), true) === NETDEV_TX_BUSY) this.drop(skb);
  }

  /** Was not sent, and is counted. Consumes. */
  drop(skb: SkBuff): void {
    this.stats.dropped++;
    this.#lifetime.kfreeSkb(skb, SKB_DROP_REASON_NOT_SPECIFIED);
  }
}

/** False: it must be cut first. A device that sums nothing sends no packet of several segments either, unless they are summed already. @kernel netif_needs_gso, harmonize_features */
function takesWhole(skb: SkBuff, { gsoSoftware, hwCsum }: NetDevice): boolean {
  return !skbIsGso(skb) || (gsoSoftware && (hwCsum || skb.ipSummed !== CHECKSUM_PARTIAL));
}

function queueOf({ rxQueue }: SkBuff): number {
  return Math.max(0, rxQueue - 1);
}
