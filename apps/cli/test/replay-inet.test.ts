import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { PRESET_NAMES } from "@netmem/machine";
import { ipFragments, pcapFile, tcpFrame, testFrame, testPayload, udpFrame } from "@netmem/testkit";
import type { ReplayDocument } from "../src/replay/command.ts";
import { pagesFor } from "../src/replay/run.ts";
import { cli } from "./cli.ts";

const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
const SHIPPED = ["dns-ping.pcapng", "jumbo.pcap", "tcp-download.pcap"].map((name) => `examples/captures/${name}`);
let folder = "";

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "netmem-inet-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

/** A capture of these frames. */
function capture(name: string, frames: readonly Uint8Array[]): string {
  writeFileSync(join(folder, name), pcapFile(frames.map((bytes) => ({ bytes }))));
  return name;
}

async function runs(args: readonly string[], cwd: string = folder): Promise<ReplayDocument["runs"]> {
  const { code, out, err } = await cli(["replay", ...args, "--json", "--counts-only"], cwd);
  expect([code, err]).toEqual([0, ""]);
  return (JSON.parse(out) as ReplayDocument).runs;
}

/** Payload of the shipped captures: what tshark puts together, and every datagram. */
const STREAM_BYTES = 3_009_558;

describe("--sockets", () => {
  const hashes = new Set<string>();

  test.each([[[]], [["--gro"]], [["--reader", "late"]], [["--zerocopy"]], [["--gro", "--dma", "bounce"]], [["--gro", "--udp-gro"]]])("the shipped captures with %j: the same bytes under every design, as in any other way of these, and no page lost", async (args) => {
    for (const run of await runs([...SHIPPED, "--sockets", "1", "--rcvbuf", "10000000", ...args], ROOT)) {
      expect([run.design, run.delivered.bytes, run.inflightAtEnd, run.reports, run.inet!.datagrams, run.inet!.connections]).toEqual([run.design, STREAM_BYTES, 0, [], 80, 6]);
      expect(run.inet!.dropped).toEqual({ notIpv4: 4, badHeader: 0, checksum: 0, unknownProtocol: 170, noSocket: 0, socketFull: 0, notSent: 0, other: 0 });
      hashes.add(run.delivered.sha256);
    }
    expect(hashes.size).toBe(1);
  });

  test("datagrams of a flow with --udp-gro: each is counted and read as without, in fewer packets; what a full socket drops is accounted for", async () => {
    const file = capture("flow.pcap", Array.from({ length: 500 }, (_, i) => udpFrame(testPayload(18, i), { sport: i % 100 === 99 ? 7 : 5, ipId: i })));
    const [plain] = await runs([file, "--sockets", "1", "--rcvbuf", "10000000", "--design", "6.18"]);
    for (const { delivered, dropped, inet, inflightAtEnd, reports } of await runs([file, "--sockets", "1", "--rcvbuf", "10000000", "--gro", "--udp-gro"])) {
      expect([delivered, dropped, inet, inflightAtEnd, reports]).toEqual([{ ...plain!.delivered, sha256: expect.any(String) }, 0, plain!.inet, 0, []]);
    }
    // Short of room a packet gives up its pages; but 6.18 asks for room first.
    const full = await runs([file, "--sockets", "1", "--reader", "late", "--rcvbuf", "200000", "--gro", "--udp-gro", "--design", "5.14,6.18"]);
    expect(full.map(({ delivered, dropped, inet, inflightAtEnd }) => [delivered.packets, dropped, inet!.dropped.socketFull, inet!.unaccounted, inflightAtEnd])).toEqual([[500, 0, 0, 0, 0], [37, 463, 463, 0, 0]]);
  });

  test("what cannot be taken is counted by its reason", async () => {
    const wrong = udpFrame(testPayload(10, 1));
    wrong[45] = wrong[45]! ^ 1;
    const header = udpFrame(testPayload(10, 1));
    header[24] = header[24]! ^ 1;
    const file = capture("mixed.pcap", [udpFrame(testPayload(10, 1)), wrong, header, testFrame(60, 1), udpFrame(testPayload(10, 1), { fragOff: 0x2000 }), tcpFrame(testPayload(100, 1))]);
    expect((await cli(["replay", file, "--sockets", "2", "--counts-only"], folder)).out).toContain(`\n${PRESET_NAMES.slice(0, -1).join(", ")} and ${PRESET_NAMES.at(-1)}: dropped otherwise: pieces of datagrams that were not put together: 1.\n`);
    for (const run of await runs([file, "--sockets", "2"])) {
      expect([run.delivered, run.dropped, run.inet]).toEqual([
        { packets: 2, bytes: 110, sha256: expect.any(String) }, 4,
        { datagrams: 1, connections: 1, mappedBytes: 0, forwarded: 0, dropped: { notIpv4: 1, badHeader: 1, checksum: 1, unknownProtocol: 0, noSocket: 0, socketFull: 0, notSent: 0, other: 1 }, other: { segments: 0, noMemory: 0, sourceRoute: 0, martian: 0, tooLong: 0, reassembly: 1 }, unaccounted: 0 },
      ]);
    }
  });

  test("a socket that is full drops; --rcvbuf makes room", async () => {
    const file = capture("many.pcap", Array.from({ length: 300 }, (_, i) => udpFrame(testPayload(100, i))));
    const [small] = await runs([file, "--sockets", "1", "--reader", "late", "--rcvbuf", "50000", "--design", "6.18"]);
    expect([small!.inet!.datagrams, small!.inet!.dropped.socketFull]).toEqual([11, 289]);
    const [large] = await runs([file, "--sockets", "1", "--reader", "late", "--rcvbuf", "5000000", "--design", "6.18"]);
    expect([large!.inet!.datagrams, large!.dropped]).toEqual([300, 0]);
  });

  test("never read, it is said who holds which pages since when; they go home as the sockets close", async () => {
    const frames = [...Array.from({ length: 3 }, (_, i) => udpFrame(testPayload(100, i))), tcpFrame(testPayload(1000, 9), { seq: 1, sport: 7 })];
    const file = capture("held.pcap", frames);
    const [run] = await runs([file, "--sockets", "1", "--reader", "never", "--design", "6.18"]);
    expect([run!.held, run!.inflightAtEnd]).toEqual([{ by: [{ kind: "socket", name: "udp 0", packets: 3, pages: 3, poolPages: 3, sinceFrame: 4 }, { kind: "socket", name: "tcp 10.0.0.2:2000 from 10.0.0.1:7", packets: 1, pages: 1, poolPages: 1, sinceFrame: 4 }], posted: 512 }, 0]);
    const { out } = await cli(["replay", file, "--sockets", "1", "--reader", "never", "--design", "6.18", "--counts-only"], folder);
    expect((await cli(["replay", file, "--sockets", "1", "--reader", "never", "--design", "6.1,6.8,6.18", "--counts-only"], folder)).out).toContain("\n6.1, 6.8 and 6.18: when the traffic was over 4 pages were held");
    expect(out).not.toContain("no packet to replay");
    expect(out).toContain("\n6.18: when the traffic was over 4 pages were held, and 512 were posted to eth0:\n  socket udp 0: 3 pages of 3 packets, since frame 4 or before\n  socket tcp 10.0.0.2:2000 from 10.0.0.1:7: 1 page of 1 packet, since frame 4 or before\n");
  });
});

