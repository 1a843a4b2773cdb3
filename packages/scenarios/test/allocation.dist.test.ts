import { expect, test } from "vitest";
import { mvneta } from "@netmem/driver-mvneta";
import { createMachine, PRESET_NAMES, Reader, USER_BUFFER_BYTES, Wire, wireBytes } from "@netmem/machine";

/**
 * Bytes of garbage that a packet may leave behind: less than the smallest object literal or closure. Optimised code leaves
 * one to five, from steps; code that the engine has not compiled yet boxes numbers, so a busy machine shows more.
 */
const BYTES_PER_PACKET = 24;

test.each(PRESET_NAMES)("receiving, cloning to a tap, reading and freeing a packet allocates nothing under %s", (preset) => {
  const frame = { bytes: new Uint8Array(64), offset: 0, lengthBytes: 64, arrivalNs: 0 };
  const frames = Array.from({ length: 400_000 }, () => frame);
  const machine = createMachine({ preset, extraBytes: wireBytes(frames) + USER_BUFFER_BYTES });
  const user = machine.mm.payload.addRegion("user", USER_BUFFER_BYTES, true);
  const reader = new Reader(machine.kernel, machine.net, user, { cpu: 1, lag: 0, tap: true, expand: false, freeOrder: "alternate", onBytes: () => {} });
  const { netif, nic } = machine.attach(mvneta);
  netif.open();
  new Wire(machine.kernel, machine.mm.payload, frames, "back-to-back").connect(nic);
  const { scheduler } = machine.kernel;
  scheduler.runUntil(() => reader.packets >= 100_000);
  // The least of four windows: the test runner allocates now and then, the model would in each.
  const perPacket = [200_000, 250_000, 300_000, 350_000].map((end) => {
    globalThis.gc!();
    const heap = process.memoryUsage().heapUsed;
    const { packets } = reader;
    scheduler.runUntil(() => reader.packets >= end);
    return (process.memoryUsage().heapUsed - heap) / (reader.packets - packets);
  });
  expect(Math.min(...perPacket)).toBeLessThan(BYTES_PER_PACKET);
});
