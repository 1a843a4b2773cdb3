import type { KernelPool, KernelRecord } from "./kernel-record.ts";
import type { Level } from "./recipes/recipe.ts";
import type { Sample } from "./samples.ts";
import type { Truth } from "./truth.ts";
import { heldPages } from "./held-pages.ts";

/** What one run of the model came to. */
export interface ModelRun {
  readonly variant: string;
  readonly pools: readonly ModelPool[];
  /** Kinds of what it reported. */
  readonly reports: readonly string[];
  /** Datagrams whose checksum did not hold. */
  readonly udpCsumErrors: number;
}

export interface ModelPool {
  /** A device's, or that of the n-th test run. */
  readonly name: string;
  readonly holds: number;
  readonly releases: number;
  readonly series: readonly number[];
  readonly samples: readonly Sample[];
  /** Whoever has pages of any pool in the end can be named. */
  readonly heldBySomebody: boolean;
}

/** One thing that was asked of both. */
export interface Check {
  /** Where: a pool, and an event of it by number. */
  readonly event: string;
  readonly field: string;
  readonly kernel: string | number;
  readonly model: string | number;
}

export interface Comparison {
  readonly checks: number;
  readonly agreed: number;
  /** Null: they agree in everything. */
  readonly firstDifference: Check | null;
  readonly variant: string;
}

export function compareRun(kernel: KernelRecord, model: ModelRun, truth: Truth, level: Level): Comparison {
  const checks = level === "exact" ? exactChecks(kernel, model, truth) : invariantChecks(kernel, model);
  if (kernel.drops !== null) checks.push({ event: "the run", field: "datagrams whose checksum did not hold", kernel: kernel.drops.get("UDP_CSUM") ?? 0, model: model.udpCsumErrors });
  let agreed = 0;
  let firstDifference: Check | null = null;
  for (const check of checks) {
    if (check.kernel === check.model) agreed++;
    else firstDifference ??= check;
  }
  return { checks: checks.length, agreed, firstDifference, variant: model.variant };
}

/** How a kernel's pool is called: by its device, or as the n-th test run's. */
export function nameOf({ pool: { device } }: KernelPool, index: number): string {
  return device ?? `test run ${index + 1}`;
}

/** The kernel's pools by name, where two of one name are told apart. */
export function namedPools({ pools }: KernelRecord): readonly { readonly name: string; readonly pool: KernelPool }[] {
  let live = 0;
  return pools.map((pool) => ({ name: nameOf(pool, pool.pool.device === null ? live++ : 0), pool }));
}

function exactChecks(kernel: KernelRecord, { pools, reports }: ModelRun, truth: Truth): Check[] {
  const checks: Check[] = [{ event: "the run", field: "reports", kernel: "none", model: reports.length === 0 ? "none" : reports.join(", ") }];
  const named = namedPools(kernel);
  if (named.length === 0) checks.push({ event: "the trace", field: "pools", kernel: "none of the capture's devices or test runs", model: pools.map(({ name }) => name).join(", ") });
  for (const { name, pool } of named) {
    const other = pools.find((candidate) => candidate.name === name);
    const { holds, releases, inflightSeries, inflight } = pool.pool;
    checks.push(
      { event: name, field: "holds", kernel: holds ?? "unknown", model: other?.holds ?? "no such pool" },
      { event: name, field: "releases", kernel: releases ?? "unknown", model: other?.releases ?? "no such pool" },
      { event: name, field: "in flight as it is freed", kernel: withoutRepeats(inflightSeries), model: other === undefined ? "no such pool" : withoutRepeats(other.series) },
      { event: name, field: "in flight at the end", kernel: inflight ?? "unknown", model: other?.series.at(-1) ?? "not destroyed" },
    );
    if (other !== undefined && pool.samples.length > 0) checks.push(...stateChecks(name, pool.samples, other.samples));
  }
  const held = heldPages(truth);
  const [first] = named;
  if (held !== null && first !== undefined) checks.push({ event: first.name, field: "pages held at tear-down, by the closed form", kernel: first.pool.pool.inflightSeries[0] ?? "not destroyed", model: held });
  return checks;
}

