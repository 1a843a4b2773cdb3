import { E2BIG, EINVAL, EOPNOTSUPP, UsageError } from "@netmem/kernel/api";
import { DMA_BIDIRECTIONAL, DMA_FROM_DEVICE, MAX_PAGE_ORDER, PAGE_SIZE } from "@netmem/mm/api";
import {
  PP_DEFAULT_RING_SIZE, PP_FLAG_ALL, PP_FLAG_ALLOW_UNREADABLE_NETMEM, PP_FLAG_DMA_MAP, PP_FLAG_DMA_SYNC_DEV, PP_MAX_RING_SIZE, PP_MAX_RING_SIZE_OLD,
  type PagePool, type PagePoolParams, type PagePools,
} from "./api/index.ts";
import { Pool, type PagePoolDeps } from "./pool.ts";

/** Creates and lists the pools of one machine. */
export class PagePoolFactory implements PagePools {
  readonly #deps: PagePoolDeps;
  readonly #pools = new Map<number, Pool>();
  #nextId = 1;

  constructor(deps: PagePoolDeps) {
    this.#deps = deps;
  }

  create(params: PagePoolParams): PagePool | number {
    return this.createPercpu(params, -1);
  }

  createPercpu(params: PagePoolParams, cpuid: number): PagePool | number {
    const { nrCpus } = this.#deps.kernel;
    if (!Number.isInteger(cpuid) || cpuid < -1 || cpuid >= nrCpus) throw new UsageError("page-pool", "cpuid", cpuid, `give -1 or a CPU from 0 to ${nrCpus - 1}`);
    checkNumbers(params);
    const ringSize = this.#ringSize(params.poolSize);
    const refused = ringSize < 0 ? ringSize : refusal(params);
    if (refused < 0) return this.#gaveUp(refused, params);
    const pool = new Pool(this.#nextId, params, cpuid, ringSize, this.#deps, (freed) => this.#pools.delete(freed.id));
    const providerError = pool.mp === null ? 0 : pool.mp.init(pool);
    if (providerError < 0) return this.#gaveUp(providerError, params);
    this.#nextId++;
    this.#pools.set(pool.id, pool);
    return pool;
  }

  pools(): readonly PagePool[] {
    return [...this.#pools.values()];
  }

  #ringSize(poolSize: number): number {
    if (poolSize === 0) return PP_DEFAULT_RING_SIZE;
    if (this.#deps.rules.clampsRing) return Math.min(poolSize, PP_MAX_RING_SIZE);
    return poolSize > PP_MAX_RING_SIZE_OLD ? -E2BIG : poolSize;
  }

  #gaveUp(errno: number, params: PagePoolParams): number {
    this.#deps.kernel.reports.report("pp-create-failed", "warn", "page_pool", params.netdev?.name ?? "no netdev", `page_pool_create_percpu() gave up with errno ${errno}`);
    return errno;
  }
}

/** What C's types already rule out, and what lies outside a buffer. */
function checkNumbers(params: PagePoolParams): void {
  for (const name of ["flags", "order", "poolSize", "maxLen", "offset"] as const) {
    const value = params[name];
    if (!Number.isInteger(value) || value < 0) throw new UsageError("page-pool", name, value, "give a whole number, 0 or more");
  }
  const { offset, maxLen, order } = params;
  if (order <= MAX_PAGE_ORDER && offset + maxLen > PAGE_SIZE << order) throw new UsageError("page-pool", "offset + maxLen", offset + maxLen, `stay within the ${PAGE_SIZE << order} bytes of a buffer`);
}

/** 0, or the errno of the first rule broken, in the kernel's order. @kernel page_pool_init (net/core/page_pool.c) */
function refusal(params: PagePoolParams): number {
  const { flags, dmaDir, dev } = params;
  if ((flags & ~PP_FLAG_ALL) !== 0) return -EINVAL;
  const map = (flags & PP_FLAG_DMA_MAP) !== 0;
  const sync = (flags & PP_FLAG_DMA_SYNC_DEV) !== 0;
  if (map && dmaDir !== DMA_FROM_DEVICE && dmaDir !== DMA_BIDIRECTIONAL) return -EINVAL;
  if (map && dev === null) return -EINVAL;
  if (sync && (!map || params.maxLen === 0)) return -EINVAL;
  const provider = params.memoryProvider ?? null;
  if (provider !== null) {
    if ((flags & PP_FLAG_ALLOW_UNREADABLE_NETMEM) === 0) return -EINVAL;
    return map && sync ? 0 : -EOPNOTSUPP;
  }
  return params.order > MAX_PAGE_ORDER ? -EINVAL : 0;
}

export function createPagePools(deps: PagePoolDeps): PagePools {
  return new PagePoolFactory(deps);
}
