import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync, chmodSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const MAIN = fileURLToPath(new URL("../dist/main.js", import.meta.url));
const QUICK = ["--rounds", "2", "--scale", "0.002"];
const COMPILER = process.env["CC"] ?? "gcc";
const hasCompiler = spawnSync(COMPILER, ["--version"]).status === 0;

interface Output {
  readonly status: number | null;
  readonly out: string;
  readonly err: string;
}

function bench(args: readonly string[], env: Record<string, string> = {}): Output {
  const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, ...args], { encoding: "utf8", env: { ...process.env, ...env } });
  return { status, out: stdout, err: stderr };
}

interface Figures {
  readonly workloads: readonly { name: string; ns: number; cNs: number | null; ratio: number | null; spread: [number, number]; rounds: number }[];
}

test("without a C compiler ours is measured all the same, and the reference said to be skipped", () => {
  const { status, out, err } = bench([...QUICK, "--json"], { CC: "/nonexistent/cc" });
  expect([status, err]).toEqual([0, "bench: C reference skipped: no C compiler: cannot run /nonexistent/cc (install gcc, or set CC)\n"]);
  const { workloads } = JSON.parse(out) as Figures;
  expect(workloads.map(({ name }) => name)).toEqual(["w1", "w2", "w3", "w4-64", "w4-1500", "w5-drop", "w5-tx", "w6", "w5-redirect", "rx-udp", "rx-tcp-gro", "pp-return-pointer", "pp-return-mem-info", "w1-models", "w2-models", "mm-pcp", "mm-bulk64", "mm-map", "mm-map-checked"]);
  for (const { ns, cNs, ratio, spread, rounds } of workloads) {
    expect([cNs, ratio, rounds]).toEqual([null, null, 2]);
    expect(spread[0] > 0 && spread[0] <= ns && ns <= spread[1]).toBe(true);
  }
});

test.skipIf(!hasCompiler)(`with a compiler each round is set against C's${hasCompiler ? "" : ` (skipped: ${COMPILER} cannot be run)`}`, () => {
  const { status, out, err } = bench(["mm-map", "mm-pcp", "mm-bulk64", "w6", "w4-1500", "w4-64", "w5-tx", "w5-drop", "w3", "w2", "w1", ...QUICK, "--json"]);
  expect([status, err]).toEqual([0, ""]);
  const { workloads } = JSON.parse(out) as Figures;
  expect(workloads.map(({ name }) => name)).toEqual(["w1", "w2", "w3", "w4-64", "w4-1500", "w5-drop", "w5-tx", "w6", "mm-pcp", "mm-bulk64", "mm-map"]);
  for (const { cNs, ratio } of workloads) expect(cNs! > 0 && ratio! > 0).toBe(true);
});

test("the table has a line for each workload", () => {
  const { out } = bench(["mm-map-checked", ...QUICK]);
  const [head, row, end] = out.split("\n");
  expect(head).toMatch(/^workload +ns \(range\) +C ns +× C \(range\) +one operation$/);
  expect(row).toMatch(/^mm-map-checked +\d+\.\d\d \(\d+\.\d\d–\d+\.\d\d\) +– +– +map and unmap, strict IOMMU, recorded$/);
  expect(end).toBe("");
});

test("a compiler that rejects the reference is named, with its first error", () => {
  const folder = mkdtempSync(join(tmpdir(), "netmem-cc-"));
  const compiler = join(folder, "cc");
  writeFileSync(compiler, "#!/bin/sh\necho 'mm.c:1:1: error: no such target' >&2\nexit 1\n");
  chmodSync(compiler, 0o755);
  const { status, err } = bench(["mm-pcp", ...QUICK], { CC: compiler });
  rmSync(folder, { recursive: true });
  expect([status, err]).toEqual([0, `bench: C reference skipped: ${compiler} does not build reference/bench.c: mm.c:1:1: error: no such target\n`]);
});

test.each([
  [["mm-slab"], "bench: no workload mm-slab: choose w1, w2, w3, w4-64, w4-1500, w5-drop, w5-tx, w6, w5-redirect, rx-udp, rx-tcp-gro, pp-return-pointer, pp-return-mem-info, w1-models, w2-models, mm-pcp, mm-bulk64, mm-map, mm-map-checked (see bench --help)\n"],
  [["--rounds", "0"], "bench: option '--rounds <n>' argument '0' is invalid. give a whole number from 1 to 1000. (see bench --help)\n"],
  [["--scale", "none"], "bench: option '--scale <factor>' argument 'none' is invalid. give a number above 0, at most 100. (see bench --help)\n"],
  [["--fast"], "bench: unknown option '--fast' (see bench --help)\n"],
])("bad usage %j is one line, and exit 2", (args, line) => {
  expect(bench(args)).toEqual({ status: 2, out: "", err: line });
});
