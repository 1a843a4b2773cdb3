import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { PRESET_NAMES } from "@netmem/machine";
import { pcapFile, testFrame } from "@netmem/testkit";
import type { ReplayDocument } from "../src/replay/command.ts";
import { cli, type CliResult } from "./cli.ts";

const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
let folder = "";

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "netmem-xdp-"));
  writeFileSync(join(folder, "small.pcap"), pcapFile(Array.from({ length: 30 }, (_, i) => ({ bytes: testFrame(100, i) }))));
  writeFileSync(join(folder, "jumbo.pcap"), pcapFile(Array.from({ length: 6 }, (_, i) => ({ bytes: testFrame(9000, i) }))));
});
afterAll(() => rmSync(folder, { recursive: true }));

/** Replays `capture` through a program of this text. */
async function replay(text: string, args: readonly string[] = [], capture: string = "small.pcap", name: string = "program.js"): Promise<CliResult> {
  writeFileSync(join(folder, name), text);
  return cli(["replay", capture, "--xdp", name, ...args], folder);
}

async function runsOf(text: string, args: readonly string[] = [], capture?: string, name?: string): Promise<ReplayDocument["runs"]> {
  return timedRunsOf(text, [...args, "--counts-only"], capture, name);
}

/** The same with the runs before and after it that are for the time. */
async function timedRunsOf(text: string, args: readonly string[], capture?: string, name?: string): Promise<ReplayDocument["runs"]> {
  const { out, err } = await replay(text, [...args, "--json"], capture, name);
  if (out === "") throw new Error(err);
  return (JSON.parse(out) as ReplayDocument).runs;
}

