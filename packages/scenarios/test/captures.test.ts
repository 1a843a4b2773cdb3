import { expect, test } from "vitest";
import { conservationFaults } from "@netmem/testkit";
import { CAPTURES, capture, captureBytes } from "./captured.ts";
import { DESIGNS, concatenated, traffic } from "./traffic.ts";

test("the shipped captures are there, each at most 2 MB", () => {
  expect(CAPTURES.length).toBeGreaterThanOrEqual(3);
  for (const name of CAPTURES) expect(captureBytes(name).length).toBeLessThanOrEqual(2 * 1024 * 1024);
});

test.each(DESIGNS.flatMap((preset) => CAPTURES.map((name) => ({ preset, name }))))("$name under $preset: every byte arrives in order, conservation holds, every page comes home", ({ preset, name }) => {
  const sent = capture(name);
  const { machine, pool, run, received } = traffic(sent, { preset, rxRingSize: 512, tap: true });
  let steps = 0;
  run(() => {
    // Each check walks all pages; every eighth step keeps the whole run under a second.
    if (steps++ % 8 === 0) expect(conservationFaults(machine, [pool])).toEqual([]);
  });
  machine.shutdown();
  expect(Buffer.compare(received(), concatenated(sent))).toBe(0);
  expect([pool.inflight(), machine.kernel.reports.total, machine.mm.pages.freePages()]).toEqual([0, 0, machine.mm.pages.nrPages]);
});
