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
        program: "program.js", mode: "driver", verdicts: { aborted: 6, drop: 6, pass: 6, tx: 6, redirect: 6, invalid: 0 }, sent: { eth0: 6, eth1: 6 }, faulty: 0, faults: [],
      });
      expect([run.delivered.packets, run.dropped, run.inflightAtEnd, run.reports]).toEqual([6, 12, 0, []]);
    }
    // Dropped and sent back: straight into the cache. Passed and redirected: by each design's own way.
    expect(runs.map(({ recycled }) => recycled.cached >= 18)).toEqual([true, true, true, true, true, true]);
  });

  test("TypeScript is stripped, constants come with the command, and what a program remembers is this run's", async () => {
    const [run] = await runsOf(`
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
    ["throws", "let n = 0; export default (ctx) => { if (++n === 17) ctx.gone.x; return 2; };", "packet 17: threw TypeError: Cannot read properties of undefined (reading 'x')"],
    ["reads outside", "let n = 0; export default (ctx) => { if (++n > 28) ctx.getUint8(100); return 1; };", "packet 29: threw UsageError: @netmem/xdp: access of 1 byte at offset = 100: the packet's linear part is 0 to 100: test linearBytes first, or use loadBytes; 2 packets in all"],
    ["answers no verdict", "export default () => 5;", "packet 1: illegal XDP return value 5: expect packet loss; 30 packets in all"],
    ["answers nothing", "export default () => {};", "packet 1: answered undefined, which is no verdict; 30 packets in all"],
    ["is asynchronous", "export default async () => 2;", "packet 1: answered an object, which is no verdict; 30 packets in all"],
  ])("%s", async (_what, text, line) => {
    const { code, out, err } = await replay(text, ["--design", "6.18"]);
    expect([code, err]).toEqual([1, `netmem: 6.18: program.js: ${line}\n`]);
    expect(out).toContain("no verdict");
  });
});

describe("what cannot be run: one line, exit 2, nothing on stdout", () => {
  test.each([
    ["export default 7;", /^netmem: --xdp program\.js: exports no program: give it a function of the packet as its default export$/],
    ["export default (ctx) => {\n  return ctx..x;\n};", /^netmem: --xdp program\.js: cannot be loaded: ParseError: .* in line 2, column \d+$/],
    ["import './gone.js'; export default () => 2;", /^netmem: --xdp program\.js: cannot be loaded: Cannot find module '\.\/gone\.js'/],
    ["throw new Error('at load');", /^netmem: --xdp program\.js: cannot be loaded: at load$/],
    ["export const frags = 'yes'; export default () => 2;", /^netmem: --xdp program\.js: its export "frags" says whether/],
    ["export const setup = {}; export default () => 2;", /^netmem: --xdp program\.js: its export "setup" is no function$/],
    ["export function setup() { throw new RangeError('no room'); } export default () => 2;", /^netmem: --xdp program\.js: its setup threw RangeError: no room$/],
  ])("%s", async (text, line) => {
    const { code, out, err } = await replay(text, ["--design", "6.18"]);
    expect([code, out, err.trimEnd().split("\n").length]).toEqual([2, "", 1]);
    expect(err.trimEnd()).toMatch(line);
  });

  test("packets that take several buffers: for a program that does not say so, and for kernels that have none such", async () => {
    const plain = await replay("export default () => 2;", ["--design", "6.18"], "jumbo.pcap");
    expect([plain.code, plain.err]).toEqual([2, "netmem: --xdp program.js: 6.18: packets of up to 9000 bytes come in several buffers, and this program does not say that it takes such: export const frags = true, or give --xdp-mode generic\n"]);
    const old = await replay("export const frags = true; export default () => 2;", ["--design", "5.14"], "jumbo.pcap");
    expect(old.err).toBe("netmem: --xdp program.js: 5.14: packets of up to 9000 bytes come in several buffers, and no program of kernels before 5.18 takes such: leave the design out, or give --xdp-mode generic\n");
    expect((await replay("export default () => 2;", ["--design", "5.14", "--xdp-mode", "generic"], "jumbo.pcap")).code).toBe(0);
  });

  test("no such file, a folder, options that need the program or exclude it", async () => {
    mkdirSync(join(folder, "sub"), { recursive: true });
    const line = async (...args: string[]): Promise<string> => (await cli(["replay", "small.pcap", ...args], folder)).err;
    expect(await line("--xdp", "none.js")).toBe("netmem: --xdp none.js: no such file\n");
    expect(await line("--xdp", "sub")).toBe("netmem: --xdp sub: a folder; name the program's file in it\n");
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