test("since when: of a capture's pace the time, back to back the frame that the NIC had taken last", async () => {
  const frames = [...Array.from({ length: 100 }, (_, i) => udpFrame(testPayload(10, i), { sport: 1 })), ...Array.from({ length: 28 }, (_, i) => tcpFrame(testPayload(10, i), { seq: 1 + 10 * i, sport: 7 }))];
  const file = capture("later.pcap", frames);
  const args = [file, "--sockets", "1", "--reader", "never", "--design", "6.18", "--ring", "32"];
  const [backToBack] = await runs(args);
  const [udp, tcp] = backToBack!.held!.by.map(({ kind, name, sinceNs, sinceFrame }) => ({ kind, name, sinceNs, sinceFrame }));
  expect([udp, tcp]).toEqual([{ kind: "socket", name: "udp 0", sinceNs: undefined, sinceFrame: 32 }, { kind: "socket", name: "tcp 10.0.0.2:2000 from 10.0.0.1:7", sinceNs: undefined, sinceFrame: 128 }]);
  const [paced] = await runs([...args, "--timing", "capture"]);
  expect(paced!.held!.by.map(({ sinceNs, sinceFrame }) => [sinceFrame, sinceNs! >= 0])).toContainEqual([undefined, true]);
});

test("pieces of a datagram whose rest never comes are held as the traffic is over, and dropped half a minute later", async () => {
  const [first, , ...rest] = ipFragments(udpFrame(testPayload(4000, 1)));
  const [run] = await runs([capture("pieces.pcap", [first!, ...rest]), "--sockets", "1", "--design", "6.18"]);
  const { by, posted } = run!.held!;
  expect([by.map(({ kind, packets, pages }) => [kind, packets, pages]), posted, run!.inflightAtEnd, run!.inet!.unaccounted]).toEqual([[["ip-fragments", 1 + rest.length, 1 + rest.length]], 512, 0, 0]);
});

