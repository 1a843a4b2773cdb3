import type { Machine } from "@netmem/machine";
import { PAGE_IN_USE, netmemIsMarked, type NetIovArea } from "@netmem/mm/api";
import type { PagePool } from "@netmem/page-pool/api";

/**
 * What must hold at every step of a machine whose pools map order-0 pages of the page allocator; answers what does
 * not, in words. `pools` are those created so far, also ones that have been freed since; `areas`, those that memory providers have.
 *
 * - hold − release of all pools = pages and net_iovs that carry a pool's mark, wherever they are
 * - no pool counts below zero; idle pages are not more than a pool has out
 * - a marked page is in use and has a reference
 * - a device has one live mapping for each marked page and for each net_iov of a mapped area, and mapped what it unmapped once: maps − unmaps = live
 */
export function conservationFaults(machine: Machine, pools: readonly PagePool[], areas: readonly NetIovArea[] = []): string[] {
  const faults: string[] = [];
  let out = 0;
  let destroying = false;
  for (const pool of pools) {
    const inflight = (pool.holdCnt - pool.releaseCnt) | 0;
    out += inflight;
    destroying ||= pool.destroyCnt > 0;
    if (inflight < 0) faults.push(`page_pool ${pool.id}: ${inflight} in flight`);
    const idle = pool.cacheCount + pool.ringCount();
    if (idle > inflight) faults.push(`page_pool ${pool.id}: ${idle} pages idle, but only ${inflight} in flight`);
  }
  let marked = 0;
  for (const page of machine.mm.pages.pages) {
    if (!netmemIsMarked(page)) continue;
    marked++;
    if (page.state !== PAGE_IN_USE || page.refcount < 1) faults.push(`pfn 0x${page.pfn.toString(16)}: marked by a pool in state ${page.state} with ${page.refcount} references`);
  }
  const niovs = areas.flatMap((area) => area.niovs);
  const mappedNiovs = niovs.filter(({ dmaAddr }) => dmaAddr !== 0).length;
  const markedNiovs = niovs.filter(netmemIsMarked).length;
  if (marked + markedNiovs !== out) faults.push(`${marked} pages${niovs.length === 0 ? "" : ` and ${markedNiovs} net_iovs`} carry a pool's mark, ${out} are in flight`);
  for (const { dma, nic } of machine.devices) {
    const { maps, unmaps } = dma.stats;
    if (maps - unmaps !== dma.liveMappings()) faults.push(`${nic.name}: ${maps} maps, ${unmaps} unmaps, ${dma.liveMappings()} live`);
    // A scrub unmaps pages that are still out; until then each page has its mapping.
    if (!destroying && machine.devices.length === 1 && dma.liveMappings() !== marked + mappedNiovs) faults.push(`${nic.name}: ${dma.liveMappings()} live mappings for ${marked + mappedNiovs} pages`);
  }
  return faults;
}
