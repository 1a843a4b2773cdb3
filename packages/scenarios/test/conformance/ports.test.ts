import { describe, expect, test } from "vitest";
import { createMachine, type Machine } from "@netmem/machine";
import type { MemoryModelDeps } from "@netmem/memory-model/api";
import { DmabufBinding } from "@netmem/memory-model-devmem";
import { NetgpuContext } from "@netmem/memory-model-netgpu";
import { ZcrxIfq } from "@netmem/memory-model-zcrx";
import { DMA_FROM_DEVICE, GFP_KERNEL, NET_IOV_DMABUF, NUMA_NO_NODE, PAGE_SHIFT, PAGE_SIZE, type NetIovArea, type Netmem, type Page } from "@netmem/mm/api";
import type { MemoryProvider, PagePool, ProviderPool } from "@netmem/page-pool/api";
import { AreaProvider, MEMORY_PROVIDER_RULES, MEM_MODEL_RULES, RETURN_PATH_RULES, memModelConformance, memoryProviderConformance, returnPathConformance, type ConformanceReport, type MemModelSubject, type MemoryProviderSubject, type ReturnPathSubject } from "@netmem/testkit";
import { describeMemModel, describeMemoryProvider, describeReturnPath } from "@netmem/testkit/vitest";
import type { MemModel, NetDevice, NetdevRxQueue, NetmemReturn, ReturnPathName } from "@netmem/xdp/api";

const QUICK = { randomCases: 0 };

function broken({ outcomes }: ConformanceReport): string[] {
  return outcomes.filter(({ status }) => status === "broken").map(({ id }) => id);
}

// Providers.

/** Users' areas are made by the model's own kit: an area provider gets one out of it. */
function areaOf(deps: MemoryModelDeps, buffers: number): NetIovArea {
  return deps.areas.create("area", NET_IOV_DMABUF, buffers, false).area;
}

function areaProvider(name: string, make: (area: NetIovArea) => AreaProvider): MemoryProviderSubject {
  return { name, create: (deps, _dev, buffers) => {
    const provider = make(areaOf(deps, buffers));
    return { provider, areas: () => [provider.area], free: () => provider.free.length };
  } };
}

const PROVIDERS: readonly MemoryProviderSubject[] = [
  areaProvider("testkit's", (area) => new AreaProvider(area, { syncs: false })),
  { name: "devmem", create: (deps, _dev, buffers) => {
    const provider = new DmabufBinding(deps, 1, buffers);
    return { provider, areas: () => [provider.provided.area], free: () => provider.provided.free() };
  } },
  { name: "zcrx", create: (deps, dev, buffers) => {
    const provider = new ZcrxIfq(deps, dev, 0, buffers, 256);
    return { provider, areas: () => [provider.provided.area], free: () => provider.provided.free() };
  } },
  { name: "netgpu", create: (deps, dev, buffers) => {
    const context = new NetgpuContext(deps);
    const start = context.attachRegion(buffers);
    const provider = context.prepareQueue(dev, 0, 256);
    for (let i = 0; i < buffers; i++) provider.fill.push(start + (i << PAGE_SHIFT), PAGE_SIZE);
    const { provided } = context.areas[0]!;
    return { provider, areas: () => [provided.area], free: () => provided.free() };
  } },
];
for (const subject of PROVIDERS) describeMemoryProvider(subject);

class Mutant extends AreaProvider {
  constructor(area: NetIovArea) {
    super(area, { syncs: false });
  }
}

describe("mutants of a provider", () => {
  const MUTANTS: readonly [string, string, (area: NetIovArea) => AreaProvider][] = [
    ["P1", "takes any pool, whatever its pages are", (area) => new (class extends Mutant {
      override init(pool: ProviderPool): number {
        return super.init(pool.params.order === 0 ? pool : { ...pool, niovSetDmaAddr: pool.niovSetDmaAddr, params: { ...pool.params, order: 0 } });
      }
    })(area)],
    ["P2", "gives the first one without counting it", (area) => new (class extends Mutant {
      override allocNetmems(pool: ProviderPool, gfp: number): Netmem | null {
        const niov = this.free.pop() ?? null;
        void gfp;
        void pool;
        return niov;
      }
    })(area)],
    ["P3", "fills the cache beyond its room", (area) => new (class extends Mutant {
      override allocNetmems(pool: ProviderPool, _gfp: number): Netmem | null {
        let first: Netmem | null = null;
        for (let niov = this.free.pop(); niov !== undefined; niov = this.free.pop()) {
          pool.niovSetPagePool(niov);
          if (first === null) first = niov;
          else if (!pool.netmemPlaceInCache(niov)) break;
        }
        return first;
      }
    })(area)],
    ["P4", "says that it has none while it has some", (area) => new (class extends Mutant {
      override allocNetmems(pool: ProviderPool, gfp: number): Netmem | null {
        return this.free.length < 5 ? null : super.allocNetmems(pool, gfp);
      }
    })(area)],
    ["P5", "forgets what a pool gives up", (area) => new (class extends Mutant {
      override releaseNetmem(pool: ProviderPool, netmem: Netmem): boolean {
        if (netmem.isNetIov) pool.niovClearPagePool(netmem);
        return false;
      }
    })(area)],
    ["P6", "keeps its mappings when the last pool is gone", (area) => new (class extends Mutant {
      override destroy(pool: ProviderPool): void {
        this.pools.splice(this.pools.indexOf(pool), 1);
      }
    })(area)],
    ["P7", "stays bound to a device that is gone", (area) => new (class extends Mutant {
      override uninstall(_queue: NetdevRxQueue): void {}
    })(area)],
  ];

  test.each(MUTANTS)("%s: %s", (rule, _mistake, make) => {
    expect(broken(memoryProviderConformance(areaProvider("mutant", make), QUICK))).toContain(rule);
  });

  test("there is one for each rule", () => {
    expect(MUTANTS.map(([rule]) => rule)).toEqual(MEMORY_PROVIDER_RULES.map(({ id }) => id));
  });
});

