import { existsSync, readFileSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { compileFunction } from "node:vm";
import * as driverApi from "@netmem/driver/api";
import type { NetDriver } from "@netmem/driver/api";
import * as kernelApi from "@netmem/kernel/api";
import { checkDriver, checkMemoryModel } from "@netmem/machine";
import * as memoryModelApi from "@netmem/memory-model/api";
import type { MemoryModel } from "@netmem/memory-model/api";
import * as mmApi from "@netmem/mm/api";
import * as netCoreApi from "@netmem/net-core/api";
import * as pagePoolApi from "@netmem/page-pool/api";
import * as xdpApi from "@netmem/xdp/api";
import { blameFor } from "./blame.ts";
import { CliError } from "./terminal.ts";
import { bundle, checkFile, oneLine } from "./user-module.ts";

type Loaders<T> = Readonly<Record<string, () => Promise<T>>>;

/** Ours. Each is loaded when it is named. */
export const DRIVERS: Loaders<NetDriver> = {
  "mvneta": async () => (await import("@netmem/driver-mvneta")).mvneta,
  "mvpp2": async () => (await import("@netmem/driver-mvpp2")).mvpp2,
  "header-split": async () => (await import("@netmem/driver-header-split")).headerSplit,
  "split-page": async () => (await import("@netmem/driver-split-page")).splitPage,
  "striding": async () => (await import("@netmem/driver-striding")).striding,
  "xsk": async () => (await import("@netmem/driver-xsk")).xsk,
};
/** Those whose users read connections. */
const STREAM_MODELS: Loaders<MemoryModel> = {
  netgpu: async () => (await import("@netmem/memory-model-netgpu")).netgpu,
  devmem: async () => (await import("@netmem/memory-model-devmem")).devmem,
  zcrx: async () => (await import("@netmem/memory-model-zcrx")).zcrx,
};
export const MODELS: Loaders<MemoryModel> = { ...STREAM_MODELS, xsk: async () => (await import("@netmem/memory-model-xsk")).xsk };
export const DRIVER_NAMES: readonly string[] = Object.keys(DRIVERS);
export const MODEL_NAMES: readonly string[] = Object.keys(MODELS);
export const STREAM_MODEL_NAMES: readonly string[] = Object.keys(STREAM_MODELS);
export const DEFAULT_DRIVER = "mvneta";
/** What a plugin may import: it meets the layers that this program has, wherever it lies and whatever is installed there. */
const HEADERS: Readonly<Record<string, object>> = {
  "@netmem/kernel/api": kernelApi, "@netmem/mm/api": mmApi, "@netmem/xdp/api": xdpApi, "@netmem/page-pool/api": pagePoolApi, "@netmem/net-core/api": netCoreApi, "@netmem/driver/api": driverApi, "@netmem/memory-model/api": memoryModelApi,
};

/** One of ours by name, or somebody's: a file or a package's folder by path, or a package that is installed where `cwd` is. Throws what a user can do something about. */
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

async function load<T>(option: string, what: string, named: string, cwd: string, ours: Loaders<T>, check: (value: unknown) => void, member: string): Promise<T> {
  if (Object.hasOwn(ours, named)) return ours[named]!();
  const path = placeOf(named, cwd);
  if (path === null) throw new CliError(`${option} ${named}: there is no such ${what}: choose ${Object.keys(ours).join(", ")}, or give a path, ./${named}, or a package that is installed here`);
  const { exported } = await exportsOf(option, what, named, path, cwd);
  const found = exported.find((value) => isObjectWith(value, member));
  if (found === undefined) throw new CliError(`${option} ${named}: exports no ${what}: an object with a name and ${member}`);
  judged(option, named, () => check(found));
  return found as T;
}

/** Where a plugin lies that is named by its path, or as a package of node_modules, where `cwd` is or above it; null: neither. */
export function placeOf(named: string, cwd: string): string | null {
  const path = resolve(cwd, named);
  if (/^[./\\]/.test(named) || existsSync(path)) return path;
  const folders = createRequire(join(cwd, "package.json")).resolve.paths(named) ?? [];
  return folders.map((folder) => join(folder, named)).find((folder) => existsSync(join(folder, "package.json"))) ?? null;
}

export function isObjectWith(value: unknown, member: string): boolean {
  return typeof value === "object" && value !== null && member in value;
}

/** What is wrong with a plugin is said of how it was named. */
export function judged(option: string, named: string, check: () => void): void {
  try {
    check();
  } catch (error) {
    throw new CliError(`${option} ${named}: ${(error as Error).message}`);
  }
}

/** What a file, or a package in a folder, exports, the default first; bundled with what it imports. */
export async function exportsOf(option: string, what: string, named: string, path: string, cwd: string): Promise<{ readonly exported: readonly unknown[]; readonly file: string; readonly map: string }> {
  const file = entryOf(option, named, path);
  checkFile(option, what, named, file);
  const { code, map } = await bundle(option, named, file, cwd, { external: ["@netmem/*"] });
  blameFor(file, `${option} ${named}`);
  const exported = evaluate(option, named, file, code);
  return { exported: [exported["default"], ...Object.values(exported)], file, map };
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
  if (!existsSync(path)) throw new CliError(`${option} ${named}: no such file or folder`);
  if (!statSync(path).isDirectory()) return path;
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
