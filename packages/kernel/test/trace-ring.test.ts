import * as fc from "fast-check";
import { expect, test } from "vitest";
import { NSEC_PER_SEC, type Kernel, type TraceRing } from "../src/api/index.ts";
import { kernelWith, once, runAll, usageErrorOf } from "./helpers.ts";

function tracing(entries: number): { readonly kernel: Kernel; readonly trace: TraceRing } {
  const kernel = kernelWith({ nrCpus: 12, traceEntries: entries });
  return { kernel, trace: kernel.trace! };
}

test("a machine without trace entries has no trace ring", () => {
  expect(kernelWith().trace).toBeNull();
  expect(kernelWith({ traceEntries: 0 }).trace).toBeNull();
});

test("a line shows CPU, time, event and fields as trace-cmd does, a pfn in hex", () => {
  const { kernel, trace } = tracing(4);
  const kind = trace.define("page_pool_state_hold", ["pool", "pfn", "hold"]);
  kernel.scheduler.runFor(12 * NSEC_PER_SEC + 345_000);
  kernel.scheduler.spawn(once(11, () => trace.record(kind.id, 1, 0x1a, -2, 0, 0)));
  runAll(kernel);
  expect(trace.lines()).toEqual(["[011] 12.000345000: page_pool_state_hold: pool=1 pfn=0x1a hold=-2"]);
});

test("property: the ring keeps the newest events, oldest first, and counts the overwritten ones", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 20 }), fc.nat(100), (capacity, recorded) => {
      const { trace } = tracing(capacity);
      const kind = trace.define("e", ["n"]);
      for (let n = 0; n < recorded; n++) trace.record(kind.id, n, 0, 0, 0, 0);
      const kept = Math.min(capacity, recorded);
      expect(trace.length()).toBe(kept);
      expect(trace.overwritten()).toBe(recorded - kept);
      expect(trace.lines().map((line) => line.replace(/.*n=/, ""))).toEqual(Array.from({ length: kept }, (_, i) => String(recorded - kept + i)));
    }),
  );
});

test("linesWhere gives the newest events with that value of that field, oldest first", () => {
  const { trace } = tracing(8);
  const hold = trace.define("hold", ["pool", "pfn"]).id;
  const put = trace.define("put", ["pfn", "count"]).id;
  trace.record(hold, 1, 7, 0, 0, 0);
  trace.record(put, 7, 1, 0, 0, 0);
  trace.record(put, 8, 7, 0, 0, 0);
  trace.record(put, 7, 2, 0, 0, 0);
  const events = (most: number): string[] => trace.linesWhere("pfn", 7, most).map((line) => line.slice(line.indexOf(": ") + 2));
  expect(events(9)).toEqual(["hold: pool=1 pfn=0x7", "put: pfn=0x7 count=1", "put: pfn=0x7 count=2"]);
  expect(events(2)).toEqual(["put: pfn=0x7 count=1", "put: pfn=0x7 count=2"]);
});

test("linesWhere does not find overwritten events", () => {
  const { trace } = tracing(2);
  const kind = trace.define("e", ["pfn"]).id;
  for (const pfn of [5, 6, 7]) trace.record(kind, pfn, 0, 0, 0, 0);
  expect([trace.linesWhere("pfn", 5, 9).length, trace.linesWhere("pfn", 6, 9).length]).toEqual([0, 1]);
});

test("an event has up to eight fields, those beyond five by a record of its own; more are refused", () => {
  const { trace } = tracing(2);
  const wide = trace.define("wide", ["a", "b", "c", "d", "e", "f", "g", "h"]);
  trace.recordWide(wide.id, 1, 2, 3, 4, 5, 6, 7, 8);
  expect(trace.lines()[0]).toContain("wide: a=1 b=2 c=3 d=4 e=5 f=6 g=7 h=8");
  expect(usageErrorOf(() => trace.define("wider", ["a", "b", "c", "d", "e", "f", "g", "h", "i"])).message).toContain("trace event wider = a,b,c,d,e,f,g,h,i");
});

test("the 256th kind of event is told from the first, and a further one is refused", () => {
  const { trace } = tracing(2);
  let last = trace.define("first", []);
  for (let i = 1; i < 256; i++) last = trace.define(`kind ${i}`, []);
  trace.record(last.id, 0, 0, 0, 0, 0);
  expect(trace.lines()[0]).toContain("kind 255");
  expect(usageErrorOf(() => trace.define("one more", [])).package).toBe("kernel");
});

test.each([-1, 1.5])("%d trace entries are refused", (traceEntries) => {
  expect(usageErrorOf(() => kernelWith({ traceEntries }))).toMatchObject({ package: "kernel", option: "traceEntries", value: traceEntries });
});
