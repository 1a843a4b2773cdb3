import { MAX_PAGE_ORDER, PAGE_SIZE } from "./api/index.ts";

/** Order of the smallest block that holds `bytes`; MAX_PAGE_ORDER + 1, which no allocator serves, if none does. @kernel get_order (include/asm-generic/getorder.h) */
export function getOrder(bytes: number): number {
  let order = 0;
  while (order <= MAX_PAGE_ORDER && PAGE_SIZE << order < bytes) order++;
  return order;
}
