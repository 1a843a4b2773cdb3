import { describe, expect, test } from "vitest";
import { PRESETS, PRESET_NAMES, type DateOptions, type PresetName } from "@netmem/machine";
import { devmem } from "@netmem/memory-model-devmem";
import { netgpu } from "@netmem/memory-model-netgpu";
import { zcrx } from "@netmem/memory-model-zcrx";
import { GFP_ATOMIC } from "@netmem/mm/api";
import { type SkBuff } from "@netmem/net-core/api";
import { KernelPanic } from "@netmem/kernel/api";
import { conservationFaults } from "@netmem/testkit";
import { capture } from "../captured.ts";
import { ModelRig, streamsOf } from "./model-rig.ts";

const FRAMES = capture("tcp-download.pcap");
const STREAMS = streamsOf(FRAMES);
/** Before the series a buffer of a driver's cannot be anybody else's than its pool's; a net_iov cannot leave. */
const RECYCLING: readonly PresetName[] = PRESET_NAMES.filter((preset) => preset !== "stock");
/**
 * What two kernels had wrong with packets that are cloned, and a net_iov shows at once, since it has no page's count that would make up for it: with these the case holds. An expanded clone that recycles what the original
 * still has (B01, mended by 2cc3aeb5eccc), and merging a clone into a packet that recycles, with plain references (B02, 1effe8ca4e34).
 */
const MENDED: Partial<Record<PresetName, DateOptions["net"]>> = { "v3-2021": { releaseClearsRecycle: true, clonedCoalesce: "refused" }, "5.14": { clonedCoalesce: "refused" } };
const HOME = { live: 0, inflight: 0, maps: 0, free: 512, held: 0, reports: [] };

