import { describe, expect, test } from "vitest";
import { headerSplit } from "@netmem/driver-header-split";
import { Wire, createMachine, type WireFrame } from "@netmem/machine";
import type { MemoryModel } from "@netmem/memory-model/api";
import { IPPROTO_TCP, type TcpSocket } from "@netmem/net-core/api";
import { MEMORY_MODEL_RULES, memoryModelConformance, tcpFrame, testPayload } from "@netmem/testkit";
import { judge, withoutSubtle } from "./judge.ts";
import { MODEL_MUTANTS } from "./model-mutants.ts";
import { loadMutant } from "./mutant.ts";
import { compareOrUpdate, type Score } from "./scores.ts";

const SEGMENT_BYTES = 1200;

/** What one would test first: a user reads what was sent on one connection, and no packet is left. */
function passesOrdinaryTest(model: MemoryModel): boolean {
  const payloads = Array.from({ length: 40 }, (_, i) => testPayload(SEGMENT_BYTES, i));
  const frames: WireFrame[] = payloads.map((payload, i) => {
    const bytes = tcpFrame(payload, { seq: 1 + i * SEGMENT_BYTES });
    return { bytes, offset: 0, lengthBytes: bytes.length, arrivalNs: 0 };
  });
  const machine = createMachine({ nrPages: 4096, extraBytes: 1 << 21 });
  const { net, kernel } = machine;
  const device = machine.attach(headerSplit, { rxRingSize: 64, rxQueueCount: 2 });
  device.netif.open();
  const binding = machine.bindMemoryModel(model, device, 1, 256);
  if (typeof binding === "number") return false;
  device.nic.steering.insertRule({ protocol: IPPROTO_TCP, queue: 1 });
  net.receive.setProtocol(net.inet);
  const read: number[] = [];
  const sockets: TcpSocket[] = [];
  net.inet.tcpListen({ name: "user", port: null, accept: (socket) => void sockets.push(socket) });
  new Wire(kernel, machine.mm.payload, frames, "back-to-back").connect(device.nic);
  kernel.scheduler.runFor(10_000_000);
  const stream = binding.openStream(sockets[0]!);
  stream.read(({ bytes }, offset, length) => void read.push(...bytes.subarray(offset, offset + length)));
  stream.close();
  sockets[0]!.close();
  binding.close();
  machine.shutdown();
  return read.join() === payloads.flatMap((payload) => [...payload]).join() && net.lifetime.stats.live === 0;
}

describe("mutants of memory models", () => {
  const scores: Score[] = [];

  test.each(MODEL_MUTANTS.map((mutant) => [mutant.plugin, mutant.mistake, mutant.rule, mutant] as const))("%s %s: %s says so", async (_plugin, _mistake, _rule, mutant) => {
    const model = await loadMutant<MemoryModel>(mutant);
    expect(passesOrdinaryTest(model), "an ordinary test").toBe(mutant.subtle);
    scores.push(judge(mutant, memoryModelConformance(model, { randomCases: 0, rules: [mutant.rule] })));
  });

  test("there is a subtle one for each rule, and the docs have how each was caught", () => {
    expect(withoutSubtle(MEMORY_MODEL_RULES, MODEL_MUTANTS)).toEqual([]);
    compareOrUpdate("model mutants", scores);
  });
});
