import { PAGE_SIZE } from "../api/index.ts";
import { getOrder } from "../get-order.ts";

/** @kernel kmalloc_info (mm/slab_common.c): the general-purpose caches */
export const BUCKETS = [8, 16, 32, 64, 96, 128, 192, 256, 512, 1024, 2048, 4096, 8192] as const;
export const LARGEST = 8192;

/** Bytes that a request of so many really gets; what no block can hold is not rounded. @kernel kmalloc_size_roundup */
export function kmallocSizeRoundup(sizeBytes: number): number {
  if (sizeBytes > LARGEST) return Math.max(sizeBytes, PAGE_SIZE << getOrder(sizeBytes));
  let bucket = 0;
  while (BUCKETS[bucket]! < sizeBytes) bucket++;
  return BUCKETS[bucket]!;
}
