import { checkNid } from "./create.ts";
import { warn } from "./misuse.ts";
import type { Pool } from "./pool.ts";

/** @kernel page_pool_update_nid (net/core/page_pool.c) */
export function updateNid(pool: Pool, nid: number): void {
  checkNid(nid, pool.registry.nrNodes);
  if (pool.dead) {
    warn(pool, "pp-use-after-destroy", `moved to node ${nid} after it was freed`);
    return;
  }
  if (pool.probe !== null) pool.probe.updateNid(pool, pool.nid, nid);
  pool.nid = nid;
  // A refill looks at nodes, a pop from the cache does not.
  while (pool.cacheCount > 0) pool.giveBack(pool.cache[--pool.cacheCount]!);
}
