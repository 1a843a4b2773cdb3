import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { DMA_KIND_NAMES, PRESET_NAMES } from "@netmem/machine";
import { conservationFaults, pcapFile, testFrame } from "@netmem/testkit";
import type { ReplayDocument } from "../src/replay/command.ts";
import { loadCaptures } from "../src/captures.ts";
import type { ReplayOptions } from "../src/replay/options.ts";
import { runDesign } from "../src/replay/run.ts";
import { cli } from "./cli.ts";

const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
const SHIPPED = ["dns-ping.pcapng", "jumbo.pcap", "tcp-download.pcap"].map((name) => `examples/captures/${name}`);
const EVENTFUL: ReplayOptions = {
  designs: PRESET_NAMES, timing: "back-to-back", seed: 1, ring: 512, tap: true, expand: true, freeOrder: "alternate", readerLag: 5, readerCpu: 1, earlyDrop: false, packetCostNs: 0, dma: "iommu-strict", dmaDebug: "on", cpuCache: false, gro: false, udpGro: false, reader: "prompt", zerocopy: false, forward: false, xdpMode: "driver", driver: "mvneta", buffers: 1024, countsOnly: true, hangLimit: 20, json: false,
};
let folder = "";

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "netmem-cli-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

const write = (name: string, bytes: Uint8Array): string => {
  writeFileSync(join(folder, name), bytes);
  return name;
};
const small = (name: string, count: number = 20, length: number = 200): string =>
  write(name, pcapFile(Array.from({ length: count }, (_, i) => ({ bytes: testFrame(length, i), timeNs: i * 1000 }))));

async function replayJson(args: readonly string[], cwd: string = folder): Promise<ReplayDocument> {
  const { code, out, err } = await cli(["replay", ...args, "--json", "--counts-only"], cwd);
  expect([code, err]).toEqual([0, ""]);
  return JSON.parse(out) as ReplayDocument;
}

