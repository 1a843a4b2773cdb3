import { DMA_ATTR_SKIP_CPU_SYNC, DMA_ATTR_WEAK_ORDERING, PAGE_SIZE, type Netmem } from "@netmem/mm/api";
import type { Pool } from "./pool.ts";

/** The pool syncs just what the device may touch, so the mapping itself does no cache work. */
const POOL_ATTRS: number = DMA_ATTR_SKIP_CPU_SYNC | DMA_ATTR_WEAK_ORDERING;

/** Maps once for as long as the pool owns the netmem; false when the device has no room. @kernel page_pool_dma_map */
export function mapForDevice(pool: Pool, netmem: Netmem): boolean {
  const bytes = PAGE_SIZE << pool.params.order;
  const dev = pool.dev!;
  const dmaAddr = netmem.isNetIov ? dev.mapNetIov(netmem, bytes, pool.params.dmaDir, POOL_ATTRS) : dev.mapPage(netmem, 0, bytes, pool.params.dmaDir, POOL_ATTRS);
  if (dev.mappingError(dmaAddr)) return false;
  netmem.dmaAddr = dmaAddr;
  if (pool.dmaIndex !== null) pool.dmaIndex.add(netmem);
  if (pool.dmaSync) syncForDevice(pool, netmem, pool.params.maxLen);
  return true;
}

/** At most `maxLen` bytes from `offset`; −1 means all of them. A device that needs no syncs may come to need them. @kernel page_pool_dma_sync_for_device */
export function syncForDevice(pool: Pool, netmem: Netmem, sizeBytes: number): void {
  if (!pool.dev!.needSync) return;
  const { maxLen, offset, dmaDir } = pool.params;
  const size = sizeBytes < 0 || sizeBytes > maxLen ? maxLen : sizeBytes;
  pool.dev!.syncForDevice(netmem.dmaAddr, offset, size, dmaDir);
}

/** Undone exactly once: a netmem that a scrub unmapped already is left alone. @kernel __page_pool_release_netmem_dma */
export function unmapFromDevice(pool: Pool, netmem: Netmem): void {
  if (!pool.dmaMap || (pool.dmaIndex !== null && !pool.dmaIndex.take(netmem))) return;
  undoMapping(pool, netmem);
}

/** Leaves the netmem's fields alone: a scrub holds no reference, and whoever looks for a leak wants to see them. */
export function undoMapping(pool: Pool, netmem: Netmem): void {
  pool.dev!.unmapPage(netmem.dmaAddr, PAGE_SIZE << pool.params.order, pool.params.dmaDir, POOL_ATTRS);
}
