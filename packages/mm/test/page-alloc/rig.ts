import { createKernel } from "@netmem/kernel";
import type { Kernel, ReportSink } from "@netmem/kernel/api";
import { PayloadRegion, type Page, type PageAllocator, type PageWords, type ZoneInfo } from "../../src/api/index.ts";
import { Point } from "../../src/fault-injection.ts";
import { hostPages, type MmOptions } from "../../src/options.ts";
import { createPageAlloc } from "../../src/page-alloc/create.ts";
import type { PageAlloc } from "../../src/page-alloc/page-alloc.ts";
import { UnionWords } from "../../src/page-words.ts";
import { MM_RULES_6_18, type MmRules } from "../../src/rules.ts";

export interface Allocator {
  readonly kernel: Kernel;
  readonly reports: ReportSink;
  readonly words: PageWords;
  readonly pages: PageAlloc;
}

export interface AllocatorOptions {
  readonly cpuNodes?: readonly number[];
  readonly rules?: Partial<MmRules>;
}

/** The page allocator alone, its pages without bytes. */
export function allocator(options: MmOptions, { cpuNodes = [0], rules = {} }: AllocatorOptions = {}): Allocator {
  const kernel = createKernel({ nrCpus: cpuNodes.length, cpuNodes, seed: 1, reports: "collect" });
  const region = new PayloadRegion("host", new Uint8Array(0), new Int32Array(0), true, 0, "linear");
  hostPages(options);
  const words = new UnionWords(kernel.reports);
  const { pages } = createPageAlloc(kernel, region, options, { ...MM_RULES_6_18, ...rules }, words, new Point("fail_page_alloc"));
  return { kernel, reports: kernel.reports, words, pages };
}

/** Runs `work` as if on this CPU. */
export function onCpu<T>(kernel: Kernel, cpu: number, work: () => T): T {
  const { context } = kernel;
  context.cpu = cpu;
  context.node = kernel.cpuNodes[cpu]!;
  const result = work();
  context.cpu = 0;
  context.node = kernel.cpuNodes[0]!;
  return result;
}

/** Requests until one fails. */
export function takeAll(pages: PageAllocator, gfp: number, order: number, nid: number): Page[] {
  const taken: Page[] = [];
  for (let page = pages.allocPages(gfp, order, nid); page !== null; page = pages.allocPages(gfp, order, nid)) taken.push(page);
  return taken;
}

export function zoneOf(pages: PageAllocator, page: Page): ZoneInfo {
  return pages.zones[page.zone]!;
}
