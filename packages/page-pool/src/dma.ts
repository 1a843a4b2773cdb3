import { UsageError } from "@netmem/kernel/api";
import { DMA_ATTR_SKIP_CPU_SYNC, DMA_ATTR_WEAK_ORDERING, PAGE_SIZE, netmemName, type Netmem, type Page } from "@netmem/mm/api";
import { describe } from "./misuse.ts";
import type { Pool } from "./pool.ts";

/** The pool syncs just what the device may touch, so the mapping itself does no cache work. */
const POOL_ATTRS: number = DMA_ATTR_SKIP_CPU_SYNC | DMA_ATTR_WEAK_ORDERING;

/** Maps once for as long as the pool owns the page; false, and nothing done, when that or keeping track fails. @kernel page_pool_dma_map */
export function mapForDevice(pool: Pool, page: Page): boolean {
  const dev = pool.dev!;
  const bytes = PAGE_SIZE << pool.order;
  const dmaAddr = dev.mapPage(page, 0, bytes, pool.dmaDir, POOL_ATTRS);
  if (dev.mappingError(dmaAddr)) return false;
  const tracked = !storeDmaAddr(pool, page, dmaAddr) && track(pool, page);
  if (!tracked) {
    page.dmaAddr = 0;
    dev.unmapPage(dmaAddr, bytes, pool.dmaDir, POOL_ATTRS);
    return false;
  }
  if (pool.dmaSync) syncForDevice(pool, page, pool.maxLen);
  return true;
}

/** True, with a report, if the word is too narrow for the address. @kernel page_pool_set_dma_addr_netmem (net/core/page_pool_priv.h) */
export function storeDmaAddr(pool: Pool, netmem: Netmem, dmaAddr: number): boolean {
  if (pool.rules.dmaAddrInPages && (dmaAddr & (PAGE_SIZE - 1)) !== 0) {
    if (pool.registry.warnedOf("pp-dma-addr")) return true;
    pool.kernel.reports.report("pp-dma-addr", "warn", netmemName(netmem), `page_pool ${pool.id}`, `device address 0x${dmaAddr.toString(16)} is not a page's, and does not fit`);
    return true;
  }
  netmem.dmaAddr = dmaAddr;
  return false;
}

/** @kernel page_pool_register_dma_index */
function track(pool: Pool, page: Page): boolean {
  if (pool.dmaIndex === null || pool.dmaIndex.add(page)) return true;
  if (!pool.registry.warnedOf("pp-dma-untracked")) {
    pool.kernel.reports.report("pp-dma-untracked", "warn", netmemName(page), `page_pool ${pool.id}`, `no index left for its mapping: undone; ${describe(pool)}`);
  }
  return false;
}

/** At most `maxLen` bytes from `offset`; −1 means all of them. A device that needs no syncs may come to need them. @kernel page_pool_dma_sync_for_device */
export function syncForDevice(pool: Pool, netmem: Netmem, sizeBytes: number): void {
  if (pool.dev!.needSync === false) return;
  const { maxLen, offset, dmaDir } = pool;
  const size = sizeBytes >= 0 && sizeBytes < maxLen ? sizeBytes : maxLen;
  pool.dev!.syncForDevice(netmem.dmaAddr, offset, size, dmaDir);
}

/** @kernel __page_pool_dma_sync_for_cpu (include/net/page_pool/helpers.h) */
export function syncForCpu(pool: Pool, netmem: Netmem, offset: number, sizeBytes: number): void {
  if (!pool.dmaMap) throw new UsageError("page-pool", "flags", pool.params.flags, "syncing needs a pool with PP_FLAG_DMA_MAP");
  pool.dev!.syncForCpu(netmem.dmaAddr, offset + pool.offset, sizeBytes, pool.dmaDir);
}

/** Undone exactly once: a page that a scrub unmapped already is left alone. @kernel __page_pool_release_netmem_dma */
export function unmapFromDevice(pool: Pool, page: Page): void {
  if (pool.dmaIndex !== null && !pool.dmaIndex.take(page)) return;
  undoMapping(pool, page);
}

/** Leaves the page's fields alone: a scrub holds no reference, and whoever looks for a leak wants to see them. */
export function undoMapping(pool: Pool, page: Page): void {
  pool.dev!.unmapPage(page.dmaAddr, PAGE_SIZE << pool.order, pool.dmaDir, POOL_ATTRS);
}