/** Clones every packet, makes the heads of some private, and lets go in an order and on a CPU that the seed says. */
function holdClones(rig: ModelRig, seed: number): { readonly pause: () => void; readonly drain: () => void } {
  const { net, kernel } = rig.machine;
  let x = seed;
  const below = (n: number): number => {
    x = (Math.imul(x, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((x / 2 ** 32) * n);
  };
  const held: SkBuff[] = [];
  net.receive.addTap({ packetRcv: (shared) => {
    const clone = net.lifetime.skbShareCheck(shared, GFP_ATOMIC)!;
    if (below(3) === 0) net.edit.pskbExpandHead(clone, below(64), below(64), GFP_ATOMIC);
    held.push(clone);
    if (below(4) === 0) held.push(net.lifetime.skbClone(clone, GFP_ATOMIC)!);
    while (held.length > 40) net.lifetime.consumeSkb(held.splice(below(held.length), 1)[0]!);
  } });
  const task = kernel.scheduler.spawn({ name: "other cpu", cpu: 1, run: () => {
    for (let n = below(8); n > 0 && held.length > 0; n--) {
      const [skb] = held.splice(below(held.length), 1);
      if (below(2) === 0) net.lifetime.skbAttemptDeferFree(skb!);
      else net.lifetime.kfreeSkb(skb!, 2);
    }
    return 0;
  } });
  const drain = (): void => {
    for (const skb of held.splice(0)) net.lifetime.consumeSkb(skb);
  };
  return {
    drain,
    pause: () => {
      if (held.length > 0 && below(3) === 0) kernel.scheduler.wake(task);
      if (below(400) === 0) drain();
    },
  };
}

test("there are streams to compare", () => {
  expect([...STREAMS.values()].reduce((sum, bytes) => sum + bytes.length, 0)).toBeGreaterThan(1_000_000);
});

describe.each([netgpu, devmem, zcrx].flatMap((model) => RECYCLING.map((preset) => [model.name, preset, model] as const)))("the seed's case with %s under %s: headers in the host's pages, payload in the model's memory", (_name, preset, model) => {
  test.each([1, 2, 3])("seed %d: packets cloned, expanded, freed in every order and from two CPUs; the user has every byte in order, and both pools end at nothing", (seed) => {
    const rig = new ModelRig(model, FRAMES, { preset, seed, dates: { net: MENDED[preset] ?? {} } });
    const clones = holdClones(rig, seed);
    const wire = rig.connect();
    const { scheduler } = rig.machine.kernel;
    const [, , headPool, payloadPool] = rig.pools();
    let unreadable = 0;
    for (let step = 0; scheduler.step(); step++) {
      clones.pause();
      if (step % 3 === 0) rig.read();
      if (step % 200 === 0) expect(conservationFaults(rig.machine, rig.pools(), rig.binding.areas())).toEqual([]);
      for (const socket of rig.streams.keys()) for (const skb of socket.packets()) if (skb.unreadable) unreadable++;
      if (step > 200_000) throw new Error(`stuck after ${wire.sent()} frames`);
    }
    rig.read();
    expect([...rig.received].map(([key, bytes]) => [key, bytes.length])).toEqual([...STREAMS].map(([key, bytes]) => [key, bytes.length]));
    for (const [key, bytes] of rig.received) expect(Buffer.compare(Uint8Array.from(bytes), Uint8Array.from(STREAMS.get(key)!))).toBe(0);
    expect([unreadable > 0, headPool!.memoryProvider, payloadPool!.memoryProvider !== null]).toEqual([true, null, true]);
    if (seed === 1) clones.drain();
    const end = rig.end();
    // What is still cloned keeps its memory after users, sockets, queue and device have gone.
    if (seed !== 1) {
      expect([end.live > 0, end.inflight > 0]).toEqual([true, true]);
      clones.drain();
      scheduler.runFor(2_000_000_000);
    }
    // Before 6.16 the mappings of header pages that are out outlive the driver: B28.
    const outlived = seed !== 1 && PRESETS[preset].pagePool.dmaIndexBits === 0;
    expect(rig.left()).toEqual({ ...HOME, reports: outlived ? [{ kind: "dma-leak", count: 1 }] : [] });
  });
});

/** Whether the run goes wrong: what the first user got that was not sent, or what stopped the machine. */
function firstTrouble(preset: PresetName, net: DateOptions["net"], seed: number): string | null {
  const rig = new ModelRig(netgpu, FRAMES, { preset, seed, dates: { net: net ?? {} } });
  const clones = holdClones(rig, seed);
  rig.connect();
  try {
    for (let step = 0; rig.machine.kernel.scheduler.step(); step++) {
      clones.pause();
      if (step % 3 === 0) rig.read();
    }
  } catch (error) {
    if (!(error instanceof KernelPanic)) throw error;
    return /kernel panic: ([a-z-]+)/.exec(error.message)![1]!;
  }
  rig.read();
  for (const [key, bytes] of rig.received) if (Buffer.compare(Uint8Array.from(bytes), Uint8Array.from(STREAMS.get(key)!)) !== 0) return "other bytes";
  return rig.machine.kernel.reports.counts()[0]?.kind ?? null;
}

test.each([
  ["v3-2021", "B01", { clonedCoalesce: "refused" }], ["5.14", "B02", {}],
] as const)("%s without the fix of %s: the user reads what others wrote, or the machine stops", (preset, _bug, net) => {
  const seen = [1, 2, 3].map((seed) => firstTrouble(preset, net, seed));
  expect(seen.every((trouble) => trouble === "other bytes" || trouble === "pp-null-owner" || trouble === "pp-double-put"), seen.join()).toBe(true);
  expect([1, 2, 3].map((seed) => firstTrouble(preset, MENDED[preset], seed))).toEqual([null, null, null]);
});

test.each(["6.1", "6.8", "6.18"] as const)("with one memory info in the skb, under %s, the first packet that is freed gives its payload to the headers' pool, and that is reported", (preset) => {
  const rig = new ModelRig(netgpu, FRAMES, { preset, returnPath: "skb-mem-info" });
  rig.connect();
  const { scheduler, reports } = rig.machine.kernel;
  let packets = 0;
  const [, , headPool, payloadPool] = rig.pools();
  rig.machine.net.receive.addTap({ packetRcv: (skb) => {
    if (skb.dataLen > 0) packets++;
    rig.machine.net.lifetime.consumeSkb(skb);
  } });
  for (let step = 0; reports.total === 0 && scheduler.step(); step++) rig.read();
  const [first] = reports.reports;
  expect(first).toMatchObject({ kind: "wrong-memory-model", severity: "warn", owner: `mem type ${payloadPool!.memType} id ${payloadPool!.memId}` });
  expect(first!.message).toContain(`returned to mem type ${headPool!.memType} id ${headPool!.memId}`);
  // Nothing came home rightly before: the first packets with payload were still waiting for each other.
  expect(packets).toBeLessThan(70);
});
