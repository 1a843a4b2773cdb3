import { execFileSync } from "node:child_process";
import { existsSync, lstatSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readCapture } from "@netmem/pcap";
import { pcapFile, testPayload, udpFrame } from "@netmem/testkit";
import type { ReplayDocument } from "../src/replay/command.ts";
import { cli } from "./cli.ts";

const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
const CAPTURE = "examples/captures/tcp-download.pcap";
const TSHARK = tsharkVersion();
let folder = "";

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "netmem-write-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

function tsharkVersion(): string | null {
  try {
    return execFileSync("tshark", ["--version"], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).split("\n")[0]!;
  } catch {
    return null;
  }
}

function frames(path: string): { readonly bytes: number[]; readonly ns: number }[] {
  const { bytes, packets } = readCapture(path, readFileSync(path));
  return packets.map(({ dataOffset, capturedBytes, timeSeconds, timeNanoseconds }) => ({ bytes: [...bytes.subarray(dataOffset, dataOffset + capturedBytes)], ns: timeSeconds * 1e9 + timeNanoseconds }));
}

test.each([[[]], [["--driver", "mvpp2"]], [["--driver", "split-page"]], [["--gro"]]])("with %j what a router sends on is the capture, but for MAC addresses, hop count and header checksum", async (args) => {
  const path = join(folder, "forwarded.pcap");
  const { code, err } = await cli(["replay", CAPTURE, "--forward", "--counts-only", "--design", "6.18", "--write", path, ...args], ROOT);
  expect([code, err, readdirSync(folder)]).toEqual([0, "", ["forwarded.pcap"]]);
  const [sent, came] = [frames(path), frames(join(ROOT, CAPTURE))];
  const unchanged = (frame: readonly number[]): string => Buffer.from([...frame.slice(12, 22), ...frame.slice(23, 24), ...frame.slice(26)]).toString("hex");
  // Padding of short frames does not go on.
  const cut = came.map(({ bytes }) => bytes.slice(0, 14 + ((bytes[16]! << 8) | bytes[17]!)));
  // Merged segments leave when their batch is over, behind packets of the other direction.
  const directions = (of: readonly (readonly number[])[]): Buffer[] => [0, 1].map((ours) => Buffer.from(of.filter((frame) => frame[29]! % 2 === ours).map(unchanged).join("\n")));
  const [there, here] = [directions(sent.map(({ bytes }) => bytes)), directions(cut)];
  expect([sent.length, there.map((bytes, i) => bytes.length > 1000 && bytes.equals(here[i]!))]).toEqual([came.length, [true, true]]);
  expect(sent.every(({ ns }, i) => ns >= came[0]!.ns && (i === 0 || ns >= sent[i - 1]!.ns))).toBe(true);
});

test("datagrams that were merged to be sent on leave one by one, each as it came but for MAC addresses, hop count and header checksum", async () => {
  const source = join(folder, "flow.pcap");
  const came = Array.from({ length: 200 }, (_, i) => udpFrame(testPayload(i % 50 === 49 ? 90 : 300, i), { ipId: i }));
  writeFileSync(source, pcapFile(came.map((bytes) => ({ bytes }))));
  const path = join(folder, "merged.pcap");
  const { code, out, err } = await cli(["replay", source, "--forward", "--gro", "--udp-gro", "--counts-only", "--json", "--design", "6.18", "--write", path], ROOT);
  expect([code, err]).toEqual([0, ""]);
  const [run] = (JSON.parse(out) as ReplayDocument).runs;
  const unchanged = (frame: readonly number[]): string => Buffer.from([...frame.slice(12, 22), ...frame.slice(23, 24), ...frame.slice(26)]).toString("hex");
  expect([run!.inet!.forwarded, frames(path).map(({ bytes }) => unchanged(bytes))]).toEqual([200, came.map((frame) => unchanged([...frame]))]);
});

test.skipIf(TSHARK === null)(`tshark reads it, and finds right what a router changed${TSHARK === null ? " (skipped: tshark cannot be run)" : ""}`, async () => {
  const path = join(folder, "for-tshark.pcap");
  expect((await cli(["replay", CAPTURE, "--forward", "--timing", "capture", "--counts-only", "--design", "6.18", "--write", path], ROOT)).code).toBe(0);
  const fields = (file: string, ...names: readonly string[]): string[][] =>
    execFileSync("tshark", ["-r", file, "-o", "ip.check_checksum:TRUE", "-T", "fields", ...names.flatMap((name) => ["-e", name])], { encoding: "utf8", maxBuffer: 1 << 28, stdio: ["ignore", "pipe", "pipe"] }).trim().split("\n").map((line) => line.split("\t"));
  const [sent, came] = [fields(path, "ip.ttl", "tcp.seq_raw", "tcp.len", "ip.checksum.status"), fields(join(ROOT, CAPTURE), "ip.ttl", "tcp.seq_raw", "tcp.len")];
  expect(sent).toEqual(came.map(([ttl, ...rest]) => [`${Number(ttl) - 1}`, ...rest, "1"]));
});

