import { createKernel } from "@netmem/kernel";
import { createMm } from "@netmem/mm";
import { DMA_FROM_DEVICE, GFP_ATOMIC, NUMA_NO_NODE, PAGE_SIZE, type Mm, type Page } from "@netmem/mm/api";

export interface Workload {
  readonly name: string;
  /** What one operation is. */
  readonly operation: string;
  /** Whether the C reference has it. */
  readonly inC: boolean;
  /** Operations of one round: some tenths of a second. */
  readonly opsPerRound: number;
  /** Sets up; the answer runs so many operations. */
  readonly prepare: () => (ops: number) => void;
}

/** 256 MiB, lists as a machine of some GiB has them. The reference has the same numbers. */
function bigMachine(dmaDebug: "on" | "off" = "off"): Mm {
  const kernel = createKernel({ nrCpus: 1, seed: 1, reports: "panic" });
  return createMm(kernel, { nrPages: 65_536, pcp: { batch: 63, high: 512 }, dmaDebug });
}

function pcp(): (ops: number) => void {
  const { pages } = bigMachine();
  return (ops) => {
    for (let i = 0; i < ops; i++) pages.putPage(pages.allocPages(GFP_ATOMIC, 0, NUMA_NO_NODE)!);
  };
}

function bulk64(): (ops: number) => void {
  const { pages } = bigMachine();
  const out: (Page | null)[] = Array.from({ length: 64 }, () => null);
  return (ops) => {
    for (let i = 0; i < ops; i += 64) {
      pages.allocPagesBulk(GFP_ATOMIC, NUMA_NO_NODE, 64, out);
      for (let j = 0; j < 64; j++) {
        pages.putPage(out[j]!);
        out[j] = null;
      }
    }
  };
}

function mapUnmap(dmaDebug: "on" | "off"): (ops: number) => void {
  const mm = bigMachine(dmaDebug);
  const { dma } = mm.attachDevice({ name: "bench", coherent: true });
  const pages = Array.from({ length: 256 }, () => mm.pages.allocPages(GFP_ATOMIC, 0, NUMA_NO_NODE)!);
  return (ops) => {
    for (let i = 0; i < ops; i++) {
      const dmaAddr = dma.mapPage(pages[i & 255]!, 0, PAGE_SIZE, DMA_FROM_DEVICE, 0);
      if (dma.mappingError(dmaAddr)) throw new Error("no room in the aperture");
      dma.unmapPage(dmaAddr, PAGE_SIZE, DMA_FROM_DEVICE, 0);
    }
  };
}

export const WORKLOADS: readonly Workload[] = [
  { name: "mm-pcp", operation: "order-0 page through the per-CPU list", inC: true, opsPerRound: 8_000_000, prepare: pcp },
  { name: "mm-bulk64", operation: "page of a bulk request for 64", inC: true, opsPerRound: 6_400_000, prepare: bulk64 },
  { name: "mm-map", operation: "map and unmap, strict IOMMU, unrecorded", inC: true, opsPerRound: 4_000_000, prepare: () => mapUnmap("off") },
  { name: "mm-map-checked", operation: "map and unmap, strict IOMMU, recorded", inC: false, opsPerRound: 2_000_000, prepare: () => mapUnmap("on") },
];
