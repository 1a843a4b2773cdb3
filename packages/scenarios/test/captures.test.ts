import { readFileSync, readdirSync } from "node:fs";
import { expect, test } from "vitest";
import { readCapture } from "@netmem/pcap";
import { conservationFaults } from "@netmem/testkit";
import type { WireFrame } from "@netmem/machine";
import { DESIGNS, concatenated, traffic } from "./traffic.ts";

const FOLDER = new URL("../../../examples/captures/", import.meta.url);
const FILES = readdirSync(FOLDER).filter((name) => /\.pcap(ng)?$/.test(name));

function framesOf(name: string): WireFrame[] {
  const { bytes, packets } = readCapture(name, readFileSync(new URL(name, FOLDER)));
  const first = packets[0]!;
  return packets.map((packet) => ({
    bytes, offset: packet.dataOffset, lengthBytes: packet.capturedBytes,
    arrivalNs: Math.max(0, (packet.timeSeconds - first.timeSeconds) * 1e9 + packet.timeNanoseconds - first.timeNanoseconds),
  }));
}

test("the shipped captures are there, each at most 2 MB", () => {
  expect(FILES.length).toBeGreaterThanOrEqual(3);
  for (const name of FILES) expect(readFileSync(new URL(name, FOLDER)).length).toBeLessThanOrEqual(2 * 1024 * 1024);
});

test.each(DESIGNS.flatMap((preset) => FILES.map((name) => ({ preset, name }))))("$name under $preset: every byte arrives in order, conservation holds, every page comes home", ({ preset, name }) => {
  const sent = framesOf(name);
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
