import { NET_TX_SOFTIRQ, type Kernel } from "@netmem/kernel/api";
import { SKB_DROP_REASON_NOT_SPECIFIED, SKB_FCLONE_UNAVAILABLE, type SkBuff } from "./api/index.ts";
import type { SkbRelease } from "./release.ts";

/**
 * Packets whose last user let go in hardirq, where destructors may not run, nor pools be put to: the transmit softirq of that CPU frees them,
 * the last one first. @kernel softnet_data.completion_queue, dev_kfree_skb_irq_reason, net_tx_action (net/core/dev.c)
 */
export class CompletionQueue {
  readonly #kernel: Kernel;
  readonly #release: SkbRelease;
  readonly #lists: (SkBuff | null)[] = [];

  constructor(kernel: Kernel, release: SkbRelease) {
    this.#kernel = kernel;
    this.#release = release;
    for (let cpu = 0; cpu < kernel.nrCpus; cpu++) this.#lists.push(null);
    kernel.softirqs.openSoftirq(NET_TX_SOFTIRQ, () => this.#netTxAction());
  }

  add(skb: SkBuff, reason: number): void {
    if (!this.#release.unref(skb)) return;
    const { cpu } = this.#kernel.context;
    skb.reason = reason;
    skb.next = this.#lists[cpu]!;
    this.#lists[cpu] = skb;
    this.#kernel.softirqs.raiseSoftirq(cpu, NET_TX_SOFTIRQ);
  }

  /** What nobody is to be told of, and has no list of others, is freed here, untraced. The rest waits on, and is dropped in the end, whatever it was. @kernel zap_completion_queue, skb_irq_freeable (net/core/netpoll.c) */
  zap(): void {
    const { cpu } = this.#kernel.context;
    let skb = this.#lists[cpu]!;
    this.#lists[cpu] = null;
    let waits: SkBuff | null = null;
    while (skb !== null) {
      if (this.#lost(skb)) break;
      const next: SkBuff | null = skb.next;
      if (skb.destructor === null && skb.shinfo!.fragList === null) {
        skb.next = null;
        this.#release.dropUntraced(skb);
      } else {
        skb.reason = SKB_DROP_REASON_NOT_SPECIFIED;
        skb.next = waits;
        waits = skb;
      }
      skb = next!;
    }
    this.#lists[cpu] = waits;
  }

  #netTxAction(): void {
    const { cpu } = this.#kernel.context;
    let skb = this.#lists[cpu]!;
    this.#lists[cpu] = null;
    while (skb !== null) {
      if (this.#lost(skb)) return;
      const next: SkBuff | null = skb.next;
      skb.next = null;
      if (skb.fclone === SKB_FCLONE_UNAVAILABLE) this.#release.dropInSoftirq(skb, skb.reason);
      else this.#release.drop(skb, skb.reason);
      skb = next!;
    }
  }

  /** Freed by somebody: its `next` leads among the free structs. */
  #lost(skb: SkBuff): boolean {
    if (!skb.free) return false;
    this.#release.reportUseAfterFree(skb, "freed while it waited to be freed: those behind it are lost");
    return true;
  }
}
