import { describe, expect, test } from "vitest";
import { mvneta } from "@netmem/driver-mvneta";
import { createMachine, PRESET_NAMES, Wire, wireBytes, type Machine, type PresetName } from "@netmem/machine";
import { testFrame } from "@netmem/testkit";
import { Explainer, TraceReader, writeTracefs } from "@netmem/trace";
import type { Explanation, TraceEvent, TraceFileSummary } from "@netmem/trace/api";

function read(text: string): { readonly events: TraceEvent[]; readonly summary: TraceFileSummary } {
  const reader = new TraceReader("model");
  const events = [...reader.push(Buffer.from(text)), ...reader.end()];
  return { events, summary: reader.summary() };
}

function explain(text: string): Explanation {
  const explainer = new Explainer();
  const { events, summary } = read(text);
  for (const event of events) explainer.take(event);
  return explainer.explain([summary]);
}

/** A NIC, a hundred frames, a socket that is read at the end. */
function run(preset: PresetName, traceEntries: number): Machine {
  const frames = Array.from({ length: 100 }, (_, i) => testFrame(60 + i, i)).map((bytes, i) => ({ bytes, offset: 0, lengthBytes: bytes.length, arrivalNs: i * 1000 }));
  const machine = createMachine({ preset, traceEntries, nrPages: 4096, extraBytes: wireBytes(frames) });
  const device = machine.attach(mvneta, { name: "eth0" });
  const socket = machine.net.sockets.open({ name: "reader" });
  machine.net.receive.setProtocol(socket);
  expect(device.netif.open()).toBe(0);
  const wire = new Wire(machine.kernel, machine.mm.payload, frames, "capture");
  wire.connect(device.nic);
  machine.kernel.scheduler.runFor(10_000_000);
  for (let skb = socket.dequeue(); skb !== null; skb = socket.dequeue()) machine.net.lifetime.consumeSkb(skb);
  machine.shutdown();
  return machine;
}

function traceOf(machine: Machine): string {
  return writeTracefs(machine.kernel.trace!, { device: (ifindex) => machine.interfaces().find(({ dev }) => dev.ifindex === ifindex)?.dev.name ?? "?", dropReason: (reason) => machine.net.dropReasons.reasonName(reason), nrCpus: machine.kernel.nrCpus });
}

describe.each(PRESET_NAMES)("%s", (preset) => {
  test("what the model writes is read as a kernel's, and every pool is accounted for by its own counters", () => {
    const machine = run(preset, 100_000);
    const text = traceOf(machine);
    const { summary } = read(text);
    const { pools } = explain(text);
    expect(summary).toMatchObject({ format: "tracefs", unknownLines: 0, lost: 0, boots: 1 });
    const packets = read(text).events.filter(({ kind, name }) => kind === "packet" && name === "netif_receive_skb");
    expect([packets.length, new Set(packets.map(({ device }) => device))]).toEqual([100, new Set(["eth0"])]);
    expect(pools.map(({ verdict, missing, inflight }) => [verdict, missing, inflight])).toEqual([["drained", { holds: 0, releases: 0 }, 0]]);
    expect([pools[0]!.holds! > 0, pools[0]!.holds]).toEqual([true, pools[0]!.releases]);
  });
});

test("a ring that was too small says what it lost, as the kernel's does", () => {
  const machine = run("6.18", 200);
  const { summary } = read(traceOf(machine));
  expect(summary.lost).toBe(machine.kernel.trace!.overwritten());
  expect(summary.lost).toBeGreaterThan(0);
});

test("the lines are those of the kernel's own formats", () => {
  const text = traceOf(run("6.18", 100_000));
  for (const format of [
    /^ {10}<idle>-0 {6} \[000\] \.\.s1\. {5}0\.\d{6}: netif_receive_skb: dev=eth0 skbaddr=ffff8881[0-9a-f]{8} len=\d+$/m,
    /: page_pool_state_hold: page_pool=ffff8881[0-9a-f]{8} netmem=ffffea00[0-9a-f]{8} is_net_iov=0, pfn=0x[0-9a-f]+ hold=1$/m,
    /: page_pool_state_release: page_pool=ffff8881[0-9a-f]{8} netmem=ffffea00[0-9a-f]{8} is_net_iov=0 pfn=0x[0-9a-f]+ release=1$/m,
    /: page_pool_release: page_pool=ffff8881[0-9a-f]{8} inflight=0 hold=\d+ release=\d+ cnt=1$/m,
    /: mem_connect: mem_id=\d+ mem_type=PAGE_POOL allocator=ffff8881[0-9a-f]{8} ifindex=2$/m,
    /: mem_disconnect: mem_id=\d+ mem_type=PAGE_POOL allocator=ffff8881[0-9a-f]{8}$/m,
    /: napi_poll: napi poll on napi struct ffff8881[0-9a-f]{8} for device eth0 work \d+ budget 64$/m,
    /: consume_skb: skbaddr=ffff8881[0-9a-f]{8} location=consume_skb\+0x0\/0x0$/m,
  ]) expect([format.source, format.test(text)]).toEqual([format.source, true]);
});
