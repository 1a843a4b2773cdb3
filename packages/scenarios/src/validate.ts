import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { callForeign } from "@netmem/kernel/api";
import { PRESET_NAMES, pageHolders, type Machine, type PresetName } from "@netmem/machine";
import { compareRun, type Comparison, type ModelPool, type ModelRun } from "./compare.ts";
import { readKernelRecord, type KernelRecord } from "./kernel-record.ts";
import type { KernelTimes, Recipe, Variant } from "./recipes/recipe.ts";
import { recipeFor } from "./recipes/index.ts";
import { parseTruth, type Truth } from "./truth.ts";
import { VethWorld } from "./world.ts";

/** What a kernel says, too, of a pool that waits for a minute: no fault of the model's. */
const STALLED = "pp-stalled-shutdown";

const TRUTH = ".truth.json";

/** How the model did beside one capture. */
export interface ValidatedCapture {
  readonly name: string;
  readonly scenario: string;
  readonly preset: PresetName;
  /** `state`: exact, and compared at every sample of the monitor as well. */
  readonly level: "exact" | "state" | "invariant";
  readonly checks: number;
  readonly agreed: number;
  readonly firstDifference: { readonly event: string; readonly field: string; readonly kernel: string | number; readonly model: string | number } | null;
  /** Which of what a script leaves open comes closest to what the kernel did; empty: it leaves nothing open. */
  readonly variant: string;
  /** What the record itself lacks, so that less could be compared, in words. */
  readonly notes: readonly string[];
}

export interface Scoreboard {
  readonly captures: readonly ValidatedCapture[];
  /** Files that there is nothing to compare for, and why. */
  readonly left: readonly { readonly name: string; readonly why: string }[];
}

/** Every capture in a folder that has a `truth.json`: the model does what its script did, and what comes of it is compared. `only` names one preset for all; by default it follows from each capture's kernel. */
export async function validateFolder(folder: string, only: PresetName | null = null): Promise<Scoreboard> {
  const names = readdirSync(folder).toSorted();
  const captures: ValidatedCapture[] = [];
  const left: { name: string; why: string }[] = [];
  for (const file of names.filter((name) => name.endsWith(TRUTH))) {
    const name = file.slice(0, -TRUTH.length);
    const result = await validateCapture(folder, name, only);
    if (typeof result === "string") left.push({ name, why: result });
    else captures.push(result);
  }
  for (const file of names) {
    const base = /^(.*)\.trace(?:\.gz)?$/.exec(file)?.[1];
    if (base !== undefined && !names.includes(base + TRUTH)) left.push({ name: base, why: `no ${base}${TRUTH}: it is not known what was done` });
  }
  return { captures, left };
}

async function validateCapture(folder: string, name: string, only: PresetName | null): Promise<ValidatedCapture | string> {
  if (!statSync(join(folder, name + TRUTH)).isFile()) return `${name}${TRUTH}: no file`;
  const truth = parseTruth(readFileSync(join(folder, name + TRUTH), "utf8"));
  if (typeof truth === "string") return `${name}${TRUTH}: ${truth}`;
  const { scenario } = truth;
  const recipe = recipeFor(scenario);
  if (recipe === null) return `no recipe for scenario ${JSON.stringify(scenario)}`;
  const preset = only ?? presetOf(truth.kernel);
  if (preset === null) return `no design for kernel ${truth.kernel}`;
  if (recipe.presets !== null && !recipe.presets.includes(preset)) return `under ${preset} there is no such pool`;
  const kernel = await readKernelRecord(join(folder, name), truth);
  if (typeof kernel === "string") return kernel;
  const foreign = notOfThisRun(kernel, truth);
  if (foreign !== null) return foreign;
  const best = callForeign((): Comparison | string => closest(recipe, truth, kernel, preset), (reason) => `the model cannot do it: ${reason}`);
  if (typeof best === "string") return best;
  const hasState = kernel.pools.some(({ samples }) => samples.length > 1);
  const level = recipe.level === "exact" && hasState ? "state" : recipe.level;
  return { name, scenario, preset, level, checks: best.checks, agreed: best.agreed, firstDifference: best.firstDifference, variant: best.variant, notes: notesOn(kernel, truth) };
}

/** A script takes so long, in seconds, until its first packet: what is later, or earlier, is of another run. */
const FIRST_PAGE_WITHIN = 30;

/** Tracepoints that nothing is concluded from. */
const NOT_LOOKED_AT = /^xdp_/;

