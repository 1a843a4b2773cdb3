import { NET_RX_SOFTIRQ, type Kernel } from "@netmem/kernel/api";
import {
  NAPIF_STATE_DISABLE, NAPIF_STATE_MISSED, NAPIF_STATE_SCHED,
  type NapiPoller, type NapiStruct, type NetDevice, type XdpStructs,
} from "@netmem/xdp/api";
import { NETDEV_BUDGET, SKB_CONSUMED, type NapiScheduler, type NapiStats, type SkBuff } from "./api/index.ts";
import type { DeferredFree } from "./defer.ts";
import type { SkbRelease } from "./release.ts";

/** @kernel net/core/dev.c */
export class NapiLists implements NapiScheduler {
  readonly stats: NapiStats = { polls: 0, timeSqueeze: 0 };
  readonly #kernel: Kernel;
  readonly #structs: XdpStructs;
  readonly #deferred: DeferredFree;
  readonly #freeDeferred: (skb: SkBuff) => void;
  readonly #pollLists: NapiStruct[][] = [];
  /** Simulated cost of one received packet on its CPU. */
  readonly #packetCostNs: number;

  constructor(kernel: Kernel, structs: XdpStructs, deferred: DeferredFree, release: SkbRelease, packetCostNs: number) {
    this.#kernel = kernel;
    this.#structs = structs;
    this.#deferred = deferred;
    this.#freeDeferred = (skb) => release.drop(skb, SKB_CONSUMED, true);
    this.#packetCostNs = packetCostNs;
    for (let i = 0; i < kernel.nrCpus; i++) this.#pollLists.push([]);
    kernel.softirqs.openSoftirq(NET_RX_SOFTIRQ, () => this.#netRxAction());
  }

  netifNapiAdd(dev: NetDevice, poller: NapiPoller, weight: number): NapiStruct {
    const napi = this.#structs.createNapi(dev, poller, weight);
    // Born disabled and held, as netif_napi_add leaves it: only napi_enable makes it schedulable.
    napi.state = NAPIF_STATE_SCHED | NAPIF_STATE_DISABLE;
    return napi;
  }

  napiEnable(napi: NapiStruct): void {
    napi.state &= ~(NAPIF_STATE_SCHED | NAPIF_STATE_DISABLE | NAPIF_STATE_MISSED);
  }

  napiDisable(napi: NapiStruct): void {
    if (napi.listOwner !== -1) {
      this.#kernel.reports.report("napi-disable-running", "warn", `napi of ${napi.dev.name}`, napi.dev.name, `disabled while on CPU ${napi.listOwner}'s poll list`);
      const list = this.#pollLists[napi.listOwner]!;
      const index = list.indexOf(napi);
      if (index >= 0) list.splice(index, 1);
      napi.listOwner = -1;
    }
    napi.state |= NAPIF_STATE_SCHED | NAPIF_STATE_DISABLE;
  }

  napiSchedule(napi: NapiStruct): void {
    if ((napi.state & NAPIF_STATE_DISABLE) !== 0) return;
    if ((napi.state & NAPIF_STATE_SCHED) !== 0) {
      napi.state |= NAPIF_STATE_MISSED;
      return;
    }
    napi.state |= NAPIF_STATE_SCHED;
    this.#enqueue(napi);
  }

  napiCompleteDone(napi: NapiStruct, _work: number): boolean {
    napi.listOwner = -1;
    if ((napi.state & NAPIF_STATE_MISSED) !== 0) {
      napi.state &= ~NAPIF_STATE_MISSED;
      this.#enqueue(napi);
      return false;
    }
    napi.state &= ~NAPIF_STATE_SCHED;
    return true;
  }

  #enqueue(napi: NapiStruct): void {
    const { cpu } = this.#kernel.context;
    napi.listOwner = cpu;
    this.#pollLists[cpu]!.push(napi);
    this.#kernel.softirqs.raiseSoftirq(cpu, NET_RX_SOFTIRQ);
  }

  /** @kernel net_rx_action */
  #netRxAction(): void {
    const { cpu } = this.#kernel.context;
    this.#deferred.flush(cpu, this.#freeDeferred);
    const list = this.#pollLists[cpu]!;
    let budget = NETDEV_BUDGET;
    while (list.length > 0) {
      if (budget <= 0) {
        this.stats.timeSqueeze++;
        this.#kernel.softirqs.raiseSoftirq(cpu, NET_RX_SOFTIRQ);
        return;
      }
      const napi = list.shift()!;
      budget -= this.#poll(napi, list);
    }
  }

  /** @kernel napi_poll, __napi_poll */
  #poll(napi: NapiStruct, list: NapiStruct[]): number {
    this.stats.polls++;
    const work = napi.poller.poll(napi, napi.weight);
    if (this.#packetCostNs > 0) this.#kernel.scheduler.charge(work * this.#packetCostNs);
    if (work > napi.weight) {
      this.#kernel.reports.report("napi-over-budget", "warn", `napi of ${napi.dev.name}`, napi.dev.name, `poll returned ${work}, over its budget ${napi.weight}`);
    }
    // Out of budget: it still owns its place on the list.
    if (work >= napi.weight && napi.listOwner === this.#kernel.context.cpu && !list.includes(napi)) list.push(napi);
    return work;
  }
}
