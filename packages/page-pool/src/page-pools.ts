import { ENOMEM, type Kernel } from "@netmem/kernel/api";
import type { FaultInjection, PageAllocator, PageWords } from "@netmem/mm/api";
import type { FragSource, MemInfo, NetdeviceNotifiers } from "@netmem/xdp/api";
import {
  PagePoolFrag, PagePoolRecycleStats, PagePoolStats,
  type MemoryProvider, type MemoryProviders, type PagePool, type PagePoolNetlink, type PagePoolParams, type PagePoolProbe, type PagePools,
} from "./api/index.ts";
import { checkTypes, lateRefusal, partsFail, queueProvider, refusal, ringSize, structFails, type Refusal } from "./create.ts";
import { PoolFragSource } from "./frag-source.ts";
import { Pool } from "./pool.ts";
import { callInit } from "./provider-calls.ts";
import type { PagePoolRules } from "./rules.ts";
import { RxQueueProviders } from "./rx-queue.ts";
import type { PoolRegistry } from "./state.ts";
import { PoolLists } from "./user.ts";

export interface PagePoolDeps {
  readonly kernel: Kernel;
  readonly pages: PageAllocator;
  readonly words: PageWords;
  readonly faults: Pick<FaultInjection, "failSlab" | "failFunction">;
  /** Tells of devices that go. */
  readonly notifiers: NetdeviceNotifiers;
  readonly probe: PagePoolProbe | null;
  readonly rules: PagePoolRules;
}

/** Creates the pools of one machine. */
class PagePoolFactory implements PagePools, PoolRegistry {
  readonly netlink: PagePoolNetlink;
  readonly providers: MemoryProviders;
  readonly hasFragments: boolean;
  readonly nrNodes: number;
  readonly #deps: PagePoolDeps;
  readonly #lists: PoolLists;
  readonly #systemRecycleStats = new PagePoolRecycleStats();
  readonly #warned = new Set<string>();

  constructor(deps: PagePoolDeps) {
    this.#deps = deps;
    this.hasFragments = deps.rules.hasFragments;
    this.nrNodes = 1 + Math.max(...deps.pages.zones.map(({ nid }) => nid));
    this.#lists = new PoolLists(deps.kernel.clock, deps.rules);
    this.netlink = this.#lists;
    this.providers = new RxQueueProviders(this.#lists, deps.kernel.reports);
    deps.notifiers.registerNetdeviceNotifier(this.#lists);
  }

  create(params: PagePoolParams): PagePool | number {
    return this.createPercpu(params, -1);
  }

  createPercpu(wanted: PagePoolParams, cpuid: number): PagePool | number {
    const { kernel, rules, faults, pages, words, probe } = this.#deps;
    // The pool's from here on: what its creator does to its own later changes nothing.
    const params = { ...wanted };
    checkTypes(params, cpuid, kernel.nrCpus, this.nrNodes);
    // Nothing is printed: the kernel has nothing yet to print about.
    if (structFails(faults.failSlab)) return -ENOMEM;
    const refused = refusal(params, rules) ?? partsFail(params, rules, kernel.nrCpus, faults.failSlab) ?? lateRefusal(params);
    if (refused !== null) return this.#gaveUp(refused, params);
    const memoryProvider = queueProvider(params) as MemoryProvider | null;
    const pool = new Pool(this.#lists.nextId(), params, {
      kernel, pages, words, probe, rules, cpuid, memoryProvider,
      failAlloc: faults.failFunction("allocNetmems"),
      ringSize: ringSize(params.poolSize, rules),
      systemRecycleStats: this.#systemRecycleStats,
      registry: this,
    });
    if (memoryProvider !== null) {
      const errno = callInit(pool, memoryProvider);
      if (errno !== 0) {
        kernel.reports.report("mp-init-failed", "warn", "page_pool", params.netdev!.name, `page_pool_init() mem-provider init failed ${errno}`);
        return this.#gaveUp({ errno, why: `the memory provider of queue ${params.queueIdx ?? 0} refused` }, params);
      }
    }
    this.#lists.list(pool);
    return pool;
  }

  pools(): readonly PagePool[] {
    return this.#lists.all();
  }

  createFrag(): PagePoolFrag {
    return new PagePoolFrag();
  }

  createFragSource(pool: PagePool, mem: MemInfo): FragSource {
    return new PoolFragSource(pool, mem);
  }

  createStats(): PagePoolStats {
    return new PagePoolStats();
  }

  find(id: number): Pool | null {
    return this.#lists.find(id);
  }

  detached(pool: Pool): void {
    this.#lists.detached(pool);
  }

  unlist(pool: Pool): void {
    this.#lists.unlist(pool);
  }

  warnedOf(kind: string): boolean {
    const before = this.#warned.has(kind);
    this.#warned.add(kind);
    return before;
  }

  #gaveUp({ errno, why }: Refusal, params: PagePoolParams): number {
    this.#deps.kernel.reports.report("pp-create-failed", "warn", "page_pool", params.netdev?.name ?? "no netdev", `page_pool_create_percpu() gave up with errno ${errno}: ${why}`);
    return errno;
  }
}

export function createPagePools(deps: PagePoolDeps): PagePools {
  return new PagePoolFactory(deps);
}
