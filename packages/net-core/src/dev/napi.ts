import { CONTEXT_PROCESS, NET_RX_SOFTIRQ, NSEC_PER_SEC, TASK_AGAIN, TASK_SLEEP, UsageError, type Kernel } from "@netmem/kernel/api";
import {
  MIN_NAPI_ID, NAPIF_STATE_DISABLE, NAPIF_STATE_IN_BUSY_POLL, NAPIF_STATE_MISSED, NAPIF_STATE_NPSVC, NAPIF_STATE_PREFER_BUSY_POLL, NAPIF_STATE_SCHED, NAPIF_STATE_SCHED_THREADED, NAPIF_STATE_THREADED,
  type NapiPoller, type NapiStruct, type NetDevice, type XdpRedirect, type XdpStructs,
} from "@netmem/xdp/api";
import { NETDEV_BUDGET, NETDEV_BUDGET_JIFFIES, type NapiScheduler, type NapiStats, type PacketHolder, type SkBuff, type SkbProbe } from "../api/index.ts";
import type { DeferredFree } from "../defer.ts";
import type { Gro } from "../gro/gro.ts";
import { addHolder } from "../holders.ts";
import type { SkbRelease } from "../release.ts";
import type { NetCoreRules } from "../rules.ts";
import { NapiInstance, instanceOf, reportNapi, judgeWork } from "./napi-instance.ts";
import { NapiWatchdogs } from "./napi-watchdogs.ts";
import type { PollList } from "./poll-list.ts";
import { Softnet } from "./softnet.ts";

export interface NapiParts {
  readonly kernel: Kernel;
  readonly structs: XdpStructs;
  readonly redirect: Pick<XdpRedirect, "xdpDoCheckFlushed">;
  readonly deferred: DeferredFree;
  readonly release: SkbRelease;
  readonly gro: Gro;
  readonly rules: Pick<NetCoreRules, "polledInSameSoftirq">;
  /** Simulated cost of one received packet on its CPU. */
  readonly packetCostNs: number;
  readonly probe: SkbProbe | null;
}

/** @kernel net/core/dev.c */
export class NapiLists implements NapiScheduler {
  readonly stats: NapiStats = { polls: 0, timeSqueeze: 0 };
  private readonly kernel: Kernel;
  private readonly structs: XdpStructs;
  private readonly redirect: Pick<XdpRedirect, "xdpDoCheckFlushed">;
  private readonly deferred: DeferredFree;
  private readonly freeDeferred: (skb: SkBuff) => void;
  private readonly gro: Gro;
  private readonly softnets: Softnet[] = [];
  private readonly sameSoftirq: boolean;
  /** Packets of one softirq: those it may, or those there is time for, since it stands still meanwhile and what counts is what they cost. */
  private readonly budget: number;
  private nextNapiId = MIN_NAPI_ID;
  private readonly packetCostNs: number;
  private readonly probe: SkbProbe | null;
  /** By device: its instances, for what concerns them all. */
  private readonly instances = new Map<NetDevice, NapiInstance[]>();
  private readonly watchdogs: NapiWatchdogs;

  constructor(parts: NapiParts) {
    const { kernel, release } = parts;
    this.kernel = kernel;
    this.structs = parts.structs;
    this.redirect = parts.redirect;
    this.deferred = parts.deferred;
    this.freeDeferred = (skb) => release.dropDeferred(skb);
    this.gro = parts.gro;
    this.watchdogs = new NapiWatchdogs(kernel, (napi) => this.enqueue(napi));
    this.sameSoftirq = parts.rules.polledInSameSoftirq;
    this.packetCostNs = parts.packetCostNs;
    this.probe = parts.probe;
    const limitNs = (NETDEV_BUDGET_JIFFIES * NSEC_PER_SEC) / kernel.hz;
    this.budget = parts.packetCostNs === 0 ? NETDEV_BUDGET : Math.min(NETDEV_BUDGET, Math.ceil(limitNs / parts.packetCostNs));
    for (let i = 0; i < kernel.nrCpus; i++) this.softnets.push(new Softnet());
    kernel.softirqs.openSoftirq(NET_RX_SOFTIRQ, () => this.netRxAction());
  }