describe("on the shipped captures", () => {
  test("the bytes delivered under every design are the files' frames; nothing is dropped, reported or left in flight", async () => {
    const { inputs, runs } = await replayJson(SHIPPED, ROOT);
    expect(inputs.map(({ path, packets, linkType }) => [path, packets, linkType])).toEqual([[SHIPPED[0], 274, 1], [SHIPPED[1], 293, 1], [SHIPPED[2], 1339, 1]]);
    expect(runs.map((run) => run.design)).toEqual(["stock", "v3-2021", "5.14", "6.1", "6.8", "6.18"]);
    for (const run of runs) {
      expect([run.delivered.packets, run.dropped, run.inflightAtEnd, run.reports]).toEqual([1906, 0, 0, []]);
      expect(run.delivered.bytes).toBe(inputs.reduce((sum, input) => sum + input.bytes, 0));
      expect(run.delivered.sha256).toBe(runs[0]!.delivered.sha256);
      expect([run.dmaMaps, run.dmaUnmaps, run.recycled.released]).toEqual([run.pageAllocs, run.pageAllocs, run.pageAllocs]);
    }
    const [stock, ...recycling] = runs;
    expect(stock!.recycled.cached + stock!.recycled.ring).toBe(0);
    for (const run of recycling) expect(run.pageAllocs).toBeLessThan(stock!.pageAllocs / 2);
    expect(runs.map((run) => run.memInfoLookups > 0)).toEqual([false, true, false, false, false, false]);
    expect(runs.map((run) => run.recycled.cached > 0)).toEqual([false, false, false, false, true, true]);
  });

  test.each(PRESET_NAMES)("what the table counts holds after every step of the job itself, under %s", (design) => {
    const frames = loadCaptures([SHIPPED[0]!], ROOT).flatMap((input) => input.frames);
    let check = (): readonly string[] => ["not started"];
    let steps = 0;
    const run = runDesign(design, frames, { ...EVENTFUL, designs: [design] }, {
      started: (machine, pools) => void (check = () => conservationFaults(machine, pools)),
      step: () => {
        steps++;
        expect(check()).toEqual([]);
      },
    });
    expect([steps > 20, run.inflightAtEnd, run.pageAllocs - run.recycled.released]).toEqual([true, 0, 0]);
  });

  test("two runs give the same document but for nsPerPacket, which is 0 where only counts are asked for", async () => {
    const args = [SHIPPED[0]!, "--tap", "--reader-lag", "9"];
    const { out } = await cli(["replay", ...args, "--json"], ROOT);
    const timed = JSON.parse(out) as ReplayDocument;
    expect(timed.runs.every(({ nsPerPacket }) => nsPerPacket > 0)).toBe(true);
    const counted = await replayJson(args, ROOT);
    expect(counted).toEqual({ ...timed, settings: { ...timed.settings, countsOnly: true }, runs: timed.runs.map((run) => ({ ...run, nsPerPacket: 0 })) });
    expect(await replayJson(args, ROOT)).toEqual(counted);
  });

  test("the README shows what this prints, but for the measured row", async () => {
    const readme = readFileSync(join(ROOT, "README.md"), "utf8");
    const shown = /`npm start` ends with this:\n\n```\n([\s\S]*?)```/.exec(readme)![1]!;
    const exact = (text: string): string => text.replace(/^model packets per second.*$/m, "").trim();
    expect(exact(shown)).toBe(exact((await cli(["replay", ...SHIPPED], ROOT)).out));
  });

  test("the table names every design and count, and two sentences follow", async () => {
    const { code, out } = await cli(["replay", SHIPPED[0]!], ROOT);
    expect(code).toBe(0);
    for (const label of ["packets delivered", "page allocations", "DMA maps", "DMA unmaps", "DMA syncs", "mem_info look-ups", "recycled to cache", "recycled to ring", "released", "recycling", "in flight at the end", "reports", "model packets per second"]) {
      expect(out).toContain(label);
    }
    expect(out.trim().split("\n\n").at(-1)!.split("\n").length).toBe(2);
    expect(out).not.toContain("\u001b");
  });
});

describe("the document", () => {
  test("has just the promised members, and sha256 is over the frames in order", async () => {
    const frames = Array.from({ length: 5 }, (_, i) => testFrame(60 + i, i));
    const file = write("five.pcap", pcapFile(frames.map((bytes) => ({ bytes }))));
    const { inputs, runs } = await replayJson([file, file, "--design", "6.18"]);
    expect(inputs).toEqual([{ path: file, packets: 5, bytes: 310, linkType: 1 }, { path: file, packets: 5, bytes: 310, linkType: 1 }]);
    expect(Object.keys(runs[0]!)).toEqual(["design", "delivered", "dropped", "pageAllocs", "dmaMaps", "dmaUnmaps", "dmaSyncs", "memInfoLookups", "recycled", "notRecycled", "inflightAtEnd", "reports", "nsPerPacket"]);
    const hash = createHash("sha256");
    for (const frame of [...frames, ...frames]) hash.update(frame);
    expect(runs[0]!.delivered).toEqual({ packets: 10, bytes: 620, sha256: hash.digest("hex") });
  });

  test("a capture without packets is replayed as such, and said", async () => {
    const { code, out, err } = await cli(["replay", write("none.pcap", pcapFile([])), "--json"], folder);
    expect([code, err]).toEqual([0, "netmem: none.pcap: holds no packet\n"]);
    expect((JSON.parse(out) as ReplayDocument).runs.every((run) => run.delivered.packets === 0 && run.nsPerPacket === 0)).toBe(true);
  });
});

