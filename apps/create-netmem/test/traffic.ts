import { pcapFile, tcpFrame, testPayload, udpFrame } from "@netmem/testkit";

const CONNECTIONS = 3;
const SEGMENT_BYTES = 700;

/** What a plugin is first run with: three connections and two UDP flows, side by side. */
export function trafficCapture(): Uint8Array {
  const frames: Uint8Array[] = [];
  for (let i = 0; i < 60; i++) {
    const connection = i % CONNECTIONS;
    frames.push(tcpFrame(testPayload(SEGMENT_BYTES, i), { sport: 40_000 + connection, dport: 80, seq: 1 + Math.floor(i / CONNECTIONS) * SEGMENT_BYTES, ipId: i }));
    if (i % 2 === 0) frames.push(udpFrame(testPayload(120, 1000 + i), { sport: 50_000 + (i % 4), dport: 53, ipId: 1000 + i }));
  }
  return pcapFile(frames.map((bytes, i) => ({ bytes, timeNs: i * 10_000 })));
}
