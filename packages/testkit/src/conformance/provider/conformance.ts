import { createMachine, type Machine } from "@netmem/machine";
import type { MemoryModelDeps } from "@netmem/memory-model/api";
import { DMA_BIDIRECTIONAL, DMA_FROM_DEVICE, NUMA_NO_NODE, PAGE_SIZE, GFP_ATOMIC, netmemIsMarked, netmemName, type DmaDevice, type NetIovArea, type Netmem } from "@netmem/mm/api";
import { PP_FLAG_ALLOW_UNREADABLE_NETMEM, PP_FLAG_DMA_MAP, PP_FLAG_DMA_SYNC_DEV, type MemoryProvider, type PagePool, type ProviderPool } from "@netmem/page-pool/api";
import type { NetDevice } from "@netmem/xdp/api";
import { runCampaign, type CaseOutcome } from "../campaign.ts";
import { Findings } from "../findings.ts";
import { FreshReports } from "../fresh-reports.ts";
import { thrownBy } from "../outcome.ts";
import type { ConformanceOptions, ConformanceReport } from "../report.ts";
import { MEMORY_PROVIDER_RULES } from "../rules.ts";
import { watched } from "../watched.ts";
import { arbitraryProviderCase, plannedProviderCases, providerCaseInWords, simplerProviderCases, type ProviderCase, type ProviderStep } from "./case.ts";

/** A provider, and how the suite sees into it. */
export interface ProvidedSubject {
  readonly provider: MemoryProvider;
  /** What it provides. */
  readonly areas: () => readonly NetIovArea[];
  /** Buffers that nobody has. */
  readonly free: () => number;
}

/** How a provider is made for a suite. */
export interface MemoryProviderSubject {
  readonly name: string;
  /** One with `buffers` pages, for the queues of `dev`; it is not bound yet. */
  readonly create: (deps: MemoryModelDeps, dev: NetDevice, buffers: number) => ProvidedSubject;
}

const QUEUES = 2;

/** Whether a memory provider keeps to rules P1 to P7. Synchronous. */
export function memoryProviderConformance(subject: MemoryProviderSubject, options: ConformanceOptions = {}): ConformanceReport {
  return runCampaign<ProviderCase>({
    kind: "memory provider", name: subject.name, rules: MEMORY_PROVIDER_RULES, planned: plannedProviderCases(), arbitrary: arbitraryProviderCase(),
    run: (providerCase, traces): CaseOutcome => {
      const findings = new Findings(traces);
      const thrown = thrownBy(() => new ProviderRun(subject, providerCase, findings).run());
      if (thrown !== null) findings.consequence("P1", `threw ${thrown.reason}`, findings.here() || thrown.where);
      return { found: findings.found, occasions: findings.occasions };
    },
    simpler: simplerProviderCases, inWords: providerCaseInWords,
  }, options);
}

class ProviderRun {
  readonly #machine: Machine;
  readonly #dev: NetDevice;
  readonly #dmas: readonly DmaDevice[];
  readonly #subject: ProvidedSubject;
  readonly #case: ProviderCase;
  readonly #findings: Findings;
  readonly #pools: { readonly pool: PagePool; destroyed: boolean }[] = [];
  /** Handed out by a pool, the oldest first. */
  readonly #out: { readonly netmem: Netmem; readonly pool: PagePool }[] = [];
  readonly #reports: FreshReports;

