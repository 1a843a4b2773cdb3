import { UsageError } from "@netmem/kernel/api";
import { PAGE_SIZE, type DmaProbe, type NodeOptions, type PayloadBacking } from "./api/index.ts";
import { BOUNCE_BYTES } from "./dma/phys-map.ts";
import { IO_TLB_SEGSIZE, IO_TLB_SIZE } from "./dma/swiotlb.ts";
import type { MmRules } from "./rules.ts";

/** What there is room for below the first page. */
export const SWIOTLB_MOST_SLOTS: number = Math.floor(BOUNCE_BYTES / (IO_TLB_SEGSIZE * IO_TLB_SIZE)) * IO_TLB_SEGSIZE;

/** A bounce buffer, reserved below the first page. */
export interface SwiotlbOptions {
  /** Slots of 2 KiB: a multiple of 128 for each area, at most `SWIOTLB_MOST_SLOTS`, 1920. */
  readonly slots: number;
  /** Searched by CPU, a power of two; default 1. */
  readonly areas?: number;
  /** When full, one mapping may get a buffer of its own from the page allocator. Default false. @kernel CONFIG_SWIOTLB_DYNAMIC */
  readonly dynamic?: boolean;
}

/** @kernel CONFIG_DMA_API_DEBUG */
export type DmaDebugMode = "on" | "every-sync" | "off";
export const DMA_DEBUG_MODES: readonly DmaDebugMode[] = ["on", "every-sync", "off"];

export interface MmOptions {
  /** Pages of host memory the allocator hands out: one node with one zone, Normal. */
  readonly nrPages?: number;
  /** Instead of `nrPages`: nodes and their zones. */
  readonly nodes?: readonly NodeOptions[];
  /** Pages that only privileged requests may have; default as the kernel computes it: √(16 × KiB) KiB, without its floor of 128 KiB. @kernel vm.min_free_kbytes */
  readonly minFreePages?: number;
  /** Per-CPU lists: pages moved at a time, and the mark above which they are given back; default by the size of each zone. `batch` 1, `high` 0: none are kept. */
  readonly pcp?: { readonly batch: number; readonly high: number };
  /** Bytes beyond host memory, for wires, user buffers and device memory. Multiple of 8; default 0. */
  readonly extraBytes?: number;
  /** Default: a plain ArrayBuffer of just the size. */
  readonly backing?: PayloadBacking;
  /** Default 6.18's. */
  readonly rules?: Partial<MmRules>;
  readonly swiotlb?: SwiotlbOptions;
  /** Model the CPU's cache for devices without coherence: slower, and every forgotten sync shows. Default false. */
  readonly cpuCache?: boolean;
  /** `on` (default): mappings are recorded and checked. `every-sync`: and no sync is skipped, as CONFIG_DMA_API_DEBUG does. `off`: neither. */
  readonly dmaDebug?: DmaDebugMode;
  readonly dmaProbe?: DmaProbe | null;
}

/** Bytes a backing must have for these options. */
export function backingBytes(options: Pick<MmOptions, "nrPages" | "nodes" | "extraBytes" | "swiotlb">): number {
  const { extraBytes = 0 } = options;
  if (!Number.isInteger(extraBytes) || extraBytes < 0 || extraBytes % 8 !== 0) throw new UsageError("mm", "extraBytes", extraBytes, "give a multiple of 8");
  return hostPages(options) * PAGE_SIZE + bounceBytes(options.swiotlb) + extraBytes;
}

/** Physical addresses end below 2 GiB, so that each is a small integer. */
const MOST_PAGES: number = 2 ** 19 - 1024 - 1;

export function hostPages(options: Pick<MmOptions, "nrPages" | "nodes">): number {
  const { nrPages, nodes } = options;
  if (nodes !== undefined) {
    if (nrPages !== undefined) throw new UsageError("mm", "nrPages", nrPages, "give either nrPages or nodes");
    const pages = nodes.reduce((sum, node) => node.zones.reduce((inNode, zone) => inNode + zone.pages, sum), 0);
    if (!(pages <= MOST_PAGES) || nodes.every(({ zones }) => zones.length === 0)) throw new UsageError("mm", "nodes", `${pages} pages`, `give zones of 1 to ${MOST_PAGES} pages in all`);
    return pages;
  }
  if (nrPages === undefined || !Number.isInteger(nrPages) || nrPages < 1 || nrPages > MOST_PAGES) {
    throw new UsageError("mm", "nrPages", nrPages, `give 1 to ${MOST_PAGES} pages`);
  }
  return nrPages;
}

export function bounceBytes(options: SwiotlbOptions | undefined): number {
  if (options === undefined) return 0;
  const { slots, areas = 1 } = options;
  if (!Number.isInteger(areas) || areas < 1 || (areas & (areas - 1)) !== 0) throw new UsageError("mm", "swiotlb areas", areas, "give a power of two");
  if (!Number.isInteger(slots) || slots < 1 || slots > SWIOTLB_MOST_SLOTS || slots % (IO_TLB_SEGSIZE * areas) !== 0) {
    throw new UsageError("mm", "swiotlb slots", slots, `give a multiple of ${IO_TLB_SEGSIZE * areas}, at most ${SWIOTLB_MOST_SLOTS}`);
  }
  return slots * IO_TLB_SIZE;
}