describe("the sentences", () => {
  const sentences = async (...args: string[]): Promise<string> => (await cli(["replay", "--counts-only", ...args], ROOT)).out.trim().split("\n").slice(-2).join(" ");
  const jumbo = SHIPPED[1]!;

  test("compare the most with the least, and say who looked up and who followed the pointer", async () => {
    const text = await sentences(jumbo);
    expect(text).toMatch(/stock took 1 183 pages from the page allocator, and v3-2021 only 755 \(the others 768\):/);
    expect(text).toMatch(/v3-2021 asked the mem_info registry 671 times, and 5\.14, 6\.1, 6\.8 and 6\.18 followed the pointer/);
  });

  test("hold for one design, for none that recycles, for early drop, and when all ask the registry", async () => {
    expect(await sentences(jumbo, "--design", "stock")).toMatch(/stock took .* 0\.0 % came back .* No page came back to its pool/);
    expect(await sentences(jumbo, "--design", "5.14", "--early-drop")).toMatch(/5\.14 followed the pointer in the page, without a look-up; all recycled pages went back through the ring\.$/);
    expect(await sentences(jumbo, "--design", "6.18", "--early-drop")).toMatch(/6\.18 put every recycled page straight into the cache\.$/);
    expect(await sentences(jumbo, "--return-path", "mem-info")).toMatch(/v3-2021, 5\.14, 6\.1, 6\.8 and 6\.18 each asked the mem_info registry 671 times; /);
  });

  test("one packet: counted in the singular, and recycled under 6.18 though nothing follows it", async () => {
    const { out } = await cli(["replay", "--counts-only", small("one.pcap", 1)], folder);
    expect(out).toContain("one.pcap: 1 packet, 200 bytes");
    const { runs } = await replayJson([small("one.pcap", 1), "--design", "6.18"]);
    expect(runs[0]!.recycled.cached + runs[0]!.recycled.ring).toBe(1);
  });
});

