import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { mvneta } from "@netmem/driver-mvneta";
import { createMachine, Wire, wireBytes, type WireFrame } from "@netmem/machine";
import type { TcpSocket } from "@netmem/net-core/api";
import { capture } from "../captured.ts";

const TSHARK = tsharkVersion();
const NAMES: readonly string[] = ["tcp-download.pcap", "jumbo.pcap"];

function tsharkVersion(): string | null {
  try {
    return execFileSync("tshark", ["--version"], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).split("\n")[0]!;
  } catch {
    return null;
  }
}

/** The two directions of each connection, as tshark puts them together: `address:port` of the sender, bytes in hex. */
function followed(name: string): Map<string, string> {
  const path = fileURLToPath(new URL(`../../../../examples/captures/${name}`, import.meta.url));
  const tshark = (...args: readonly string[]): string[] => execFileSync("tshark", ["-r", path, "-q", ...args], { encoding: "utf8", maxBuffer: 1 << 28, stdio: ["ignore", "pipe", "ignore"] }).split("\n");
  const connections = tshark("-z", "conv,tcp").filter((line) => line.includes("<->")).length;
  const streams = new Map<string, string>();
  for (let i = 0; i < connections; i++) {
    const lines = tshark("-z", `follow,tcp,raw,${i}`);
    const nodes = [0, 1].map((node) => lines.find((line) => line.startsWith(`Node ${node}: `))!.slice(8));
    const data = lines.filter((line) => /^\t?[0-9a-f]+$/.test(line));
    streams.set(nodes[0]!, data.filter((line) => !line.startsWith("\t")).join(""));
    streams.set(nodes[1]!, data.filter((line) => line.startsWith("\t")).map((line) => line.slice(1)).join(""));
  }
  return streams;
}

/** A wire that loses, repeats and reorders, by seed; what is lost comes again later. The first frames, which open the connections, it leaves alone. */
function troubled(frames: readonly WireFrame[], seed: number): WireFrame[] {
  let x = seed >>> 0;
  const below = (n: number): number => {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
    return Math.floor((x / 2 ** 32) * n);
  };
  const out = frames.slice(0, 3);
  const late: { frame: WireFrame; at: number }[] = [];
  for (const [i, frame] of frames.slice(3).entries()) {
    for (const again of late.filter(({ at }) => at === i)) out.push(again.frame);
    const fate = below(20);
    if (fate === 0) late.push({ frame, at: i + 1 + below(60) });
    else out.push(frame);
    if (fate === 1) out.push(frame);
    if (fate === 2) out.splice(Math.max(3, out.length - 1 - below(6)), 0, out.pop()!);
  }
  for (const { frame, at } of late) if (at >= frames.length - 3) out.push(frame);
  return out.map(({ bytes, offset, lengthBytes }) => ({ bytes, offset, lengthBytes, arrivalNs: 0 }));
}

/** What the sockets of a machine read of these frames: the same keys, the same hex. */
function received(frames: readonly WireFrame[], gro: boolean) {
  const machine = createMachine({ nrPages: 8192, extraBytes: wireBytes(frames) + (1 << 20) });
  const { net, mm, kernel } = machine;
  const device = machine.attach(mvneta, { rxRingSize: 512 });
  device.netif.dev.gro = gro;
  device.netif.open();
  net.receive.setProtocol(net.inet);
  const sockets: TcpSocket[] = [];
  net.inet.tcpListen({ name: "all", port: null, accept: (socket) => void sockets.push(socket) });
  const wire = new Wire(kernel, mm.payload, frames, "back-to-back");
  wire.connect(device.nic);
  while (kernel.scheduler.step());
  const user = mm.payload.addRegion("user", 1 << 16, true);
  const streams = new Map<string, string>();
  let merged = 0;
  for (const socket of sockets) {
    merged += socket.packets().length;
    let hex = "";
    for (let got = socket.recvmsg(user, 0, 1 << 16); got > 0; got = socket.recvmsg(user, 0, 1 << 16)) hex += Buffer.from(user.bytes.subarray(0, got)).toString("hex");
    streams.set(`${[24, 16, 8, 0].map((shift) => (socket.saddr >>> shift) & 0xff).join(".")}:${socket.sport}`, hex);
    socket.close();
  }
  const { tcpInSegs, tcpCsumErrors } = net.inet.stats;
  machine.shutdown();
  return { streams, tcpInSegs, tcpCsumErrors, packets: merged, live: net.lifetime.stats.live, inflight: machine.pagePools.pools().filter(({ system }) => !system).reduce((sum, pool) => sum + pool.inflight(), 0), reports: kernel.reports.counts() };
}

if (TSHARK === null) console.log("tshark is not installed: streams are not compared with its");

describe.skipIf(TSHARK === null).each(NAMES)("%s", (name) => {
  const frames = capture(name);
  const streams = TSHARK === null ? new Map<string, string>() : followed(name);

  test("has streams to compare", () => {
    expect([...streams.values()].reduce((sum, hex) => sum + hex.length / 2, 0)).toBeGreaterThan(100_000);
  });

  test.each([false, true])("as it is, GRO %s: the byte streams are tshark's", (gro) => {
    const got = received(frames, gro);
    expect([...got.streams].every(([key, hex]) => hex === streams.get(key))).toBe(true);
    expect([got.streams.size, got.tcpCsumErrors, got.live, got.inflight, got.reports]).toEqual([streams.size, 0, 0, 0, []]);
    if (gro) expect(got.tcpInSegs).toBeLessThan(frames.length * 0.7);
  });

  test.each([1, 2, 3, 4, 5, 6, 7, 8])("under loss, repetition and reordering by seed %i, with GRO and without: the same", (seed) => {
    const sent = troubled(frames, seed);
    for (const gro of [false, true]) {
      const got = received(sent, gro);
      expect([...streams].filter(([key, hex]) => hex !== (got.streams.get(key) ?? "")).map(([key]) => key)).toEqual([]);
      expect([got.live, got.inflight, got.reports]).toEqual([0, 0, []]);
    }
  });
});
