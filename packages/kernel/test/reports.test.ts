import { expect, test } from "vitest";
import { REPORTS_KEPT, type Kernel, type ReportMode } from "../src/api/index.ts";
import { kernelWith, once, panicOf, runAll, usageErrorOf } from "./helpers.ts";

function warn(kernel: Kernel, kind: string, object = "page pfn 0x400"): void {
  kernel.reports.report(kind, "warn", object, "page_pool 3", "7 in flight");
}

test("collect keeps a warning with its time, its CPU and all that was said, and goes on", () => {
  const kernel = kernelWith({ nrCpus: 3 });
  kernel.timers.modTimer(kernel.timers.timerSetup(() => warn(kernel, "leak"), 2), 5);
  runAll(kernel);
  expect(kernel.reports.reports).toEqual([
    { kind: "leak", severity: "warn", object: "page pfn 0x400", owner: "page_pool 3", message: "7 in flight", timeNs: 5, cpu: 2, history: [] },
  ]);
});

test("off forgets warnings", () => {
  const kernel = kernelWith({ reports: "off" });
  warn(kernel, "leak");
  expect([kernel.reports.total, kernel.reports.reports, kernel.reports.counts()]).toEqual([0, [], []]);
});

test("panic stops the machine at the first warning, which is kept", () => {
  const kernel = kernelWith({ reports: "panic" });
  expect(panicOf(() => warn(kernel, "leak"))).toMatchObject({ kind: "leak", message: "kernel panic: leak: page pfn 0x400 (page_pool 3): 7 in flight" });
  expect(kernel.reports.total).toBe(1);
});

test.each<ReportMode>(["off", "collect", "panic"])("a bug stops the machine in mode %s", (reports) => {
  const kernel = kernelWith({ reports });
  expect(panicOf(() => kernel.reports.report("dma-bad-direction", "bug", "device eth0", "eth0", "map with direction 3")).kind).toBe("dma-bad-direction");
});

test("a panic inside a step reaches whoever runs the machine", () => {
  const kernel = kernelWith({ reports: "panic" });
  kernel.scheduler.spawn(once(0, () => warn(kernel, "leak")));
  expect(panicOf(() => runAll(kernel)).kind).toBe("leak");
});

test("counts are by kind, in order of first appearance", () => {
  const kernel = kernelWith();
  for (const kind of ["b", "a", "b", "c", "b"]) warn(kernel, kind);
  expect(kernel.reports.counts()).toEqual([{ kind: "b", count: 3 }, { kind: "a", count: 1 }, { kind: "c", count: 1 }]);
});

test("beyond REPORTS_KEPT the details are dropped and the counts stay exact", () => {
  const kernel = kernelWith();
  for (let i = 0; i < REPORTS_KEPT; i++) warn(kernel, "first");
  for (let i = 0; i < 25; i++) warn(kernel, "late");
  expect(kernel.reports.reports).toHaveLength(REPORTS_KEPT);
  expect(kernel.reports.reports.every((report) => report.kind === "first")).toBe(true);
  expect(kernel.reports.total).toBe(REPORTS_KEPT + 25);
  expect(kernel.reports.counts()).toEqual([{ kind: "first", count: REPORTS_KEPT }, { kind: "late", count: 25 }]);
});

test("a report about a page carries the page's trace events, oldest first, and nobody else's", () => {
  const kernel = kernelWith({ traceEntries: 16 });
  const trace = kernel.trace!;
  const hold = trace.define("hold", ["pool", "pfn"]).id;
  const release = trace.define("release", ["pfn"]).id;
  trace.record(hold, 1, 0x400, 0, 0, 0);
  trace.record(hold, 1, 0x401, 0, 0, 0);
  trace.record(release, 0x400, 0, 0, 0, 0);
  warn(kernel, "leak", "page pfn 0x400");
  warn(kernel, "leak", "device eth0");
  expect(kernel.reports.reports.map((report) => report.history)).toEqual([
    ["[000] 0.000000000: hold: pool=1 pfn=0x400", "[000] 0.000000000: release: pfn=0x400"], [],
  ]);
});

test("an unknown mode is refused", () => {
  const error = usageErrorOf(() => kernelWith({ reports: "loud" as ReportMode }));
  expect(error.message).toBe("@netmem/kernel: reports = loud: choose off, collect or panic");
});
