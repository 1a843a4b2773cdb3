import { NET_RX_SOFTIRQ, UsageError, type Kernel, type ReportSeverity } from "@netmem/kernel/api";
import {
  MIN_NAPI_ID, NAPIF_STATE_DISABLE, NAPIF_STATE_MISSED, NAPIF_STATE_SCHED,
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
  readonly #pollLists: PollList[] = [];
  #nextNapiId = MIN_NAPI_ID;
  /** Simulated cost of one received packet on its CPU. */
  readonly #packetCostNs: number;

  constructor(kernel: Kernel, structs: XdpStructs, deferred: DeferredFree, release: SkbRelease, packetCostNs: number) {
    this.#kernel = kernel;
    this.#structs = structs;
    this.#deferred = deferred;
    this.#freeDeferred = (skb) => release.dropInSoftirq(skb, SKB_CONSUMED);
    this.#packetCostNs = packetCostNs;
    for (let i = 0; i < kernel.nrCpus; i++) this.#pollLists.push(new PollList());
    kernel.softirqs.openSoftirq(NET_RX_SOFTIRQ, () => this.#netRxAction());
  }

  netifNapiAdd(dev: NetDevice, poller: NapiPoller, weight: number): NapiStruct {
    if (!Number.isInteger(weight) || weight < 1) throw new UsageError("net-core", `NAPI weight of ${dev.name}`, weight, "give 1 packet or more");
    const napi = this.#structs.createNapi(dev, poller, weight);
    // Born disabled and held, as netif_napi_add leaves it: only napi_enable makes it schedulable.
    napi.state = NAPIF_STATE_SCHED | NAPIF_STATE_DISABLE;
    napi.napiId = this.#nextNapiId++;
    return napi;
  }

  napiEnable(napi: NapiStruct): void {
    if ((napi.state & NAPIF_STATE_DISABLE) === 0) {
      this.#report("napi-enable-enabled", "bug", napi, "enabled, but it is not disabled");
    }
    napi.state &= ~(NAPIF_STATE_SCHED | NAPIF_STATE_DISABLE | NAPIF_STATE_MISSED);
  }

  napiDisable(napi: NapiStruct): void {
    // A poll under way can only be this very caller: the kernel would wait for itself.
    if (napi.listOwner !== -1 && !napi.queued) this.#report("napi-disable-running", "warn", napi, "disabled by its own poll");
    this.#unlink(napi);
    napi.state &= ~NAPIF_STATE_MISSED;
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
    if ((napi.state & NAPIF_STATE_SCHED) === 0) {
      this.#report("napi-not-scheduled", "warn", napi, "completed without being scheduled");
      return false;
    }
    this.#unlink(napi);
    if ((napi.state & NAPIF_STATE_DISABLE) !== 0) return false;
    if ((napi.state & NAPIF_STATE_MISSED) !== 0) {
      napi.state &= ~NAPIF_STATE_MISSED;
      this.#enqueue(napi);
      return false;
    }
    napi.state &= ~NAPIF_STATE_SCHED;
    return true;
  }

  #unlink(napi: NapiStruct): void {
    if (napi.listOwner === -1) return;
    this.#pollLists[napi.listOwner]!.remove(napi);
    napi.listOwner = -1;
  }

  #enqueue(napi: NapiStruct): void {
    const { cpu } = this.#kernel.context;
    napi.listOwner = cpu;
    this.#pollLists[cpu]!.append(napi);
    this.#kernel.softirqs.raiseSoftirq(cpu, NET_RX_SOFTIRQ);
  }

  /**
   * Each instance on the list once, deferred packets before each. What used up its weight is polled again, but by the next
   * softirq, so that interrupts and others come in between. @kernel net_rx_action
   */
  #netRxAction(): void {
    const { cpu } = this.#kernel.context;
    const list = this.#pollLists[cpu]!;
    let budget = NETDEV_BUDGET;
    for (let left = list.length; ; left--) {
      this.#deferred.flush(cpu, this.#freeDeferred);
      if (left <= 0 || list.length === 0) break;
      if (budget <= 0) {
        this.stats.timeSqueeze++;
        break;
      }
      budget -= this.#poll(list.takeFirst(), list);
    }
    if (list.length > 0) this.#kernel.softirqs.raiseSoftirq(cpu, NET_RX_SOFTIRQ);
  }

  /** @kernel napi_poll, __napi_poll */
  #poll(napi: NapiStruct, list: PollList): number {
    this.stats.polls++;
    const work = napi.poller.poll(napi, napi.weight);
    if (this.#packetCostNs > 0) this.#kernel.scheduler.charge(work * this.#packetCostNs);
    if (work > napi.weight) this.#report("napi-over-budget", "warn", napi, `poll returned ${work}, over its budget ${napi.weight}`);
    // Completed, and perhaps missed and put on a list again.
    if (napi.listOwner === -1 || napi.queued) return work;
    if (work < napi.weight) this.#report("napi-not-completed", "warn", napi, `poll returned ${work}, less than its budget ${napi.weight}, without napi_complete_done`);
    // Behind those counted at the start, so this softirq does not come to it again.
    list.append(napi);
    return work;
  }

  #report(kind: string, severity: ReportSeverity, napi: NapiStruct, message: string): void {
    this.#kernel.reports.report(kind, severity, `napi of ${napi.dev.name}`, napi.dev.name, message);
  }
}

/** One CPU's instances to poll, chained through themselves. @kernel softnet_data.poll_list */
class PollList {
  length = 0;
  #first: NapiStruct | null = null;
  #last: NapiStruct | null = null;

  append(napi: NapiStruct): void {
    napi.next = null;
    napi.queued = true;
    if (this.#last === null) this.#first = napi;
    else this.#last.next = napi;
    this.#last = napi;
    this.length++;
  }

  /** The list is not empty. */
  takeFirst(): NapiStruct {
    const napi = this.#first!;
    this.#first = napi.next;
    if (this.#first === null) this.#last = null;
    napi.next = null;
    napi.queued = false;
    this.length--;
    return napi;
  }

  remove(napi: NapiStruct): void {
    if (!napi.queued) return;
    for (let i = this.length; i > 0; i--) {
      const other = this.takeFirst();
      if (other !== napi) this.append(other);
    }
  }
}