test("--zerocopy that maps nothing says why, one that does does not", async () => {
  const file = capture("stream.pcap", Array.from({ length: 40 }, (_, i) => tcpFrame(testPayload(1024, i), { seq: 1 + 1024 * i })));
  const said = async (...args: string[]): Promise<boolean> => (await cli(["replay", file, "--sockets", "1", "--zerocopy", "--design", "6.18", "--counts-only", ...args], folder)).out.includes("\nNo page was mapped: only where payload fills a page from its beginning");
  expect([await said(), await said("--reader", "never")]).toEqual([true, false]);
});

test("what is posted to the device is told apart from what sockets hold, whether that is still the pool's or not", async () => {
  const file = capture("ten.pcap", Array.from({ length: 10 }, (_, i) => udpFrame(testPayload(100, i))));
  for (const run of await runs([file, "--sockets", "1", "--reader", "never"])) {
    const { by: [held], posted } = run.held!;
    expect([run.design, held!.pages, held!.poolPages === 0, posted]).toEqual([run.design, 10, run.design === "stock", 512]);
  }
});

const DATAGRAMS = Array.from({ length: 600 }, (_, i) => udpFrame(testPayload(100, i), { sport: 1000 + i }));

test("frames for which the device had no descriptor have a row of their own", async () => {
  const args = ["replay", capture("burst.pcap", DATAGRAMS), "--sockets", "1", "--timing", "capture", "--packet-cost", "100000", "--ring", "32", "--counts-only", "--design", "6.18"];
  const [run] = await runs(args.slice(1, -3).concat("--design", "6.18"));
  const { code, out } = await cli(args, folder);
  expect([code, run!.overruns! > 0, run!.inet!.datagrams + run!.overruns!]).toEqual([0, true, DATAGRAMS.length]);
  expect(out).toMatch(new RegExp(`\\ndropped: ring full +${run!.overruns}\\n`));
  expect((await cli(["replay", "burst.pcap", "--sockets", "1", "--rcvbuf", "10000000", "--counts-only", "--design", "6.18"], folder)).out).not.toContain("dropped: ring full");
});

test("that sockets are full of frames back to back is said, and what can be done", async () => {
  const path = capture("burst.pcap", DATAGRAMS);
  const said = /Sockets were full because frames back to back come faster than they are read: --rcvbuf gives more room, --timing capture keeps the file's pace\./;
  const replay = async (...args: string[]): Promise<string> => (await cli(["replay", path, "--sockets", "1", "--counts-only", "--design", "6.18", ...args], folder)).out;
  expect(await replay("--rcvbuf", "20000")).toMatch(said);
  for (const args of [["--rcvbuf", "10000000"], ["--rcvbuf", "20000", "--reader", "never"]]) expect(await replay(...args)).not.toMatch(said);
});

test("of captures that nobody takes it is said why that may be", async () => {
  const wrongSum = Array.from({ length: 4 }, (_, i) => {
    const frame = udpFrame(testPayload(100, i));
    frame[41] = frame[41]! ^ 1;
    return frame;
  });
  const tagged = Array.from({ length: 4 }, (_, i) => testFrame(60, i));
  const said = async (frames: readonly Uint8Array[]): Promise<string> => (await cli(["replay", capture("untaken.pcap", frames), "--sockets", "1", "--design", "6.18", "--counts-only"], folder)).out;
  expect(await said(wrongSum)).toContain("\nMost checksums are wrong: a host that leaves them to its NIC captures");
  expect(await said(tagged)).toContain("\nMost frames are not IPv4, or are tagged (VLAN)");
  expect(await said([...wrongSum, ...DATAGRAMS.slice(0, 5)])).not.toContain("Most ");
});

