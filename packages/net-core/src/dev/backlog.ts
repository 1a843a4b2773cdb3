import type { Kernel } from "@netmem/kernel/api";
import type { NapiStruct, NetDevice } from "@netmem/xdp/api";
import { NET_RX_DROP, NET_RX_SUCCESS, SKB_DROP_REASON_CPU_BACKLOG, SKB_DROP_REASON_DEV_READY, type NapiScheduler, type NetReceive, type SkBuff, type SkbFree } from "../api/index.ts";

/** Packets that may wait for one CPU when another comes. @kernel net.core.netdev_max_backlog */
const NETDEV_MAX_BACKLOG = 1000;
/** Packets of one poll. @kernel net.core.dev_weight */
const DEV_RX_WEIGHT = 64;

/** Packets of one CPU, chained through `next`. @kernel softnet_data.input_pkt_queue, process_queue, backlog */
class Queue {
  readonly napi: NapiStruct;
  first: SkBuff | null = null;
  last: SkBuff | null = null;
  length = 0;

  constructor(napi: NapiStruct) {
    this.napi = napi;
  }
}

export interface BacklogParts {
  readonly kernel: Kernel;
  readonly napi: NapiScheduler;
  readonly loopback: NetDevice;
  readonly up: Pick<NetReceive, "netifReceiveSkb">;
  readonly lifetime: Pick<SkbFree, "kfreeSkb">;
}

/** What devices without an instance of their own receive goes up in the next softirq of the CPU that brought it. @kernel netif_rx, process_backlog (net/core/dev.c) */
export class Backlog {
  private readonly parts: BacklogParts;
  private readonly queues: Queue[];

  constructor(parts: BacklogParts) {
    this.parts = parts;
    this.queues = [];
    for (let cpu = 0; cpu < parts.kernel.nrCpus; cpu++) {
      const queue: Queue = new Queue(parts.napi.netifNapiAdd(parts.loopback, { poll: (napi, budget) => this.poll(queue, napi, budget) }, DEV_RX_WEIGHT));
      parts.napi.napiEnable(queue.napi);
      this.queues.push(queue);
    }
  }

  /** @kernel netif_rx, enqueue_to_backlog */
  netifRx(skb: SkBuff): number {
    const { kernel, lifetime, napi } = this.parts;
    const queue = this.queues[kernel.context.cpu]!;
    if (!skb.dev!.up) {
      lifetime.kfreeSkb(skb, SKB_DROP_REASON_DEV_READY);
      return NET_RX_DROP;
    }
    if (queue.length > NETDEV_MAX_BACKLOG) {
      skb.dev!.rxDropped++;
      lifetime.kfreeSkb(skb, SKB_DROP_REASON_CPU_BACKLOG);
      return NET_RX_DROP;
    }
    this.append(queue, skb);
    if (queue.length === 1) napi.napiSchedule(queue.napi);
    return NET_RX_SUCCESS;
  }

  /** Its packets are dropped: it is gone. @kernel flush_all_backlogs */
  flush(dev: NetDevice): void {
    for (const queue of this.queues) {
      const { first } = queue;
      queue.first = null;
      queue.last = null;
      queue.length = 0;
      for (let skb = first; skb !== null;) {
        const { next }: { next: SkBuff | null } = skb;
        skb.next = null;
        if (skb.dev === dev) this.parts.lifetime.kfreeSkb(skb, SKB_DROP_REASON_DEV_READY);
        else this.append(queue, skb);
        skb = next;
      }
    }
  }

  private append(queue: Queue, skb: SkBuff): void {
    skb.next = null;
    if (queue.last === null) queue.first = skb;
    else queue.last.next = skb;
    queue.last = skb;
    queue.length++;
  }

  private poll(queue: Queue, napi: NapiStruct, budget: number): number {
    let work = 0;
    while (work < budget && queue.first !== null) {
      const skb = queue.first;
      queue.first = skb.next;
      if (queue.first === null) queue.last = null;
      queue.length--;
      skb.next = null;
      work++;
      this.parts.up.netifReceiveSkb(skb);
    }
    if (work < budget) this.parts.napi.napiCompleteDone(napi, work);
    return work;
  }
}