/** Why the trace cannot be of what `truth` tells; null: it can. */
function notOfThisRun({ pools, explanation, events }: KernelRecord, { t0, events: recorded }: Truth): string | null {
  if (events.size === 0 && recorded.size > 0) return "the trace has no event in it, and some were recorded";
  const starts = (pools.length > 0 ? pools.map(({ pool }) => pool) : explanation.pools).flatMap(({ startedAt }) => (startedAt === null ? [] : [startedAt]));
  const first = starts.reduce((least, at) => Math.min(least, at), Infinity);
  if (first === Infinity) return "the trace has no page_pool in it";
  return first < t0 - 1 || first > t0 + FIRST_PAGE_WITHIN ? `the trace is of another run: its first page is ${(first - t0).toFixed(1)} s after the script began` : null;
}

function notesOn({ pools, explanation, events, hasMonitor }: KernelRecord, { lostEvents, events: recorded }: Truth): string[] {
  const notes: string[] = [];
  const lost = Math.max(explanation.lost, lostEvents);
  if (lost > 0) notes.push(`${lost} events were lost as it was recorded`);
  for (const [name, count] of recorded) {
    const here = events.get(name) ?? 0;
    if (here !== count && !NOT_LOOKED_AT.test(name)) notes.push(`${count} ${name} were recorded, and ${here} are in the trace`);
  }
  for (const { pool: { pool, holds }, samples } of pools) {
    if (hasMonitor && samples.length > 0 && holds !== null && samples.at(-1)!.hold < holds) notes.push(`pool ${pool}: the monitor ends at page ${samples.at(-1)!.hold} of ${holds}`);
  }
  if (hasMonitor && pools.length > 0 && pools.every(({ samples }) => samples.length === 0)) notes.push("the monitor saw none of its pools");
  return notes;
}

/** Of what the script leaves open, the run that agrees in most. */
function closest(recipe: Recipe, truth: Truth, kernel: KernelRecord, preset: PresetName): Comparison {
  let best: Comparison | null = null;
  for (const variant of recipe.variants(truth)) {
    const comparison = compareRun(kernel, runModel(recipe, truth, kernel, preset, variant), truth, recipe.level);
    if (best === null || comparison.checks - comparison.agreed < best.checks - best.agreed) best = comparison;
    if (best.firstDifference === null) break;
  }
  return best!;
}

function runModel(recipe: Recipe, truth: Truth, kernel: KernelRecord, preset: PresetName, variant: Variant): ModelRun {
  const world = new VethWorld(preset);
  const live = recipe.run(world, truth, variant, timesOf(kernel, truth));
  const { watch, devicePools, machine } = world;
  const held = accountedFor(machine);
  const pools = watch.order.flatMap(({ id }): ModelPool[] => {
    const run = live.indexOf(id);
    const name = devicePools.get(id) ?? (run >= 0 ? `test run ${run + 1}` : null);
    if (name === null) return [];
    return [{ name, ...watch.counts.get(id)!, series: watch.series.get(id) ?? [], samples: watch.samples.get(id) ?? [], heldBySomebody: held }];
  });
  return { variant: variant.name, pools, reports: [...new Set(machine.kernel.reports.reports.map(({ kind }) => kind))].filter((kind) => kind !== STALLED), udpCsumErrors: machine.net.inet.stats.udpCsumErrors };
}

/** Pages that are out are all in somebody's hands who can be named. */
function accountedFor(machine: Machine): boolean {
  const out = machine.pagePools.pools().filter(({ system }) => !system).reduce((sum, pool) => sum + pool.inflight() - pool.cacheCount - pool.ringCount() - (pool.fragPage === null ? 0 : 1), 0);
  return out <= pageHolders(machine).reduce((sum, { poolPages }) => sum + poolPages, 0);
}

function timesOf({ explanation, pools, flushes }: KernelRecord, { t0 }: Truth): KernelTimes {
  const end = explanation.pools.reduce((last, pool) => Math.max(last, pool.endedAt ?? pool.inflightOverTime.at(-1)?.[0] ?? last), t0);
  return { liveDestroyed: pools.filter(({ pool }) => pool.device === null).map(({ pool }) => pool.destroyedAt ?? t0), end, flushes };
}

/** The design of the newest kernel that is not newer. */
export function presetOf(release: string): PresetName | null {
  const match = /^(\d+)\.(\d+)/.exec(release);
  if (match === null) return null;
  const version = Number(match[1]) * 1000 + Number(match[2]);
  let found: PresetName | null = null;
  for (const preset of PRESET_NAMES) {
    const [major, minor] = preset.split(".");
    if (/^\d+\.\d+$/.test(preset) && Number(major) * 1000 + Number(minor) <= version) found = preset;
  }
  return found;
}
