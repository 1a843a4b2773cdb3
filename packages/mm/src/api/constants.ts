export const PAGE_SHIFT = 12;
export const PAGE_SIZE = 4096;
/** Largest block the buddy allocator keeps: 2^10 pages. @kernel MAX_PAGE_ORDER (include/linux/mmzone.h) */
export const MAX_PAGE_ORDER = 10;
/** Above this order a request is costly: it is not retried for long, and reclaim gives up early. @kernel PAGE_ALLOC_COSTLY_ORDER */
export const PAGE_ALLOC_COSTLY_ORDER = 3;
/** Pages are grouped by mobility in blocks of 2^9: a transparent huge page of x86-64. @kernel pageblock_order */
export const PAGEBLOCK_ORDER = 9;
export const NUMA_NO_NODE = -1;
/** @kernel SMP_CACHE_BYTES, L1_CACHE_BYTES */
export const L1_CACHE_BYTES = 64;
