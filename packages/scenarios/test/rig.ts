import type { SharedRelease } from "@netmem/page-pool/api";
import { createMachine, type Machine, type MachineOptions } from "@netmem/machine";
import { DMA_FROM_DEVICE, GFP_ATOMIC, NET_IOV_DMABUF, NUMA_NO_NODE, PAGE_SIZE, type DmaDevice, type Netmem, type Page } from "@netmem/mm/api";
import type { SkBuff } from "@netmem/net-core/api";
import {
  PP_FLAG_ALLOW_UNREADABLE_NETMEM, PP_FLAG_DMA_MAP, PP_FLAG_DMA_SYNC_DEV, type MemoryProvider, type PagePool, type PagePoolParams,
} from "@netmem/page-pool/api";
import {
  ETHTOOL_TCP_DATA_SPLIT_ENABLED, MEM_TYPE_PAGE_POOL, NAPI_POLL_WEIGHT, type MemInfo, type NapiStruct, type NetDevice, type NetdevRxQueue,
} from "@netmem/xdp/api";
import { AreaProvider, type AreaProviderOptions } from "@netmem/testkit";
import { QueuePools } from "./queue-pools.ts";

/** A pool with its registration, ready to hand pages to skbs. */
export interface RigPool {
  readonly pool: PagePool;
  readonly mem: MemInfo;
  readonly provider: AreaProvider | null;
}

/**
 * A machine without a NIC: a DMA device, a NAPI whose poll runs what a test gives it, and pools, for tests that play
 * the driver themselves.
 */
export class Rig {
  readonly machine: Machine;
  readonly dma: DmaDevice;
  readonly dev: NetDevice;
  readonly napi: NapiStruct;
  readonly #work: (() => void)[] = [];

