import fc from "fast-check";
import { createMachine, type Machine } from "@netmem/machine";
import { netmemIsMarked, netmemName, type Netmem, type Page } from "@netmem/mm/api";
import type { MemModel } from "@netmem/xdp/api";
import { runCampaign, type CaseOutcome } from "../campaign.ts";
import { Findings } from "../findings.ts";
import { FreshReports } from "../fresh-reports.ts";
import { thrownBy } from "../outcome.ts";
import type { ConformanceOptions, ConformanceReport } from "../report.ts";
import { MEM_MODEL_RULES } from "../rules.ts";

/** An allocator of network memory under test. */
export interface ModelledAllocator {
  readonly model: MemModel;
  /** A netmem with one holder, the caller's; null: there is none. Consumer context. */
  readonly alloc: () => Netmem | null;
  /** Netmems that it has handed out and not got back. */
  readonly out: () => number;
  /** Its owner is done with it; its last netmem's going ends it. */
  readonly destroy: () => void;
}

export interface MemModelSubject {
  readonly name: string;
  readonly create: (machine: Machine) => ModelledAllocator;
}

type ModelStep =
  | { readonly do: "alloc" | "return" | "return from skb" | "ref" | "bulk" | "release"; readonly count: number }
  | { readonly do: "destroy" };
interface ModelCase {
  readonly steps: readonly ModelStep[];
}

const OPERATIONS = ["alloc", "return", "return from skb", "ref", "bulk", "release"] as const;
const MOST_COUNT = 40;
/** @kernel XDP_BULK_QUEUE_SIZE */
const MOST_IN_BULK = 16;

/** Whether a memory model of XDP, a `MemModel`, keeps to rules A1 to A5. Synchronous. */
export function memModelConformance(subject: MemModelSubject, options: ConformanceOptions = {}): ConformanceReport {
  const all = (name: (typeof OPERATIONS)[number], count: number): ModelStep => ({ do: name, count });
  const planned: readonly ModelCase[] = [
    [all("alloc", 20), all("return", 20), all("alloc", 20), all("return from skb", 20)],
    [all("alloc", 10), all("ref", 5), all("return from skb", 40), all("alloc", 10)],
    [all("alloc", 40), all("bulk", 16), all("bulk", 3), all("alloc", 10), all("bulk", 40)],
    [all("alloc", 10), all("release", 4), all("return", 40)],
    [all("alloc", 20), { do: "destroy" }, all("return from skb", 10), all("return", 20)],
  ].map((steps) => ({ steps: steps as ModelStep[] }));
  const step: fc.Arbitrary<ModelStep> = fc.oneof(
    { arbitrary: fc.record({ do: fc.constantFrom(...OPERATIONS), count: fc.integer({ min: 1, max: MOST_COUNT }) }), weight: 12 },
    { arbitrary: fc.record({ do: fc.constant("destroy" as const) }), weight: 1 },
  );
  return runCampaign<ModelCase>({
    kind: "memory model of XDP", name: subject.name, rules: MEM_MODEL_RULES, planned, arbitrary: fc.record({ steps: fc.array(step, { minLength: 1, maxLength: 12 }) }),
    run: (modelCase, traces) => runCase(subject, modelCase, traces),
    simpler: ({ steps }) => (steps.length === 1 ? [] : steps.map((_, i) => ({ steps: [...steps.slice(0, i), ...steps.slice(i + 1)] }))),
    inWords: ({ steps }) => steps.map((one) => ("count" in one ? `${one.do} ${one.count}` : one.do)).join("; "),
  }, options);
}

