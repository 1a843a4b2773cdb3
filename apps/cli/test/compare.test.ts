import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import { PRESET_NAMES } from "@netmem/machine";
import type { CompareDocument } from "../src/compare/command.ts";
import { pcapFile, testPayload, udpFrame } from "@netmem/testkit";
import { MODEL_NAMES, STREAM_MODEL_NAMES, loadModel } from "../src/plugins.ts";
import { cli } from "./cli.ts";

const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
const CAPTURE = "examples/captures/dns-ping.pcapng";
const JUMBO = "examples/captures/jumbo.pcap";

async function compare(...args: readonly string[]): Promise<CompareDocument> {
  const { code, out, err } = await cli(["compare", ...args, "--json", "--counts-only"], ROOT);
  expect([code, err]).toEqual([0, ""]);
  return JSON.parse(out) as CompareDocument;
}

const SPLITTING = ["netgpu", "devmem", "zcrx"];
const DRIVERS = ["mvneta", "mvpp2", "header-split", "split-page", "striding", "xsk"];

test("unless said otherwise every driver is set beside every other, with every model", async () => {
  const { runs, leftOut } = await compare(CAPTURE, "--design", "6.18");
  expect(runs.map(({ driver, model }) => `${driver} ${model}`)).toEqual(DRIVERS.flatMap((driver) => ["pages", ...(driver === "header-split" ? SPLITTING : [])].map((model) => `${driver} ${model}`)));
  expect(leftOut.map(({ driver, model }) => `${driver} ${model}`)).toEqual(DRIVERS.filter((driver) => driver !== "header-split").flatMap((driver) => SPLITTING.map((model) => `${driver} ${model}`)));
});

describe("under every design", () => {
  const outcomes = new Set<string>();

  test.each(DRIVERS)("%s with every model, and what cannot be by name and reason: the same bytes as with any other, and nothing lost", async (driver) => {
    const { runs, leftOut } = await compare(CAPTURE, "--drivers", driver);
    const models = driver === "header-split" ? SPLITTING : [];
    expect(runs.map(({ model, design }) => `${model} ${design}`)).toEqual([
      ...PRESET_NAMES.map((design) => `pages ${design}`),
      ...models.flatMap((model) => PRESET_NAMES.filter((design) => design !== "stock").map((design) => `${model} ${design}`)),
    ]);
    expect(leftOut.map(({ model, design }) => `${model} ${design ?? "all"}`)).toEqual(SPLITTING.map((model) => `${model} ${models.includes(model) ? "stock" : "all"}`));
    for (const { delivered, inflightAtEnd, reports } of runs) outcomes.add(`${delivered.sha256} ${inflightAtEnd} ${reports}`);
    expect(outcomes.size).toBe(1);
  });
});

test("the table has a line a run, and says what was left out", async () => {
  const { code, out } = await cli(["compare", JUMBO, "--design", "6.18", "--models", "pages,zcrx", "--gro"], ROOT);
  const lines = out.split("\n");
  expect(lines.slice(4, 10).map((line) => /\d$/.test(line))).toEqual(Array(6).fill(true));
  expect([code, lines[0], lines[2]!.split(/ {2,}/), lines.slice(4, 10).map((line) => line.split(/ {2,}/).slice(0, 4)), lines.slice(11)]).toEqual([
    0, "examples/captures/jumbo.pcap: 293 packets, 1 724 109 bytes",
    ["driver", "model", "design", "bytes read", "dropped", "pages", "buffers", "maps", "syncs", "look-ups", "recycled", "in flight", "reports", "packets/s"],
    [["mvneta", "pages", "6.18", "1 704 739"], ["header-split", "pages", "6.18", "1 704 739"], ["header-split", "zcrx", "6.18", "1 704 739"], ["split-page", "pages", "6.18", "1 704 739"], ["striding", "pages", "6.18", "1 704 739"], ["xsk", "pages", "6.18", "1 704 739"]],
    [
      "left out: mvneta with zcrx, split-page with zcrx, striding with zcrx, xsk with zcrx: it does not split headers into buffers of their own, on a queue of their own",
      "left out: mvpp2 with pages, mvpp2 with zcrx: it takes frames of up to 1 662 bytes, and the longest here has 9 014", "",
    ],
  ]);
});

test("where only counts are asked for, no time is told", async () => {
  const { code, out } = await cli(["compare", JUMBO, "--design", "6.18", "--models", "pages", "--drivers", "mvneta,xsk", "--counts-only"], ROOT);
  const lines = out.split("\n");
  expect([code, lines.slice(4, 6).map((line) => [line.split(" ")[0], line.at(-1)])]).toEqual([0, [["mvneta", "–"], ["xsk", "–"]]]);
});

test("a model whose users are given frames is left out, and why", async () => {
  const { runs, leftOut } = await compare(JUMBO, "--design", "6.18", "--drivers", "xsk", "--models", "pages,xsk");
  expect([runs.length, leftOut]).toEqual([1, [{ driver: "xsk", model: "xsk", why: "its users are given frames, and here connections are read" }]]);
});

test("where nothing of the matrix can be there is nothing to compare, and why is said", async () => {
  expect(await cli(["compare", JUMBO, "--drivers", "mvneta", "--models", "netgpu"], ROOT)).toMatchObject({ code: 2, out: "", err: "netmem: nothing to compare: mvneta with netgpu: it does not split headers into buffers of their own, on a queue of their own\n" });
});

