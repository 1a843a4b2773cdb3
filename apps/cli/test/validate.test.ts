import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";
import { afterAll, describe, expect, test } from "vitest";
import type { ValidateDocument } from "../src/validate/command.ts";
import { cli, type CliResult } from "./cli.ts";

const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
const FOLDER = join(ROOT, "examples/kernel-captures");
const WORK = mkdtempSync(join(tmpdir(), "netmem-validate-"));

afterAll(() => rmSync(WORK, { recursive: true, force: true }));

/** Some of the captures, in a folder of their own. */
function folderOf(...names: readonly string[]): string {
  const folder = mkdtempSync(join(WORK, "captures-"));
  for (const file of readdirSync(FOLDER)) if (names.includes(file.split(".")[0]!)) cpSync(join(FOLDER, file), join(folder, file));
  return folder;
}

function change(folder: string, file: string, edit: (text: string) => string): void {
  const path = join(folder, file);
  const packed = file.endsWith(".gz");
  const text = packed ? gunzipSync(readFileSync(path)).toString("utf8") : readFileSync(path, "utf8");
  const edited = edit(text);
  expect(edited).not.toBe(text);
  writeFileSync(packed ? path.slice(0, -".gz".length) : path, edited);
  if (packed) rmSync(path);
}

function validate(...args: readonly string[]): Promise<CliResult> {
  return cli(["validate", ...args], ROOT);
}

async function json(...args: readonly string[]): Promise<ValidateDocument & { readonly code: number }> {
  const { code, out } = await validate(...args, "--json");
  return { code, ...(JSON.parse(out) as ValidateDocument) };
}

test("every capture that is shipped: the model does what each kernel did, to the last sample", { timeout: 120_000 }, async () => {
  const { code, command, captures, left } = await json(FOLDER);
  expect(captures.filter(({ firstDifference }) => firstDifference !== null)).toEqual([]);
  expect([code, command, captures.length, captures.every(({ checks, agreed }) => checks === agreed && checks > 0)]).toEqual([0, "validate", readdirSync(FOLDER).filter((name) => name.endsWith(".truth.json")).length, true]);
  expect(left).toEqual([{ name: "qemu61-funcgraph-drop-pass", why: "no qemu61-funcgraph-drop-pass.truth.json: it is not known what was done" }]);
  const levels = (level: string): string[] => captures.filter((capture) => capture.level === level).map(({ scenario }) => scenario);
  expect(new Set(levels("state"))).toEqual(new Set(["a-ping-pass", "b-udp-late", "d-xdp-drop", "e-xdp-tx", "f-xdp-redirect-cpumap", "f-xdp-redirect-devmap", "g-leak-socket-holds", "i-afxdp-copy", "k-packet-tap-clones", "m-forward", "n-skb-defer-list"]));
  expect(new Set(levels("invariant"))).toEqual(new Set(["c-tcp-bulk", "c-tcp-bulk-frags", "j-tcp-splice", "l-xdp-generic"]));
});

