import { SourceMap } from "node:module";
import { parentPort, workerData } from "node:worker_threads";
import { reasonOf } from "@netmem/kernel/api";
import { DRIVER_RULES, MEMORY_MODEL_RULES, driverConformance, memoryModelConformance, type ConformanceOptions, type ConformanceReport, type Rule } from "@netmem/testkit";
import { blamePlugin } from "../blame.ts";
import { loadPackage } from "./package.ts";
import { CliError } from "../terminal.ts";

/** What the command asks for. */
export interface ConformanceTask {
  readonly named: string;
  readonly cwd: string;
  readonly randomCases: number;
  readonly seed: number;
  /** Null: all. */
  readonly rules: readonly string[] | null;
}

/** What is told to it, in this order: cases as they begin, then one of the others. */
export type ConformanceMessage =
  | { readonly kind: "case"; readonly plugin: string; readonly inWords: string }
  | { readonly kind: "reports"; readonly reports: readonly ConformanceReport[] }
  | { readonly kind: "refused"; readonly line: string };

// oxlint-disable-next-line unicorn/require-post-message-target-origin -- it is a thread, and no window
const tell = (message: ConformanceMessage): void => parentPort!.postMessage(message);

/** `pollRx (dist/poll.js:58:5)` of the bundle, as the source that it is from has it. */
function inSource(where: string, file: string, map: SourceMap): string {
  const [, name, path, line, column] = /^(?:(.+) \()?([^()]+):(\d+):(\d+)\)?$/.exec(where) ?? [];
  if (path === undefined || !file.replaceAll("\\", "/").endsWith(path)) return where;
  const entry = map.findEntry(Number(line) - 1, Number(column) - 1);
  if (!("originalSource" in entry)) return where;
  const place = `${entry.originalSource.split("/").slice(-2).join("/")}:${entry.originalLine + 1}:${entry.originalColumn + 1}`;
  return name === undefined ? place : `${name} (${place})`;
}

async function run({ named, cwd, randomCases, seed, rules }: ConformanceTask): Promise<void> {
  const { drivers, models, waive, file, map } = await loadPackage(named, cwd);
  const all: readonly Rule[] = [...(drivers.length > 0 ? DRIVER_RULES : []), ...(models.length > 0 ? MEMORY_MODEL_RULES : [])];
  const unknown = rules?.find((rule) => !all.some(({ id }) => id === rule));
  if (unknown !== undefined) throw new CliError(`conformance ${named}: --rules ${unknown}: there is no such rule for it; choose ${all.map(({ id }) => id).join(", ")}`);
  const options = (plugin: string, of: readonly Rule[]): ConformanceOptions => ({ waive: Object.fromEntries(Object.entries(waive).filter(([rule]) => of.some(({ id }) => id === rule))), ...(rules === null ? {} : { rules: rules.filter((rule) => of.some(({ id }) => id === rule)) }), randomCases, seed, onCase: (inWords) => tell({ kind: "case", plugin, inWords }) });
  const reports = [
    ...drivers.map((driver) => driverConformance(driver, options(`driver ${driver.name}`, DRIVER_RULES))),
    ...models.map((model) => memoryModelConformance(model, options(`memory model ${model.name}`, MEMORY_MODEL_RULES))),
  ];
  const sources = map === "" ? null : new SourceMap(JSON.parse(map) as ConstructorParameters<typeof SourceMap>[0]);
  tell({ kind: "reports", reports: sources === null ? reports : reports.map((report) => ({
    ...report, outcomes: report.outcomes.map((outcome) => (outcome.breach === null ? outcome : { ...outcome, breach: { ...outcome.breach, where: inSource(outcome.breach.where, file, sources) } })),
  })) });
}

run(workerData as ConformanceTask).catch((error: unknown) => {
  const { named } = workerData as ConformanceTask;
  tell({ kind: "refused", line: error instanceof CliError ? error.message : (blamePlugin(error) ?? `conformance ${named}: ${reasonOf(error)}`) });
});
