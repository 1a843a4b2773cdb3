import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { MEMORY_MODEL_RULES, type ConformanceReport } from "@netmem/testkit";

const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
const TEMPLATES = join(ROOT, "apps/create-netmem/templates");
let cwd = "";
beforeAll(() => void (cwd = mkdtempSync(join(tmpdir(), "netmem-conformance-"))));
afterAll(() => rmSync(cwd, { recursive: true }));

function conformance(...args: readonly string[]): { readonly code: number | null; readonly out: string; readonly err: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(ROOT, "apps/cli/dist/main.js"), "conformance", "--cases", "0", ...args], { cwd, encoding: "utf8", env: { ...process.env, INIT_CWD: cwd } });
  return { code: status, out: stdout, err: stderr };
}

/** A copy of a template, changed. */
function plugin(template: string, name: string, edits: readonly (readonly [file: string, find: string, replace: string])[], manifest: object = {}): string {
  const folder = join(cwd, name);
  cpSync(join(TEMPLATES, template), folder, { recursive: true });
  for (const [file, find, replace] of edits) {
    const text = readFileSync(join(folder, file), "utf8");
    expect(text.split(find)).toHaveLength(2);
    writeFileSync(join(folder, file), text.replace(find, () => replace));
  }
  const described = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as object;
  writeFileSync(join(folder, "package.json"), JSON.stringify({ ...described, ...manifest }));
  return `./${name}`;
}

const WITHOUT_NETDEV: readonly (readonly [string, string, string])[] = [["src/queue.ts", "netdev: dev,", "netdev: null,"]];

describe("a package that keeps to the rules", () => {
  test("its rules are a checklist, and the exit code is 0", () => {
    const { code, out, err } = conformance(plugin("memory-model", "good", []));
    expect([code, err]).toEqual([0, ""]);
    const lines = out.trimEnd().split("\n");
    expect(lines[0]).toMatch(/^memory model my-model, \d+ cases$/);
    expect(lines.slice(1, -1).map((line) => line.trim().split(/\s{2,}/)[1])).toEqual(MEMORY_MODEL_RULES.map(({ id }) => id));
    expect(lines.at(-1)).toBe("  9 hold, 0 broken");
  });

  test("--json: one document; zcrx, whose memory the CPU can read, gives no occasion for M5", () => {
    const { code, out } = conformance("zcrx", "--json");
    const document = JSON.parse(out) as { readonly command: string; readonly plugin: string; readonly reports: readonly ConformanceReport[] };
    expect([code, document.command, document.plugin, document.reports.length]).toEqual([0, "conformance", "zcrx", 1]);
    expect(document.reports[0]!.outcomes.map(({ id, status }) => [id, status])).toEqual(MEMORY_MODEL_RULES.map(({ id }) => [id, id === "M5" ? "no occasion" : "holds"]));
  });
});

test("what a plugin prints is no part of the document", () => {
  writeFileSync(join(cwd, "talks.ts"), `console.log("hello"); export * from ${JSON.stringify(join(TEMPLATES, "memory-model/src/index.ts"))};`);
  const { code, out, err } = conformance("./talks.ts", "--json", "--rules", "M2");
  expect([code, (JSON.parse(out) as { plugin: string }).plugin, err]).toEqual([0, "./talks.ts", "hello\n"]);
});

describe("a package that does not", () => {
  test("the rule, what was done, the place in its source, and the shortest sequence; exit code 1", () => {
    const { code, out } = conformance(plugin("driver", "bad", WITHOUT_NETDEV), "--rules", "R13,R12");
    expect(code).toBe(1);
    const lines = out.split("\n");
    const at = lines.findIndex((line) => line.startsWith("  BROKEN"));
    expect(lines[at]).toContain("R13");
    expect(lines[at + 1]).toContain("a pool of no device instead of eth0");
    expect(lines[at + 2]).toMatch(/where {5}RxQueue\.open \(src\/queue\.ts:53:\d+\)$/);
    expect(lines[at + 3]).toMatch(/shown by {2}6\.18, iommu-strict, 1 queue, MTU 1500: open$/);
    expect(lines.filter((line) => /^ {2}\S/.test(line)).slice(0, -1).map((line) => line.trim().split(/\s{2,}/)[1])).toEqual(["R12", "R13"]);
    expect(lines.at(-2)).toBe("  1 broken, 1 without an occasion");
  });

  test("what its package.json waives is said, and the exit code is 0", () => {
    const forgets = [["src/provider.ts", "    this.provided.release(pool, netmem);\n", "    pool.niovClearPagePool(netmem);\n"]] as const;
    const { code, out } = conformance(plugin("memory-model", "waived", forgets, { netmem: { waive: { M3: "its memory is good for one pass", M9: "for the same reason" } } }));
    expect(out).toMatch(/waived {7}M3 .*\n {24}because its memory is good for one pass\n/);
    expect(code).toBe(0);
  });
});

