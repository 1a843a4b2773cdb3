/** @kernel PP_SIGNATURE (include/linux/poison.h), the low word; the high word is the poison delta. */
export const PP_SIGNATURE = 0x40;
/** What v3 of the 2021 series wrote into its own `signature` word. */
export const PP_SIGNATURE_V3 = 0x20210303;
/** Bits 0 and 1 of the word belong to compound heads and pfmemalloc. @kernel PP_MAGIC_MASK (include/linux/mm.h) */
export const PP_MAGIC_MASK: number = ~0x3;
/** Upper 32 bits of the signature on 64-bit kernels. @kernel POISON_POINTER_DELTA */
export const POISON_POINTER_DELTA_HIGH = 0xdead0000;
/** First bit of the DMA index: the one above the signature. @kernel PP_DMA_INDEX_SHIFT (include/linux/mm.h) */
export const PP_DMA_INDEX_SHIFT = 7;
/** Bit 0 of the first union word: this is a tail, the rest is the head's address. @kernel compound_head */
export const PAGE_TAIL_BIT = 0x1;
/** Bit 1 of the first union word: the page came from the emergency reserves. @kernel page_is_pfmemalloc */
export const PAGE_PFMEMALLOC_BIT = 0x2;

/**
 * How an architecture lays out the first union word of a page while a pool has it:
 * ```
 *   63        48 47     39 38                 7 6         2 1 0
 *   dead poison   (zero)    DMA index, 32 bits   signature   p t     64-bit: x86-64, arm64
 *                 31 30 29                    7 6         2 1 0
 *                 zero  DMA index, 23 bits       signature   p t     32-bit, PAGE_OFFSET 0xc0000000
 * ```
 * p: pfmemalloc, t: tail.
 */
export interface PpMagicLayout {
  readonly bits: 32 | 64;
  /** Added to the signature so that it is no address anybody maps; 0 on 32-bit. */
  readonly poisonDelta: bigint;
  /** Where kernel addresses begin: an index must not look like one. 0n: not known when the kernel is built. */
  readonly pageOffset: bigint;
}

export const PP_MAGIC_64: PpMagicLayout = { bits: 64, poisonDelta: 0xdead0000_00000000n, pageOffset: 0xffff8880_00000000n };
export const PP_MAGIC_32: PpMagicLayout = { bits: 32, poisonDelta: 0n, pageOffset: 0xc0000000n };

/**
 * Bits for the DMA index, 0 to 32. With poison: those below it. Without: those below the lowest bit of PAGE_OFFSET,
 * so that no kernel address can pass for a signature; none if fewer than 8 would be left, and then nothing is tracked.
 * @kernel PP_DMA_INDEX_BITS (include/linux/mm.h), as since the fix for 32-bit of 2025
 */
export function ppDmaIndexBits(layout: PpMagicLayout): number {
  if (layout.poisonDelta > 0n) return Math.min(32, lowestBit(layout.poisonDelta) - PP_DMA_INDEX_SHIFT);
  const least = PP_DMA_INDEX_SHIFT + 8;
  return layout.pageOffset === 0n || lowestBit(layout.pageOffset) < least ? 0 : Math.min(32, lowestBit(layout.pageOffset) - PP_DMA_INDEX_SHIFT);
}

/** Which bits must match for the word to be a pool's. @kernel PP_MAGIC_MASK */
export function ppMagicMask(layout: PpMagicLayout): bigint {
  const index = ((1n << BigInt(ppDmaIndexBits(layout))) - 1n) << BigInt(PP_DMA_INDEX_SHIFT);
  return ((1n << BigInt(layout.bits)) - 1n) & ~(index | 0x3n);
}

/** The parts of such a word, and whether it bears the signature. @kernel page_pool_page_is_pp */
export function readPpMagicWord(word: bigint, layout: PpMagicLayout): { readonly isPp: boolean; readonly dmaIndex: number; readonly pfmemalloc: boolean; readonly tail: boolean } {
  const index = (word >> BigInt(PP_DMA_INDEX_SHIFT)) & ((1n << BigInt(ppDmaIndexBits(layout))) - 1n);
  return {
    isPp: (word & ppMagicMask(layout)) === layout.poisonDelta + BigInt(PP_SIGNATURE),
    dmaIndex: Number(index),
    pfmemalloc: (word & BigInt(PAGE_PFMEMALLOC_BIT)) !== 0n,
    tail: (word & BigInt(PAGE_TAIL_BIT)) !== 0n,
  };
}

function lowestBit(value: bigint): number {
  let bit = 0;
  for (let rest = value; (rest & 1n) === 0n; rest >>= 1n) bit++;
  return bit;
}
