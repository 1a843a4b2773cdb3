import { createMachine, PRESETS, pagePoolRules, type Machine, type MachineOptions, type PresetName } from "@netmem/machine";
import { DMA_FROM_DEVICE, GFP_ATOMIC, NUMA_NO_NODE, PAGE_SIZE, NET_IOV_DMABUF, type DmaDevice, type NetIov, type Netmem, type Page, type PageAllocator } from "@netmem/mm/api";
import { createPagePools } from "@netmem/page-pool";
import {
  PP_FLAG_ALLOW_UNREADABLE_NETMEM, PP_FLAG_DMA_MAP, PP_FLAG_DMA_SYNC_DEV, type MemoryProvider, type PagePool, type PagePoolParams, type PagePools,
} from "@netmem/page-pool/api";
import { ETHTOOL_TCP_DATA_SPLIT_ENABLED, type NapiStruct, type NetDevice } from "@netmem/xdp/api";
import { AreaProvider, type AreaProviderOptions } from "@netmem/testkit";
import { QueuePools } from "../queue-pools.ts";

/** A machine of two CPUs, each with a memory node of its own, a device, and pools whose driver the test plays. */
export class PoolBench {
  readonly machine: Machine;
  readonly dma: DmaDevice;
  readonly dev: NetDevice;
  readonly napi: NapiStruct;
  /** What the pools come from: the machine's own, or `overPages`. */
  pagePools: PagePools;
  #queues: QueuePools | null = null;
  /** What the pool of each queue is asked for beside the usual. */
  readonly #overrides: Partial<PagePoolParams>[] = [];

  constructor(preset: PresetName, options: MachineOptions = {}, coherent: boolean = false) {
    const zone = { name: "Normal", pages: 1024 } as const;
    this.machine = createMachine({
      preset, nrCpus: 2, cpuNodes: [0, 1], memory: { nodes: [{ zones: [zone] }, { zones: [zone] }], minFreePages: 0 }, extraBytes: 64 * PAGE_SIZE, traceEntries: 50_000, ...options,
    });
    this.dma = this.machine.mm.attachDevice({ name: "bench", coherent, aperturePages: 4096 }).dma;
    const { net } = this.machine;
    this.dev = net.registerNetdev("bench0", 4);
    this.napi = net.napi.netifNapiAdd(this.dev, { poll: () => 0 }, 64);
    this.pagePools = this.machine.pagePools;
  }

  params(overrides: Partial<PagePoolParams> = {}): PagePoolParams {
    return {
      flags: PP_FLAG_DMA_MAP | PP_FLAG_DMA_SYNC_DEV, order: 0, poolSize: 0, nid: NUMA_NO_NODE, dev: this.dma, napi: this.napi,
      dmaDir: DMA_FROM_DEVICE, maxLen: PAGE_SIZE, offset: 0, netdev: null, ...overrides,
    };
  }

  create(overrides: Partial<PagePoolParams> = {}, cpuid: number = -1): PagePool {
    const pool = this.pagePools.createPercpu(this.params(overrides), cpuid);
    if (typeof pool === "number") throw new Error(`refused with ${pool}`);
    return pool;
  }

  /** The errno of a creation, with the reports it made. */
  refusal(overrides: Partial<PagePoolParams>): { readonly errno: number | null; readonly kinds: readonly string[] } {
    const before = this.kinds().length;
    const pool = this.pagePools.create(this.params(overrides));
    return { errno: typeof pool === "number" ? pool : null, kinds: this.kinds().slice(before) };
  }

  /** The same rules over another page allocator. */
  overPages(preset: PresetName, pages: PageAllocator): void {
    const { kernel, mm, xdp } = this.machine;
    this.pagePools = createPagePools({ kernel, pages, words: mm.words, faults: mm.faults, notifiers: xdp.notifiers, probe: null, rules: pagePoolRules(PRESETS[preset], false) });
  }

  /** A provider over `count` net_iovs of device memory. */
  provider(count: number, options: AreaProviderOptions = {}): AreaProvider {
    return new AreaProvider(this.machine.mm.createNetIovArea("device", NET_IOV_DMABUF, count, false), options);
  }

  /** Binds it to queue 0: the pool its driver made, or why not. */
  bind(provider: MemoryProvider, overrides: Partial<PagePoolParams> = {}, queueIndex: number = 0): PagePool | number {
    const { dev } = this;
    dev.up = true;
    dev.hdsConfig = ETHTOOL_TCP_DATA_SPLIT_ENABLED;
    this.#overrides[queueIndex] = overrides;
    this.#queues ??= new QueuePools(this.pagePools, (queueIdx) => this.params({
      flags: PP_FLAG_DMA_MAP | PP_FLAG_DMA_SYNC_DEV | PP_FLAG_ALLOW_UNREADABLE_NETMEM, napi: null, netdev: dev, queueIdx, ...this.#overrides[queueIdx],
    }));
    dev.queueMgmtOps = this.#queues;
    const errno = this.pagePools.providers.openRxq(dev, queueIndex, provider);
    return errno === 0 ? this.#queues.running(queueIndex)! : errno;
  }

  /** `n` pages taken out of the pool, in softirq on `cpu`. */
  take(pool: PagePool, n: number, cpu: number = 0): Page[] {
    return this.softirq(cpu, () => Array.from({ length: n }, () => pool.allocPages(GFP_ATOMIC)!));
  }

  takeNiov(pool: PagePool): NetIov {
    const netmem = this.softirq(0, () => pool.allocNetmems(GFP_ATOMIC));
    if (netmem === null || !netmem.isNetIov) throw new Error("no net_iov");
    return netmem;
  }

  /** Runs `work` as softirq on `cpu`, outside any poll. */
  softirq<T>(cpu: number, work: () => T): T {
    const { timers, scheduler } = this.machine.kernel;
    const results: T[] = [];
    timers.modTimer(timers.timerSetup(() => void results.push(work()), cpu), 0);
    scheduler.runFor(0);
    return results[0]!;
  }

  /** Puts as the consumer would: in softirq on CPU 0, saying so. */
  putDirect(pool: PagePool, ...netmems: readonly Netmem[]): void {
    this.softirq(0, () => netmems.forEach((netmem) => pool.recycleDirect(netmem)));
  }

  /** What the tracepoints said, without CPU and time. */
  trace(...names: readonly string[]): string[] {
    return this.machine.kernel.trace!.lines().map((line) => line.replace(/^\S+ \S+ /, "")).filter((line) => names.length === 0 || names.some((name) => line.startsWith(`${name}:`)));
  }

  kinds(): string[] {
    return this.machine.kernel.reports.reports.map((report) => report.kind);
  }

  freePages(): number {
    return this.machine.mm.pages.freePages();
  }
}

/** `1/1`: page references and pool-aware ones. */
export function refs(netmem: Netmem): string {
  return `${netmem.isNetIov ? 1 : netmem.refcount}/${netmem.ppRefCount}`;
}
