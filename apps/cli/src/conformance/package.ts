import { readFileSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import type { NetDriver } from "@netmem/driver/api";
import { checkDriver, checkMemoryModel } from "@netmem/machine";
import type { MemoryModel } from "@netmem/memory-model/api";
import { DRIVER_RULES, MEMORY_MODEL_RULES, checkWaivers } from "@netmem/testkit";
import { DRIVERS, DRIVER_NAMES, MODELS, MODEL_NAMES, exportsOf, isObjectWith, judged, placeOf } from "../plugins.ts";
import { CliError } from "../terminal.ts";

/** All plugins of a package. */
export interface PluginPackage {
  readonly drivers: readonly NetDriver[];
  readonly models: readonly MemoryModel[];
  /** Rules that its package.json says it need not keep to, and why. */
  readonly waive: Readonly<Record<string, string>>;
  /** Under which name its code runs, and the source map of it; "" for one of ours. */
  readonly file: string;
  readonly map: string;
}

/** One of ours by name, a file or folder by path, or a package that is installed where `cwd` is. */
export async function loadPackage(named: string, cwd: string): Promise<PluginPackage> {
  const ours = { drivers: Object.hasOwn(DRIVERS, named) ? [await DRIVERS[named]!()] : [], models: Object.hasOwn(MODELS, named) ? [await MODELS[named]!()] : [] };
  if (ours.drivers.length + ours.models.length > 0) return { ...ours, waive: ours.drivers.length > 0 ? waiversOf(named, folderOf(`@netmem/driver-${named}`)) : {}, file: "", map: "" };
  const path = placeOf(named, cwd);
  if (path === null) throw new CliError(`conformance ${named}: neither a file, nor a folder, nor a package that is installed here; ours are ${[...new Set([...DRIVER_NAMES, ...MODEL_NAMES])].join(", ")}`);
  const { exported, file, map } = await exportsOf("conformance", "plugin", named, path, cwd);
  const values = [...new Set(exported)];
  const drivers = values.filter((value) => isObjectWith(value, "probe")) as NetDriver[];
  const models = values.filter((value) => isObjectWith(value, "bind")) as MemoryModel[];
  if (drivers.length + models.length === 0) throw new CliError(`conformance ${named}: exports no driver (an object with a name and probe) and no memory model (a name and bind)`);
  judged("conformance", named, () => {
    for (const driver of drivers) checkDriver(driver);
    for (const model of models) checkMemoryModel(model);
  });
  return { drivers, models, waive: waiversOf(named, path), file, map };
}

/** Of a package of ours that this program has. */
function folderOf(name: string): string {
  return dirname(createRequire(import.meta.url).resolve(`${name}/package.json`));
}

/** Of package.json, `"netmem": { "waive": { "R13": "why" } }`. */
function waiversOf(named: string, path: string): Readonly<Record<string, string>> {
  if (!statSync(path).isDirectory()) return {};
  const { netmem } = JSON.parse(readFileSync(join(path, "package.json"), "utf8")) as { readonly netmem?: { readonly waive?: unknown } };
  const waive = netmem?.waive ?? {};
  judged("conformance", `${named}: netmem.waive of its package.json`, () => checkWaivers(waive, [...DRIVER_RULES, ...MEMORY_MODEL_RULES]));
  return waive as Readonly<Record<string, string>>;
}