describe("what cannot be judged: one line, exit code 2", () => {
  const file = (name: string, text: string): string => {
    writeFileSync(join(cwd, name), text);
    return `./${name}`;
  };
  const DRIVER = "{ name: 'x', mostRxQueues: 1, maxFrameBytes: 1514, rxDescFormat: { sizeBytes: 16, statusWord: 0, sizeWord: 1, sizeShift: 0, addressWord: 2, firstBit: 1, lastBit: 2, errorBit: 4, prefixBytes: 0, fcsBytes: 0 }, txDescFormat: { sizeBytes: 16, commandWord: 0, sizeWord: 1, sizeShift: 0, addressWord: 2, firstBit: 1, lastBit: 2 }, probe: PROBE }";
  const REGISTERED = "(deps, { name }) => ({ dev: deps.registerNetdev(name, 1), open: OPEN, stop: () => {} })";

  test.each<[string, () => string[], RegExp]>([
    ["a folder that is no package", () => {
      mkdirSync(join(cwd, "empty"));
      return ["./empty"];
    }, /conformance \.\/empty: a folder without package\.json; name a package, or a file/],
    ["nothing of that name", () => ["./nowhere"], /conformance \.\/nowhere: no such file or folder/],
    ["a package that is not installed", () => ["no-such-driver"], /conformance no-such-driver: neither a file, nor a folder, nor a package that is installed here; ours are mvneta/],
    ["a package that does not build", () => [plugin("driver", "broken", [["src/poll.ts", "let done = 0;", "let done = ;"]])], /broken: cannot be loaded: .*poll\.ts, line 14, column 14: Unexpected ";"/],
    ["one that imports what is not there", () => [file("imports.ts", "import { x } from './gone.ts'; export const driver = x;")], /imports\.ts: cannot be loaded: .*gone\.ts/],
    ["one that exports nothing suitable", () => [file("nothing.ts", "export const answer = 42;")], /nothing\.ts: exports no driver \(an object with a name and probe\) and no memory model/],
    ["a driver that lacks a member", () => [file("half.ts", "export const driver = { name: 'half', probe: () => null };")], /half\.ts: @netmem\/machine: mostRxQueues of driver half = undefined/],
    ["one that throws as it is loaded", () => [file("throws.ts", "throw new Error('not today');")], /throws\.ts: cannot be loaded: not today/],
    ["one that throws as it is probed", () => [file("probe.ts", `export const driver = ${DRIVER.replace("PROBE", "() => { throw new Error('no such bus'); }")};`)], /probe\.ts: threw Error: no such bus, in (Object\.)?probe/],
    ["one that hangs as it is loaded", () => [file("loops.ts", "for (;;);"), "--case-limit", "2"], /loops\.ts: hangs: nothing for 2 seconds while it was loaded/],
    ["one that hangs in a callback", () => [file("hangs.ts", `export const driver = ${DRIVER.replace("PROBE", REGISTERED.replace("OPEN", "() => { for (;;); }"))};`), "--case-limit", "5"], /hangs\.ts: hangs: nothing for 5 seconds in driver x, as it is probed, opened and stopped for the first time/],
    ["one that hangs after a while", () => [file("later.ts", `let n = 0; export const driver = ${DRIVER.replace("PROBE", REGISTERED.replace("OPEN", "() => { if (++n > 5) for (;;); return -12; }"))};`), "--case-limit", "5"], /later\.ts: hangs: nothing for 5 seconds in driver x, (stock|6\.18|v3-2021|5\.14), iommu-strict, 1 queue, MTU 1500: open/],
    ["one that ends its process", () => [file("exits.ts", "process.exit(3);")], /exits\.ts: ended its process with 3 while it was loaded/],
    ["a waiver without a reason", () => [plugin("driver", "unreasoned", [], { netmem: { waive: { R13: "" } } })], /unreasoned: netmem\.waive of its package\.json: @netmem\/testkit: waive\.R13 = : give the reason/],
    ["a waiver of a rule that there is not", () => [plugin("driver", "unruled", [], { netmem: { waive: { R99: "because" } } })], /unruled: netmem\.waive of its package\.json: @netmem\/testkit: waive = R99: there is no such rule; they are traffic, R1/],
    ["waivers that are no object", () => [plugin("driver", "listed", [], { netmem: { waive: "R13" } })], /listed: netmem\.waive of its package\.json: @netmem\/testkit: waive = R13: give an object/],
    ["a package.json that is nothing", () => {
      mkdirSync(join(cwd, "null"));
      writeFileSync(join(cwd, "null", "package.json"), "null");
      return ["./null"];
    }, /null: its package\.json is no object/],
    ["a driver whose probe answers nothing", () => [file("noif.ts", `export const driver = ${DRIVER.replace("PROBE", "() => null")};`)], /noif\.ts: .*interface of driver x = null: give an object/],
    ["a driver that throws nothing at all", () => [file("thrownull.ts", `export const driver = ${DRIVER.replace("PROBE", "() => { throw null; }")};`)], /thrownull\.ts: null/],
    ["a rule that there is not", () => ["zcrx", "--rules", "R1"], /zcrx: --rules R1: there is no such rule for it; choose M1, M2/],
    ["a wrong number of cases", () => ["mvneta", "--seed", "-1"], /--seed -1: give a whole number/],
  ])("%s", (_what, make, line) => {
    const { code, out, err } = conformance(...make());
    expect([code, out]).toEqual([2, ""]);
    expect(err.trimEnd().split("\n")).toHaveLength(1);
    expect(err).toMatch(line);
  });
});
