import { warn } from "./misuse.ts";
import type { Pool } from "./pool.ts";

/**
 * Serial arithmetic on counters that wrap at 2^32. Strict: trace it, and report a negative count; else clamp at 0.
 * @kernel page_pool_inflight (net/core/page_pool.c)
 */
export function inflight(pool: Pool, strict: boolean): number {
  const distance = (pool.holdCnt - pool.releaseCnt) | 0;
  if (!strict) return Math.max(0, distance);
  if (pool.probe !== null) pool.probe.release(pool, distance, pool.holdCnt >>> 0, pool.releaseCnt >>> 0, pool.destroyCnt);
  if (distance < 0) warn(pool, "pp-negative-inflight", `Negative(${distance}) inflight packet-pages`);
  return distance;
}
