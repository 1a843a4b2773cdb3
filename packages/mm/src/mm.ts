import { type Kernel, UsageError } from "@netmem/kernel/api";
import {
  NetIov, NetIovArea, PAGE_SIZE,
  type DeviceBus, type DmaDevice, type DmaDeviceOptions, type DmaProbe, type Mm, type PayloadBacking,
} from "./api/index.ts";
import { BuddyAllocator } from "./buddy.ts";
import { IommuBus, IommuDmaDevice } from "./dma.ts";
import { BackedPayload } from "./payload.ts";
import { BucketSlab } from "./slab.ts";

export interface MmOptions {
  /** Pages of host memory the allocator hands out. */
  readonly nrPages: number;
  /** Bytes beyond them, for wires, user buffers and device memory. Multiple of 8; default 0. */
  readonly extraBytes?: number;
  /** Default: a plain ArrayBuffer of just the size. */
  readonly backing?: PayloadBacking;
  /** Report a page that is freed with its pool signature set (kernels from 6.8). Default true. */
  readonly checksPoolSignature?: boolean;
  readonly dmaProbe?: DmaProbe | null;
}

/** Bytes a backing must have for these options. */
export function backingBytes(options: Pick<MmOptions, "nrPages" | "extraBytes">): number {
  const { nrPages, extraBytes = 0 } = options;
  if (!Number.isInteger(nrPages) || nrPages < 1) throw new UsageError("mm", "nrPages", nrPages, "give 1 page or more");
  if (!Number.isInteger(extraBytes) || extraBytes < 0 || extraBytes % 8 !== 0) throw new UsageError("mm", "extraBytes", extraBytes, "give a multiple of 8");
  return nrPages * PAGE_SIZE + extraBytes;
}

export function createMm(kernel: Pick<Kernel, "reports">, options: MmOptions): Mm {
  const needed = backingBytes(options);
  const backing = options.backing ?? { buffer: new ArrayBuffer(needed) };
  if (backing.buffer.byteLength < needed) throw new UsageError("mm", "backing bytes", backing.buffer.byteLength, `give at least ${needed}`);
  const { reports } = kernel;
  const payload = new BackedPayload(backing, reports);
  const region = payload.addRegion("host", options.nrPages * PAGE_SIZE, true);
  const pages = new BuddyAllocator({ region, nrPages: options.nrPages, checksPoolSignature: options.checksPoolSignature ?? true }, reports);
  return {
    pages,
    payload,
    slab: new BucketSlab(pages, reports),
    attachDevice: (device: DmaDeviceOptions): { readonly dma: DmaDevice; readonly bus: DeviceBus } => {
      const dma = new IommuDmaDevice(device, pages, reports, options.dmaProbe ?? null);
      return { dma, bus: new IommuBus(dma, payload, reports) };
    },
    createNetIovArea: (name: string, type: number, count: number, cpuReadable: boolean): NetIovArea => {
      const area = new NetIovArea(payload.addRegion(name, count * PAGE_SIZE, cpuReadable));
      for (let i = 0; i < count; i++) area.niovs.push(new NetIov(type, area, i, i * PAGE_SIZE));
      return area;
    },
  };
}
