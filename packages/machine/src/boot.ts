import { createKernel } from "@netmem/kernel";
import { UsageError } from "@netmem/kernel/api";
import { createMm } from "@netmem/mm";
import { createNetCore } from "@netmem/net-core";
import { createPagePools, createSystemPools } from "@netmem/page-pool";
import type { PagePool } from "@netmem/page-pool/api";
import { createXdp } from "@netmem/xdp";
import type { MemInfo } from "@netmem/xdp/api";
import { Machine } from "./machine.ts";
import { pagePoolRules, resolvePreset, type MachineOptions } from "./options.ts";
import { combineProbes, createTracingProbes } from "./tracing.ts";

/** Boots a machine: each layer in turn, each knowing only those before it. */
export function createMachine(options: MachineOptions = {}): Machine {
  const preset = resolvePreset(options);
  const packetCostNs = options.packetCostNs ?? 0;
  if (!Number.isInteger(packetCostNs) || packetCostNs < 0) throw new UsageError("machine", "packetCostNs", packetCostNs, "give a whole number of nanoseconds, 0 or more");
  const kernel = createKernel({
    nrCpus: options.nrCpus ?? 2,
    ...(options.cpuNodes === undefined ? {} : { cpuNodes: options.cpuNodes }),
    ...(options.hz === undefined ? {} : { hz: options.hz }),
    seed: options.seed ?? 1,
    reports: options.reports ?? "collect",
    traceEntries: options.traceEntries ?? 0,
  });
  const probes = combineProbes(kernel.trace === null ? null : createTracingProbes(kernel.trace), options.probes ?? null);
  const mm = createMm(kernel, {
    ...(options.memory?.nodes === undefined ? { nrPages: options.nrPages ?? 4096 } : {}),
    ...options.memory,
    extraBytes: options.extraBytes ?? 0,
    ...(options.backing === undefined ? {} : { backing: options.backing }),
    rules: preset.mm,
    dmaProbe: probes?.dma ?? null,
  });
  const xdp = createXdp(kernel, mm, {
    returnPath: preset.returnPath,
    recyclesSkbPages: preset.recyclesSkbPages,
    signature: preset.signature,
    stampsOwnerAtMark: preset.stampsOwnerAtMark,
    // Under the other policies a further pool-aware holder may still need the mark.
    returnClearsMark: preset.stampsOwnerAtMark && preset.sharedRelease === "leave-pool",
    dates: preset.xdp,
    bulksMixPools: preset.pagePool.bulkMixesPools,
    probe: probes?.xdp ?? null,
  });
  const pagePools = createPagePools({
    kernel,
    pages: mm.pages,
    words: mm.words,
    probe: probes?.pagePool ?? null,
    faults: mm.faults,
    notifiers: xdp.notifiers,
    rules: pagePoolRules(preset, options.preemptRt ?? false),
  });
  const systemPools = preset.pagePool.hasSystemPools ? createSystemPools(kernel, pagePools, xdp.registry) : [];
  if (typeof systemPools === "number") throw new UsageError("machine", "system pools", systemPools, "creating them failed with this errno");
  const net = createNetCore({
    kernel,
    mm,
    xdp,
    systemPages: systemPools.map((pool) => pagePools.createFragSource(pool, memInfoOf(xdp.structs.createMemInfo(), pool))),
    rules: { ...preset.net, expandKeepsRecycle: preset.sharedRelease === "last-reference" },
    packetCostNs,
    probe: probes?.skb ?? null,
  });
  return new Machine({ preset, kernel, mm, xdp, pagePools, systemPools, net, probes });
}

function memInfoOf(mem: MemInfo, pool: PagePool): MemInfo {
  mem.type = pool.memType;
  mem.id = pool.memId;
  return mem;
}
