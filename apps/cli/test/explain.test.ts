import { execFileSync, spawn, type ChildProcessByStdio } from "node:child_process";
import { createWriteStream, existsSync, lstatSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable, Writable } from "node:stream";
import { fileURLToPath } from "node:url";
import { gunzipSync, gzipSync } from "node:zlib";
import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import { parquetReadObjects } from "hyparquet";
import { afterAll, describe, expect, test } from "vitest";
import type { ExplainDocument } from "../src/explain/command.ts";
import { cli, type CliResult } from "./cli.ts";

const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
const FOLDER = "examples/kernel-captures";
const LEAK = `${FOLDER}/g-leak-socket-holds.trace.gz`;
const WORK = mkdtempSync(join(tmpdir(), "netmem-explain-"));

afterAll(() => rmSync(WORK, { recursive: true, force: true }));

function file(name: string, content: string | Uint8Array): string {
  const path = join(WORK, name);
  writeFileSync(path, content);
  return path;
}

function explain(...args: readonly string[]): Promise<CliResult> {
  return cli(["explain", ...args], ROOT);
}

async function json(...args: readonly string[]): Promise<ExplainDocument> {
  const { out } = await explain(...args, "--json");
  return JSON.parse(out) as ExplainDocument;
}

const LEAKED = `
         app-1       [000] .....     1.000000: page_pool_state_hold: page_pool=ffff888118efc000 netmem=0 is_net_iov=0, pfn=0x1 hold=1
          ip-2       [000] .....     2.000000: page_pool_release: page_pool=ffff888118efc000 inflight=1 hold=1 release=0 cnt=1
 kworker/0:1-3       [000] .....     3.024000: page_pool_release: page_pool=ffff888118efc000 inflight=1 hold=1 release=0 cnt=2
 kworker/0:1-3       [000] .....     9.024000: page_pool_release: page_pool=ffff888118efc000 inflight=1 hold=1 release=0 cnt=8
`;

describe("what it says", () => {
  test("the document: files, losses, and a line of facts for each pool", async () => {
    const { command, files, lost, unknownLines, pools } = await json(LEAK);
    expect([command, files.length, lost, unknownLines, pools.length]).toEqual(["explain", 1, 0, 0, 1]);
    expect(files[0]).toMatchObject({ path: LEAK, format: "tracefs", lines: 479 });
    expect(pools[0]).toMatchObject({
      pool: "ffff88811ee19000", epoch: 1, device: "kcb0", firstTask: "python3-1008", holds: 64, releases: 59, inflight: 5, firstRetryAt: 2661.88411, stalledSeconds: 14.340612, verdict: "held-by-socket", confidence: 0.45,
    });
    expect(pools[0]!.inflightSeries.slice(0, 9)).toEqual([40, 40, 40, 40, 40, 40, 20, 20, 5]);
  });

  test("the table has a line a pool, and the story of each that is not simply drained", async () => {
    const { code, out, err } = await explain(LEAK, `${FOLDER}/a-ping-pass.trace.gz`);
    const lines = out.split("\n");
    expect([code, err, lines.filter((text) => /^ffff.* (held-by-socket|drained) /.test(text)).length, lines.filter((text) => text.startsWith("  · ")).length]).toEqual([0, "", 2, 5]);
    expect(out).toContain("ffff88811ee19000 kcb0  python3-1008    64        59          5  40 ×6 → 20 ×2 → 5 ×7");
  });

  test("a trace and its monitor are one account", async () => {
    expect((await json(LEAK, `${FOLDER}/g-leak-socket-holds.mon.jsonl.gz`)).pools).toMatchObject([{ id: 244, holds: 64, holders: [{ who: "a packet of kcb0 that is not freed", pages: 5 }] }]);
  });

  test("packed or not is the same, and so is standard input", async () => {
    const plain = file("plain.trace", gunzipSync(readFileSync(join(ROOT, LEAK))));
    const { pools } = await json(LEAK);
    expect((await json(plain)).pools).toEqual(pools);
    const entry = fileURLToPath(new URL("../dist/main.js", import.meta.url));
    if (existsSync(entry)) expect((JSON.parse(execFileSync(process.execPath, [entry, "explain", "-", "--json"], { input: readFileSync(plain), encoding: "utf8" })) as ExplainDocument).pools).toEqual(pools);
  });
});