  netifNapiAdd(dev: NetDevice, poller: NapiPoller, weight: number): NapiStruct {
    if (!Number.isInteger(weight) || weight < 1) throw new UsageError("net-core", `NAPI weight of ${dev.name}`, weight, "give 1 packet or more");
    const napi = this.structs.createNapi(dev, poller, weight);
    const instance = new NapiInstance(napi);
    napi.core = instance;
    // Born disabled and held, as netif_napi_add leaves it: only napi_enable makes it schedulable.
    napi.state = NAPIF_STATE_SCHED | NAPIF_STATE_NPSVC;
    napi.napiId = this.nextNapiId++;
    const siblings = this.instances.get(dev);
    if (siblings === undefined) this.instances.set(dev, [instance]);
    else siblings.push(instance);
    if (dev.threaded) this.startThread(instance);
    return napi;
  }

  netifNapiDel(napi: NapiStruct): void {
    const siblings = this.instances.get(napi.dev) ?? [];
    const at = siblings.indexOf(instanceOf(napi));
    if (at < 0) {
      reportNapi(this.kernel.reports, "napi-del-unknown", "warn", napi, "deleted, but it was deleted before");
      return;
    }
    if ((napi.state & NAPIF_STATE_NPSVC) === 0) {
      reportNapi(this.kernel.reports, "napi-del-enabled", "warn", napi, "deleted while enabled: disable it first");
      this.napiDisable(napi);
    }
    const [instance] = siblings.splice(at, 1);
    this.gro.purge(instance!.gro);
    this.stopThread(instance!);
  }

  napiEnable(napi: NapiStruct): void {
    if ((napi.state & NAPIF_STATE_NPSVC) === 0) reportNapi(this.kernel.reports, "napi-enable-enabled", "bug", napi, "enabled, but it is not disabled");
    napi.state &= ~(NAPIF_STATE_SCHED | NAPIF_STATE_NPSVC | NAPIF_STATE_DISABLE);
    if (napi.dev.threaded) napi.state |= NAPIF_STATE_THREADED;
  }

  napiDisable(napi: NapiStruct): void {
    if ((napi.state & NAPIF_STATE_NPSVC) !== 0) {
      reportNapi(this.kernel.reports, "napi-disable-disabled", "warn", napi, "disabled twice: the kernel would wait for ever");
      return;
    }
    const instance = instanceOf(napi);
    // A poll under way can only be this very caller: the kernel would wait for itself.
    if (instance.polling) reportNapi(this.kernel.reports, "napi-disable-running", "warn", napi, "disabled by its own poll");
    if (!instance.polling && this.kernel.context.level === CONTEXT_PROCESS) this.awaitPoll(instance);
    else if ((napi.state & NAPIF_STATE_SCHED) !== 0) this.gro.flush(instance.gro, false);
    this.unlink(napi);
    this.watchdogs.cancel(instance);
    napi.state &= ~(NAPIF_STATE_MISSED | NAPIF_STATE_THREADED | NAPIF_STATE_SCHED_THREADED | NAPIF_STATE_PREFER_BUSY_POLL | NAPIF_STATE_IN_BUSY_POLL | NAPIF_STATE_DISABLE);
    napi.state |= NAPIF_STATE_SCHED | NAPIF_STATE_NPSVC;
  }

  /** What is scheduled is polled first, where it was to be; nothing schedules it any more. */
  private awaitPoll(instance: NapiInstance): void {
    const { napi } = instance;
    napi.state |= NAPIF_STATE_DISABLE;
    instance.completed = true;
    // A poll that does not complete it has said so, and nobody will.
    while (instance.completed && (napi.queued || (napi.state & NAPIF_STATE_SCHED_THREADED) !== 0)) {
      const { queued, listOwner } = napi;
      const cpu = queued ? instance.listCpu : instance.threadCpu;
      this.kernel.softirqs.sleepForSoftirq(cpu, () => {
        this.unlink(napi);
        if (queued) napi.listOwner = listOwner;
        this.deferred.flush(cpu, this.freeDeferred);
        this.wantsRepoll(napi, this.pollIfScheduled(napi));
      });
    }
  }