describe("verdicts and pages", () => {
  test("each verdict is counted, every packet is somewhere, and every page comes home, under every design", async () => {
    const runs = await runsOf(`
      let n = 0;
      let target = 0;
      export function setup({ ifindex }) { target = ifindex.eth1; }
      export default (ctx) => {
        const verdict = n++ % 5;
        return verdict === 4 ? ctx.redirect(target, 0) : verdict;
      };`);
    expect(runs.map(({ design }) => design)).toEqual(PRESET_NAMES);
    for (const run of runs) {
      expect(run.xdp).toEqual({
        program: "program.js", mode: "driver", verdicts: { aborted: 6, drop: 6, pass: 6, tx: 6, redirect: 6, invalid: 0, none: 0 },
        sent: { eth0: 6, eth1: 6 }, copies: 0, lost: { redirect: [], devmap: 0, cpumap: 0 }, systemPoolPages: 0, faults: [],
      });
      expect([run.delivered.packets, run.dropped, run.inflightAtEnd, run.reports]).toEqual([6, 12, 0, []]);
    }
    // Dropped and sent back: straight into the cache. Passed and redirected: by each design's own way.
    expect(runs.map(({ recycled }) => recycled.cached >= 18)).toEqual([true, true, true, true, true, true]);
  });

  test("TypeScript is stripped, constants come with the command, and what a program remembers is this run's", async () => {
    const [run] = await timedRunsOf(`
      import { XDP_DROP, XDP_PASS, type XdpMd } from "@netmem/xdp/api";
      interface Seen { packets: number }
      const seen: Seen = { packets: 0 };
      export default function program(ctx: XdpMd): number {
        seen.packets += 1;
        return ctx.getBuffLen() === 100 && seen.packets <= 10 ? XDP_DROP : XDP_PASS;
      }`, ["--design", "6.18"], "small.pcap", "typed.ts");
    expect([run!.xdp!.verdicts.drop, run!.xdp!.verdicts.pass]).toEqual([10, 20]);
  });

  test("maps: a devmap and a cpumap, made in setup", async () => {
    const [run] = await runsOf(`
      let devices, cpus, n = 0;
      export function setup({ maps, ifindex, cpus: count }) {
        devices = maps.createDevMap(2);
        devices.mapUpdateElem(1, ifindex.eth1, null, 0);
        cpus = maps.createCpuMap(count);
        cpus.mapUpdateElem(1, 64, null, 0);
      }
      export default (ctx) => (n++ % 2 === 0 ? ctx.redirectMap(devices, 1, 0) : ctx.redirectMap(cpus, 1, 0));`, ["--design", "6.18"]);
    expect([run!.xdp!.verdicts.redirect, run!.xdp!.sent, run!.delivered.packets, run!.dropped, run!.inflightAtEnd]).toEqual([30, { eth0: 0, eth1: 15 }, 15, 0, 0]);
  });

  test.each(["program.mjs", "program.cjs", "program.mts", "sub/program.js"])("what a module, or what it imports, remembers is this run's, whatever its kind: %s", async (name) => {
    mkdirSync(join(folder, "sub"), { recursive: true });
    writeFileSync(join(folder, "sub/package.json"), '{"type":"module"}');
    for (const at of ["", "sub/"]) writeFileSync(join(folder, at, "counter.cjs"), "let n = 0; exports.next = () => n++;");
    const text = name.endsWith(".cjs") ? "const { next } = require('./counter.cjs'); module.exports = () => (next() < 10 ? 1 : 2);"
      : "import { next } from './counter.cjs'; export default () => (next() < 10 ? 1 : 2);";
    for (const { xdp } of [...await runsOf(text, [], "small.pcap", name), ...await timedRunsOf(text, ["--design", "6.1,6.18"], "small.pcap", name)]) expect([xdp!.verdicts.drop, xdp!.verdicts.pass]).toEqual([10, 20]);
  });

  test("a broadcast's copies hide no dropped packet", async () => {
    const [run] = await runsOf(`
      import { BPF_F_BROADCAST, XDP_DROP } from "@netmem/xdp/api";
      let map, n = 0;
      export function setup({ maps, ifindex }) {
        map = maps.createDevMap(2);
        map.mapUpdateElem(0, ifindex.eth0, null, 0);
        map.mapUpdateElem(1, ifindex.eth1, null, 0);
      }
      export default (ctx) => (n++ % 2 === 0 ? XDP_DROP : ctx.redirectMap(map, 0, BPF_F_BROADCAST));`, ["--design", "6.18"]);
    expect([run!.xdp!.sent, run!.xdp!.copies, run!.dropped]).toEqual([{ eth0: 15, eth1: 15 }, 15, 15]);
  });

  test.each(["driver", "generic"])("a redirect that leads nowhere is counted, with its reason: %s", async (mode) => {
    const { code, out } = await replay("let n = 0; export default (ctx) => (n++ % 3 === 0 ? ctx.redirect(999, 0) : 1);", ["--design", "6.1,6.18", "--xdp-mode", mode, "--counts-only"]);
    expect(code).toBe(0);
    expect(out).toMatch(/redirects lost +10 +10\n/);
    expect(out).toContain(". Redirects lost: 10 -EINVAL (6.1 and 6.18).\n");
  });

  test("a CPU's queue that is full loses packets, which are counted", async () => {
    const [run] = await runsOf(`
      let map;
      export function setup({ maps }) { map = maps.createCpuMap(2); map.mapUpdateElem(1, 4, null, 0); }
      export default (ctx) => ctx.redirectMap(map, 1, 0);`, ["--design", "6.18"]);
    expect(run!.xdp!.lost.cpumap).toBeGreaterThan(0);
    expect(run!.xdp!.lost.cpumap + run!.delivered.packets).toBe(30);
    expect(run!.dropped).toBe(run!.xdp!.lost.cpumap);
  });

  test("what the second device maps to send is counted", async () => {
    const beyondThePool = async (verdict: string): Promise<number> => {
      const [run] = await runsOf(`let to; export function setup({ ifindex }) { to = ifindex.eth1; } export default (ctx) => ${verdict};`, ["--design", "6.18"]);
      return run!.dmaMaps - run!.pageAllocs;
    };
    expect([await beyondThePool("ctx.redirect(to, 0)"), await beyondThePool("1")]).toEqual([30, 0]);
  });

  test("copies of skbs show as pages of the system's pools, where a kernel has them", async () => {
    const runs = await runsOf("export const frags = true; export default () => 2;", ["--design", "6.1,6.18", "--xdp-mode", "generic"], "jumbo.pcap");
    expect(runs.map(({ xdp }) => xdp!.systemPoolPages > 0)).toEqual([false, true]);
  });

  test("with bounce buffers too, at the ring's usual size", async () => {
    for (const { delivered, inflightAtEnd } of await runsOf("export default () => 2;", ["--dma", "bounce"])) expect([delivered.packets, inflightAtEnd]).toEqual([30, 0]);
  });

  test("what it prints goes to standard error, once for each packet that is counted", async () => {
    const { code, out, err } = await replay("console.log('loaded'); export default (ctx) => { console.log(ctx.getBuffLen()); return 2; };", ["--design", "6.18", "--json"]);
    expect(code).toBe(0);
    expect((JSON.parse(out) as ReplayDocument).runs[0]!.delivered.packets).toBe(30);
    expect(err).toBe(`loaded\n${"100\n".repeat(30)}`);
  });

  test("on skbs: the same counts, whatever the driver", async () => {
    const runs = await runsOf("let n = 0; export default () => [1, 2, 3][n++ % 3];", ["--xdp-mode", "generic"]);
    for (const { xdp, delivered, inflightAtEnd, reports } of runs) {
      expect([xdp!.mode, xdp!.verdicts.drop, xdp!.verdicts.pass, xdp!.verdicts.tx, xdp!.sent, delivered.packets, inflightAtEnd, reports]).toEqual(["generic", 10, 10, 10, { eth0: 10, eth1: 0 }, 10, 0, []]);
    }
  });

  test("the table says what the document says", async () => {
    const { code, out, err } = await replay("let n = 0; export default () => (n++ < 20 ? 1 : 2);", ["--design", "6.18"]);
    expect([code, err]).toEqual([0, ""]);
    expect(out).toContain("XDP program program.js in the driver\n");
    const rows = Object.fromEntries(out.split("\n").filter((line) => / {2}/.test(line)).map((line) => line.split(/ {2,}/) as [string, string]));
    expect([rows["XDP_DROP"], rows["XDP_PASS"], rows["no verdict"], rows["packets delivered"], rows["packets dropped"]]).toEqual(["20", "10", "0", "10", "20"]);
    expect(out).toContain("\nThe program let 10 packets pass and dropped 20.\n");
    expect(Number(rows["model packets per second"]!.replaceAll(" ", ""))).toBeGreaterThan(0);
  });

  test("packets in several buffers, for programs that say so", async () => {
    const runs = await runsOf("export const frags = true; export default (ctx) => (ctx.getBuffLen() === 9000 && ctx.linearBytes < 4000 && ctx.adjustTail(-5000) === 0 ? 2 : 0);", ["--design", "6.1,6.8,6.18"], "jumbo.pcap");
    for (const { xdp, delivered, inflightAtEnd } of runs) expect([xdp!.verdicts.pass, delivered.bytes, inflightAtEnd]).toEqual([6, 6 * 4000, 0]);
  });
});

