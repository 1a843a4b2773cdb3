import type { Netmem } from "@netmem/mm/api";

/**
 * Every netmem a pool has mapped, by a small index that the netmem carries: lets destroy unmap what is still out.
 * Index 0 means not mapped.
 * @kernel pool->dma_mapped, page_pool_register_dma_index (net/core/page_pool.c), 6.16
 */
export class DmaIndexTable {
  readonly #netmems: (Netmem | null)[] = [null];
  readonly #free: number[] = [];

  add(netmem: Netmem): void {
    const index = this.#free.length > 0 ? this.#free.pop()! : this.#netmems.push(null) - 1;
    this.#netmems[index] = netmem;
    netmem.ppDmaIndex = index;
  }

  /** True for the one caller that takes the netmem out, who then unmaps it. */
  take(netmem: Netmem): boolean {
    const index = netmem.ppDmaIndex;
    if (index === 0 || this.#netmems[index] !== netmem) return false;
    this.#netmems[index] = null;
    this.#free.push(index);
    return true;
  }

  /** Takes each netmem out and hands it to `unmap`. */
  drain(unmap: (netmem: Netmem) => void): void {
    for (let index = 1; index < this.#netmems.length; index++) {
      const netmem = this.#netmems[index]!;
      if (netmem === null) continue;
      this.#netmems[index] = null;
      this.#free.push(index);
      unmap(netmem);
    }
  }
}