  napiSchedulePrep(napi: NapiStruct): boolean {
    const { state } = napi;
    if ((state & NAPIF_STATE_DISABLE) !== 0) return false;
    if ((state & NAPIF_STATE_SCHED) !== 0) {
      napi.state = state | NAPIF_STATE_MISSED;
      return false;
    }
    napi.state = state | NAPIF_STATE_SCHED;
    return true;
  }

  napiSchedule(napi: NapiStruct): boolean {
    if (!this.napiSchedulePrep(napi)) return false;
    this.enqueue(napi);
    return true;
  }

  napiCompleteDone(napi: NapiStruct, work: number): boolean {
    // Whoever polls it out of turn completes it himself.
    const instance = instanceOf(napi);
    instance.completed = true;
    if ((napi.state & (NAPIF_STATE_NPSVC | NAPIF_STATE_IN_BUSY_POLL)) !== 0) return false;
    let timeoutNs = 0;
    let interrupt = true;
    if (work > 0) {
      if (instance.gro.count > 0) timeoutNs = napi.dev.groFlushTimeoutNs;
      instance.deferHardIrqsCount = napi.dev.napiDeferHardIrqs;
    }
    if (instance.deferHardIrqsCount > 0) {
      instance.deferHardIrqsCount--;
      timeoutNs = napi.dev.groFlushTimeoutNs;
      interrupt = timeoutNs === 0;
    }
    this.gro.flush(instance.gro, timeoutNs > 0);
    // Whoever got the packets has disabled it, which is reported.
    if ((napi.state & NAPIF_STATE_NPSVC) !== 0) return false;
    this.unlink(napi);
    if ((napi.state & NAPIF_STATE_SCHED) === 0) reportNapi(this.kernel.reports, "napi-not-scheduled", "warn", napi, "completed without being scheduled");
    const missed = (napi.state & NAPIF_STATE_MISSED) !== 0;
    napi.state &= ~(NAPIF_STATE_MISSED | NAPIF_STATE_SCHED | NAPIF_STATE_SCHED_THREADED | NAPIF_STATE_PREFER_BUSY_POLL);
    if (missed) {
      napi.state |= NAPIF_STATE_SCHED;
      this.enqueue(napi);
      return false;
    }
    if (timeoutNs > 0) this.watchdogs.arm(instance, timeoutNs);
    return interrupt;
  }

  napiBusyLoop(napi: NapiStruct, loopEnd: () => boolean, preferBusyPoll: boolean, budget: number): number {
    const { softirqs } = this.kernel;
    let mine = false;
    let total = 0;
    do {
      softirqs.localBhDisable();
      if (!mine && (napi.state & (NAPIF_STATE_DISABLE | NAPIF_STATE_SCHED | NAPIF_STATE_IN_BUSY_POLL)) === 0) {
        napi.state |= NAPIF_STATE_IN_BUSY_POLL | NAPIF_STATE_SCHED;
        mine = true;
      } else if (!mine && preferBusyPoll) napi.state |= NAPIF_STATE_PREFER_BUSY_POLL;
      if (mine) {
        total += this.pollOnce(napi, budget);
        this.gro.normalList(instanceOf(napi).gro);
      }
      this.deferred.flush(this.kernel.context.cpu, this.freeDeferred);
      softirqs.localBhEnable();
    } while (!loopEnd());
    if (mine) total += this.busyPollStop(napi, preferBusyPoll, budget);
    return total;
  }

  instancesOf(dev: NetDevice): readonly NapiInstance[] {
    return this.instances.get(dev) ?? [];
  }

  addHolders(to: PacketHolder[]): void {
    for (const [dev, instances] of this.instances) for (const { gro } of instances) addHolder(to, "gro", dev.name, gro.packets());
  }

  devSetThreaded(dev: NetDevice, threaded: boolean): void {
    dev.threaded = threaded;
    for (const instance of this.instances.get(dev) ?? []) {
      if (threaded) this.startThread(instance);
      // What its thread was told to poll that polls still.
      else instance.napi.state &= ~NAPIF_STATE_THREADED;
    }
  }