// Memory models of XDP.

function pagePool(name: string, wrap: (pool: PagePool, machine: Machine) => MemModel): MemModelSubject {
  return { name, create: (machine) => {
    const pool = machine.pagePools.create({ flags: 0, order: 0, poolSize: 64, nid: NUMA_NO_NODE, dev: null, napi: null, dmaDir: DMA_FROM_DEVICE, maxLen: PAGE_SIZE, offset: 0, netdev: null }) as PagePool;
    return { model: wrap(pool, machine), alloc: () => pool.allocNetmems(GFP_KERNEL), out: () => pool.inflight() - pool.cacheCount - pool.ringCount(), destroy: () => pool.destroy() };
  } };
}

describeMemModel(pagePool("page_pool", (pool) => pool));

describe("mutants of a memory model", () => {
  /** The pool with some of its members as they should not be. */
  const mutated = (pool: PagePool, members: Partial<MemModel>): MemModel => ({
    memType: pool.memType, get memId() { return pool.memId; },
    returnNetmem: (netmem, direct) => pool.returnNetmem(netmem, direct), returnSkbNetmem: (netmem, safe) => pool.returnSkbNetmem(netmem, safe), refSkbNetmem: (netmem) => pool.refSkbNetmem(netmem),
    returnNetmemBulk: (netmems, count) => pool.returnNetmemBulk(netmems, count), releaseNetmem: (netmem) => pool.releaseNetmem(netmem),
    useXdpMem: (id, disconnect) => pool.useXdpMem(id, disconnect), unuseXdpMem: () => pool.unuseXdpMem(), ...members,
  });
  const MUTANTS: readonly [string, string, (pool: PagePool, machine: Machine) => MemModel][] = [
    ["A1", "forgets what skbs return", (pool) => mutated(pool, { returnSkbNetmem: () => undefined })],
    ["A2", "counts no further holders", (pool) => mutated(pool, { refSkbNetmem: () => undefined })],
    ["A3", "returns all but the last of a bulk", (pool) => mutated(pool, { returnNetmemBulk: (netmems, count) => pool.returnNetmemBulk(netmems, count - 1) })],
    ["A4", "takes the caller's reference with a page that is let go of", (pool, machine) => mutated(pool, { releaseNetmem: (netmem) => {
      pool.releaseNetmem(netmem);
      machine.mm.pages.putPage(netmem as Page);
    } })],
    ["A5", "never says that it is gone", (pool) => mutated(pool, { useXdpMem: (id) => pool.useXdpMem(id, () => undefined) })],
  ];

  test.each(MUTANTS)("%s: %s", (rule, _mistake, wrap) => {
    expect(broken(memModelConformance(pagePool("mutant", wrap), QUICK))).toContain(rule);
  });

  test("there is one for each rule", () => {
    expect(MUTANTS.map(([rule]) => rule)).toEqual(MEM_MODEL_RULES.map(({ id }) => id));
  });
});

// Return paths.

function returnPath(name: ReturnPathName, wrap: (path: NetmemReturn) => NetmemReturn = (path) => path): ReturnPathSubject {
  return { name, create: () => {
    const machine = createMachine({ nrPages: 512, returnPath: name });
    return { machine, path: wrap(machine.xdp.netmemReturn) };
  } };
}

for (const name of ["mem-info", "pool-pointer"] as const) describeReturnPath(returnPath(name));

test("skb-mem-info, which the thread rejected, breaks T4: pages of two pools in one skb all go to one of them", () => {
  const report = returnPathConformance(returnPath("skb-mem-info"), QUICK);
  expect(broken(report)).toContain("T4");
  expect(report.outcomes.find(({ id }) => id === "T1")!.status).toBe("holds");
});

describe("mutants of a return path", () => {
  const MUTANTS: readonly [string, string, (path: NetmemReturn) => NetmemReturn][] = [
    ["T1", "leaves everything to a plain put", (path) => ({ ...bound(path), tryReturn: () => false })],
    ["T2", "takes what is nobody's", (path) => ({ ...bound(path), tryReturn: (netmem, safe) => path.tryReturn(netmem, safe) || true })],
    ["T3", "says that nobody counts a further holder", (path) => ({ ...bound(path), tryRef: () => false })],
    ["T4", "takes all pages of an skb to the first one's owner", (path) => {
      let last: Netmem | null = null;
      return { ...bound(path), tryReturn: (netmem, safe) => {
        const first = last !== null && last.pp !== netmem.pp;
        last = netmem;
        return first ? true : path.tryReturn(netmem, safe);
      } };
    }],
  ];

  function bound(path: NetmemReturn): NetmemReturn {
    return {
      storeMemInfo: (netmem, mem) => path.storeMemInfo(netmem, mem), tryReturn: (netmem, safe) => path.tryReturn(netmem, safe), tryRef: (netmem) => path.tryRef(netmem),
      enterSkb: (type, id) => path.enterSkb(type, id), needsSkb: path.needsSkb,
    };
  }

  test.each(MUTANTS)("%s: %s", (rule, _mistake, wrap) => {
    expect(broken(returnPathConformance(returnPath("pool-pointer", wrap), QUICK))).toContain(rule);
  });

  test("there is one for each rule", () => {
    expect(MUTANTS.map(([rule]) => rule)).toEqual(RETURN_PATH_RULES.map(({ id }) => id));
  });
});

// So that a subject can be written from its types alone.
export type Provides = (deps: MemoryModelDeps, dev: NetDevice, buffers: number) => { readonly provider: MemoryProvider };
