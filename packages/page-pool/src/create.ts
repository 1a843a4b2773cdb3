import { E2BIG, EFAULT, EINVAL, ENOMEM, EOPNOTSUPP, UsageError } from "@netmem/kernel/api";
import { DMA_BIDIRECTIONAL, DMA_FROM_DEVICE, MAX_PAGE_ORDER, NUMA_NO_NODE, PAGE_SIZE, type FaultGate } from "@netmem/mm/api";
import type { QueueMemoryProvider } from "@netmem/xdp/api";
import {
  PP_DEFAULT_RING_SIZE, PP_FLAG_ALL, PP_FLAG_ALLOW_UNREADABLE_NETMEM, PP_FLAG_DMA_MAP, PP_FLAG_DMA_SYNC_DEV, PP_FLAG_SYSTEM_POOL, PP_MAX_RING_SIZE, PP_MAX_RING_SIZE_OLD,
  type PagePoolParams,
} from "./api/index.ts";
import type { PagePoolRules } from "./rules.ts";

/** Bytes of `struct page_pool` and of one CPU's recycle counters, as a fault point with `space` weighs them. */
const POOL_BYTES = 2048;
const RECYCLE_STATS_BYTES = 40;
const RING_SLOT_BYTES = 8;

/** Why a pool is not created: an errno, and what is wrong with which parameter. */
export interface Refusal {
  readonly errno: number;
  readonly why: string;
}

/** What C's types already rule out, and what lies outside a buffer or a machine. */
export function checkTypes(params: PagePoolParams, cpuid: number, nrCpus: number, nrNodes: number): void {
  if (!Number.isInteger(cpuid) || cpuid < -1 || cpuid >= nrCpus) throw new UsageError("page-pool", "cpuid", cpuid, `give -1 or a CPU from 0 to ${nrCpus - 1}`);
  for (const name of ["flags", "order", "poolSize", "maxLen", "offset"] as const) {
    const value = params[name];
    if (!Number.isInteger(value) || value < 0 || value > 0xffff_ffff) throw new UsageError("page-pool", name, value, "give a whole number from 0 to 2^32 - 1");
  }
  const { offset, maxLen, order, nid, queueIdx = 0 } = params;
  checkNid(nid, nrNodes);
  if ((params.flags & PP_FLAG_DMA_SYNC_DEV) !== 0 && order <= MAX_PAGE_ORDER && offset + maxLen > PAGE_SIZE << order) throw new UsageError("page-pool", "offset + maxLen", offset + maxLen, `stay within the ${PAGE_SIZE << order} bytes of a buffer`);
  if ((params.flags & PP_FLAG_DMA_MAP) !== 0 && params.dev === null) throw new UsageError("page-pool", "dev", null, "PP_FLAG_DMA_MAP needs the device to map for");
  if ((params.flags & PP_FLAG_ALLOW_UNREADABLE_NETMEM) === 0) return;
  if (params.netdev === null) throw new UsageError("page-pool", "netdev", null, "PP_FLAG_ALLOW_UNREADABLE_NETMEM needs the device whose queue may have a provider");
  if (params.netdev.rxQueues[queueIdx] === undefined) throw new UsageError("page-pool", "queueIdx", queueIdx, `${params.netdev.name} has queues 0 to ${params.netdev.rxQueues.length - 1}`);
}

export function checkNid(nid: number, nrNodes: number): void {
  if (!Number.isInteger(nid) || nid < NUMA_NO_NODE || nid >= nrNodes) throw new UsageError("page-pool", "nid", nid, `give a memory node from 0 to ${nrNodes - 1}, or NUMA_NO_NODE`);
}

