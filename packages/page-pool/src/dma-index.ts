import type { Page } from "@netmem/mm/api";

/** Entries a bitmap word stands for. */
const WORD = 32;
/** What an index may be at most here: `ppDmaIndex` is a small integer. */
const MOST_BITS = 30;

/**
 * Every page a pool has mapped, by a small index that the page carries: lets destroy unmap what is still out. Index 0 means not
 * mapped. The lowest free index is taken.
 * @kernel pool->dma_mapped, an xarray (net/core/page_pool.c), 6.16
 */
export class DmaIndexTable {
  count: number;
  private readonly limit: number;
  private readonly pages: (Page | null)[];
  /** Free indexes, a bit each. */
  private readonly free: number[];
  /** No word before it has a free index. */
  private firstFree: number;

  constructor(bits: number) {
    this.count = 0;
    this.limit = 2 ** Math.min(bits, MOST_BITS) - 1;
    this.pages = [null];
    this.free = [~1];
    this.firstFree = 0;
  }

  /** False when every index is in use. */
  add(page: Page): boolean {
    const { free } = this;
    let word = this.firstFree;
    while (word < free.length && free[word] === 0) word++;
    if (word === free.length) free.push(-1);
    this.firstFree = word;
    const bits = free[word]!;
    const index = word * WORD + (WORD - 1 - Math.clz32(bits & -bits));
    if (index > this.limit) return false;
    free[word] = bits & (bits - 1);
    while (this.pages.length <= index) this.pages.push(null);
    this.pages[index] = page;
    page.ppDmaIndex = index;
    this.count++;
    return true;
  }

  /** True for the one caller that takes the page out, who then unmaps it. */
  take(page: Page): boolean {
    const index = page.ppDmaIndex;
    if (index === 0 || this.pages[index] !== page) return false;
    this.erase(index);
    return true;
  }

  /** Takes each page out, lowest index first, and hands it to `unmap`. */
  drain(unmap: (page: Page) => void): void {
    for (let index = 1; index < this.pages.length; index++) {
      const page = this.pages[index]!;
      if (page === null) continue;
      this.erase(index);
      unmap(page);
    }
  }

  private erase(index: number): void {
    const word = Math.floor(index / WORD);
    this.pages[index] = null;
    this.free[word] = this.free[word]! | (1 << (index % WORD));
    if (word < this.firstFree) this.firstFree = word;
    this.count--;
  }
}