describe("a faulty program is named with packet and reason", () => {
  test.each([
    ["throws", "let n = 0; export default (ctx) => { if (++n === 17) ctx.gone.x; return 2; };", "packet 17: threw TypeError: Cannot read properties of undefined (reading 'x') (program.js:1)"],
    ["reads outside", "let n = 0; export default (ctx) => { if (++n > 28) ctx.getUint8(100); return 1; };", "packet 29: threw UsageError: @netmem/xdp: access of 1 byte at offset = 100: the packet's linear part is 0 to 100: test linearBytes first, or use loadBytes (program.js:1); 2 packets in all"],
    ["answers no verdict", "export default () => 5;", "packet 1: illegal XDP return value 5: expect packet loss; 30 packets in all"],
    ["answers nothing", "export default () => {};", "packet 1: answered undefined, which is no verdict; 30 packets in all"],
    ["is asynchronous", "export default async () => 2;", "packet 1: answered a promise, which is no verdict; 30 packets in all"],
    ["rejects", "export default async () => { throw new Error('later'); };", "packet 1: answered a promise, which is no verdict; 30 packets in all"],
    ["answers a BigInt", "export default () => 2n;", "packet 1: answered 2n, which is no verdict; 30 packets in all"],
    ["answers a number that no u32 holds", "export default () => 2 ** 32;", "packet 1: answered 4294967296, which is no verdict; 30 packets in all"],
    ["throws what a terminal would act upon", "export default () => { throw new Error('\\u001b[31mred\\nblue'); };", "packet 1: threw Error: [31mred blue (program.js:1); 30 packets in all"],
    ["has a map that could not be made", "export default (ctx) => ctx.redirectMap(-7, 0, 0);", "packet 1: threw UsageError: @netmem/xdp: redirectMap's map = -E2BIG: making it was refused, with this errno (program.js:1); 30 packets in all"],
  ])("%s", async (_what, text, line) => {
    const { code, out, err } = await replay(text, ["--design", "6.18", "--counts-only"]);
    expect([code, err]).toEqual([1, `netmem: 6.18: program.js: ${line}\n`]);
    expect(out).toContain("no verdict");
  });

  test("every packet has one verdict or none", async () => {
    const [run] = await runsOf("let n = 0; export default () => [2, 5, 2 ** 32, undefined, -1][n++ % 5];", ["--design", "6.18"]);
    expect(run!.xdp!.verdicts).toEqual({ aborted: 0, drop: 0, pass: 6, tx: 0, redirect: 0, invalid: 12, none: 12 });
  });

  test("a program of a map's entry, by its own name", async () => {
    const { code, err } = await replay(`
      let map;
      export function setup({ maps, ifindex, bpfProgLoad }) {
        map = maps.createDevMap(1);
        map.mapUpdateElem(0, ifindex.eth1, bpfProgLoad("on the way", () => { throw new Error("no"); }), 0);
      }
      export default (ctx) => ctx.redirectMap(map, 0, 0);`, ["--design", "6.18", "--counts-only"]);
    expect([code, err]).toEqual([1, "netmem: 6.18: on the way: packet 1: threw Error: no\n"]);
  });
});

