import { PerformanceObserver, constants, type PerformanceEntry } from "node:perf_hooks";
import { expect, test } from "vitest";
import { makeOld } from "../src/replay/make-old.ts";

test("young objects are collected twice, and it is said how long that took", async () => {
  const kinds: unknown[] = [];
  const observer = new PerformanceObserver((list) => kinds.push(...list.getEntries().map((entry) => (entry as PerformanceEntry & { readonly detail: { readonly kind: number } }).detail.kind)));
  observer.observe({ entryTypes: ["gc"] });
  const ns = makeOld();
  await new Promise((resolve) => setTimeout(resolve, 50));
  observer.disconnect();
  expect(kinds.filter((kind) => kind === constants.NODE_PERFORMANCE_GC_MINOR).length).toBeGreaterThanOrEqual(2);
  expect(ns).toBeGreaterThan(0n);
});