  constructor({ create }: MemoryProviderSubject, providerCase: ProviderCase, findings: Findings) {
    this.#case = providerCase;
    this.#findings = findings;
    this.#machine = createMachine({ nrPages: 512, extraBytes: (providerCase.buffers + 1) * PAGE_SIZE });
    this.#reports = new FreshReports(this.#machine.kernel.reports);
    this.#dev = this.#machine.net.registerNetdev("eth0", QUEUES);
    this.#dmas = ["eth0", "eth1"].map((name) => this.#machine.mm.attachDevice({ name, coherent: false }).dma);
    this.#subject = create(this.#machine.memoryModelDeps(), this.#dev, providerCase.buffers);
    const provider = this.#watch(this.#subject.provider);
    for (const queue of this.#dev.rxQueues) queue.memoryProvider = provider;
  }

  run(): void {
    for (const step of this.#case.steps) this.#do(step);
    for (const { netmem, pool } of this.#out.splice(0)) pool.putFullNetmem(netmem, false);
    for (const entry of this.#pools) this.#destroy(entry);
    this.#machine.kernel.scheduler.runFor(5_000_000_000);
    this.#reported();
    const { free } = this.#subject;
    this.#findings.occasion("P4");
    if (free() !== this.#case.buffers) this.#findings.consequence("P4", `${free()} of ${this.#case.buffers} buffers are free once all pools are gone`, "");
    this.#findings.occasion("P6");
    const live = this.#dmas.reduce((sum, dma) => sum + dma.liveMappings(), 0);
    if (live > 0) this.#findings.consequence("P6", `${live} mappings are left once all pools are gone`, "");
    this.#lettingGo();
  }

  #do(step: ProviderStep): void {
    switch (step.do) {
      case "pool": return this.#create(step);
      case "alloc": {
        const entry = this.#pools[step.pool];
        if (entry === undefined || entry.destroyed) return;
        for (let i = 0; i < step.count; i++) {
          const netmem = entry.pool.allocNetmems(GFP_ATOMIC);
          if (netmem === null) break;
          this.#out.push({ netmem, pool: entry.pool });
        }
        return this.#reported();
      }
      case "put":
        for (const { netmem, pool } of this.#out.splice(0, step.count)) pool.putFullNetmem(netmem, step.direct && !this.#pools.some((entry) => entry.pool === pool && entry.destroyed));
        return this.#reported();
      default: {
        const entry = this.#pools[step.pool];
        if (entry !== undefined) this.#destroy(entry);
      }
    }
  }

  #create({ queue, refused, failMapping }: Extract<ProviderStep, { do: "pool" }>): void {
    const { faults } = this.#machine.mm;
    const live = this.#live();
    if (failMapping !== undefined) faults.failDmaMap.arm({ nth: failMapping });
    const pool = this.#machine.pagePools.create({
      flags: PP_FLAG_DMA_MAP | PP_FLAG_DMA_SYNC_DEV | PP_FLAG_ALLOW_UNREADABLE_NETMEM, order: refused === "large pages" ? 1 : 0, poolSize: 64, nid: NUMA_NO_NODE,
      dev: this.#dmas[refused === "another device" ? 1 : 0]!, napi: null, dmaDir: refused === "another direction" ? DMA_BIDIRECTIONAL : DMA_FROM_DEVICE, maxLen: PAGE_SIZE, offset: 0, netdev: this.#dev, queueIdx: queue,
    });
    const failed = failMapping !== undefined && faults.failDmaMap.injected() > 0;
    faults.failDmaMap.disarm();
    const dev = this.#dmas[refused === "another device" ? 1 : 0]!;
    // As long as nobody else uses it, any device is as good.
    const taken = this.#pools.some((entry) => !entry.pool.dead && entry.pool.params.dev !== dev);
    const mustRefuse = failed || taken || refused === "large pages" || refused === "another direction";
    this.#findings.occasion("P1");
    if (typeof pool !== "number") {
      this.#pools.push({ pool, destroyed: false });
      if (mustRefuse) this.#findings.consequence("P1", `init answers 0 for a pool of ${refused ?? "a device that has no room for it"}`, "");
      return;
    }
    if (!mustRefuse) this.#findings.consequence("P1", `init answers ${pool}, and nothing has failed`, "");
    if (this.#live() !== live) this.#findings.consequence("P1", `init answers ${pool}, and ${this.#live() - live} mappings more are left`, "");
  }

  #destroy(entry: { readonly pool: PagePool; destroyed: boolean }): void {
    if (entry.destroyed) return;
    entry.destroyed = true;
    entry.pool.destroy();
    this.#reported();
  }

  #live(): number {
    return this.#dmas.reduce((sum, dma) => sum + dma.liveMappings(), 0);
  }

  /** It says what it is, and a device that goes is forgotten. */
  #lettingGo(): void {
    const { provider } = this.#subject;
    const queue = this.#dev.rxQueues[0]!;
    this.#findings.occasion("P7");
    const said: unknown = provider.nlFill(queue);
    if (typeof said !== "object" || said === null) this.#findings.consequence("P7", "nlFill answers no object", "");
    this.#machine.net.unregisterNetdev(this.#dev);
    if (queue.memoryProvider !== null) this.#findings.consequence("P7", "uninstall leaves the provider bound to a device that is gone", "");
  }

