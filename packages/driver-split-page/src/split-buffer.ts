import { DMA_ATTR_SKIP_CPU_SYNC, DMA_FROM_DEVICE, NUMA_NO_NODE, PAGE_SIZE, __GFP_NOWARN, pageIsPfmemalloc, type DmaDevice, type Page, type PageAllocator } from "@netmem/mm/api";
import { SP_BIAS_MAX, SP_BUFFER_BYTES, SP_HEADROOM, SP_TRUESIZE } from "./constants.ts";

/**
 * A page of the driver's, half of which is posted. The driver takes many references at once and gives one away with each packet: as long as all but one
 * of those it has left are there, the other half is nobody's, and the page can be posted again.
 * @kernel struct ixgbe_rx_buffer (drivers/net/ethernet/intel/ixgbe/ixgbe.h)
 */
export class SplitBuffer {
  page: Page | null;
  dmaAddr: number;
  /** Where in the page the hardware writes. */
  pageOffset: number;
  /** References that are the driver's. @kernel pagecnt_bias */
  bias: number;
  /** The page's references when the packet was taken from it. @kernel rx_buffer_pgcnt */
  pageCount: number;

  constructor() {
    this.page = null;
    this.dmaAddr = 0;
    this.pageOffset = 0;
    this.bias = 0;
    this.pageCount = 0;
  }
}

export interface SplitParts {
  readonly dma: DmaDevice;
  readonly pages: PageAllocator;
  /** Memory node of whoever polls. */
  readonly node: () => number;
}

/** A page of its own for a buffer that has none; false: there is no memory, or no mapping. @kernel ixgbe_alloc_mapped_page */
export function allocMappedPage({ dma, pages }: SplitParts, buffer: SplitBuffer, gfp: number): boolean {
  if (buffer.page !== null) return true;
  const page = pages.allocPages(gfp | __GFP_NOWARN, 0, NUMA_NO_NODE);
  if (page === null) return false;
  const dmaAddr = dma.mapPage(page, 0, PAGE_SIZE, DMA_FROM_DEVICE, DMA_ATTR_SKIP_CPU_SYNC);
  if (dma.mappingError(dmaAddr)) {
    pages.putPage(page);
    return false;
  }
  buffer.page = page;
  buffer.dmaAddr = dmaAddr;
  buffer.pageOffset = SP_HEADROOM;
  pages.pageRefAdd(page, SP_BIAS_MAX - 1);
  buffer.bias = SP_BIAS_MAX;
  return true;
}

/** The CPU may read what was received, and one reference goes with it. @kernel ixgbe_get_rx_buffer */
export function getRxBuffer({ dma }: SplitParts, buffer: SplitBuffer, bytes: number): void {
  buffer.pageCount = buffer.page!.refcount;
  dma.syncForCpu(buffer.dmaAddr, buffer.pageOffset, bytes, DMA_FROM_DEVICE);
  buffer.bias--;
}

/** The other half is next. @kernel ixgbe_rx_buffer_flip */
export function flip(buffer: SplitBuffer): void {
  buffer.pageOffset ^= SP_TRUESIZE;
}

/** Whether nobody has the half that would be written next. @kernel ixgbe_can_reuse_rx_page */
export function canReuse({ pages, node }: SplitParts, buffer: SplitBuffer): boolean {
  const page = buffer.page!;
  if (page.nid !== node() || pageIsPfmemalloc(page) || buffer.pageCount - buffer.bias > 1) return false;
  // One is left: the driver takes as many as it had at first.
  if (buffer.bias === 1) {
    pages.pageRefAdd(page, SP_BIAS_MAX - 1);
    buffer.bias = SP_BIAS_MAX;
  }
  return true;
}

/** The page moves on to the buffer that is filled next. @kernel ixgbe_reuse_rx_page */
export function reuseInto(from: SplitBuffer, to: SplitBuffer): void {
  const { page, dmaAddr, pageOffset, bias } = from;
  from.page = null;
  to.page = page;
  to.dmaAddr = dmaAddr;
  to.pageOffset = pageOffset;
  to.bias = bias;
}

/** The driver is done with the page: unmapped, its own references gone; whoever has packets in it frees it. @kernel __page_frag_cache_drain */
export function drain({ dma, pages }: SplitParts, buffer: SplitBuffer): void {
  const page = buffer.page!;
  buffer.page = null;
  dma.unmapPage(buffer.dmaAddr, PAGE_SIZE, DMA_FROM_DEVICE, DMA_ATTR_SKIP_CPU_SYNC);
  if (pages.pageRefSubAndTest(page, buffer.bias)) pages.freeFrozenPages(page, 0);
}

/** Before it is posted the device may write to it again. */
export function syncForDevice({ dma }: SplitParts, buffer: SplitBuffer): void {
  dma.syncForDevice(buffer.dmaAddr, buffer.pageOffset, SP_BUFFER_BYTES, DMA_FROM_DEVICE);
}
