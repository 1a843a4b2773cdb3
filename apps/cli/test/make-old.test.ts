import { PerformanceObserver, constants, type PerformanceEntry } from "node:perf_hooks";
import { expect, test } from "vitest";
import { makeOld } from "../src/replay/make-old.ts";

test("young objects are collected twice, and it is said how long that took", async () => {
  let young = 0;
  let ns = 0n;
  await new Promise<void>((resolve) => {
    const observer = new PerformanceObserver((list) => {
      young += list.getEntries().filter((entry) => (entry as PerformanceEntry & { readonly detail: { readonly kind: number } }).detail.kind === constants.NODE_PERFORMANCE_GC_MINOR).length;
      if (young < 2) return;
      observer.disconnect();
      resolve();
    });
    observer.observe({ entryTypes: ["gc"] });
    ns = makeOld();
  });
  expect(ns).toBeGreaterThan(0n);
});
