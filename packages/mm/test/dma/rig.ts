import { expect } from "vitest";
import { GFP_KERNEL, NUMA_NO_NODE, type Page } from "../../src/api/index.ts";
import type { Device } from "../helpers.ts";

export function pageOf(mm: Device, order = 0): Page {
  const page = mm.pages.allocPages(GFP_KERNEL, order, NUMA_NO_NODE);
  expect(page).not.toBeNull();
  return page!;
}

/** Maps as a driver does: and asks whether it failed. */
export function map(mm: Device, page: Page, offset: number, bytes: number, direction: number, attrs = 0): number {
  const dmaAddr = mm.dma.mapPage(page, offset, bytes, direction, attrs);
  expect(mm.dma.mappingError(dmaAddr)).toBe(false);
  return dmaAddr;
}

/** What the CPU sees. */
export function cpuBytes(page: Page, offset: number, length: number): number[] {
  return [...page.region.bytes.subarray(page.base + offset, page.base + offset + length)];
}

/** The CPU writes. */
export function cpuFill(page: Page, offset: number, length: number, value: number): void {
  page.region.bytes.fill(value, page.base + offset, page.base + offset + length);
}

/** What the device reads at an address, byte by byte. */
export function deviceBytes(mm: Device, dmaAddr: number, length: number): number[] {
  expect(mm.bus.read(dmaAddr, mm.staging, 8192, length)).toBe(true);
  return [...mm.staging.bytes.subarray(8192, 8192 + length)];
}

/** The device writes the same byte over a range. */
export function deviceFill(mm: Device, dmaAddr: number, length: number, value: number): boolean {
  mm.staging.bytes.fill(value, 0, length);
  return mm.bus.write(dmaAddr, mm.staging, 0, length);
}

export function times(n: number, value: number): number[] {
  return Array.from({ length: n }, () => value);
}