describe("a difference is found, and named by event, field and both values", () => {
  test("a script that sent more than the trace tells of", async () => {
    const folder = folderOf("d-xdp-drop");
    change(folder, "d-xdp-drop.truth.json", (text) => text.replace('"n":500', '"n":501').replace('"n": 500', '"n": 501'));
    const { code, captures } = await json(folder);
    expect([code, captures[0]!.firstDifference]).toEqual([1, { event: "kcb0: sample 565 (release)", field: "event", kernel: "release", model: "kfree" }]);
  });

  test("datagrams of another size hold another number of pages", async () => {
    const folder = folderOf("hashed-g-leak-socket-holds");
    change(folder, "hashed-g-leak-socket-holds.truth.json", (text) => text.replaceAll(/"size": ?1000/g, '"size":600'));
    const { code, captures } = await json(folder);
    expect([code, captures[0]!.firstDifference!.field]).toEqual([1, "releases"]);
  });

  test("a kernel that recycled otherwise: one sample of a cache", async () => {
    const folder = folderOf("b-udp-late");
    change(folder, "b-udp-late.mon.jsonl.gz", (text) => text.replace('"cache":63,"ring":0', '"cache":62,"ring":0'));
    expect((await json(folder)).captures[0]!.firstDifference).toEqual({ event: "kcb0: sample 63 (hold)", field: "cache", kernel: 62, model: 63 });
  });

  test("a page that the kernel lost", async () => {
    const folder = folderOf("hashed-a-ping-pass");
    change(folder, "hashed-a-ping-pass.trace.gz", (text) => text.replace("inflight=0 hold=64 release=64", "inflight=1 hold=64 release=63"));
    expect((await json(folder)).captures[0]!.firstDifference).toEqual({ event: "kcb0", field: "in flight as it is freed", kernel: "1", model: "0" });
  });

  test("frames of 6.18 as 6.1 would treat them, and the other way round", async () => {
    const difference = (await json(folderOf("h-test-run-live"), "--design", "6.1")).captures[0]!;
    expect([difference.preset, difference.firstDifference]).toEqual(["6.1", { event: "test run 2", field: "in flight as it is freed", kernel: "48 → 0", model: "0" }]);
    expect((await json(folderOf("qemu61-live-pass-drop"), "--design", "6.18")).captures[0]!.firstDifference).toEqual({ event: "test run 1", field: "releases", kernel: 64, model: 34 });
  });

  test("the text names it, too", async () => {
    const folder = folderOf("d-xdp-drop");
    change(folder, "d-xdp-drop.truth.json", (text) => text.replace('"n":500', '"n":501').replace('"n": 500', '"n": 501'));
    const { code, out } = await validate(folder);
    expect([code, out.split("\n").slice(4, 5), out.trimEnd().split("\n").at(-1)]).toEqual([1, ["d-xdp-drop: kcb0: sample 565 (release): event: the kernel has release, the model kfree"], "0 of 1 captures agree in everything that was asked."]);
  });
});

describe("what a record lacks is said beside what was compared", () => {
  const notesOf = async (name: string, file: string, edit: (text: string) => string): Promise<readonly string[]> => {
    const folder = folderOf(name);
    change(folder, `${name}.${file}`, edit);
    return (await json(folder)).captures[0]!.notes;
  };

  test("nothing", async () => {
    expect((await json(folderOf("d-xdp-drop", "l-xdp-generic"))).captures.map(({ notes }) => notes)).toEqual([[], []]);
  });

  test("lost events, a line that is missing, a monitor that ends early, or is of others", async () => {
    expect(await notesOf("hashed-a-ping-pass", "trace.gz", (text) => text.replace("\n ", "\nCPU:0 [LOST 500 EVENTS]\n "))).toEqual(["500 events were lost as it was recorded"]);
    expect(await notesOf("hashed-a-ping-pass", "trace.gz", (text) => text.replace(/.*hold=33\n/, ""))).toEqual(["64 page_pool_state_hold were recorded, and 63 are in the trace"]);
    expect(await notesOf("d-xdp-drop", "mon.jsonl.gz", (text) => text.split("\n").slice(0, 30).join("\n"))).toEqual([expect.stringMatching(/^pool [0-9a-f]+: the monitor ends at page 30 of 64$/)]);
    expect(await notesOf("d-xdp-drop", "mon.jsonl.gz", () => "")).toEqual(["the monitor saw none of its pools"]);
  });
});

test("the scenario and its numbers come from truth.json, whatever the files are called", async () => {
  const folder = mkdtempSync(join(WORK, "renamed-"));
  for (const ending of ["trace.gz", "truth.json", "mon.jsonl.gz"]) cpSync(join(FOLDER, `n77-b-udp-late.${ending}`), join(folder, `c-tcp-bulk.${ending}`));
  const { captures } = await json(folder);
  expect(captures).toMatchObject([{ name: "c-tcp-bulk", scenario: "b-udp-late", level: "state", checks: 4864, agreed: 4864 }]);
});