test("a driver that does not come up for such frames is left out, and why; the others are compared", async () => {
  const folder = mkdtempSync(join(tmpdir(), "netmem-compare-"));
  const path = join(folder, "large.pcap");
  writeFileSync(path, pcapFile([{ bytes: udpFrame(testPayload(39_958, 1)) }]));
  const { runs, leftOut } = await compare(path, "--design", "6.18", "--drivers", "mvneta,striding", "--models", "pages");
  expect([runs.map(({ driver }) => driver), leftOut]).toEqual([["mvneta"], [{
    driver: "striding", model: "pages", design: "6.18", why: "eth0 of striding did not come up (-ENOMEM): there is not memory enough, or not in one piece, for 512 descriptors and an MTU of 39986",
  }]]);
  expect((await cli(["compare", path, "--design", "6.18", "--drivers", "mvneta", "--models", "pages", "--counts-only"], ROOT)).out).toContain(": 1 packet, 40 000 bytes\n");
  rmSync(folder, { recursive: true });
});

test("models whose users read connections are those that say so", async () => {
  const streams: string[] = [];
  for (const name of MODEL_NAMES) if ((await loadModel(name, ROOT)).delivers !== "frames") streams.push(name);
  expect(STREAM_MODEL_NAMES).toEqual(streams);
});

test("a plugin by path stands beside ours, and counts what ours counts", async () => {
  const { runs } = await compare(CAPTURE, "--design", "6.18", "--drivers", "header-split,packages/driver-header-split", "--models", "pages");
  const [ours, theirs] = runs.map((run) => ({ ...run, driver: "", nsPerPacket: 0 }));
  expect(theirs).toEqual(ours);
});

describe("a plugin that does not do", () => {
  const WORK = mkdtempSync(join(tmpdir(), "netmem-compare-"));
  afterAll(() => rmSync(WORK, { recursive: true }));
  const cheat = (name: string, binding: string): string => {
    const path = join(WORK, `${name}.ts`);
    writeFileSync(path, `import { netgpu } from ${JSON.stringify(join(ROOT, "packages/memory-model-netgpu/src/index.ts"))};
export const model = { ...netgpu, name: ${JSON.stringify(name)}, bind: (deps, options) => {
  const bound = netgpu.bind(deps, options);
  return typeof bound === "number" ? bound : ${binding};
} };
`);
    return path;
  };

  test("is blamed itself, though it comes first; one that loses buffers, too", async () => {
    const shifts = cheat("shifts", "{ ...bound, openStream: (socket) => { const stream = bound.openStream(socket); return { read: (onBytes) => stream.read((region, offset, bytes) => onBytes(region, offset + 1, bytes)), close: () => stream.close() }; } }");
    const loses = cheat("loses", "{ ...bound, free: () => bound.free() - 7 }");
    const { code, err } = await cli(["compare", "examples/captures/tcp-download.pcap", "--design", "6.18", "--drivers", "header-split", "--models", `${shifts},${loses},pages`, "--counts-only"], ROOT);
    expect(code).toBe(1);
    expect(err.trim().split("\n")).toEqual([
      expect.stringMatching(/shifts\.ts, 6\.18: other bytes came out \(1 300 277\) than with mvneta into pages \(1 300 277\): header-split with shifts changes, repeats or loses some$/),
      expect.stringMatching(/loses\.ts, 6\.18: of the model's [\d ]+ buffers 7 never came back, though all is over$/),
    ]);
  });

  test("that comes to no end is a fault, though nothing else is compared", async () => {
    const keeps = cheat("keeps", "{ ...bound, openStream: (socket) => ({ read: () => -11, close: () => undefined }) }");
    const { code, out, err } = await cli(["compare", "examples/captures/tcp-download.pcap", "--design", "stock,6.18", "--drivers", "header-split", "--models", keeps, "--buffers", "64", "--counts-only"], ROOT);
    expect([code, err]).toEqual([1, expect.stringMatching(/keeps\.ts, 6\.18: stalled after \d+ of 1339 frames: all 64 buffers/)]);
    expect(out).toContain("left out: header-split with");
  });

  test("that refuses what it is asked for is left out, and why; the others are compared", async () => {
    const few = join(WORK, "few.ts");
    writeFileSync(few, `import { UsageError } from "@netmem/kernel/api";
import { headerSplit } from ${JSON.stringify(join(ROOT, "packages/driver-header-split/src/index.ts"))};
export const driver = { ...headerSplit, name: "few", probe: (deps, options) => {
  if (options.rxRingSize > 256) throw new UsageError("few", "rxRingSize", options.rxRingSize, "give 32 to 256 descriptors");
  return headerSplit.probe(deps, options);
} };
`);
    const { runs, leftOut } = await compare(CAPTURE, "--design", "6.18", "--drivers", `${few},mvneta`, "--models", "pages");
    expect([runs.map(({ driver }) => driver), leftOut.map(({ driver, why }) => [driver, why])]).toEqual([["mvneta"], [[few, "--ring 512: few does not do that: give 32 to 256 descriptors"]]]);
  });
});

test.each([
  [[], "missing required argument 'capture' (see netmem compare --help)"],
  [[JUMBO, "--models", "x"], "--models x: there is no such memory model: choose netgpu, devmem, zcrx, xsk, or give a path, ./x, or a package that is installed here"],
  [[JUMBO, "--drivers", "mvneta,mvneta"], "--drivers: mvneta is named twice"],
  [[JUMBO, "--drivers", ","], "--drivers: name one, or several separated by commas"],
  [[JUMBO, "--design", "7.0"], "--design 7.0: no such design; choose from stock, v3-2021, 5.14, 6.1, 6.8, 6.18"],
  [["none.pcap"], "none.pcap: no such file"],
  [[JUMBO, "--buffers", "0"], "--buffers 0: give a whole number from 1 to 262144"],
])("%j is one line, and exit 2", async (args, message) => {
  expect(await cli(["compare", ...args], ROOT)).toMatchObject({ code: 2, out: "", err: `netmem: ${message}\n` });
});
