import { createKernel } from "@netmem/kernel";
import { UsageError, type Kernel, type ReportSink } from "@netmem/kernel/api";
import { createMm, type MmOptions } from "../src/index.ts";
import type { DeviceBus, DmaDevice, Mm, PayloadRegion } from "../src/api/index.ts";

export function kernel(): Kernel {
  return createKernel({ nrCpus: 1, seed: 1, reports: "collect" });
}

export interface Memory extends Mm {
  readonly reports: ReportSink;
}

/** 64 pages, reports collected. */
export function memory(options: Partial<MmOptions> = {}): Memory {
  const { reports } = kernel();
  return { ...createMm({ reports }, { nrPages: 64, ...options }), reports };
}

export interface Device extends Memory {
  readonly dma: DmaDevice;
  readonly bus: DeviceBus;
  /** 16 KiB that the device sends from and receives into, 0xee in each byte. */
  readonly staging: PayloadRegion;
}

/** A non-coherent device of 64 I/O pages. */
export function device(options: { readonly coherent?: boolean; readonly aperturePages?: number } & Partial<MmOptions> = {}): Device {
  const { coherent = false, aperturePages = 64, ...rest } = options;
  const mm = memory({ extraBytes: 16_384, ...rest });
  const staging = mm.payload.addRegion("staging", 16_384, true);
  staging.bytes.fill(0xee);
  return { ...mm, ...mm.attachDevice({ name: "eth0", coherent, aperturePages }), staging };
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