describe("what cannot be compared", () => {
  test.each([
    ["truth.json that is none", "{", /a\.truth\.json: no JSON/], ["without a scenario", "{}", /it does not say scenario and kernel/],
    ["a scenario that there is not", '{"scenario":"z","kernel":"6.18.1"}', /no recipe for scenario "z"/], ["a kernel older than any design", '{"scenario":"d-xdp-drop","kernel":"4.19.0"}', /no design for kernel 4\.19\.0/],
    ["a design in which a veth has no pool", '{"scenario":"d-xdp-drop","kernel":"6.1.0"}', /under 6\.1 there is no such pool/],
    ["no trace", '{"scenario":"d-xdp-drop","kernel":"6.18.0"}', /no a\.trace or a\.trace\.gz/], ["a number that is none", '{"scenario":"d-xdp-drop","kernel":"6.18.0","send":{"n":-1,"size":5}}', /n is -1: a whole number up to 200000 was expected/],
  ])("%s: said, and no more", async (_what, truth, expected) => {
    const folder = mkdtempSync(join(WORK, "bad-"));
    writeFileSync(join(folder, "a.truth.json"), truth);
    const { code, err } = await validate(folder);
    expect([code, err.split("\n").length]).toEqual([2, 2]);
    expect(err).toMatch(expected);
  });

  test.each([
    [[], /name a folder of captures, or record some with --live/], [["none-there"], /none-there: no such file/], [["README.md"], /README\.md: a file; name the folder/], [["docs"], /docs: no capture that the model can be compared with: no truth\.json in it/],
    [["docs", "--live"], /docs: with --live there is no folder to read/], [["docs", "--keep", "x"], /--keep x: only with --live/], [["docs", "--design", "7.0"], /--design 7\.0: no such design/], [["docs", "--design", "6.1,6.8"], /one at a time/],
  ] as const)("%j", async (args, expected) => {
    const { code, err } = await validate(...args);
    expect([code, err.split("\n").length]).toEqual([2, 2]);
    expect(err).toMatch(expected);
  });

  test.each([["send", '"x"', /send is "x": an object was expected/], ["receiver7700", '"x"', /receiver7700 is "x": a list of steps was expected/], ["t0", '"x"', /t0 is "x": a number was expected/], ["link_deleted", "true", /link_deleted is true: a number was expected/]])("%s that is %s: the truth is at fault, and not the model", async (name, value, expected) => {
    const folder = folderOf("hashed-g-leak-socket-holds");
    change(folder, "hashed-g-leak-socket-holds.truth.json", (text) => JSON.stringify({ ...(JSON.parse(text) as object), [name]: JSON.parse(value) as unknown }));
    const { code, err } = await validate(folder);
    expect([code, err.split("\n").length]).toEqual([2, 2]);
    expect(err).toMatch(expected);
  });

  test.each([
    ["trace.gz", "cut off", (bytes: Buffer) => bytes.subarray(0, 2000), "the compressed file ends too early"],
    ["trace.gz", "damaged", (bytes: Buffer) => Buffer.concat([bytes.subarray(0, 600), Buffer.alloc(400, 0x55), bytes.subarray(1000)]), "the compressed file is damaged"],
    ["mon.jsonl.gz", "cut off", (bytes: Buffer) => bytes.subarray(0, 200), "the compressed file ends too early"],
    ["trace.gz", "a folder", () => null, "cannot be read (EISDIR)"],
  ] as const)("a %s that is %s is left out, and said to be; the others are compared", async (ending, _what, damage, why) => {
    const folder = folderOf("d-xdp-drop", "hashed-a-ping-pass");
    const path = join(folder, `d-xdp-drop.${ending}`);
    const damaged = damage(readFileSync(path));
    rmSync(path);
    if (damaged === null) mkdirSync(path);
    else writeFileSync(path, damaged);
    const { code, captures, left } = await json(folder);
    expect([code, captures.map(({ name }) => name), left]).toEqual([0, ["hashed-a-ping-pass"], [{ name: "d-xdp-drop", why: `d-xdp-drop.${ending}: ${why}` }]]);
  });

  test("a trace is unpacked if it is packed, whatever it is called", async () => {
    const folder = folderOf("hashed-a-ping-pass");
    const path = join(folder, "hashed-a-ping-pass.trace.gz");
    writeFileSync(path, gunzipSync(readFileSync(path)));
    expect((await json(folder)).captures).toMatchObject([{ name: "hashed-a-ping-pass", firstDifference: null }]);
  });

  test.each([
    ["times of another day", (text: string) => text.replace(/("step": ?"read".*?"mono": ?)[\d.]+/s, "$1700000000"), /a time|no time of its run/],
    ["more packets than a script sends", (text: string) => text.replace(/"n": ?\d+/, '"n":9999999'), /n is 9999999: a whole number up to 200000/],
    ["a begin 47 s off, as another recording of the scenario has", (text: string) => text.replace(/"t0": ?[\d.]+/, (t0) => `"t0":${Number(t0.split(":")[1]) - 47}`), /the trace is of another run: its first page is 47\.\d s after the script began/],
  ])("%s: refused at once", async (_what, edit, expected) => {
    const folder = folderOf("hashed-g-leak-socket-holds");
    change(folder, "hashed-g-leak-socket-holds.truth.json", edit);
    const { code, err } = await validate(folder);
    expect([code, err.split("\n").length]).toEqual([2, 2]);
    expect(err).toMatch(expected);
  });

  test("a trace without any page_pool", async () => {
    const folder = folderOf("m-forward");
    change(folder, "m-forward.trace.gz", (text) => text.split("\n").filter((line) => !line.includes("page_pool")).join("\n"));
    rmSync(join(folder, "m-forward.mon.jsonl.gz"), { force: true });
    expect((await validate(folder)).err).toContain("the trace has no page_pool in it");
  });

  test("a trace that is none, beside a monitor that is whole", async () => {
    const folder = folderOf("a-ping-pass");
    change(folder, "a-ping-pass.trace.gz", () => "garbage\n");
    const { code, err } = await validate(folder);
    expect([code, err]).toEqual([2, expect.stringContaining("the trace has no event in it, and some were recorded")]);
  });

  test("a folder that is called as if it were a truth", async () => {
    const folder = folderOf("d-xdp-drop");
    mkdirSync(join(folder, "odd.truth.json"));
    expect((await json(folder)).left).toEqual([{ name: "odd", why: "odd.truth.json: no file" }]);
  });

  test("others in the folder are compared all the same", async () => {
    const folder = folderOf("d-xdp-drop");
    writeFileSync(join(folder, "broken.truth.json"), "{");
    mkdirSync(join(folder, "folder.trace"));
    const { code, captures, left } = await json(folder);
    expect([code, captures.length, left.map(({ name }) => name)]).toEqual([0, 1, ["broken", "folder"]]);
  });
});

test("--live records here and compares, or says why it cannot, with 77; nothing of it is left behind", { timeout: 120_000 }, () => {
  const entry = fileURLToPath(new URL("../dist/main.js", import.meta.url));
  if (!existsSync(entry)) {
    console.log("skipped: the command line is not built");
    return;
  }
  const namespaces = (): string => spawnSync("ip", ["netns"], { encoding: "utf8" }).stdout ?? "";
  const before = namespaces();
  const { status, stdout, stderr } = spawnSync(process.execPath, [entry, "validate", "--live", "--json"], { encoding: "utf8" });
  expect(namespaces()).toBe(before);
  if (status === 77) {
    expect(stderr).toMatch(/^netmem: cannot record here: .+\n$/);
    console.log(`skipped: ${stderr.trim()}`);
    return;
  }
  const { captures } = JSON.parse(stdout) as ValidateDocument;
  expect([captures.map(({ name }) => name), captures.filter(({ firstDifference }) => firstDifference !== null), status]).toEqual([["b-udp-late", "d-xdp-drop", "g-leak-socket-holds"], [], 0]);
});