  /** Its interrupts are to come again: a last poll sees to that. @kernel busy_poll_stop, __busy_poll_stop */
  private busyPollStop(napi: NapiStruct, preferBusyPoll: boolean, budget: number): number {
    const { softirqs } = this.kernel;
    const instance = instanceOf(napi);
    napi.state &= ~(NAPIF_STATE_MISSED | NAPIF_STATE_IN_BUSY_POLL);
    softirqs.localBhDisable();
    let skipSchedule = false;
    if (preferBusyPoll) {
      instance.deferHardIrqsCount = napi.dev.napiDeferHardIrqs;
      const timeoutNs = napi.dev.groFlushTimeoutNs;
      if (instance.deferHardIrqsCount > 0 && timeoutNs > 0) {
        this.watchdogs.arm(instance, timeoutNs);
        skipSchedule = true;
      }
    }
    const work = this.pollOnce(napi, budget);
    if (work === budget) {
      if (!skipSchedule) {
        this.gro.normalList(instance.gro);
        this.enqueue(napi);
      } else {
        this.gro.flushOld(instance.gro);
        napi.state &= ~NAPIF_STATE_SCHED;
      }
    }
    softirqs.localBhEnable();
    return work;
  }

  private pollOnce(napi: NapiStruct, budget: number): number {
    this.stats.polls++;
    const instance = instanceOf(napi);
    instance.completed = false;
    instance.polling = true;
    const work = napi.poller.poll(napi, budget);
    instance.polling = false;
    if (this.probe !== null) this.probe.polled(napi, work, budget);
    if (this.packetCostNs > 0) this.kernel.scheduler.charge(work * this.packetCostNs);
    return work;
  }

  private unlink(napi: NapiStruct): void {
    if (napi.queued) {
      const { pollList, now, again } = this.softnets[instanceOf(napi).listCpu]!;
      pollList.remove(napi);
      now.remove(napi);
      again.remove(napi);
      napi.queued = false;
    }
    napi.listOwner = -1;
  }

  /** @kernel ____napi_schedule */
  private enqueue(napi: NapiStruct): void {
    const instance = instanceOf(napi);
    const { thread } = instance;
    if ((napi.state & NAPIF_STATE_THREADED) !== 0 && thread !== null) {
      // Nothing tells page_pool whose context it is then.
      napi.state |= NAPIF_STATE_SCHED_THREADED;
      this.kernel.scheduler.wake(thread);
      return;
    }
    const { cpu } = this.kernel.context;
    const softnet = this.softnets[cpu]!;
    // Completed by a poll that answered its budget, it waits for the next softirq all the same.
    if (napi.queued) reportNapi(this.kernel.reports, "napi-double-add", "bug", napi, "scheduled while on a poll list: its poll answered its budget after it had completed, and adding it again corrupts the list");
    instance.listCpu = cpu;
    napi.listOwner = cpu;
    softnet.pollList.append(napi);
    // The softirq that is under way looks again before it ends.
    if (!softnet.inNetRxAction || !this.sameSoftirq) this.kernel.softirqs.raiseSoftirq(cpu, NET_RX_SOFTIRQ);
  }

  /**
   * Each instance on the list once, deferred packets before each. What used up its weight is polled again, but by the next
   * softirq, so that interrupts and others come in between. @kernel net_rx_action
   */
  private netRxAction(): void {
    const { cpu } = this.kernel.context;
    const softnet = this.softnets[cpu]!;
    const { pollList, now, again } = softnet;
    let budget = this.budget;
    softnet.inNetRxAction = true;
    while (pollList.length > 0) now.append(pollList.takeFirst());
    for (;;) {
      this.deferred.flush(cpu, this.freeDeferred);
      if (now.length === 0) {
        // Scheduled by whoever was polled just now, perhaps itself.
        if (again.length > 0 || pollList.length === 0 || !this.sameSoftirq) break;
        while (pollList.length > 0) now.append(pollList.takeFirst());
        continue;
      }
      budget -= this.poll(now.takeFirst(), again);
      if (budget <= 0) {
        this.stats.timeSqueeze++;
        break;
      }
    }
    softnet.inNetRxAction = false;
    // Those that were not come to, those scheduled meanwhile, those to be polled again.
    while (pollList.length > 0) now.append(pollList.takeFirst());
    while (again.length > 0) now.append(again.takeFirst());
    while (now.length > 0) pollList.append(now.takeFirst());
    if (pollList.length > 0) this.kernel.softirqs.raiseSoftirq(cpu, NET_RX_SOFTIRQ);
  }