function runCase(subject: MemModelSubject, { steps }: ModelCase, traces: boolean): CaseOutcome {
  const findings = new Findings(traces);
  const thrown = thrownBy(() => {
    const machine = createMachine({ nrPages: 1024 });
    const reports = new FreshReports(machine.kernel.reports);
    const allocator = subject.create(machine);
    const { model, out } = allocator;
    const { registry, structs } = machine.xdp;
    const mem = structs.createMemInfo();
    mem.type = model.memType;
    const id = registry.registerMemModel(model.memType, model);
    mem.id = id;
    findings.occasion("A5");
    if (id < 1 || registry.lookup(mem.type, id) !== model) findings.consequence("A5", `registered under id ${id}, and not found by it`, "");
    /** Netmem to holders. */
    const holders = new Map<Netmem, number>();
    let destroyed = false;
    const drop = (netmem: Netmem): void => {
      const left = holders.get(netmem)! - 1;
      if (left === 0) holders.delete(netmem);
      else holders.set(netmem, left);
    };
    const judge = (rule: string): void => {
      findings.occasion(rule);
      if (out() !== holders.size) findings.consequence(rule, `${out()} netmems are out, and ${holders.size} have holders`, "");
      for (const { kind, object, message } of reports.take()) findings.consequence(rule, `${kind}: ${object}: ${message}`, "");
    };
    const taken = (count: number): Netmem[] => [...holders.keys()].slice(0, count);
    for (const step of steps) {
      switch (step.do) {
        case "alloc":
          for (let i = destroyed ? step.count : 0; i < step.count; i++) {
            const netmem = allocator.alloc();
            if (netmem === null) break;
            if (holders.has(netmem)) findings.consequence("A2", `${netmemName(netmem)} is handed out again while it has ${holders.get(netmem)!} holders`, "");
            holders.set(netmem, (holders.get(netmem) ?? 0) + 1);
          }
          judge("A1");
          break;
        case "return": case "return from skb":
          for (const netmem of taken(step.count)) {
            if (step.do === "return") model.returnNetmem(netmem, false);
            else model.returnSkbNetmem(netmem, false);
            drop(netmem);
            judge(holders.has(netmem) ? "A2" : "A1");
          }
          break;
        case "ref":
          for (const netmem of taken(step.count)) {
            model.refSkbNetmem(netmem);
            holders.set(netmem, holders.get(netmem)! + 1);
          }
          judge("A2");
          break;
        case "bulk": {
          const some = taken(Math.min(step.count, MOST_IN_BULK));
          const slots: (Netmem | null)[] = Array.from({ length: MOST_IN_BULK }, (_, i) => some[i] ?? null);
          if (some.length > 0) model.returnNetmemBulk(slots, some.length);
          for (const netmem of some) drop(netmem);
          judge("A3");
          break;
        }
        case "release":
          for (const netmem of taken(step.count)) {
            if (netmem.isNetIov || holders.get(netmem)! > 1) continue;
            model.releaseNetmem(netmem);
            holders.delete(netmem);
            findings.occasion("A4");
            if (netmemIsMarked(netmem)) findings.consequence("A4", `${netmemName(netmem)} was let go of, and still carries a mark`, "");
            else if (netmem.refcount < 1) findings.consequence("A4", `${netmemName(netmem)} was let go of, and its caller's reference with it`, "");
            else machine.mm.pages.putPage(netmem as Page);
          }
          judge("A4");
          break;
        default:
          if (destroyed) break;
          destroyed = true;
          registry.unregisterMemModel(mem);
          allocator.destroy();
          findings.occasion("A5");
          if (holders.size > 0 && registry.lookup(mem.type, id) === null) findings.consequence("A5", `it is gone while ${holders.size} netmems are out`, "");
      }
    }
    for (const [netmem, count] of holders) for (let i = 0; i < count; i++) model.returnNetmem(netmem, false);
    holders.clear();
    judge("A1");
    if (!destroyed) {
      registry.unregisterMemModel(mem);
      allocator.destroy();
    }
    machine.kernel.scheduler.runFor(5_000_000_000);
    if (registry.lookup(mem.type, id) !== null) findings.consequence("A5", "it is still found by its id after its last netmem came home", "");
  });
  if (thrown !== null) findings.consequence("A1", `threw ${thrown.reason}`, thrown.where);
  return { found: findings.found, occasions: findings.occasions };
}
