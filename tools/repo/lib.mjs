// What start, test and netmem have in common: install, build, run. Needs Node and npm, nothing else.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT = resolve(fileURLToPath(import.meta.url), "../../..");
const CACHE = join(ROOT, "node_modules/.cache/netmem");
const LOCK_STAMP = join(CACHE, "lock.sha256");
const BUILD_STAMP = join(CACHE, "build.mtime");

export const PNPM = `pnpm@${JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")).packageManager.split("@").pop()}`;
const QUIET = { TURBO_TELEMETRY_DISABLED: "1", DO_NOT_TRACK: "1", NPM_CONFIG_UPDATE_NOTIFIER: "false", NPM_CONFIG_FUND: "false" };

/** Runs a command at the root; ends this process with its exit code if it fails. */
export function run(command, args, options = {}) {
  const result = spawnSync(command, args, { cwd: ROOT, stdio: "inherit", env: { ...process.env, ...QUIET, ...options.env }, ...options.spawn });
  if (result.error) fail(`cannot run ${command}: ${result.error.message}`);
  if (result.status !== 0 && options.allowFailure !== true) {
    if (result.stdout) process.stderr.write(result.stdout);
    if (result.stderr) process.stderr.write(result.stderr);
    process.exit(result.status ?? 1);
  }
  return result;
}

export function fail(message) {
  process.stderr.write(`netmem: ${message}\n`);
  process.exit(1);
}

/** pnpm without a global install: npx fetches the exact version once. */
export function pnpm(args, options) {
  return run("npx", ["--yes", PNPM, ...args], options);
}

/** Installs what the lockfile says; does nothing while the lockfile is the one installed last. */
export function install() {
  const [major, minor] = process.versions.node.split(".").map(Number);
  if (major < 20 || (major === 20 && minor < 19)) fail(`Node ${process.versions.node} is too old: netmem needs 20.19 or newer`);
  const hash = createHash("sha256").update(readFileSync(join(ROOT, "pnpm-lock.yaml"))).digest("hex");
  if (existsSync(LOCK_STAMP) && readFileSync(LOCK_STAMP, "utf8") === hash) return;
  pnpm(["install", "--frozen-lockfile", "--reporter=append-only"], { spawn: { stdio: ["ignore", 2, 2] } });
  mkdirSync(CACHE, { recursive: true });
  writeFileSync(LOCK_STAMP, hash);
}

/** Newest change below a path, folders included, so that a deleted file counts too. */
function newestChange(path) {
  const stat = statSync(path);
  if (!stat.isDirectory()) return stat.mtimeMs;
  let newest = stat.mtimeMs;
  for (const name of readdirSync(path)) newest = Math.max(newest, newestChange(join(path, name)));
  return newest;
}

/** What the build reads, as one number, and whether everything it writes is there. */
function buildState() {
  let newest = Math.max(...["tsconfig.base.json", "turbo.json", "pnpm-lock.yaml", "tools/repo/compile-in.mjs"].map((file) => newestChange(join(ROOT, file))));
  let built = true;
  for (const parent of ["packages", "apps"]) {
    for (const name of readdirSync(join(ROOT, parent))) {
      const at = join(ROOT, parent, name);
      if (!existsSync(join(at, "src"))) continue;
      newest = Math.max(newest, ...["src", "package.json", "tsconfig.json"].map((file) => newestChange(join(at, file))));
      built &&= existsSync(join(at, "tsconfig.tsbuildinfo")) && existsSync(join(at, "dist"));
    }
  }
  return { newest: String(newest), built };
}

/** Builds, unless nothing changed since the last time: starting turbo alone takes over a second. */
export function buildIfChanged() {
  const before = buildState();
  if (before.built && existsSync(BUILD_STAMP) && readFileSync(BUILD_STAMP, "utf8") === before.newest) return;
  build();
  mkdirSync(CACHE, { recursive: true });
  writeFileSync(BUILD_STAMP, before.newest);
}

/** Builds what changed. Turbo's own report is kept off stdout, which belongs to the command. */
export function build(extra = []) {
  pnpm(["exec", "turbo", "run", "build", "--output-logs=errors-only", "--log-order=grouped", "--ui=stream", ...extra], { spawn: { stdio: ["ignore", "pipe", "pipe"], encoding: "utf8" } });
}

/** Removes everything a build made: a deleted source must not live on in dist. */
export function clean() {
  for (const parent of ["packages", "apps", "tools"]) {
    for (const name of readdirSync(join(ROOT, parent))) {
      for (const made of ["dist", "tsconfig.tsbuildinfo", ".turbo"]) rmSync(join(ROOT, parent, name, made), { recursive: true, force: true });
    }
  }
}

/** Runs a built entry with the caller's arguments, in the caller's folder, and ends with its exit code. */
export function runEntry(entry, args, nodeFlags = []) {
  const cwd = process.env.INIT_CWD ?? process.cwd();
  const result = spawnSync(process.execPath, [...nodeFlags, join(ROOT, entry), ...args], { cwd, stdio: "inherit", env: { ...process.env, INIT_CWD: cwd } });
  process.exit(result.status ?? 1);
}
