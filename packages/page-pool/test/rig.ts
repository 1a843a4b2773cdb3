import { createKernel } from "@netmem/kernel";
import { CONTEXT_PROCESS, CONTEXT_SOFTIRQ, type ExecutionContext, type Kernel } from "@netmem/kernel/api";
import { createMm, type MmOptions } from "@netmem/mm";
import { DMA_FROM_DEVICE, GFP_ATOMIC, NUMA_NO_NODE, PAGE_SIZE, PP_SIGNATURE, type DmaDevice, type Mm, type Netmem, type Page, type PageAllocator } from "@netmem/mm/api";
import { XDP_OPTIONS_6_18, createXdp } from "@netmem/xdp";
import { MIN_NAPI_ID, type MemRegistry, type NapiStruct, type NetDevice, type NetdeviceNotifiers, type XdpStructs } from "@netmem/xdp/api";
import { PAGE_POOL_DATES_6_18, createPagePools, type PagePoolRules } from "../src/index.ts";
import { PP_FLAG_DMA_MAP, PP_FLAG_DMA_SYNC_DEV, type PagePool, type PagePoolParams, type PagePoolProbe, type PagePools } from "../src/api/index.ts";

export const RULES_6_18: PagePoolRules = {
  ...PAGE_POOL_DATES_6_18,
  sharedRelease: "pp-ref-count", signature: PP_SIGNATURE, ownSignatureWord: false, stampsOwnerAtAlloc: true, preemptRt: false, dmaAddrInPages: false,
};

/** page_pool over a real mm, with a page allocator that can be told to run short. */
export class PoolRig {
  readonly kernel: Kernel;
  readonly mm: Mm;
  readonly dma: DmaDevice;
  readonly pools: PagePools;
  readonly structs: XdpStructs;
  readonly registry: MemRegistry;
  readonly notifiers: NetdeviceNotifiers;
  readonly dev: NetDevice;
  /** Never added to its device. */
  readonly napi: NapiStruct;
  /** Pages a bulk request may get at most. */
  bulkLimit = Infinity;
  /** What the last bulk request was asked with. */
  bulkGfp = 0;
  /** Trace of the probe, `hold 5`, `release 1`, `pool 0 64 64 1`. */
  readonly events: string[] = [];
  /** By release: whether the pool's mark was still on. */
  readonly markedAtRelease: boolean[] = [];

  constructor(rules: Partial<PagePoolRules> = {}, options: { readonly nrPages?: number; readonly minFreePages?: number; readonly aperturePages?: number; readonly coherent?: boolean; readonly extraBytes?: number; readonly nodes?: NonNullable<MmOptions["nodes"]> } = {}) {
    this.kernel = createKernel({ nrCpus: 2, seed: 1, reports: "collect", ...(options.nodes === undefined ? {} : { cpuNodes: [0, 1] }) });
    this.mm = createMm(this.kernel, { ...(options.nodes === undefined ? { nrPages: options.nrPages ?? 512 } : { nodes: options.nodes }), minFreePages: options.minFreePages ?? 0, extraBytes: options.extraBytes ?? 0 });
    this.dma = this.mm.attachDevice({ name: "rig", coherent: options.coherent ?? false, aperturePages: options.aperturePages ?? 1024 }).dma;
    const { structs, registry, notifiers } = createXdp(this.kernel, this.mm, XDP_OPTIONS_6_18);
    this.structs = structs;
    this.registry = registry;
    this.notifiers = notifiers;
    this.dev = structs.createNetDevice("rig0", 2, 1);
    this.napi = structs.createNapi(this.dev, { poll: () => 0 }, 64);
    const { pages } = this.mm;
    const limited: PageAllocator = new Proxy(pages, {
      get: (target, name: keyof PageAllocator) => {
        if (name === "allocPagesBulk") return (gfp: number, nid: number, n: number, out: (Page | null)[]) => pages.allocPagesBulk(this.bulkGfp = gfp, nid, Math.min(n, this.bulkLimit), out);
        const member = target[name];
        return typeof member === "function" ? (member as (...args: unknown[]) => unknown).bind(target) : member;
      },
    });
    const probe: PagePoolProbe = {
      stateHold: (_pool, _netmem, hold) => void this.events.push(`hold ${hold}`),
      stateRelease: (_pool, netmem, release) => {
        this.events.push(`release ${release}`);
        this.markedAtRelease.push(netmem.poolState !== 0);
      },
      release: (_pool, inflight, hold, release, cnt) => void this.events.push(`pool ${inflight} ${hold} ${release} ${cnt}`),
      updateNid: (_pool, poolNid, newNid) => void this.events.push(`nid ${poolNid} ${newNid}`),
    };
    this.pools = createPagePools({ kernel: this.kernel, pages: limited, words: this.mm.words, faults: this.mm.faults, notifiers: this.notifiers, probe, rules: { ...RULES_6_18, ...rules } });
  }

  params(overrides: Partial<PagePoolParams> = {}): PagePoolParams {
    return {
      flags: PP_FLAG_DMA_MAP | PP_FLAG_DMA_SYNC_DEV, order: 0, poolSize: 0, nid: NUMA_NO_NODE, dev: this.dma, napi: this.napi,
      dmaDir: DMA_FROM_DEVICE, maxLen: PAGE_SIZE, offset: 0, netdev: null, ...overrides,
    };
  }

  create(overrides: Partial<PagePoolParams> = {}, cpuid: number = -1): PagePool {
    const pool = this.pools.createPercpu(this.params(overrides), cpuid);
    if (typeof pool === "number") throw new Error(`refused with ${pool}`);
    return pool;
  }

  /** `n` pages taken out of the pool. */
  take(pool: PagePool, n: number): Page[] {
    return Array.from({ length: n }, () => pool.allocPages(GFP_ATOMIC)!);
  }

  /** An instance as netif_napi_add leaves it, but enabled. */
  addNapi(): NapiStruct {
    return Object.assign(this.structs.createNapi(this.dev, { poll: () => 0 }, 64), { napiId: MIN_NAPI_ID });
  }

  /** Runs `work` as softirq on `cpu`. */
  softirq<T>(cpu: number, work: () => T): T {
    const context: ExecutionContext = this.kernel.context;
    context.cpu = cpu;
    context.node = this.kernel.cpuNodes[cpu]!;
    context.level = CONTEXT_SOFTIRQ;
    const result = work();
    context.cpu = 0;
    context.node = this.kernel.cpuNodes[0]!;
    context.level = CONTEXT_PROCESS;
    return result;
  }

  kinds(): string[] {
    return this.kernel.reports.reports.map((report) => report.kind);
  }
}

/** A page's references, `1/1`. */
export function refs(netmem: Netmem): string {
  return `${netmem.isNetIov ? 1 : netmem.refcount}/${netmem.ppRefCount}`;
}