describe("options", () => {
  test("overrides that stock cannot follow are said to leave it alone", async () => {
    expect((await cli(["replay", "--counts-only", small("s.pcap"), "--return-path", "mem-info"], folder)).out).toContain("stock recycles no packet's pages and is not affected");
  });

  test("--early-drop: everything is dropped in the driver, and pages still recycle", async () => {
    const { runs } = await replayJson([small("a.pcap"), "--early-drop"]);
    for (const run of runs) expect([run.delivered.packets, run.dropped]).toEqual([0, 20]);
    expect(runs.map((run) => run.recycled.cached)).toEqual([0, 0, 0, 0, 20, 20]);
    expect(runs.map((run) => run.recycled.ring)).toEqual([0, 20, 20, 20, 0, 0]);
  });

  test("--tap --expand: the order of frees decides whether a shared frag stays in its pool", async () => {
    const file = small("jumbo.pcap", 20, 9000);
    const ringed = async (order: string): Promise<number> => (await replayJson([file, "--design", "5.14", "--tap", "--expand", "--free-order", order])).runs[0]!.recycled.ring;
    // 20 heads always; 40 frags only if the clone goes first.
    expect([await ringed("original"), await ringed("clone"), await ringed("alternate")]).toEqual([20, 60, 40]);
  });

  test("--shared-release last-reference keeps them all; --return-path mem-info costs a look-up a page", async () => {
    const file = small("jumbo.pcap", 20, 9000);
    const { runs } = await replayJson([file, "--design", "5.14,6.18", "--tap", "--expand", "--shared-release", "last-reference", "--return-path", "mem-info"]);
    for (const run of runs) {
      expect(run.recycled.cached + run.recycled.ring).toBe(60);
      expect(run.memInfoLookups).toBe(100);
    }
  });

  test("--reader-lag holds packets back and delivers them all", async () => {
    const { runs } = await replayJson([small("lag.pcap", 300), "--reader-lag", "250"]);
    for (const run of runs) expect([run.delivered.packets, run.inflightAtEnd]).toEqual([300, 0]);
  });

  test("--timing capture with a slow CPU overruns the ring, and counts what is lost", async () => {
    const { runs } = await replayJson([small("fast.pcap", 500), "--timing", "capture", "--packet-cost", "50000", "--ring", "32"]);
    for (const run of runs) {
      expect(run.overruns).toBeGreaterThan(0);
      expect(run.delivered.packets + run.dropped).toBe(500);
      expect(run.dropped).toBe(run.overruns);
    }
  });

  test("--timing capture says of a clock that goes back that it does, and where; what several CPUs mix up is no news", async () => {
    const stamped = (name: string, times: readonly number[]): string => write(name, pcapFile(times.map((timeNs, i) => ({ bytes: testFrame(60, i), timeNs }))));
    const notes = async (path: string, ...args: string[]): Promise<string> => (await cli(["replay", path, "--design", "6.18", "--counts-only", ...args], folder)).err;
    const back = stamped("back.pcap", [5e9, 5e9 + 1000, 2e9, 3e9, 6e9]);
    expect(await notes(back, "--timing", "capture")).toBe(`netmem: ${back}: 2 packets from byte ${24 + 2 * 76} on are stamped up to 3.000 s earlier than one before, and arrive together with that; order the file by time (reordercap)\n`);
    expect([await notes(back), await notes(stamped("mixed.pcap", [5e9, 5e9 + 9000, 5e9 + 3000]), "--timing", "capture")]).toEqual(["", ""]);
  });

  test.each(DMA_KIND_NAMES)("--dma %s: the same packets, pages and bytes as ever; only what syncs there are differs", async (kind) => {
    const file = small("dma.pcap", 40, 3000);
    const without = (runs: ReplayDocument["runs"]): unknown => runs.map(({ nsPerPacket: _ns, dmaSyncs: _syncs, ...run }) => run);
    const { runs } = await replayJson([file, "--tap", "--expand", "--dma", kind]);
    expect(without(runs)).toEqual(without((await replayJson([file, "--tap", "--expand"])).runs));
    // Newer kernels ask once whether a device needs syncs at all; older ones call, and the call finds nothing to do.
    expect(runs.map(({ dmaSyncs }) => dmaSyncs > 0)).toEqual([true, true, true, true, true, kind !== "coherent"]);
  });

  test("--dma-debug: off, and on, the same happens; every-sync skips none, though the device is coherent", async () => {
    const file = small("debug.pcap", 40, 3000);
    const syncs = async (...args: string[]): Promise<number> => (await replayJson([file, "--design", "6.18", "--dma", "coherent", ...args])).runs[0]!.dmaSyncs;
    expect([await syncs(), await syncs("--dma-debug", "off"), await syncs("--dma-debug", "on")]).toEqual([0, 0, 0]);
    expect(await syncs("--dma-debug", "every-sync")).toBeGreaterThanOrEqual(80);
    const { runs } = await replayJson([file, "--design", "6.18", "--dma-debug", "off"]);
    expect(runs).toEqual((await replayJson([file, "--design", "6.18"])).runs);
    expect((await cli(["replay", "--counts-only", file, "--dma-debug", "off"], folder)).out).toContain("DMA mappings not checked");
    expect((await cli(["replay", "--counts-only", file, "--dma-debug", "every-sync"], folder)).out).toContain("no DMA sync skipped");
  });

  test("--cpu-cache models the cache, and says so", async () => {
    const { code, out } = await cli(["replay", "--counts-only", small("cache.pcap", 40, 3000), "--dma", "non-coherent", "--cpu-cache"], folder);
    expect([code, out.split("\n")[1]]).toEqual([0, "DMA non-coherent; CPU cache modelled"]);
  });

  test("a progress line goes to a terminal's stderr only", async () => {
    const { runCli } = await import("../src/program.ts");
    let err = "";
    await runCli(["replay", small("progress.pcap", 20_000, 64), "--design", "6.18", "--json"], { out: () => {}, err: (text) => void (err += text), errIsTty: true, color: false }, folder);
    expect(err).toMatch(/replaying under 6\.18: \d+ %/);
  });
});
