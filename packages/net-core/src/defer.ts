import { NET_RX_SOFTIRQ, type Kernel } from "@netmem/kernel/api";
import type { PacketHolder, SkBuff } from "./api/index.ts";
import { addHolder } from "./holders.ts";
import type { NetCoreDates } from "./rules.ts";
import { chained } from "./skb-queue.ts";

/** @kernel struct skb_defer_node (include/net/hotdata.h), softnet_data.defer_list */
class DeferList {
  first: SkBuff | null = null;
  /** Since it was flushed. */
  count = 0;
}

/**
 * Packets that were read on one CPU and wait to be freed on the one that built them, where their pages can go straight
 * back to the pool's cache. A quiet CPU keeps them: to somebody who counts pages that looks like a leak.
 * @kernel skb_attempt_defer_free (net/core/skbuff.c), skb_defer_free_flush (net/core/dev.c)
 */
export class DeferredFree {
  private readonly kernel: Kernel;
  private readonly max: number;
  /** Lists of a CPU: one for each node of those who free, or one for all. */
  private readonly nodes: number;
  /** Packets in a list to which no more are added: the next is freed where it was read. */
  private readonly mostBefore: number;
  /** By CPU, then node. */
  private readonly lists: DeferList[] = [];

  constructor(kernel: Kernel, rules: Pick<NetCoreDates, "deferLists" | "skbDeferMax">) {
    this.kernel = kernel;
    this.max = rules.skbDeferMax;
    const perNode = rules.deferLists === "node";
    // Without a lock one place less.
    this.mostBefore = perNode ? this.max - 1 : this.max;
    this.nodes = perNode ? Math.max(...kernel.cpuNodes) + 1 : 1;
    for (let i = 0; i < kernel.nrCpus * this.nodes; i++) this.lists.push(new DeferList());
  }

  /** False: the caller frees it here. */
  add(skb: SkBuff): boolean {
    const { context, softirqs } = this.kernel;
    const cpu = skb.allocCpu;
    if (cpu === context.cpu) return false;
    const list = this.lists[this.nodes === 1 ? cpu : cpu * this.nodes + context.node]!;
    const before = list.count;
    if (before >= this.mostBefore) return false;
    list.count++;
    skb.tstamp = this.kernel.clock.stamp;
    skb.next = list.first;
    list.first = skb;
    // Beyond half: do not wait for traffic to wake that CPU.
    if (before === this.max >> 1) softirqs.raiseSoftirq(cpu, NET_RX_SOFTIRQ);
    return true;
  }

  addHolders(to: PacketHolder[]): void {
    for (const [i, { first }] of this.lists.entries()) addHolder(to, "deferred-free", `cpu ${Math.floor(i / this.nodes)}`, chained(first).toReversed());
  }

  /** Called by the receive softirq of `cpu`. */
  flush(cpu: number, free: (skb: SkBuff) => void): void {
    const end = (cpu + 1) * this.nodes;
    for (let i = cpu * this.nodes; i < end; i++) {
      const list = this.lists[i]!;
      if (list.first !== null) flushList(list, free);
    }
  }
}

function flushList(list: DeferList, free: (skb: SkBuff) => void): void {
  let skb = list.first;
  list.first = null;
  list.count = 0;
  while (skb !== null) {
    const { next }: { next: SkBuff | null } = skb;
    const gone = skb.free;
    if (gone === false) skb.next = null;
    free(skb);
    // One that was freed meanwhile is reported, and its `next` leads among the free structs: those behind it are lost.
    skb = gone === true ? null : next;
  }
}
