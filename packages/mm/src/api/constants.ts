export const PAGE_SHIFT = 12;
export const PAGE_SIZE = 4096;
/** Largest block the buddy allocator keeps: 2^10 pages. @kernel MAX_PAGE_ORDER (include/linux/mmzone.h) */
export const MAX_PAGE_ORDER = 10;
export const NUMA_NO_NODE = -1;

/** @kernel include/linux/gfp_types.h; our own bit numbers, the kernel's names */
export const __GFP_HIGH: number = 1 << 0;
export const __GFP_KSWAPD_RECLAIM: number = 1 << 1;
export const __GFP_DIRECT_RECLAIM: number = 1 << 2;
export const __GFP_NOWARN: number = 1 << 3;
export const __GFP_COMP: number = 1 << 4;
export const GFP_ATOMIC: number = __GFP_HIGH | __GFP_KSWAPD_RECLAIM;
export const GFP_KERNEL: number = __GFP_KSWAPD_RECLAIM | __GFP_DIRECT_RECLAIM;

/** @kernel PP_SIGNATURE (include/linux/poison.h), the low word; the high word is the poison delta. */
export const PP_SIGNATURE = 0x40;
/** What v3 of the 2021 series wrote into its own `signature` word. */
export const PP_SIGNATURE_V3 = 0x20210303;
/** Bits 0 and 1 of the word belong to compound heads and pfmemalloc. @kernel PP_MAGIC_MASK (include/linux/mm.h) */
export const PP_MAGIC_MASK: number = ~0x3;
/** Upper 32 bits of the signature on 64-bit kernels. @kernel POISON_POINTER_DELTA */
export const POISON_POINTER_DELTA_HIGH = 0xdead0000;
/** @kernel PP_DMA_INDEX_SHIFT (include/linux/mm.h) */
export const PP_DMA_INDEX_SHIFT = 7;
/** Bit 1 of the first union word: the page came from the emergency reserves. */
export const PAGE_PFMEMALLOC_BIT = 0x2;