/** The first rule broken, in the kernel's order, up to what needs memory; null for none. @kernel page_pool_init (net/core/page_pool.c) */
export function refusal(params: PagePoolParams, rules: PagePoolRules): Refusal | null {
  const { flags, dmaDir, poolSize, maxLen } = params;
  const known = rules.hasSystemPools ? PP_FLAG_ALL : PP_FLAG_ALL & ~PP_FLAG_SYSTEM_POOL;
  const unknown = flags & ~known;
  if (unknown !== 0) return { errno: -EINVAL, why: `flags = 0x${flags.toString(16)}: 0x${unknown.toString(16)} is no PP_FLAG of this kernel` };
  if (!rules.clampsRing && poolSize > PP_MAX_RING_SIZE_OLD) return { errno: -E2BIG, why: `poolSize = ${poolSize}: at most ${PP_MAX_RING_SIZE_OLD}` };
  const map = (flags & PP_FLAG_DMA_MAP) !== 0;
  if (map && dmaDir !== DMA_FROM_DEVICE && dmaDir !== DMA_BIDIRECTIONAL) return { errno: -EINVAL, why: `dmaDir = ${dmaDir}: PP_FLAG_DMA_MAP takes DMA_FROM_DEVICE or DMA_BIDIRECTIONAL` };
  if ((flags & PP_FLAG_DMA_SYNC_DEV) === 0) return null;
  if (!map) return { errno: -EINVAL, why: `flags = 0x${flags.toString(16)}: PP_FLAG_DMA_SYNC_DEV needs PP_FLAG_DMA_MAP` };
  if (maxLen === 0) return { errno: -EINVAL, why: "maxLen = 0: PP_FLAG_DMA_SYNC_DEV needs the bytes to sync" };
  return null;
}

export function ringSize(poolSize: number, rules: PagePoolRules): number {
  if (poolSize === 0) return PP_DEFAULT_RING_SIZE;
  return rules.clampsRing ? Math.min(poolSize, PP_MAX_RING_SIZE) : poolSize;
}

/** The pool's own memory costs no page of the machine's, but may fail like any other. True: it does. */
export function structFails(failSlab: FaultGate): boolean {
  return failSlab.armed && failSlab.shouldFail(0, POOL_BYTES);
}

/** The same for its counters and ring. */
export function partsFail(params: PagePoolParams, rules: PagePoolRules, nrCpus: number, failSlab: FaultGate): Refusal | null {
  if (!failSlab.armed) return null;
  const system = (params.flags & PP_FLAG_SYSTEM_POOL) !== 0;
  if (!system && failSlab.shouldFail(0, RECYCLE_STATS_BYTES * nrCpus)) return { errno: -ENOMEM, why: "no memory for its recycle counters" };
  const slots = ringSize(params.poolSize, rules);
  return failSlab.shouldFail(0, slots * RING_SLOT_BYTES) ? { errno: -ENOMEM, why: `poolSize = ${params.poolSize}: no memory for a ring of ${slots}` } : null;
}

/**
 * What comes after memory: a provider wants a pool that maps and syncs, and must have its operations; pages must be such as the
 * page allocator has. The order is checked by kernels after 6.18; earlier ones create the pool, and it never gets a page.
 */
export function lateRefusal(params: PagePoolParams): Refusal | null {
  const { flags, order, queueIdx = 0 } = params;
  const provider = queueProvider(params);
  if (provider === null) return order > MAX_PAGE_ORDER ? { errno: -EINVAL, why: `order = ${order}: at most ${MAX_PAGE_ORDER}` } : null;
  const both = PP_FLAG_DMA_MAP | PP_FLAG_DMA_SYNC_DEV;
  if ((flags & both) !== both) return { errno: -EOPNOTSUPP, why: `flags = 0x${flags.toString(16)}: a memory provider needs PP_FLAG_DMA_MAP and PP_FLAG_DMA_SYNC_DEV` };
  return "init" in provider ? null : { errno: -EFAULT, why: `queueIdx = ${queueIdx}: what is bound to that queue has not the operations of a memory provider` };
}

/** What is bound to the queue a pool is for, if its driver allows it. */
export function queueProvider({ flags, netdev, queueIdx = 0 }: PagePoolParams): QueueMemoryProvider | null {
  return (flags & PP_FLAG_ALLOW_UNREADABLE_NETMEM) === 0 ? null : netdev!.rxQueues[queueIdx]!.memoryProvider;
}