test("the bytes of connections have the same hash however many sockets of UDP wait in vain, and nobody is named twice", async () => {
  const frames = [1, 2, 3, 4].flatMap((server) => [tcpFrame(testPayload(900, server), { sport: 4000, daddr: 0x0a00_0100 + server, seq: 1 }), tcpFrame(testPayload(900, server + 4), { sport: 4000, daddr: 0x0a00_0100 + server, seq: 901 })]);
  const path = capture("one-port.pcap", frames);
  const hashes = new Set<string>();
  for (const sockets of ["1", "2", "7"]) for (const { delivered } of await runs([path, "--sockets", sockets])) hashes.add(`${delivered.bytes} ${delivered.sha256}`);
  expect([hashes.size, [...hashes][0]!.startsWith("7200 ")]).toEqual([1, true]);
  const [run] = await runs([path, "--sockets", "1", "--reader", "never", "--design", "6.18"]);
  expect(run!.held!.by.map(({ name }) => name).toSorted()).toEqual([1, 2, 3, 4].map((server) => `tcp 10.0.1.${server}:2000 from 10.0.0.1:4000`));
});

test("a machine has room for all that sockets may hold which are not read, or says that it has not", () => {
  const frames = Array.from({ length: 300_000 }, () => ({ bytes: new Uint8Array(0), offset: 0, lengthBytes: 60, arrivalNs: 0 }));
  const options = { readerLag: 0, expand: false };
  expect([pagesFor(frames.slice(0, 30_000), options), pagesFor(frames.slice(0, 30_000), { ...options, reader: "never" })]).toEqual([8192, 38_192]);
  expect(() => pagesFor(frames, { ...options, reader: "late" })).toThrow("--reader late: holding back that many of these packets takes 308192 pages, and a machine has at most 262144; replay fewer");
});

describe("--forward", () => {
  test("every IPv4 packet of the shipped captures leaves, merged on the way or not", async () => {
    for (const gro of [[], ["--gro"], ["--gro", "--udp-gro"]]) {
      for (const run of await runs([...SHIPPED, "--forward", ...gro], ROOT)) {
        expect([run.design, run.inet!.forwarded, run.inet!.dropped.notIpv4, run.dropped, run.inflightAtEnd, run.reports]).toEqual([run.design, 1902, 4, 4, 0, []]);
      }
    }
  });

  test("what must not go on is dropped", async () => {
    const file = capture("ttl.pcap", [udpFrame(testPayload(10, 1), { ttl: 1 }), udpFrame(testPayload(10, 2))]);
    const all = await runs([file, "--forward"]);
    expect(all.map(({ design, inet }) => [design, inet!.forwarded, inet!.dropped.badHeader])).toEqual(PRESET_NAMES.map((design) => [design, 1, 1]));
  });
});

test.each([
  [["--udp-gro"], "--udp-gro is what sockets ask for, or a device that sends on: give --sockets or --forward too"], [["--udp-gro", "--sockets", "1"], "--udp-gro asks for datagrams that were merged as they were received: give --gro too"],
  [["--gro"], "--gro makes other packets of those that came in: give --sockets or --forward too"],
  [["--sockets", "0"], "--sockets 0: give a whole number from 1 to 1000"],
  [["--sockets", "4", "--forward"], "--sockets and --forward: a packet ends here, or goes on; give one of them"],
  [["--reader", "late"], "--reader says when sockets are read: give --sockets too"],
  [["--zerocopy"], "--zerocopy says how sockets are read: give --sockets too"],
  [["--rcvbuf", "9"], "--rcvbuf is what sockets may hold: give --sockets too"],
  [["--sockets", "2", "--tap"], "--sockets and --tap: the tap is the reader's of whole frames; give one of them"],
  [["--forward", "--early-drop"], "--forward and --early-drop: a packet dropped in the driver reaches no protocol; give one of them"],
  [["--sockets", "2", "--reader-lag", "3"], "--sockets and --reader-lag: the lag is the reader's of whole frames; give one of them"],
  [["--sockets", "2", "--xdp", "x.js"], "--sockets and --xdp: what a program lets pass goes to the reader of whole frames; give one of them"],
] as const)("%j is refused, and why", async (args, message) => {
  const file = capture("one.pcap", [udpFrame(testPayload(10, 1))]);
  const { code, out, err } = await cli(["replay", file, "--counts-only", ...args], folder);
  expect([code, out, err]).toEqual([2, "", `netmem: ${message}\n`]);
});
