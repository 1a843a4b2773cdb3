import { expect, test } from "vitest";
import { mvneta } from "@netmem/driver-mvneta";
import type { NetDriver } from "@netmem/driver/api";
import { DMA_KIND_NAMES, dmaKind, type DmaKind } from "@netmem/machine";
import type { DmaDevice } from "@netmem/mm/api";
import { conservationFaults } from "@netmem/testkit";
import { DESIGNS, concatenated, frames, traffic } from "./traffic.ts";

interface Case extends DmaKind {
  readonly name: string;
}

const bounce = dmaKind("bounce");
const CASES: readonly Case[] = [
  ...DMA_KIND_NAMES.map((name) => ({ name, ...dmaKind(name) })),
  { name: "non-coherent with the cache modelled", memory: { cpuCache: true }, device: dmaKind("non-coherent").device },
  { name: "bounce, non-coherent with the cache modelled", memory: { ...bounce.memory, cpuCache: true }, device: { ...bounce.device, nonCoherent: true } },
  { name: "iommu-strict with the cache modelled", memory: { cpuCache: true }, device: dmaKind("iommu-strict").device },
  { name: "weakly ordered, with the cache modelled and every sync checked", memory: { cpuCache: true, dmaDebug: "every-sync" }, device: { nonCoherent: true, dma: { ordering: "weak" } } },
];

const SENT = frames(Array.from({ length: 300 }, (_, i) => [60, 1514, 200, 9000, 700][i % 5]!));

test.each(CASES.flatMap((kind) => DESIGNS.map((preset) => ({ ...kind, preset }))))("$name, under $preset: every byte arrives, nothing is reported, every page comes home", ({ preset, memory, device }) => {
  const { machine, pool, run, received } = traffic(SENT, { preset, memory, attach: device, tap: true, expand: true });
  let steps = 0;
  run(() => {
    if (steps++ % 16 === 0) expect(conservationFaults(machine, [pool])).toEqual([]);
  });
  machine.shutdown();
  expect(Buffer.compare(received(), concatenated(SENT))).toBe(0);
  expect([machine.kernel.reports.reports.slice(0, 2), pool.inflight(), machine.mm.pages.freePages()]).toEqual([[], 0, machine.mm.pages.nrPages]);
});

/** The driver, forgetting one kind of call to the DMA API. */
function forgetting(call: "syncForCpu" | "mappingError"): NetDriver {
  const forgetful = (dma: DmaDevice): DmaDevice => new Proxy(dma, {
    get: (target, name: string) => {
      if (name === call) return (dmaAddr: number): boolean => dmaAddr < 0;
      const member = target[name as keyof DmaDevice];
      return typeof member === "function" ? (member as (...args: unknown[]) => unknown).bind(target) : member;
    },
  });
  return { ...mvneta, probe: (deps, options) => mvneta.probe({ ...deps, dma: forgetful(deps.dma) }, options) };
}

test("a driver that forgets to sync for the CPU delivers stale bytes to its user, once caches are modelled", () => {
  const { run, received, reader } = traffic(SENT, { driver: forgetting("syncForCpu"), memory: { cpuCache: true } });
  run();
  expect([reader.packets, Buffer.compare(received(), concatenated(SENT)) === 0]).toEqual([SENT.length, false]);
});

test("the same driver behind a bounce buffer delivers what lay in its pages before", () => {
  const { run, received } = traffic(SENT, { driver: forgetting("syncForCpu"), memory: bounce.memory, attach: bounce.device });
  run();
  expect(Buffer.compare(received(), concatenated(SENT))).not.toBe(0);
});

test("a driver that does not test its mappings is told so when it unmaps them", () => {
  const { machine, run } = traffic(SENT.slice(0, 40), { driver: forgetting("mappingError") });
  run();
  machine.shutdown();
  expect(machine.kernel.reports.counts()).toEqual([{ kind: "dma-debug-error-unchecked", count: machine.devices[0]!.dma.stats.unmaps }]);
});
