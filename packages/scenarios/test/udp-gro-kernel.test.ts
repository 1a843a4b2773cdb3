import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { createKernel } from "@netmem/kernel";
import type { UdpSocket } from "@netmem/net-core/api";
import { testPayload, udpFrame, type InetHeader } from "@netmem/testkit";
import { GroRig } from "./gro-rig.ts";

const SCRIPT = fileURLToPath(new URL("kernel/udp-gro.py", import.meta.url));
const RECORD = fileURLToPath(new URL("kernel/udp-gro.json", import.meta.url));
/** Ports: the first one's socket asks for UDP_GRO. */
const ASKS = 2000;
const DOES_NOT = 2001;

/** What one read gave: port, bytes, bytes of each datagram (0: one), and what each says it is: its flow, and how many came before it. */
type Read = readonly [port: number, bytes: number, gsoSize: number, datagrams: readonly (readonly [flow: number, serial: number])[]];

interface Recorded {
  readonly kernel: string;
  readonly cases: readonly (readonly Read[])[];
}

/** Each says first whose it is, and which. */
function datagram(serial: number, bytes: number, header: InetHeader = {}): Uint8Array {
  const sport = header.sport ?? 5;
  return udpFrame(Uint8Array.from([sport, serial, ...testPayload(Math.max(2, bytes), serial)]).subarray(0, bytes), { dport: ASKS, ipId: 100 + serial, ...header, sport });
}

function flow(sizes: readonly number[], header: InetHeader = {}, last: InetHeader = {}): Uint8Array[] {
  return sizes.map((bytes, i) => datagram(i, bytes, { ...header, ...(i === sizes.length - 1 ? last : {}) }));
}

function edited(frames: Uint8Array[], which: number, edit: (frame: Uint8Array) => void): Uint8Array[] {
  edit(frames[which]!);
  return frames;
}

/** Several flows, to both sockets, with whatever sets datagrams apart. */
function mixed(seed: number): Uint8Array[] {
  const { random } = createKernel({ seed, nrCpus: 1, reports: "collect" });
  const below = (n: number): number => random.below(n);
  const ids = [0, 0, 0];
  return Array.from({ length: 10 + below(50) }, (_, serial) => {
    const which = below(3);
    ids[which]! += below(12) === 0 ? 5 : 1;
    const frame = datagram(serial, [100, 100, 100, 40, 140, 100][below(6)]!, {
      sport: 10 + which, dport: which === 2 ? DOES_NOT : ASKS, ipId: which === 1 ? 7 : ids[which]!, ...(below(15) === 0 ? { ttl: 9 } : {}), ...(below(15) === 0 ? { fragOff: 0 } : {}),
    });
    if (below(20) === 0) frame.fill(0, 40, 42);
    if (below(25) === 0) frame[50]! ^= 1;
    return frame;
  });
}

const CASES: readonly (readonly [string, readonly Uint8Array[]])[] = [
  ["one flow", flow([300, 300, 300, 120])], ["to a socket that did not ask", flow([300, 300, 300], { dport: DOES_NOT })], ["small ones", flow(Array.from({ length: 150 }, () => 18))], ["64 KiB", flow(Array.from({ length: 50 }, () => 1400))],
  ["a shorter one", flow([100, 100, 40, 100, 100])], ["a longer one", flow([100, 101, 101])], ["another port", flow([100, 100], {}, { sport: 7 })], ["another address", flow([100, 100], {}, { saddr: 0x0a00_0009 })],
  ["another TTL", flow([100, 100], {}, { ttl: 9 })], ["an IP id out of turn", flow([100, 100], {}, { ipId: 500 })], ["the same IP id", flow([100, 100, 100], { ipId: 7 })], ["the same, then counted up", flow([100, 100, 100], { ipId: 7 }, { ipId: 8 })],
  ["may be fragmented", flow([100, 100], {}, { fragOff: 0 })], ["all may be", flow([100, 100, 100], { fragOff: 0 })], ["all may be, of one id", flow([100, 100], { fragOff: 0, ipId: 7 })],
  ["no checksum", edited(flow([100, 100, 100]), 1, (frame) => frame.fill(0, 40, 42))], ["a wrong checksum", edited(flow([100, 100, 100]), 1, (frame) => (frame[60]! ^= 1))], ["a wrong one of a short one", edited(flow([30, 30, 30]), 1, (frame) => (frame[50]! ^= 1))],
  ["padded", flow([1, 1, 1]).map((frame) => Uint8Array.from({ length: 60 }, (_, i) => frame[i] ?? 0))], ["nothing in them", flow([0, 0])], ["more flows than are held", Array.from({ length: 24 }, (_, i) => datagram(i, 100, { sport: 20 + (i % 12), ipId: 100 + Math.floor(i / 12) }))],
  ...Array.from({ length: 30 }, (_, seed) => [`mixed ${seed}`, mixed(seed)] as const),
];

