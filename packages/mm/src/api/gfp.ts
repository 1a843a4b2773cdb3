// How an allocation may behave: include/linux/gfp_types.h. Our own bit numbers, the kernel's names; any other bit is refused.

/** May dig into half of the min watermark; with no direct reclaim, into five eighths of it. */
export const __GFP_HIGH: number = 1 << 0;
/** May wake kswapd. */
export const __GFP_KSWAPD_RECLAIM: number = 1 << 1;
/** May reclaim and sleep: illegal in softirq and hardirq. */
export const __GFP_DIRECT_RECLAIM: number = 1 << 2;
/** No failure is counted as a warning. */
export const __GFP_NOWARN: number = 1 << 3;
/** Tails point to the head, and one reference count serves the block. */
export const __GFP_COMP: number = 1 << 4;
/** Gives up before reclaim is repeated. */
export const __GFP_NORETRY: number = 1 << 5;
/** Never ignores the watermarks; wins over `__GFP_MEMALLOC`, and cancels the discount of non-blocking requests. */
export const __GFP_NOMEMALLOC: number = 1 << 6;
/** May ignore the watermarks: the page is then marked pfmemalloc. */
export const __GFP_MEMALLOC: number = 1 << 7;
/** Only the node asked for. */
export const __GFP_THISNODE: number = 1 << 8;
/** Zone selectors. */
export const __GFP_DMA: number = 1 << 9;
export const __GFP_DMA32: number = 1 << 10;
export const __GFP_HIGHMEM: number = 1 << 11;
/** The page can be moved, or reclaimed: decides which pageblocks it comes from. */
export const __GFP_MOVABLE: number = 1 << 12;
export const __GFP_RECLAIMABLE: number = 1 << 13;
/** The bytes are zero. */
export const __GFP_ZERO: number = 1 << 14;
/** Retries as long as reclaim makes progress, without the OOM killer. */
export const __GFP_RETRY_MAYFAIL: number = 1 << 15;
/** May start I/O, and call into file systems; here they only complete the masks below. */
export const __GFP_IO: number = 1 << 16;
export const __GFP_FS: number = 1 << 17;
/** Charged to a memory cgroup: bulk requests then get one page. */
export const __GFP_ACCOUNT: number = 1 << 18;

/** Every bit there is. @kernel __GFP_BITS_MASK */
export const __GFP_BITS_MASK: number = (1 << 19) - 1;

export const __GFP_RECLAIM: number = __GFP_DIRECT_RECLAIM | __GFP_KSWAPD_RECLAIM;
/** For contexts that cannot sleep. */
export const GFP_ATOMIC: number = __GFP_HIGH | __GFP_KSWAPD_RECLAIM;
/** For process context. */
export const GFP_KERNEL: number = __GFP_RECLAIM | __GFP_IO | __GFP_FS;
export const GFP_NOWAIT: number = __GFP_KSWAPD_RECLAIM | __GFP_NOWARN;
export const GFP_DMA: number = __GFP_DMA;
export const GFP_DMA32: number = __GFP_DMA32;

const NAMES = [
  "__GFP_HIGH", "__GFP_KSWAPD_RECLAIM", "__GFP_DIRECT_RECLAIM", "__GFP_NOWARN", "__GFP_COMP", "__GFP_NORETRY", "__GFP_NOMEMALLOC", "__GFP_MEMALLOC",
  "__GFP_THISNODE", "__GFP_DMA", "__GFP_DMA32", "__GFP_HIGHMEM", "__GFP_MOVABLE", "__GFP_RECLAIMABLE", "__GFP_ZERO", "__GFP_RETRY_MAYFAIL",
  "__GFP_IO", "__GFP_FS", "__GFP_ACCOUNT",
] as const;

/** `GFP_ATOMIC|__GFP_NOWARN`, for reports and traces. @kernel show_gfp_flags (include/trace/events/mmflags.h) */
export function gfpNames(gfp: number): string {
  const parts: string[] = [];
  let left = gfp;
  if ((left & GFP_KERNEL) === GFP_KERNEL) {
    parts.push("GFP_KERNEL");
    left &= ~GFP_KERNEL;
  } else if ((left & GFP_ATOMIC) === GFP_ATOMIC) {
    parts.push("GFP_ATOMIC");
    left &= ~GFP_ATOMIC;
  }
  for (let bit = 0; bit < NAMES.length; bit++) if ((left & (1 << bit)) !== 0) parts.push(NAMES[bit]!);
  const unknown = left & ~__GFP_BITS_MASK;
  if (unknown !== 0) parts.push(`0x${(unknown >>> 0).toString(16)}`);
  return parts.length === 0 ? "none" : parts.join("|");
}
