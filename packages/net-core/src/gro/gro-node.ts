import type { SkBuff } from "../api/index.ts";
import { chained } from "../skb-queue.ts";

/** Packets of different flows that may be held; the kernel has eight such lists, told apart by a hash that the NIC computes. @kernel MAX_GRO_SKBS (net/core/gro.c) */
export const MAX_GRO_SKBS = 8;

/**
 * What one instance holds back: packets that others may be merged with, and packets on their way up that wait for a few more.
 * @kernel struct gro_node (include/linux/netdevice.h)
 */
export class GroNode {
  /** The newest first. */
  readonly held: (SkBuff | null)[] = [null, null, null, null, null, null, null, null];
  count = 0;
  /** Chained through `next`. */
  rxFirst: SkBuff | null = null;
  rxLast: SkBuff | null = null;
  /** Segments in it. */
  rxCount = 0;

  hold(skb: SkBuff): void {
    const { held } = this;
    for (let i = this.count; i > 0; i--) held[i] = held[i - 1]!;
    held[0] = skb;
    this.count++;
  }

  /** The one at `i`, which is the caller's then. */
  release(i: number): SkBuff {
    const { held } = this;
    const skb = held[i]!;
    this.count--;
    for (let j = i; j < this.count; j++) held[j] = held[j + 1]!;
    held[this.count] = null;
    return skb;
  }

  /** At the end of those that go up. */
  addRx(skb: SkBuff, segments: number): void {
    skb.next = null;
    if (this.rxLast === null) this.rxFirst = skb;
    else this.rxLast.next = skb;
    this.rxLast = skb;
    this.rxCount += segments;
  }

  /** Both kinds, oldest first. */
  packets(): SkBuff[] {
    return [...chained(this.rxFirst), ...this.held.filter((skb) => skb !== null).toReversed()];
  }

  /** All that go up, chained; the caller's. */
  takeRx(): SkBuff | null {
    const first = this.rxFirst;
    this.rxFirst = null;
    this.rxLast = null;
    this.rxCount = 0;
    return first;
  }
}