test("of a program that sends back, what left is what it made of the frames", async () => {
  const program = join(folder, "swap.mjs");
  writeFileSync(program, `export default (packet) => {
    for (let i = 0; i < 6; i++) {
      const other = packet.getUint8(i + 6);
      packet.setUint8(i + 6, packet.getUint8(i));
      packet.setUint8(i, other);
    }
    return 3;
  };`);
  const path = join(folder, "swapped.pcap");
  expect((await cli(["replay", CAPTURE, "--xdp", program, "--counts-only", "--design", "6.18", "--write", path], ROOT)).code).toBe(0);
  expect(frames(path).map(({ bytes }) => bytes)).toEqual(frames(join(ROOT, CAPTURE)).map(({ bytes }) => [...bytes.slice(6, 12), ...bytes.slice(0, 6), ...bytes.slice(12)]));
});

test.each([
  [["--write", "out.pcap"], "--write: nothing is sent; give --forward or --xdp too"],
  [["--forward", "--write", "out.pcap"], "--write is one run's: name one --design of stock, v3-2021, 5.14, 6.1, 6.8, 6.18"],
  [["--forward", "--design", "6.18", "--write", "no/such/out.pcap"], "--write no/such/out.pcap: cannot be written: there is no such folder; make it first"],
  [["--forward", "--design", "6.18", "--write", "examples"], "--write examples: a folder; name a file in it"],
  [["--forward", "--design", "6.18", "--write", `./${CAPTURE}`], `--write ./${CAPTURE}: that is ${CAPTURE}, which is read or written too; name another file`],
])("%j is one line, exit 2, and nothing is written", async (args, message) => {
  const before = readFileSync(join(ROOT, CAPTURE));
  expect(await cli(["replay", CAPTURE, ...args], ROOT)).toMatchObject({ code: 2, out: "", err: `netmem: ${message}\n` });
  expect([existsSync(join(ROOT, "out.pcap")), readFileSync(join(ROOT, CAPTURE)).equals(before)]).toEqual([false, true]);
});

const SENDS = ["replay", CAPTURE, "--forward", "--counts-only", "--design", "6.18"];

test("what is no file is written as it comes, and stays what it is: a device, a pipe, whatever a link names", async () => {
  expect(await cli([...SENDS, "--write", "/dev/null"], ROOT)).toMatchObject({ code: 0, err: "" });
  expect(statSync("/dev/null").isCharacterDevice()).toBe(true);
  const [target, link] = [join(folder, "target.pcap"), join(folder, "link.pcap")];
  writeFileSync(target, "before");
  symlinkSync(target, link);
  expect((await cli([...SENDS, "--write", link], ROOT)).code).toBe(0);
  expect([lstatSync(link).isSymbolicLink(), frames(target).length > 0]).toEqual([true, true]);
});

test("no other file is touched: not one beside it, whatever its name, nor the capture under another one", async () => {
  const [path, beside] = [join(folder, "z.pcap"), join(folder, "z.pcap.part")];
  writeFileSync(beside, readFileSync(join(ROOT, CAPTURE)));
  expect((await cli(["replay", beside, "--forward", "--counts-only", "--design", "6.18", "--write", path], ROOT)).code).toBe(0);
  expect(frames(beside).length).toBe(frames(join(ROOT, CAPTURE)).length);
  const other = join(folder, "other.pcap");
  symlinkSync(beside, other);
  expect(await cli(["replay", beside, "--forward", "--counts-only", "--design", "6.18", "--write", other], ROOT)).toMatchObject({ code: 2, err: `netmem: --write ${other}: that is ${beside}, which is read or written too; name another file\n` });
  expect(frames(beside).length).toBe(frames(join(ROOT, CAPTURE)).length);
});

test("--trace and --write cannot be one file", async () => {
  const path = join(folder, "both");
  expect(await cli([...SENDS, "--write", path, "--trace", path], ROOT)).toMatchObject({ code: 2, out: "", err: `netmem: --trace ${path}: that is read or written too; name another file\n` });
  expect(existsSync(path)).toBe(false);
});
