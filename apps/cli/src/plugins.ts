import { existsSync, readFileSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { compileFunction } from "node:vm";
import * as driverApi from "@netmem/driver/api";
import type { NetDriver } from "@netmem/driver/api";
import { headerSplit } from "@netmem/driver-header-split";
import { mvneta } from "@netmem/driver-mvneta";
import { mvpp2 } from "@netmem/driver-mvpp2";
import { splitPage } from "@netmem/driver-split-page";
import { striding } from "@netmem/driver-striding";
import { xsk } from "@netmem/driver-xsk";
import * as kernelApi from "@netmem/kernel/api";
import { reasonOf } from "@netmem/kernel/api";
import { checkDriver, checkMemoryModel } from "@netmem/machine";
import * as memoryModelApi from "@netmem/memory-model/api";
import type { MemoryModel } from "@netmem/memory-model/api";
import { devmem } from "@netmem/memory-model-devmem";
import { netgpu } from "@netmem/memory-model-netgpu";
import { xsk as xskModel } from "@netmem/memory-model-xsk";
import { zcrx } from "@netmem/memory-model-zcrx";
import * as mmApi from "@netmem/mm/api";
import * as netCoreApi from "@netmem/net-core/api";
import * as pagePoolApi from "@netmem/page-pool/api";
import { DRIVER_RULES, MEMORY_MODEL_RULES, checkWaivers } from "@netmem/testkit";
import * as xdpApi from "@netmem/xdp/api";
import { CliError } from "./terminal.ts";
import { bundle, checkFile, oneLine } from "./user-module.ts";

const DRIVERS: Readonly<Record<string, NetDriver>> = { mvneta, mvpp2, "header-split": headerSplit, "split-page": splitPage, striding, xsk };
const MODELS: Readonly<Record<string, MemoryModel>> = { netgpu, devmem, zcrx, xsk: xskModel };
export const DRIVER_NAMES: readonly string[] = Object.keys(DRIVERS);
export const MODEL_NAMES: readonly string[] = Object.keys(MODELS);
/** Those whose users read connections. */
export const STREAM_MODEL_NAMES: readonly string[] = MODEL_NAMES.filter((name) => MODELS[name]!.delivers !== "frames");
export const DEFAULT_DRIVER = "mvneta";
/** What a plugin may import: it meets the layers that this program has, wherever it lies and whatever is installed there. */
const HEADERS: Readonly<Record<string, object>> = {
  "@netmem/kernel/api": kernelApi, "@netmem/mm/api": mmApi, "@netmem/xdp/api": xdpApi, "@netmem/page-pool/api": pagePoolApi, "@netmem/net-core/api": netCoreApi, "@netmem/driver/api": driverApi, "@netmem/memory-model/api": memoryModelApi,
};

/** Files of somebody's plugins that were loaded, and how they were named. */
const LOADED = new Map<string, string>();

/** In one line, whose fault an error is: that of a plugin by path whose code was running; null: of none. */
export function blamePlugin(error: unknown): string | null {
  if (!(error instanceof Error) || error.stack === undefined) return null;
  for (const frame of error.stack.split("\n").slice(1)) {
    for (const [file, named] of LOADED) {
      if (!frame.includes(file)) continue;
      const where = /at (?:async )?(\S+) \(/.exec(frame)?.[1];
      return `${named}: threw ${reasonOf(error)}${where === undefined ? "" : `, in ${where}`}`;
    }
  }
  return null;
}

/** One of ours by name, or somebody's by path: a file, or a package's folder. Throws what a user can do something about. */
export function loadDriver(named: string, cwd: string, option: string = "--driver"): Promise<NetDriver> {
  return load(option, "driver", named, cwd, DRIVERS, (value) => checkDriver(value as NetDriver), "probe");
}

export function loadModel(named: string, cwd: string, option: string = "--model"): Promise<MemoryModel> {
  return load(option, "memory model", named, cwd, MODELS, (value) => checkMemoryModel(value as MemoryModel), "bind");
}

/** Whether a memory model can be behind one of its queues. */
export function splitsHeaders({ mostRxQueues, rxDescFormat }: NetDriver): boolean {
  return mostRxQueues >= 2 && rxDescFormat.headerSplit !== undefined;
}

async function load<T>(option: string, what: string, named: string, cwd: string, ours: Readonly<Record<string, T>>, check: (value: unknown) => void, member: string): Promise<T> {
  if (Object.hasOwn(ours, named)) return ours[named]!;
  const isPath = /[./\\]/.test(named);
  if (!isPath) throw new CliError(`${option} ${named}: there is no such ${what}: choose ${Object.keys(ours).join(", ")}, or give the path of one, ./${named}`);
  const { exported } = await exportsOf(option, what, named, resolve(cwd, named), cwd);
  const found = exported.find((value) => isObjectWith(value, member));
  if (found === undefined) throw new CliError(`${option} ${named}: exports no ${what}: an object with a name and ${member}`);
  judged(option, named, () => check(found));
  return found as T;
}

function isObjectWith(value: unknown, member: string): boolean {
  return typeof value === "object" && value !== null && member in value;
}

/** What is wrong with a plugin is said of how it was named. */
function judged(option: string, named: string, check: () => void): void {
  try {
    check();
  } catch (error) {
    throw new CliError(`${option} ${named}: ${(error as Error).message}`);
  }
}

/** What a file, or a package in a folder, exports, the default first; bundled with what it imports. */
async function exportsOf(option: string, what: string, named: string, path: string, cwd: string): Promise<{ readonly exported: readonly unknown[]; readonly file: string; readonly map: string }> {
  const file = entryOf(option, named, path);
  checkFile(option, what, named, file);
  const { code, map } = await bundle(option, named, file, cwd, { external: ["@netmem/*"] });
  LOADED.set(file, `${option} ${named}`);
  const exported = evaluate(option, named, file, code);
  return { exported: [exported["default"], ...Object.values(exported)], file, map };
}

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
  const ours = { drivers: Object.hasOwn(DRIVERS, named) ? [DRIVERS[named]!] : [], models: Object.hasOwn(MODELS, named) ? [MODELS[named]!] : [] };
  if (ours.drivers.length + ours.models.length > 0) return { ...ours, waive: ours.drivers.length > 0 ? waiversOf(named, folderOf(`@netmem/driver-${named}`)) : {}, file: "", map: "" };
  const path = existsSync(resolve(cwd, named)) ? resolve(cwd, named) : installedAt(named, cwd);
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

/** A package of node_modules, where `cwd` is or above it. */
function installedAt(named: string, cwd: string): string {
  if (/^[./\\]/.test(named)) throw new CliError(`conformance ${named}: no such file or folder`);
  for (const folder of createRequire(join(cwd, "package.json")).resolve.paths(named) ?? []) if (existsSync(join(folder, named, "package.json"))) return join(folder, named);
  throw new CliError(`conformance ${named}: neither a file, nor a folder, nor a package that is installed here; ours are ${[...new Set([...DRIVER_NAMES, ...MODEL_NAMES])].join(", ")}`);
}

/** Of package.json, `"netmem": { "waive": { "R13": "why" } }`. */
function waiversOf(named: string, path: string): Readonly<Record<string, string>> {
  if (!statSync(path).isDirectory()) return {};
  const { netmem } = JSON.parse(readFileSync(join(path, "package.json"), "utf8")) as { readonly netmem?: { readonly waive?: unknown } };
  const waive = netmem?.waive ?? {};
  judged("conformance", `${named}: netmem.waive of its package.json`, () => checkWaivers(waive, [...DRIVER_RULES, ...MEMORY_MODEL_RULES]));
  return waive as Readonly<Record<string, string>>;
}

function evaluate(option: string, named: string, file: string, code: string): Readonly<Record<string, unknown>> {
  const module: { exports: Record<string, unknown> } = { exports: {} };
  const there = createRequire(file);
  const require = (id: string): unknown => {
    if (!id.startsWith("@netmem/")) return there(id);
    const header = HEADERS[id];
    if (header === undefined) throw new Error(`it imports ${id}: a plugin sees headers only, ${Object.keys(HEADERS).join(", ")}`);
    return header;
  };
  try {
    compileFunction(code, ["module", "exports", "require"], { filename: file })(module, module.exports, require);
  } catch (error) {
    throw new CliError(`${option} ${named}: cannot be loaded: ${oneLine(error instanceof Error ? error.message : String(error))}`);
  }
  return module.exports;
}

/** Of a package's folder, what it exports: its sources, if they are there. */
function entryOf(option: string, named: string, path: string): string {
  if (!existsSync(path) || !statSync(path).isDirectory()) return path;
  const manifest = join(path, "package.json");
  if (!existsSync(manifest)) throw new CliError(`${option} ${named}: a folder without package.json; name a package, or a file`);
  let described: { readonly exports?: unknown; readonly main?: unknown } | null;
  try {
    described = JSON.parse(readFileSync(manifest, "utf8")) as typeof described;
  } catch (error) {
    throw new CliError(`${option} ${named}: its package.json cannot be read: ${oneLine((error as Error).message)}`);
  }
  if (typeof described !== "object" || described === null) throw new CliError(`${option} ${named}: its package.json is no object`);
  const candidates = [...entriesIn(described.exports), described.main, "src/index.ts", "index.js"].filter((entry): entry is string => typeof entry === "string").map((entry) => join(path, entry));
  const entry = candidates.find((candidate) => existsSync(candidate));
  if (entry === undefined) throw new CliError(`${option} ${named}: nothing that its package.json names is there: build it first`);
  return entry;
}

/** What an exports field has for the package itself, sources first. */
function entriesIn(exported: unknown): unknown[] {
  if (typeof exported !== "object" || exported === null) return [exported];
  const conditions = exported as Readonly<Record<string, unknown>>;
  if ("." in conditions) return entriesIn(conditions["."]);
  return ["@netmem/source", "import", "node", "default"].map((condition) => conditions[condition]);
}
