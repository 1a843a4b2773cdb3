import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";

const MAIN = fileURLToPath(new URL("../dist/main.js", import.meta.url));
const CAPTURE = fileURLToPath(new URL("../../../examples/captures/dns-ping.pcapng", import.meta.url));
/** Says of each module that it is loaded. */
const LOADER = `import { writeSync } from "node:fs"; export const load = (url, context, next) => { writeSync(2, "loads " + url + "\\n"); return next(url, context); };`;
const REGISTERED = `import { register } from "node:module"; register(${JSON.stringify(dataUrl(LOADER))});`;

function dataUrl(source: string): string {
  return `data:text/javascript,${encodeURIComponent(source)}`;
}

/** Packages of which a run has loaded something. */
function loadedBy(...args: string[]): ReadonlySet<string> {
  const { stderr, status } = spawnSync(process.execPath, ["--import", dataUrl(REGISTERED), MAIN, ...args], { encoding: "utf8" });
  expect(status).toBe(0);
  const packages = stderr.matchAll(/^loads .*\/(?:packages|apps|node_modules)\/((?:@[^/]+\/)?[^/]+)\/[^/]+(?:\/.*)?$/gm);
  return new Set([...packages].map(([, name]) => name!));
}

describe("a command loads what it takes", () => {
  test("help loads the program and no layer", () => {
    const loaded = loadedBy("--help");
    expect(loaded).toContain("cli");
    expect(loaded).toContain("commander");
    for (const name of ["machine", "page-pool", "net-core", "trace", "testkit", "esbuild", "fast-check"]) expect(loaded).not.toContain(name);
  });

  test("replay loads one driver, and nothing that judges plugins or writes traces", () => {
    const loaded = loadedBy("replay", "--help");
    expect(loaded).toContain("machine");
    expect(loaded).toContain("driver-mvneta");
    for (const name of ["driver-striding", "driver-xsk", "memory-model-netgpu", "testkit", "esbuild", "fast-check", "hyparquet-writer"]) expect(loaded).not.toContain(name);
  });

  test("explain loads no machine", () => {
    const loaded = loadedBy("explain", "--help");
    expect(loaded).toContain("trace");
    for (const name of ["machine", "driver-mvneta", "hyparquet-writer", "@bufbuild/protobuf"]) expect(loaded).not.toContain(name);
  });
});

test.each([0, 1])("a program that ends the process with %i is no success, and is said; no file is left", (code) => {
  const folder = mkdtempSync(join(tmpdir(), "netmem-exit-"));
  writeFileSync(join(folder, "exit.mjs"), `export default () => process.exit(${code});\n`);
  const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, "replay", CAPTURE, "--xdp", join(folder, "exit.mjs"), "--counts-only", "--design", "6.18", "--write", join(folder, "out.pcap")], { encoding: "utf8" });
  expect([status, stdout, stderr]).toEqual([2, "", "netmem: process.exit was called before the command was done, by a program or plugin that it ran; let it return or throw\n"]);
  expect(readdirSync(folder)).toEqual(["exit.mjs"]);
  rmSync(folder, { recursive: true });
});

test("standard input that is a terminal, or a device, is refused: it may never end", () => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, "replay", "-"], { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
  expect([status, stdout, stderr]).toEqual([2, "", "netmem: -: a terminal, or a device, which may never end; give a file, or pipe one into -\n"]);
});
