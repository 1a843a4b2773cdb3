import { UsageError } from "@netmem/kernel/api";
import { netmemCompoundHead, type Netmem } from "@netmem/mm/api";
import { XDP_BULK_QUEUE_SIZE } from "@netmem/xdp/api";
import { refusePut, warn } from "./misuse.ts";
import type { Pool } from "./pool.ts";
import { unrefNetmem } from "./refs.ts";
import type { PoolRegistry } from "./state.ts";

/**
 * Every entry loses a holder; those without any further one go home, pool by pool, each pool's in one batch.
 * @kernel page_pool_put_netmem_bulk (net/core/page_pool.c)
 */
export function putNetmemBulk(pool: Pool, netmems: (Netmem | null)[], count: number): void {
  if (!Number.isInteger(count) || count < 0 || count > netmems.length) throw new UsageError("page-pool", "count of a bulk put", count, `give 0 to ${netmems.length}, the entries there are`);
  // Before anything is dropped: a bulk is refused as a whole.
  for (let i = 0; i < count; i++) if (netmems[i] === null) throw new UsageError("page-pool", `entry ${i} of a bulk put`, null, "give netmems");
  if (count > XDP_BULK_QUEUE_SIZE) {
    warn(pool, "pp-bulk-size", `a bulk put of ${count}, with room for ${XDP_BULK_QUEUE_SIZE}: put in parts`);
    for (let start = 0; start < count; start += XDP_BULK_QUEUE_SIZE) {
      const part = netmems.slice(start, start + XDP_BULK_QUEUE_SIZE);
      putNetmemBulk(pool, part, Math.min(part.length, count - start));
    }
    return;
  }
  let left = dropHolders(pool, netmems, count);
  while (left > 0) left = putRound(netmems, left, pool.registry);
}

/** Compacts the entries that have no holder any more to the front, and answers how many they are. */
function dropHolders(pool: Pool, netmems: (Netmem | null)[], count: number): number {
  let left = 0;
  for (let i = 0; i < count; i++) {
    const netmem = netmemCompoundHead(netmems[i]!);
    const owner = ownerOf(pool, netmem);
    if (owner === null || netmem.poolState !== owner.outState) {
      refusePut(owner ?? pool, netmem, "put in bulk");
      continue;
    }
    if (owner.waitsForLastReference && owner.stepsBack(netmem)) continue;
    if (netmem.ppRefCount !== 1 && unrefNetmem(owner, netmem, 1) !== 0) continue;
    netmems[left++] = netmem;
  }
  return left;
}

/** This pool, or, where a bulk may mix pools, the one that has the netmem. */
function ownerOf(pool: Pool, netmem: Netmem): Pool | null {
  return netmem.poolState === pool.outState || !pool.rules.bulkMixesPools ? pool : pool.registry.find(netmem.poolState >> 1);
}

/** Puts those of the first entry's pool; compacts the others to the front and answers how many they are. */
function putRound(netmems: (Netmem | null)[], count: number, registry: PoolRegistry): number {
  // It has this netmem out, so it is alive.
  const pool = registry.find(netmems[0]!.poolState >> 1)!;
  const direct = pool.isLocal();
  const { candidates } = pool;
  let foreign = 0;
  let bulk = 0;
  for (let i = 0; i < count; i++) {
    const netmem = netmems[i]!;
    if (netmem.poolState === pool.outState) {
      if (pool.keepOrRelease(netmem, -1, direct)) {
        candidates[bulk++] = netmem;
        // Until it is in the ring: the same one a second time is a double put.
        netmem.poolState = pool.outState + 1;
      }
    } else if (netmem.poolState >> 1 === pool.id || netmem.poolState === 0) refusePut(pool, netmem, "put twice in one bulk");
    else netmems[foreign++] = netmem;
  }
  if (bulk > 0) produceBulk(pool, bulk);
  return foreign;
}

/** One `ring_full` for all that the ring refuses. @kernel page_pool_recycle_ring_bulk */
function produceBulk(pool: Pool, count: number): void {
  const { candidates, recycleStats } = pool;
  let i = 0;
  while (i < count && pool.produce(candidates[i]!)) i++;
  recycleStats.ring += i;
  if (i === count) return;
  recycleStats.ringFull++;
  for (; i < count; i++) pool.giveBack(candidates[i]!);
}