  /** What its operations do is looked at as they return. */
  #watch(provider: MemoryProvider): MemoryProvider {
    let before = { free: 0, hold: 0, cache: 0, room: 0 };
    return watched(provider, this.#findings, {
      allocNetmems: {
        before: (pool) => void (before = { free: this.#subject.free(), hold: pool.holdCnt, cache: pool.cacheCount, room: pool.cacheRoom() }),
        after: (netmem, pool) => this.#judgeAlloc(netmem, pool, before),
      },
      releaseNetmem: {
        before: () => void (before = { ...before, free: this.#subject.free() }),
        after: (left, _pool, netmem) => this.#judgeRelease(left, netmem, before.free),
      },
    }, () => undefined);
  }

  #judgeAlloc(netmem: Netmem | null, pool: ProviderPool, before: { readonly free: number; readonly hold: number; readonly cache: number; readonly room: number }): void {
    const findings = this.#findings;
    const given = pool.cacheCount - before.cache + (netmem === null ? 0 : 1);
    findings.occasion("P3");
    if (pool.cacheCount - before.cache > before.room) findings.broke("P3", `puts ${pool.cacheCount - before.cache} netmems into the cache, and there was room for ${before.room}`);
    findings.occasion("P4");
    if (netmem === null) {
      if (before.free > 0 && before.room > 0) findings.broke("P4", `gives none, and ${before.free} buffers are free`);
      return;
    }
    if (this.#out.some((out) => out.netmem === netmem)) findings.broke("P4", `gives ${netmemName(netmem)}, which a pool has handed out already`);
    findings.occasion("P2");
    const counted = (pool.holdCnt - before.hold) | 0;
    if (counted !== given) findings.broke("P2", `gives ${given} netmems, and ${counted} are counted as held`);
    for (const one of [netmem, ...pool.cacheItems()]) {
      if (!netmemIsMarked(one)) findings.broke("P2", `gives ${netmemName(one)} without the pool's mark`);
      else if (one.dmaAddr === 0) findings.broke("P2", `gives ${netmemName(one)} without a device address`);
    }
  }

  #judgeRelease(left: boolean, netmem: Netmem, freeBefore: number): void {
    const findings = this.#findings;
    const isOurs = netmem.isNetIov && this.#subject.areas().includes(netmem.area);
    findings.occasion("P5");
    if (!isOurs) return;
    if (left) findings.broke("P5", `leaves ${netmemName(netmem)}, one of its own, to the pool`);
    else if (netmemIsMarked(netmem)) findings.broke("P5", `takes ${netmemName(netmem)} back with the pool's mark on it`);
    else if (this.#subject.free() !== freeBefore + 1) findings.broke("P5", `takes ${netmemName(netmem)} back, and ${this.#subject.free()} buffers are free, as many as before`);
  }

  #reported(): void {
    for (const { kind, object, message } of this.#reports.take()) {
      // Whoever asked was told.
      if (kind !== "pp-create-failed" && kind !== "mp-init-failed") this.#findings.consequence(ruleOfReport(kind), `${kind}: ${object}: ${message}`, "");
    }
  }
}

/** Which rule a report of the machine speaks of. */
const RULE_OF_REPORT: Readonly<Record<string, string>> = {
  "mp-cache-full": "P3", "mp-counted-twice": "P2", "mp-not-counted": "P2", "mp-mark-left": "P5", "mp-not-taken": "P5", "mp-threw": "P1",
};

function ruleOfReport(kind: string): string {
  if (kind.startsWith("dma-")) return "P6";
  return Object.hasOwn(RULE_OF_REPORT, kind) ? RULE_OF_REPORT[kind]! : "P4";
}
