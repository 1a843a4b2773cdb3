import { SWIOTLB_MOST_SLOTS } from "@netmem/mm";
import type { DeviceOptions } from "./machine.ts";
import type { MachineOptions } from "./options.ts";

/** One way for a device to reach memory: what the machine must have, and how the device is attached. */
export interface DmaKind {
  readonly memory: NonNullable<MachineOptions["memory"]>;
  readonly device: Pick<DeviceOptions, "nonCoherent" | "dma">;
}

export type DmaKindName = "coherent" | "non-coherent" | "bounce" | "iommu-strict" | "iommu-deferred";

/** What each name stands for; `iommu-strict` is what a device gets that is told nothing. */
export function dmaKind(name: DmaKindName): DmaKind {
  switch (name) {
    case "coherent": return { memory: {}, device: { nonCoherent: false, dma: { iommu: "off" } } };
    case "non-coherent": return { memory: {}, device: { nonCoherent: true, dma: { iommu: "off" } } };
    case "bounce": return { memory: { swiotlb: { slots: SWIOTLB_MOST_SLOTS } }, device: { nonCoherent: false, dma: { iommu: "off", forceBounce: true } } };
    case "iommu-strict": return { memory: {}, device: { nonCoherent: true, dma: { iommu: "strict" } } };
    case "iommu-deferred": return { memory: {}, device: { nonCoherent: true, dma: { iommu: "deferred" } } };
  }
}

export const DMA_KIND_NAMES: readonly DmaKindName[] = ["coherent", "non-coherent", "bounce", "iommu-strict", "iommu-deferred"];