describe("exit codes", () => {
  test("1 where a pool is suspected, or its counters cannot be", async () => {
    const suspect = await explain(file("leak.trace", LEAKED), "--json");
    expect([suspect.code, (JSON.parse(suspect.out) as ExplainDocument).pools.map(({ verdict }) => verdict)]).toEqual([1, ["leak-suspect"]]);
    const impossible = await explain(file("negative.trace", LEAKED.replaceAll("inflight=1", "inflight=-1")), "--json");
    expect([impossible.code, (JSON.parse(impossible.out) as ExplainDocument).pools.map(({ verdict }) => verdict)]).toEqual([1, ["accounting-error"]]);
  });

  test("0 where none is; a trace without events is a trace", async () => {
    expect([(await explain(LEAK)).code, (await explain(file("nothing.trace", "# tracer: nop\n#\n# entries-in-buffer/entries-written: 0/0   #P:2\n"))).code]).toEqual([0, 0]);
  });

  test.each([
    ["binary junk", () => file("junk", Uint8Array.from({ length: 5000 }, (_, i) => (i * 7919) % 251)), /not a trace: none of \d+ lines is of a known format; it is binary/],
    ["an empty file", () => file("empty", ""), /empty; give a tracefs trace/],
    ["text that is no trace", () => file("text", "hello\nworld\n"), /not a trace: none of 2 lines is of a known format; give/],
    ["a file that is not there", () => join(WORK, "none"), /none: no such file$/m],
    ["a folder", () => WORK, /a folder, not a trace; name the files in it/],
    ["a packed file that is damaged from its start on", () => file("bad.gz", new Uint8Array([0x1f, 0x8b, 8, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9])), /the compressed file /],
  ])("2 and one line for %s", async (_what, make, expected) => {
    const path = make();
    const { code, err } = await explain(path);
    expect([code, err.split("\n").length]).toEqual([2, 2]);
    expect(err).toMatch(expected);
  });

  test("a document comes of unreadable input, too: what it counted stands in it", async () => {
    const { code, out } = await explain(file("junk2", "hello\n\u0000\u0001\n"), "--json");
    expect([code, JSON.parse(out)]).toMatchObject([2, { pools: [], unknownLines: 2, files: [{ binaryLines: 1, format: null }] }]);
  });
});

test("a packed file that is cut off is read up to there, which is said, and lowers what is sure", async () => {
  const whole = readFileSync(join(ROOT, FOLDER, "c-tcp-bulk.trace.gz"));
  const { files, pools, notes } = await json(file("cut.gz", whole.subarray(0, 60_000)));
  expect([files[0]!.cutOff, files[0]!.lines > 6000, pools[0]!.confidence < 0.9, notes]).toEqual(["the compressed file ends too early", true, true, [expect.stringContaining("read up to there")]]);
});

test("two packed files in one, as logs are rotated together", async () => {
  const text = gunzipSync(readFileSync(join(ROOT, LEAK))).toString("utf8").split("\n");
  const both = Buffer.concat([gzipSync(text.slice(0, 200).join("\n").concat("\n")), gzipSync(text.slice(200).join("\n"))]);
  expect((await json(file("both.gz", both))).pools).toEqual((await json(LEAK)).pools);
});