const STATE: readonly (readonly [string, "hold" | "release" | "cache" | "ring" | "fragOffset" | "fragUsers" | "refcount" | "ppRef"])[] = [
  ["holds", "hold"], ["releases", "release"], ["cache", "cache"], ["ring", "ring"], ["frag_offset", "fragOffset"], ["frag_users", "fragUsers"], ["_refcount", "refcount"], ["pp_ref_count", "ppRef"],
];
const PACKET: readonly (readonly [string, "len" | "dataLen" | "truesize" | "nrFrags" | "dataref" | "cloned" | "users"])[] = [
  ["len", "len"], ["data_len", "dataLen"], ["truesize", "truesize"], ["nr_frags", "nrFrags"], ["dataref", "dataref"], ["cloned", "cloned"], ["users", "users"],
];

/** Every sample of the kernel's, in order. Once the events are others, nothing behind can be compared. */
function stateChecks(name: string, kernel: readonly Sample[], model: readonly Sample[]): Check[] {
  const checks: Check[] = [];
  for (const [i, sample] of kernel.entries()) {
    const other = model[i];
    const event = `${name}: sample ${i + 1} (${sample.event})`;
    checks.push({ event, field: "event", kernel: sample.event, model: other?.event ?? "none" });
    if (other === undefined || other.event !== sample.event) {
      for (let left = i + 1; left < kernel.length; left++) checks.push({ event: `${name}: sample ${left + 1}`, field: "event", kernel: kernel[left]!.event, model: "not compared" });
      return checks;
    }
    for (const [field, of] of STATE) checks.push({ event, field, kernel: sample[of] ?? "none", model: other[of] ?? "none" });
    if (sample.packet !== null) for (const [field, of] of PACKET) checks.push({ event, field, kernel: sample.packet[of], model: other.packet?.[of] ?? "none" });
  }
  // It goes by the device's name, and does not see the pool any more once that is gone.
  const last = kernel.at(-1)!;
  if (last.event === "shutdown" && last.hold === last.release) checks.push({ event: name, field: "samples", kernel: kernel.length, model: model.length });
  return checks;
}

/** What holds for both, whatever the numbers. */
function invariantChecks(kernel: KernelRecord, { pools, reports }: ModelRun): Check[] {
  const checks: Check[] = [{ event: "the run", field: "reports", kernel: "none", model: reports.length === 0 ? "none" : reports.join(", ") }];
  const named = namedPools(kernel);
  if (named.length === 0) checks.push({ event: "the run", field: "pools of its devices", kernel: 0, model: pools.length });
  for (const { name, pool: { pool } } of named) {
    const other = pools.find((candidate) => candidate.name === name);
    const ended = other?.series.at(-1);
    checks.push(
      { event: name, field: "counts kept", kernel: pool.verdict === "accounting-error" ? pool.evidence[0]! : "yes", model: other === undefined ? "no such pool" : conserved(other) ? "yes" : `${other.holds} held, ${other.releases} released, ${ended} in flight` },
      { event: name, field: "pages came in", kernel: (pool.holds ?? 0) > 0 ? "yes" : "no", model: (other?.holds ?? 0) > 0 ? "yes" : "no" },
      { event: name, field: "drained, or somebody named", kernel: pool.inflight === 0 || NAMED.includes(pool.verdict) ? "yes" : pool.verdict, model: ended === 0 || other?.heldBySomebody === true ? "yes" : `${ended} in flight` },
    );
  }
  return checks;
}

/** Verdicts that say who has the pages. */
const NAMED: readonly string[] = ["held-by-socket", "deferred-free", "draining"];

function conserved({ holds, releases, series }: ModelPool): boolean {
  const ended = series.at(-1);
  return releases <= holds && (ended === undefined || ended === holds - releases);
}

function withoutRepeats(values: readonly number[]): string {
  return values.filter((value, i) => value !== values[i - 1]).join(" → ");
}