  /** @kernel napi_poll */
  private poll(napi: NapiStruct, again: PollList): number {
    const work = this.pollIfScheduled(napi);
    if (this.wantsRepoll(napi, work)) again.append(napi);
    return work;
  }

  /** What was completed since it was listed is not polled. @kernel __napi_poll */
  private pollIfScheduled(napi: NapiStruct): number {
    if ((napi.state & NAPIF_STATE_SCHED) === 0) return 0;
    const work = this.pollOnce(napi, napi.weight);
    if (this.redirect.xdpDoCheckFlushed()) reportNapi(this.kernel.reports, "xdp-not-flushed", "warn", napi, "its poll redirected packets, and left them waiting: call xdpDoFlush before it ends");
    return work;
  }

  /** @kernel __napi_poll */
  private wantsRepoll(napi: NapiStruct, work: number): boolean {
    const { weight } = napi;
    if (!(work <= weight)) judgeWork(this.kernel.reports, napi, work, weight);
    if (work < weight) {
      if (!instanceOf(napi).completed && (napi.state & NAPIF_STATE_NPSVC) === 0) {
        reportNapi(this.kernel.reports, "napi-not-completed", "warn", napi, `poll returned ${work}, less than its budget ${weight}, without napi_complete_done: nothing schedules it again`);
      }
      return false;
    }
    if ((napi.state & NAPIF_STATE_DISABLE) !== 0) {
      this.napiCompleteDone(napi, 0);
      return false;
    }
    if ((napi.state & NAPIF_STATE_PREFER_BUSY_POLL) !== 0) {
      if (this.napiCompleteDone(napi, work)) this.napiSchedule(napi);
      return false;
    }
    this.gro.flushOld(instanceOf(napi).gro);
    if (napi.queued) {
      reportNapi(this.kernel.reports, "napi-rescheduled", "warn", napi, "its poll used up the budget, and scheduled it: whoever does that must not have completed it");
      return false;
    }
    if ((napi.state & NAPIF_STATE_NPSVC) !== 0) return false;
    if ((napi.state & NAPIF_STATE_SCHED) === 0) reportNapi(this.kernel.reports, "napi-repoll-completed", "warn", napi, "completed, and listed to be polled again, since it answered its budget: whoever schedules it meanwhile adds it twice");
    return true;
  }

  /** @kernel napi_kthread_create, napi_threaded_poll */
  private startThread(instance: NapiInstance): void {
    const { napi } = instance;
    const { scheduler, softirqs, context } = this.kernel;
    if ((napi.state & NAPIF_STATE_NPSVC) === 0) napi.state |= NAPIF_STATE_THREADED;
    if (instance.thread !== null) return;
    instance.threadCpu = context.cpu;
    instance.thread = scheduler.spawn({ name: `napi/${napi.dev.name}-${napi.napiId}`, cpu: context.cpu, run: () => {
      if ((napi.state & NAPIF_STATE_SCHED_THREADED) === 0) return TASK_SLEEP;
      softirqs.localBhDisable();
      const again = this.wantsRepoll(napi, this.pollIfScheduled(napi));
      this.deferred.flush(context.cpu, this.freeDeferred);
      softirqs.localBhEnable();
      // What came meanwhile may be the softirq's by now.
      if (!napi.queued) napi.listOwner = -1;
      return again || (instance.completed && (napi.state & NAPIF_STATE_SCHED_THREADED) !== 0) ? TASK_AGAIN : TASK_SLEEP;
    } });
  }

  /** Of an instance that is disabled, so that it has nothing to poll. */
  private stopThread(instance: NapiInstance): void {
    if (instance.thread !== null) this.kernel.scheduler.remove(instance.thread);
    instance.thread = null;
  }
}