function readOf(port: number, bytes: Uint8Array, gsoSize: number): Read {
  const datagrams: [number, number][] = [];
  for (let at = 0; at < bytes.length; at += gsoSize === 0 ? bytes.length : gsoSize) datagrams.push([bytes[at]!, bytes[at + 1] ?? -1]);
  return [port, bytes.length, gsoSize, datagrams];
}

/** By flow: the kernel holds flows in lists by a hash, and which list goes up first is chance. */
function byFlow(reads: readonly Read[]): Record<string, readonly Read[]> {
  const flows: Record<string, Read[]> = {};
  for (const read of reads) (flows[`${read[0]} ${read[3][0]?.[0] ?? ""}`] ??= []).push(read);
  return flows;
}

function modelled(frames: readonly Uint8Array[]): readonly Read[] {
  const gro = new GroRig();
  const { net, mm } = gro.rig.machine;
  net.receive.setProtocol(net.inet);
  const sockets = [ASKS, DOES_NOT].map((port) => [port, net.inet.udpBind({ name: `udp ${port}`, port, gro: port === ASKS, rcvbufBytes: 1 << 22 }) as UdpSocket] as const);
  gro.receive(...frames);
  const user = mm.payload.adoptRegion("user", new Uint8Array(1 << 17), true);
  const reads: Read[] = [];
  for (const [port, socket] of sockets) {
    for (let got = socket.recvmsg(user, 0, 1 << 17); got >= 0; got = socket.recvmsg(user, 0, 1 << 17)) reads.push(readOf(port, user.bytes.subarray(0, got), socket.gsoSize()));
  }
  gro.rig.machine.flushDeferred();
  expect(gro.end()).toEqual({ lost: 0, reports: [] });
  return reads;
}

/** As root, with python3, iproute2 and ethtool: asks this machine's kernel, thrice, since a tick in between parts what it would merge. */
function record(): void {
  const rounds = Array.from({ length: 3 }, () => {
    const { status, stdout, stderr } = spawnSync("python3", [SCRIPT], { input: JSON.stringify(CASES.map(([, frames]) => ({ frames: frames.map((frame) => Buffer.from(frame).toString("hex")) }))), encoding: "utf8", maxBuffer: 1 << 28 });
    if (status !== 0) throw new Error(stderr);
    const { kernel, cases } = JSON.parse(stdout) as { kernel: string; cases: [number, string, number][][] };
    return { kernel, cases: cases.map((reads) => reads.map(([port, hex, gsoSize]) => readOf(port, Buffer.from(hex, "hex"), gsoSize))) };
  });
  const cases = CASES.map((_, i) => {
    const [a, b, c] = rounds.map((round) => round.cases[i]!);
    return JSON.stringify(byFlow(a!)) === JSON.stringify(byFlow(b!)) ? a! : c!;
  });
  writeFileSync(RECORD, `{"kernel":"${rounds[0]!.kernel}","cases":[\n${cases.map((reads) => JSON.stringify(reads)).join(",\n")}\n]}\n`);
}

if (process.env["RECORD_UDP_GRO"] === "1") record();
const recorded = JSON.parse(readFileSync(RECORD, "utf8")) as Recorded;

test.each(CASES.map(([name, frames], i) => ({ name, frames, i })))(`Linux ${recorded.kernel}, recorded: $name`, ({ frames, i }) => {
  expect(byFlow(modelled(frames))).toEqual(byFlow(recorded.cases[i]!));
});