describe("what cannot be run: one line, exit 2, nothing on stdout", () => {
  test.each([
    ["export default 7;", /^netmem: --xdp program\.js: exports no program: give it a function of the packet as its default export$/],
    ["export default (ctx) => {\n  return ctx..x;\n};", /^netmem: --xdp program\.js: cannot be loaded: program\.js, line 2, column 14: Expected identifier but found "\."$/],
    ["import './gone.js'; export default () => 2;", /^netmem: --xdp program\.js: cannot be loaded: program\.js, line 1, column 8: Could not resolve "\.\/gone\.js"$/],
    ["throw new Error('at load');", /^netmem: --xdp program\.js: cannot be loaded: at load \(program\.js:1\)$/],
    ["export const frags = 'yes'; export default () => 2;", /^netmem: --xdp program\.js: its export "frags" says whether/],
    ["export const setup = {}; export default () => 2;", /^netmem: --xdp program\.js: its export "setup" is no function$/],
    ["export function setup() { throw new RangeError('no room'); } export default () => 2;", /^netmem: --xdp program\.js: its setup threw RangeError: no room \(program\.js:1\)$/],
    ["export function setup() { throw 'two\\nlines'; } export default () => 2;", /^netmem: --xdp program\.js: its setup threw two lines$/],
    ["export async function setup() { throw new Error('x'); } export default () => 2;", /^netmem: --xdp program\.js: its setup is asynchronous, and the packets do not wait/],
    ["export function setup({ maps }) { maps.createCpuMap(99); } export default () => 2;", /^netmem: --xdp program\.js: its setup threw createCpuMap\(99\): -E2BIG \(program\.js:1\)$/],
    ["export function setup({ maps, ifindex }) { maps.createDevMap(1).mapUpdateElem(0, ifindex.eth1, () => 1, 0); } export default () => 2;", /^netmem: --xdp program\.js: its setup threw UsageError: @netmem\/xdp: devmap entry's program = function: give what bpfProgLoad answered, or null \(program\.js:1\)$/],
    ["import { XDP_NOPE } from '@netmem/xdp/api'; export default () => XDP_NOPE;", /^netmem: --xdp program\.js: cannot be loaded: program\.js, line 1, column 10: No matching export in ".*" for import "XDP_NOPE"$/],
  ])("%s", async (text, line) => {
    const { code, out, err } = await replay(text, ["--design", "6.18"]);
    expect([code, out, err.trimEnd().split("\n").length]).toEqual([2, "", 1]);
    expect(err.trimEnd()).toMatch(line);
  });

  test("packets that take several buffers: for a program that does not say so, and for kernels that have none such", async () => {
    const plain = await replay("export default () => 2;", ["--design", "6.18", "--counts-only"], "jumbo.pcap");
    expect([plain.code, plain.err]).toEqual([2, "netmem: --xdp program.js: 6.18: packets of up to 9000 bytes come in several buffers, and this program does not say that it takes such: export const frags = true, or give --xdp-mode generic\n"]);
    const old = await replay("export const frags = true; export default () => 2;", ["--design", "5.14", "--counts-only"], "jumbo.pcap");
    expect(old.err).toBe("netmem: --xdp program.js: 5.14: packets of up to 9000 bytes come in several buffers, and no program of kernels before 5.18 takes such: give --xdp-mode generic\n");
    const some = await replay("export default () => 2;", ["--counts-only"], "jumbo.pcap");
    expect(some.err).toBe("netmem: --xdp program.js: stock: packets of up to 9000 bytes come in several buffers, and no program of kernels before 5.18 takes such: export const frags = true and give --design 6.1,6.8,6.18, or give --xdp-mode generic\n");
    expect((await replay("export default () => 2;", ["--design", "5.14", "--counts-only", "--xdp-mode", "generic"], "jumbo.pcap")).code).toBe(0);
  });

  test("a driver that runs no programs, or none where packets may be that long, is not taken for a program that does not say what it takes", async () => {
    const text = "export const frags = true; export default () => 2;";
    expect((await replay(text, ["--design", "6.18", "--counts-only", "--driver", "header-split"])).err).toBe("netmem: --xdp program.js: 6.18: this driver runs no programs; give --xdp-mode generic\n");
    expect((await replay(text, ["--design", "6.18", "--counts-only", "--driver", "xsk"], "jumbo.pcap")).err).toBe("netmem: --xdp program.js: 6.18: this driver runs no program where packets may have 9000 bytes; give --xdp-mode generic\n");
  });

  test("no such file, a folder, options that need the program or exclude it", async () => {
    mkdirSync(join(folder, "sub"), { recursive: true });
    const line = async (...args: string[]): Promise<string> => (await cli(["replay", "small.pcap", ...args], folder)).err;
    expect(await line("--xdp", "none.js")).toBe("netmem: --xdp none.js: no such file\n");
    expect(await line("--xdp", "sub")).toBe("netmem: --xdp sub: a folder; name the program's file in it\n");
    expect(await line("--xdp", "")).toBe("netmem: --xdp: name the program's file\n");
    expect(await line("--xdp", "/dev/null")).toBe("netmem: --xdp /dev/null: no regular file; name the program's\n");
    expect(await line("--xdp", "a.js", "--xdp", "b.js")).toBe("netmem: --xdp b.js: --xdp is given twice; one at a time\n");
    expect(await line("--xdp-mode", "generic")).toBe("netmem: --xdp-mode says where a program runs: give --xdp too\n");
    expect(await line("--xdp", "program.js", "--early-drop")).toBe("netmem: --xdp and --early-drop: a packet is dropped by the program or by the driver; give one of them\n");
  });
});

test.each([
  ["drop-dns.js", { pass: 4, drop: 80, tx: 190, redirect: 0 }], ["redirect.ts", { pass: 0, drop: 0, tx: 0, redirect: 274 }],
])("the example that ships runs: %s", async (name, verdicts) => {
  const { code, out } = await cli(["replay", "examples/captures/dns-ping.pcapng", "--xdp", `examples/xdp/${name}`, "--design", "6.18", "--json"], ROOT);
  expect(code).toBe(0);
  expect((JSON.parse(out) as ReplayDocument).runs[0]!.xdp!.verdicts).toMatchObject(verdicts);
});
