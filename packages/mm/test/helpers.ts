import { createKernel } from "@netmem/kernel";
import { UsageError, type Kernel, type ReportSink } from "@netmem/kernel/api";
import { createMm, type MmOptions } from "../src/index.ts";
import type { DeviceBus, DmaDevice, DmaDeviceOptions, Mm, PayloadRegion } from "../src/api/index.ts";

export function kernel(): Kernel {
  return createKernel({ nrCpus: 1, seed: 1, reports: "collect" });
}

export interface Memory extends Mm {
  readonly kernel: Kernel;
  readonly reports: ReportSink;
}

/** 64 pages, none held back and none kept on per-CPU lists; reports collected. */
export function memory(options: Partial<MmOptions> = {}): Memory {
  const machine = kernel();
  return { ...createMm(machine, { nrPages: 64, minFreePages: 0, pcp: { batch: 1, high: 0 }, ...options }), reports: machine.reports, kernel: machine };
}

export interface Device extends Memory {
  readonly dma: DmaDevice;
  readonly bus: DeviceBus;
  /** 16 KiB that the device sends from and receives into, 0xee in each byte. */
  readonly staging: PayloadRegion;
}

/** A non-coherent device, behind a strict IOMMU of 64 I/O pages unless said otherwise. */
export function device(options: Omit<Partial<DmaDeviceOptions>, "name"> & Partial<MmOptions> = {}): Device {
  const { coherent, iommu, aperturePages, dmaMaskBits, forceBounce, untrusted, minAlignMask, maxSegmentBytes, segmentBoundary, ordering, carveOutPages, ...rest } = options;
  const given = { coherent, iommu, aperturePages, dmaMaskBits, forceBounce, untrusted, minAlignMask, maxSegmentBytes, segmentBoundary, ordering, carveOutPages };
  const set = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
  const mm = memory({ extraBytes: 16_384, ...rest });
  const staging = mm.payload.addRegion("staging", 16_384, true);
  staging.bytes.fill(0xee);
  return { ...mm, ...mm.attachDevice({ name: "eth0", coherent: false, ...(iommu === "off" ? {} : { aperturePages: 64 }), ...set }), staging };
}

export function kinds(reports: ReportSink): string[] {
  return reports.reports.map((report) => report.kind);
}

/** The messages of all reports, in one string. */
export function messages(reports: ReportSink): string {
  return reports.reports.map((report) => report.message).join("\n");
}

export function usageErrorOf(call: () => unknown): UsageError {
  try {
    call();
  } catch (error) {
    if (error instanceof UsageError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}