describe("files that are written", () => {
  test("an option in a file's place is none", async () => {
    expect(await explain(LEAK, "--html", "--json")).toMatchObject({ code: 2, out: "", err: "netmem: --html --json: that is an option; name a file\n" });
  });

  test("--html: one page that needs nothing else, with a chart and the lives of pages for each pool", async () => {
    const path = join(WORK, "page.html");
    expect((await explain(LEAK, "--html", path)).code).toBe(0);
    const page = readFileSync(path, "utf8");
    expect([page.startsWith("<!doctype html>"), /<(?:script|link|img)|(?:src|href)="(?!#)/.test(page), page.match(/<svg/g)!.length, page.match(/<rect/g)!.length]).toEqual([true, false, 2, 64]);
    expect(page).toContain("held-by-socket");
  });

  test("--html escapes what a trace may hold", async () => {
    const path = join(WORK, "escape.html");
    await explain(file("escape.trace", LEAKED.replaceAll("app-1", "<b>&\"-1")), "--html", path);
    expect(readFileSync(path, "utf8")).not.toContain("<b>");
  });

  test("--perfetto: a track for each pool's pages in flight, one for its life, one for each page that is out", async () => {
    const path = join(WORK, "trace.pftrace");
    await explain(LEAK, "--perfetto", path);
    const { names, counters, slices } = readPerfetto(readFileSync(path));
    expect(names).toEqual(["page_pool", "in flight ffff88811ee19000", "ffff88811ee19000 kcb0", expect.stringMatching(/^pfn 0x/), expect.any(String), expect.any(String), expect.any(String), expect.any(String)]);
    // 64 holds, 59 releases, 15 attempts.
    expect([counters.length, counters.at(-1), Math.max(...counters), slices.filter((name) => name !== "out")]).toEqual([64 + 59 + 15, 5, 64, ["in use", "held-by-socket"]]);
  });

  test("--parquet: a row an event, of all files", async () => {
    const path = join(WORK, "events.parquet");
    await explain(LEAK, `${FOLDER}/g-leak-socket-holds.mon.jsonl.gz`, "--parquet", path);
    const bytes = readFileSync(path);
    const rows = await parquetReadObjects({ file: bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length) as ArrayBuffer });
    const holds = rows.filter(({ kind, file: from }) => kind === "hold" && from === LEAK);
    expect([rows.length, holds.length, holds[63]]).toMatchObject([466 + 269, 64, { pool: "ffff88811ee19000", hold: 64n, task: "python3-1008", event: "page_pool_state_hold", inflight: null }]);
  });

  test("no file that is read is written over, by whatever name, nor one output by another; links are followed, and devices written to", async () => {
    const input = join(WORK, "input.trace");
    writeFileSync(input, LEAKED);
    symlinkSync(input, join(WORK, "link.trace"));
    for (const output of [input, join(WORK, "link.trace")]) expect((await explain(input, "--html", output)).err).toMatch(/^netmem: --html .*: that (is .*input\.trace, which )?is read or written too; name another file\n$/);
    expect((await explain(input, "--html", join(WORK, "same"), "--perfetto", join(WORK, "same"))).err).toContain("is read or written too");
    expect(readFileSync(input, "utf8")).toBe(LEAKED);
    const page = join(WORK, "page.html");
    writeFileSync(page, "before");
    symlinkSync(page, join(WORK, "page-link.html"));
    await explain(input, "--html", join(WORK, "page-link.html"));
    expect([lstatSync(join(WORK, "page-link.html")).isSymbolicLink(), readFileSync(page, "utf8").startsWith("<!doctype html>")]).toEqual([true, true]);
    await explain(input, "--html", "/dev/null");
    expect(statSync("/dev/null").isCharacterDevice()).toBe(true);
  });

  test.each([
    ["a folder that is not there", join(WORK, "none", "x.html"), /cannot be written: there is no such folder; make it first/], ["a folder itself", WORK, /a folder; name a file in it/],
  ])("%s: said before anything is read, and nothing is left", async (_what, path, expected) => {
    const { code, err } = await explain(LEAK, "--html", path);
    expect([code, err]).toEqual([2, expect.stringMatching(expected)]);
    expect(readdirSync(WORK).filter((name) => name.includes(".part-"))).toEqual([]);
  });
});

describe("--follow", () => {
  const entry = fileURLToPath(new URL("../dist/main.js", import.meta.url));
  const [first, ...rest] = LEAKED.trimStart().split("\n");

  function follow(path: string): { readonly child: ChildProcessByStdio<Writable, Readable, null>; readonly out: () => string; readonly closed: Promise<number | null> } {
    const child = spawn(process.execPath, [entry, "explain", "--follow", path], { stdio: ["pipe", "pipe", "inherit"] });
    let out = "";
    child.stdout.on("data", (chunk: Buffer) => void (out += chunk.toString("utf8")));
    return { child, out: () => out, closed: new Promise((resolve) => void child.on("close", resolve)) };
  }

  test.skipIf(!existsSync(entry))("says what happens as it happens, and explains at the end (skipped where the command line is not built)", async () => {
    const { child, out, closed } = follow("-");
    child.stdin.write(`${first}\n`);
    await expect.poll(out, { timeout: 10_000 }).toBe("1.000000 ffff888118efc000: its first page\n");
    child.stdin.end(rest.join("\n"));
    const code = await closed;
    expect(out()).toContain("2.000000 ffff888118efc000: destroyed, 1 in flight\n3.024000 ffff888118efc000: tried again, 1 in flight\n9.024000");
    expect([code, out().includes("leak-suspect")]).toEqual([1, true]);
  });

  // A trace_pipe that nothing comes from any more does not end, and its reader must.
  test.skipIf(!existsSync(entry)).each([["a FIFO, which a trace_pipe is like", true], ["standard input", false]])("of %s that is still open, Ctrl-C explains what came (skipped where the command line is not built)", async (_what, isFifo) => {
    const fifo = join(WORK, `follow-${isFifo}`);
    execFileSync("mkfifo", [fifo]);
    const { child, out, closed } = follow(isFifo ? fifo : "-");
    const writer = isFifo ? createWriteStream(fifo) : child.stdin;
    writer.write(`${LEAKED.trimStart()}\n`);
    await expect.poll(out, { timeout: 10_000 }).toContain("tried again, 1 in flight");
    child.kill("SIGINT");
    expect(await closed).toBe(1);
    expect(out()).toContain("leak-suspect");
    writer.destroy();
  });
});

/** Names of tracks, values of counters, names of slices. */
function readPerfetto(bytes: Uint8Array): { readonly names: string[]; readonly counters: number[]; readonly slices: string[] } {
  const names: string[] = [];
  const counters: number[] = [];
  const slices: string[] = [];
  for (const packet of messages(bytes, 1)) {
    for (const descriptor of messages(packet, 60)) names.push(new TextDecoder().decode(messages(descriptor, 2)[0]));
    for (const event of messages(packet, 11)) {
      const type = varint(event, 9);
      if (type === 4) counters.push(Number(varint(event, 30)));
      if (type === 1) slices.push(new TextDecoder().decode(messages(event, 23)[0]));
    }
  }
  return { names, counters, slices };
}

function messages(bytes: Uint8Array, field: number): Uint8Array[] {
  const found: Uint8Array[] = [];
  walk(bytes, (reader, number, type) => {
    if (number === field && type === WireType.LengthDelimited) found.push(reader.bytes());
    else reader.skip(type);
  });
  return found;
}

function varint(bytes: Uint8Array, field: number): number | null {
  let value: number | null = null;
  walk(bytes, (reader, number, type) => {
    if (number === field && type === WireType.Varint) value = Number(reader.int64());
    else reader.skip(type);
  });
  return value;
}

function walk(bytes: Uint8Array, visit: (reader: BinaryReader, field: number, type: WireType) => void): void {
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag();
    visit(reader, field, type);
  }
}