  constructor(options: MachineOptions = {}) {
    this.machine = createMachine({ nrPages: 1024, extraBytes: 64 * PAGE_SIZE, ...options });
    this.dma = this.machine.mm.attachDevice({ name: "rig", coherent: false, aperturePages: 4096 }).dma;
    const { net } = this.machine;
    this.dev = net.registerNetdev("rig0", 8);
    this.napi = net.napi.netifNapiAdd(this.dev, {
      poll: (napi) => {
        for (const work of this.#work.splice(0)) work();
        net.napi.napiCompleteDone(napi, 0);
        return 0;
      },
    }, NAPI_POLL_WEIGHT);
    net.napi.napiEnable(this.napi);
  }

  params(overrides: Partial<PagePoolParams> = {}): PagePoolParams {
    return {
      flags: PP_FLAG_DMA_MAP | PP_FLAG_DMA_SYNC_DEV, order: 0, poolSize: 256, nid: NUMA_NO_NODE, dev: this.dma, napi: this.napi,
      dmaDir: DMA_FROM_DEVICE, maxLen: PAGE_SIZE, offset: 0, netdev: null, ...overrides,
    };
  }

  /** A pool without a registration: created, or refused with an errno. */
  tryCreate(overrides: Partial<PagePoolParams> = {}, cpuid: number = -1): PagePool | number {
    return this.machine.pagePools.createPercpu(this.params(overrides), cpuid);
  }

  createPool(overrides: Partial<PagePoolParams> = {}, cpuid: number = -1): RigPool {
    const pool = this.tryCreate(overrides, cpuid);
    if (typeof pool === "number") throw new Error(`pool refused: ${pool}`);
    return { pool, mem: this.#register(pool, this.#freeQueue()), provider: null };
  }

  /** A pool of device memory, `count` net_iovs, on a queue bound to a provider. */
  createDevicePool(count: number, options: AreaProviderOptions = {}): RigPool {
    const provider = new AreaProvider(this.machine.mm.createNetIovArea("device", NET_IOV_DMABUF, count, false), options);
    const queue = this.#freeQueue();
    const pool = this.bind(provider, queue.index);
    if (typeof pool === "number") throw new Error(`provider refused: ${pool}`);
    return { pool, mem: this.#register(pool, queue), provider };
  }

  /** Binds a provider to a queue whose driver makes one pool for it: that pool, or why not. */
  bind(provider: MemoryProvider, queueIndex: number, overrides: Partial<PagePoolParams> = {}): PagePool | number {
    const { dev, machine } = this;
    dev.up = true;
    dev.hdsConfig = ETHTOOL_TCP_DATA_SPLIT_ENABLED;
    const queues = new QueuePools(machine.pagePools, (queueIdx) => this.params({
      flags: PP_FLAG_DMA_MAP | PP_FLAG_DMA_SYNC_DEV | PP_FLAG_ALLOW_UNREADABLE_NETMEM, napi: null, netdev: dev, queueIdx, ...overrides,
    }));
    dev.queueMgmtOps = queues;
    const errno = machine.pagePools.providers.openRxq(dev, queueIndex, provider);
    return errno === 0 ? queues.running(queueIndex)! : errno;
  }

  #freeQueue(): NetdevRxQueue {
    return this.dev.rxQueues.find(({ xdpRxq }) => xdpRxq.mem.id === 0)!;
  }

  #register(pool: PagePool, { xdpRxq, index }: NetdevRxQueue): MemInfo {
    const { rxqs } = this.machine.xdp;
    rxqs.xdpRxqInfoReg(xdpRxq, this.dev, index);
    if (rxqs.xdpRxqInfoRegMemModel(xdpRxq, MEM_TYPE_PAGE_POOL, pool) !== 0) throw new Error("registration refused");
    return xdpRxq.mem;
  }

  /** Drops both users of a pool: the creator and the registration. */
  destroyPool({ pool }: RigPool): void {
    // As a driver does: its poll is off before its pool goes.
    this.machine.net.napi.napiDisable(this.napi);
    const queue = this.dev.rxQueues.find((candidate) => candidate.xdpRxq.mem.id === pool.memId)!;
    this.machine.xdp.rxqs.xdpRxqInfoUnreg(queue.xdpRxq);
    pool.destroy();
    this.machine.net.napi.napiEnable(this.napi);
  }

  page(from: RigPool): Page {
    return from.pool.allocPages(GFP_ATOMIC)!;
  }

  /** A recycling skb: pool head, and one frag for each netmem given, 100 bytes of it. */
  recyclingSkb(from: RigPool, frags: readonly { readonly netmem: Netmem; readonly mem: MemInfo }[] = []): SkBuff {
    const { lifetime, recycle, edit } = this.machine.net;
    const head = this.page(from);
    const skb = lifetime.napiBuildSkb(head, PAGE_SIZE)!;
    recycle.skbMarkForRecycle(skb, head, from.mem);
    edit.skbReserve(skb, 64);
    edit.skbPut(skb, 60);
    for (const { netmem, mem } of frags) {
      edit.skbAddRxFrag(skb, netmem, 0, 100, PAGE_SIZE);
      recycle.storeMemInfo(netmem, mem);
    }
    return skb;
  }

  /** A recycling skb with a head kmalloc'ed by the driver and pool frags: what a header-split or striding NIC makes. */
  slabHeadSkb(frags: readonly { readonly netmem: Netmem; readonly mem: MemInfo | null }[]): SkBuff {
    const { lifetime, recycle, edit } = this.machine.net;
    const skb = lifetime.allocSkb(256, GFP_ATOMIC)!;
    edit.skbPut(skb, 60);
    for (const { netmem, mem } of frags) {
      edit.skbAddRxFrag(skb, netmem, 0, 100, PAGE_SIZE);
      if (mem === null) continue;
      if (skb.ppRecycle) recycle.storeMemInfo(netmem, mem);
      else recycle.skbMarkForRecycle(skb, netmem, mem);
    }
    return skb;
  }

  clone(skb: SkBuff): SkBuff {
    return this.machine.net.lifetime.skbClone(skb, GFP_ATOMIC)!;
  }

  free(skb: SkBuff): void {
    this.machine.net.lifetime.consumeSkb(skb);
  }

  /** Runs `work` in the poll of the rig's NAPI: softirq, `listOwner` = this CPU. */
  inPoll(work: () => void): void {
    this.#work.push(work);
    this.machine.net.napi.napiSchedule(this.napi);
    this.machine.kernel.scheduler.runFor(0);
  }

  /** Runs `work` in softirq on `cpu`, outside any poll. */
  inSoftirq(cpu: number, work: () => void): void {
    const { timers, scheduler } = this.machine.kernel;
    timers.modTimer(timers.timerSetup(work, cpu), 0);
    scheduler.runFor(0);
  }

  reportKinds(): string[] {
    return this.machine.kernel.reports.reports.map((report) => report.kind);
  }
}

/** `2/1`: page references and pool-aware references, as the specification writes them. */
export function refs(netmem: Netmem): string {
  return `${netmem.isNetIov ? 1 : netmem.refcount}/${netmem.ppRefCount}`;
}

export const POLICIES: readonly SharedRelease[] = ["leave-pool", "last-reference", "pp-ref-count"];
