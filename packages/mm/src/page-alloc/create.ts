import { UsageError } from "@netmem/kernel/api";
import type { PageWords, PayloadRegion } from "../api/index.ts";
import { MAX_PAGE_ORDER } from "../api/index.ts";
import type { Point } from "../fault-injection.ts";
import type { MmKernel } from "../mm.ts";
import { hostPages, type MmOptions } from "../options.ts";
import type { MmRules } from "../rules.ts";
import { Buddy } from "./buddy.ts";
import { Fallback } from "./fallback.ts";
import { FreeChecks } from "./free-checks.ts";
import { FIRST_PFN, MemMap } from "./mem-map.ts";
import { Nodes, checkNodes } from "./nodes.ts";
import { PageAlloc } from "./page-alloc.ts";
import { PerCpuPages, zoneBatchsize, zoneHighsize } from "./pcp.ts";
import { defaultMinFreePages, setUpWatermarks } from "./watermark.ts";
import type { Zone } from "./zone.ts";

/** High marks of per-CPU lists grow at most to an eighth of the zone. @kernel MIN_PERCPU_PAGELIST_HIGH_FRACTION */
const HIGH_FRACTION = 8;

/** Builds the page allocator of a machine: all structs, all zones, everything free. */
export function createPageAlloc(
  kernel: MmKernel, host: PayloadRegion, options: MmOptions, rules: MmRules, words: PageWords, failPoint: Point,
): { readonly pages: PageAlloc; readonly buddy: Buddy; readonly map: MemMap } {
  const total = hostPages(options);
  const nodeOptions = options.nodes ?? [{ zones: [{ name: "Normal" as const, pages: total }] }];
  checkNodes(nodeOptions, kernel.cpuNodes);
  const { minFreePages = defaultMinFreePages(total) } = options;
  if (!Number.isInteger(minFreePages) || minFreePages < 0 || minFreePages >= total) throw new UsageError("mm", "minFreePages", minFreePages, `give 0 to ${total - 1} pages`);
  const map = new MemMap(host, total);
  const nodes = new Nodes(map, nodeOptions, kernel.cpuNodes);
  const buddy = new Buddy(map);
  const fallback = new Fallback(map, buddy);
  setUpWatermarks(nodes.zones, minFreePages);
  for (const zone of nodes.zones) {
    addPcps(zone, kernel, options, rules, map, buddy, fallback);
    freeAtBoot(zone, map);
  }
  const checks = new FreeChecks(map, words, kernel.reports, rules.checksPoolSignature);
  const pages = new PageAlloc({ map, nodes, buddy, fallback, checks, context: kernel.context, reports: kernel.reports, failPoint, slabHasNoRefs: rules.slabHasNoRefs });
  return { pages, buddy, map };
}

/** @kernel zone_set_pageset_high_and_batch */
function addPcps(zone: Zone, kernel: MmKernel, options: MmOptions, rules: MmRules, map: MemMap, buddy: Buddy, fallback: Fallback): void {
  const { pcp } = options;
  if (pcp !== undefined && (!Number.isInteger(pcp.batch) || pcp.batch < 1 || !Number.isInteger(pcp.high) || pcp.high < 0)) {
    throw new UsageError("mm", "pcp batch and high", `${pcp.batch}, ${pcp.high}`, "give a batch of 1 or more and a mark of 0 or more pages");
  }
  const cpus = kernel.cpuNodes.filter((node) => node === zone.nid).length;
  const batch = pcp?.batch ?? zoneBatchsize(zone.managedPages);
  const highMin = pcp?.high ?? zoneHighsize(zone.watermarkLow, batch, cpus);
  const highMax = pcp?.high ?? (rules.pcpAutoTunes ? zoneHighsize(Math.floor(zone.managedPages / HIGH_FRACTION), batch, cpus) : highMin);
  for (let cpu = 0; cpu < kernel.nrCpus; cpu++) zone.pcps.push(new PerCpuPages(zone, map, buddy, fallback, batch, highMin, Math.max(highMin, highMax), rules.pcpAutoTunes));
}

/** In the largest naturally aligned blocks, the lowest first in line. @kernel memblock_free_all, FPI_TO_TAIL */
function freeAtBoot(zone: Zone, map: MemMap): void {
  const end = zone.startPfn + zone.managedPages;
  for (let pfn = zone.startPfn; pfn < end;) {
    let order = 0;
    while (order < MAX_PAGE_ORDER && pfn % (2 << order) === 0 && pfn + (2 << order) <= end) order++;
    const page = map.pages[pfn - FIRST_PFN]!;
    zone.add(page, order, map.blockType(page), true);
    pfn += 1 << order;
  }
}
