import fc from "fast-check";
import type { Machine } from "@netmem/machine";
import { DMA_FROM_DEVICE, GFP_KERNEL, NUMA_NO_NODE, PAGE_SIZE, netmemName, type Page } from "@netmem/mm/api";
import { UsageError } from "@netmem/kernel/api";
import type { PagePool } from "@netmem/page-pool/api";
import type { MemInfo, NetmemReturn } from "@netmem/xdp/api";
import { runCampaign, type CaseOutcome } from "../campaign.ts";
import { Findings } from "../findings.ts";
import { FreshReports } from "../fresh-reports.ts";
import { thrownBy } from "../outcome.ts";
import type { ConformanceOptions, ConformanceReport } from "../report.ts";
import { RETURN_PATH_RULES } from "../rules.ts";

export interface ReturnPathSubject {
  readonly name: string;
  /** A machine whose pools are found by this path, and the path. */
  readonly create: () => { readonly machine: Machine; readonly path: NetmemReturn };
}

/** Pages of an skb: of which pool, or nobody's (−1), and how many skbs more share it. */
interface PathCase {
  readonly skbs: readonly (readonly { readonly pool: number; readonly shares: number }[])[];
}

const POOLS = 3;

/** Whether a return path, a `NetmemReturn`, keeps to rules T1 to T4. Synchronous. */
export function returnPathConformance(subject: ReturnPathSubject, options: ConformanceOptions = {}): ConformanceReport {
  const page = fc.record({ pool: fc.integer({ min: -1, max: POOLS - 1 }), shares: fc.nat(2) });
  const planned: readonly PathCase[] = [
    { skbs: [[{ pool: 0, shares: 0 }]] },
    { skbs: [[{ pool: -1, shares: 0 }]] },
    { skbs: [[{ pool: 0, shares: 2 }, { pool: 0, shares: 0 }]] },
    { skbs: [[{ pool: 0, shares: 0 }, { pool: 1, shares: 0 }, { pool: -1, shares: 0 }]] },
  ];
  return runCampaign<PathCase>({
    kind: "return path", name: subject.name, rules: RETURN_PATH_RULES, planned,
    arbitrary: fc.record({ skbs: fc.array(fc.array(page, { minLength: 1, maxLength: 5 }), { minLength: 1, maxLength: 6 }) }),
    run: (pathCase, traces) => runCase(subject, pathCase, traces),
    simpler: ({ skbs }) => (skbs.length === 1 ? [] : skbs.map((_, i) => ({ skbs: [...skbs.slice(0, i), ...skbs.slice(i + 1)] }))),
    inWords: ({ skbs }) => skbs.map((pages) => `an skb with ${pages.map(({ pool, shares }) => `${pool < 0 ? "a page of nobody's" : `a page of pool ${pool}`}${shares === 0 ? "" : `, shared ${shares} times`}`).join(", ")}`).join("; "),
  }, options);
}

function runCase(subject: ReturnPathSubject, { skbs }: PathCase, traces: boolean): CaseOutcome {
  const findings = new Findings(traces);
  const thrown = thrownBy(() => {
    const { machine, path } = subject.create();
    const reports = new FreshReports(machine.kernel.reports);
    const pools = Array.from({ length: POOLS }, () => poolOf(machine));
    for (const pages of skbs) {
      const distinct = new Set(pages.map(({ pool }) => pool)).size;
      const held = pages.map(({ pool, shares }) => ({ page: pool < 0 ? machine.mm.pages.allocPages(GFP_KERNEL, 0, NUMA_NO_NODE)! : pools[pool]!.pool.allocPages(GFP_KERNEL)!, pool, shares }));
      const mark = held.find(({ pool }) => pool >= 0);
      for (const { page, pool } of held) if (pool >= 0) path.storeMemInfo(page, pools[pool]!.mem);
      const rule = distinct > 1 ? "T4" : null;
      for (const { page, pool, shares } of held) {
        if (path.needsSkb) path.enterSkb(mark === undefined ? 0 : pools[mark.pool]!.mem.type, mark === undefined ? 0 : pools[mark.pool]!.mem.id);
        judgePage(machine, path, page, pool < 0 ? null : pools[pool]!.pool, shares, rule, findings);
      }
      for (const { kind, object, message } of reports.take()) findings.consequence(rule ?? "T1", `${kind}: ${object}: ${message}`, "");
    }
  });
  if (thrown !== null) findings.consequence("T1", `threw ${thrown.reason}`, thrown.where);
  return { found: findings.found, occasions: findings.occasions };
}

/** Shared as often as said, then given back by each of its holders. */
function judgePage(machine: Machine, path: NetmemReturn, page: Page, owner: PagePool | null, shares: number, mixed: string | null, findings: Findings): void {
  const { pages } = machine.mm;
  let refs = 0;
  for (let i = 0; i < shares; i++) {
    findings.occasion("T3");
    const counted = path.tryRef(page);
    if (counted !== (owner !== null)) findings.consequence(mixed ?? "T3", `tryRef answers ${counted} for ${netmemName(page)}, which is ${owner === null ? "nobody's" : "a pool's"}`, "");
    if (counted) refs++;
    else pages.getPage(page);
  }
  for (let left = shares; left >= 0; left--) {
    const before = owner === null ? page.refcount : outOf(owner);
    const took = path.tryReturn(page, false);
    if (owner === null) {
      findings.occasion("T2");
      if (took || page.refcount !== before) findings.consequence("T2", `tryReturn takes ${netmemName(page)}, which is nobody's`, "");
      if (!took) pages.putPage(page);
      continue;
    }
    findings.occasion(mixed ?? "T1");
    const last = left === 0 || refs < shares;
    if (!took) {
      findings.consequence(mixed ?? "T1", `tryReturn leaves ${netmemName(page)}, which is a pool's, to a plain put`, "");
      return;
    }
    const home = before - outOf(owner);
    if (home !== (last ? 1 : 0)) findings.consequence(mixed ?? (shares > 0 ? "T3" : "T1"), `${netmemName(page)} ${home === 0 ? "does not come" : "comes"} home to its pool with holder ${shares - left + 1} of ${shares + 1}`, "");
  }
}

/** Netmems that a pool has handed out and not got back. */
function outOf(pool: PagePool): number {
  return pool.inflight() - pool.cacheCount - pool.ringCount();
}

function poolOf(machine: Machine): { readonly pool: PagePool; readonly mem: MemInfo } {
  const pool = machine.pagePools.create({ flags: 0, order: 0, poolSize: 64, nid: NUMA_NO_NODE, dev: null, napi: null, dmaDir: DMA_FROM_DEVICE, maxLen: PAGE_SIZE, offset: 0, netdev: null });
  if (typeof pool === "number") throw new UsageError("testkit", "a pool of the return path's machine", pool, "creating it failed with this errno");
  const mem = machine.xdp.structs.createMemInfo();
  mem.type = pool.memType;
  mem.id = machine.xdp.registry.registerMemModel(pool.memType, pool);
  return { pool, mem };
}
