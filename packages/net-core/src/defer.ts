import { NET_RX_SOFTIRQ, type Kernel } from "@netmem/kernel/api";
import type { SkBuff } from "./api/index.ts";

/**
 * Packets that were read on one CPU and wait to be freed on the one that built them, where their pages can go straight
 * back to the pool's cache. A quiet CPU keeps them: to somebody who counts pages that looks like a leak.
 * @kernel skb_attempt_defer_free, skb_defer_free_flush (net/core/skbuff.c, net/core/dev.c)
 */
export class DeferredFree {
  readonly #kernel: Kernel;
  readonly #max: number;
  readonly #lists: (SkBuff | null)[] = [];
  readonly #counts: number[] = [];

  constructor(kernel: Kernel, max: number) {
    this.#kernel = kernel;
    this.#max = max;
    for (let i = 0; i < kernel.nrCpus; i++) {
      this.#lists.push(null);
      this.#counts.push(0);
    }
  }

  /** False: the caller frees it here. */
  add(skb: SkBuff): boolean {
    const cpu = skb.allocCpu;
    if (cpu === this.#kernel.context.cpu || this.#counts[cpu]! >= this.#max) return false;
    skb.next = this.#lists[cpu]!;
    this.#lists[cpu] = skb;
    const waiting = ++this.#counts[cpu]!;
    // Half full: do not wait for traffic to wake that CPU.
    if (waiting === this.#max >> 1) this.#kernel.softirqs.raiseSoftirq(cpu, NET_RX_SOFTIRQ);
    return true;
  }

  /** Called by the receive softirq of `cpu`. */
  flush(cpu: number, free: (skb: SkBuff) => void): void {
    let skb = this.#lists[cpu]!;
    if (skb === null) return;
    this.#lists[cpu] = null;
    this.#counts[cpu] = 0;
    while (skb !== null) {
      const next: SkBuff | null = skb.next;
      skb.next = null;
      free(skb);
      skb = next!;
    }
  }

  waiting(cpu: number): number {
    return this.#counts[cpu]!;
  }
}
