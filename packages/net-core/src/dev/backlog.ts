import type { Kernel } from "@netmem/kernel/api";
import { NAPIF_STATE_SCHED, type NapiStruct, type NetDevice } from "@netmem/xdp/api";
import { NET_RX_DROP, NET_RX_SUCCESS, SKB_DROP_REASON_CPU_BACKLOG, SKB_DROP_REASON_DEV_READY, type NapiScheduler, type NetReceive, type PacketHolder, type SkBuff, type SkbFree } from "../api/index.ts";
import { addHolder } from "../holders.ts";
import { SkbQueue } from "../skb-queue.ts";

/** Packets that may wait for one CPU when another comes. @kernel net.core.netdev_max_backlog */
const NETDEV_MAX_BACKLOG = 1000;
/** Packets of one poll. @kernel net.core.dev_weight */
const DEV_RX_WEIGHT = 64;

/** What waits for one CPU. @kernel softnet_data.input_pkt_queue, process_queue, backlog */
class CpuBacklog {
  readonly napi: NapiStruct;
  /** Those that came, and those that a poll has taken over. */
  readonly input: SkbQueue = new SkbQueue();
  readonly processing: SkbQueue = new SkbQueue();

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
  private readonly cpus: CpuBacklog[];

  constructor(parts: BacklogParts) {
    this.parts = parts;
    this.cpus = [];
    for (let cpu = 0; cpu < parts.kernel.nrCpus; cpu++) {
      const backlog: CpuBacklog = new CpuBacklog(parts.napi.netifNapiAdd(parts.loopback, { poll: (napi, budget) => this.poll(backlog, napi, budget) }, DEV_RX_WEIGHT));
      parts.napi.napiEnable(backlog.napi);
      this.cpus.push(backlog);
    }
  }

  /** @kernel netif_rx, enqueue_to_backlog */
  netifRx(skb: SkBuff): number {
    const { kernel, lifetime, napi } = this.parts;
    const { input, napi: instance } = this.cpus[kernel.context.cpu]!;
    if (!skb.dev!.up) {
      skb.dev!.coreRxDropped++;
      lifetime.kfreeSkb(skb, SKB_DROP_REASON_DEV_READY);
      return NET_RX_DROP;
    }
    if (input.length > NETDEV_MAX_BACKLOG) {
      skb.dev!.coreRxDropped++;
      lifetime.kfreeSkb(skb, SKB_DROP_REASON_CPU_BACKLOG);
      return NET_RX_DROP;
    }
    skb.tstamp = kernel.clock.stamp;
    input.append(skb);
    // A poll that is under way looks again before it ends.
    if (input.length === 1 && (instance.state & NAPIF_STATE_SCHED) === 0) napi.napiSchedule(instance);
    return NET_RX_SUCCESS;
  }

  /** Its packets are dropped, those that came last first: it is gone. @kernel flush_all_backlogs, flush_backlog */
  flush(dev: NetDevice): void {
    for (const queue of this.cpus.flatMap(({ input, processing }) => [input, processing])) {
      for (let left = queue.length; left > 0; left--) {
        const skb = queue.shift()!;
        if (skb.dev === dev) this.parts.lifetime.kfreeSkb(skb, SKB_DROP_REASON_DEV_READY);
        else queue.append(skb);
      }
    }
  }

  addHolders(to: PacketHolder[]): void {
    for (const [cpu, { processing, input }] of this.cpus.entries()) addHolder(to, "backlog", `cpu ${cpu}`, [...processing.packets(), ...input.packets()]);
  }

  private poll({ input, processing }: CpuBacklog, napi: NapiStruct, budget: number): number {
    let work = 0;
    while (work < budget) {
      if (processing.length === 0) processing.takeAll(input);
      const skb = processing.shift();
      if (skb === null) {
        this.parts.napi.napiCompleteDone(napi, work);
        break;
      }
      this.parts.up.netifReceiveSkb(skb);
      work++;
    }
    return work;
  }
}
