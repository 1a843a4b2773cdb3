import { expect, test } from "vitest";
import type { FrameSink, FrameSource, NicWire } from "../src/api/index.ts";
import { tapWire } from "../src/index.ts";
import { createKernel } from "@netmem/kernel";
import { createMm } from "@netmem/mm";

function setUp() {
  const kernel = createKernel({ nrCpus: 1, seed: 1, reports: "collect" });
  const region = createMm(kernel, { nrPages: 64, extraBytes: 4096 }).payload.addRegion("wire", 4096, true);
  const connected: { source?: FrameSource; sink?: FrameSink | null; arrived: number } = { arrived: 0 };
  const nic: NicWire = { connect: (source) => void (connected.source = source), frameArrived: () => void connected.arrived++, connectSink: (sink) => void (connected.sink = sink) };
  return { region, connected, nic };
}

test("frames are heard before the wire goes on, with what the NIC had of them", () => {
  const { region, connected, nic } = setUp();
  const heard: unknown[] = [];
  const lengths = [60, 70];
  let at = 0;
  const wire = tapWire(nic, { received: (where, offset, bytes) => void heard.push([where === region, offset, bytes]) });
  wire.connect({ region, lossless: false, peekBytes: () => lengths[at] ?? -1, peekOffset: () => 100 * (at + 1), advance: () => void at++ });
  const { source } = connected;
  expect([source!.lossless, source!.peekBytes(), source!.peekOffset()]).toEqual([false, 60, 100]);
  source!.advance();
  source!.advance();
  wire.frameArrived();
  expect([heard, source!.peekBytes(), connected.arrived]).toEqual([[[true, 100, 60], [true, 200, 70]], -1, 1]);
});

test("frames sent are heard before the sink has them; without a sink, or a tap for them, nothing is in between", () => {
  const { region, connected, nic } = setUp();
  const order: unknown[] = [];
  const sink: FrameSink = { region, offset: () => 64, roomBytes: () => 2000, frameSent: (bytes) => void order.push(["sink", bytes]) };
  tapWire(nic, { sent: (_region, offset, bytes) => void order.push(["tap", offset, bytes]) }).connectSink(sink);
  expect([connected.sink!.offset(), connected.sink!.roomBytes()]).toEqual([64, 2000]);
  connected.sink!.frameSent(61);
  expect(order).toEqual([["tap", 64, 61], ["sink", 61]]);
  tapWire(nic, {}).connectSink(sink);
  expect(connected.sink).toBe(sink);
  tapWire(nic, { sent: () => undefined }).connectSink(null);
  expect(connected.sink).toBe(null);
});
