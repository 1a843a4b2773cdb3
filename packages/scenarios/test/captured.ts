import { readFileSync, readdirSync } from "node:fs";
import { readCapture } from "@netmem/pcap";
import type { WireFrame } from "@netmem/machine";

const FOLDER = new URL("../../../examples/captures/", import.meta.url);

/** Names of the captures that ship. */
export const CAPTURES: readonly string[] = readdirSync(FOLDER).filter((name) => /\.pcap(ng)?$/.test(name));

export function captureBytes(name: string): Uint8Array {
  return readFileSync(new URL(name, FOLDER));
}

/** The frames of one, each at its time. */
export function capture(name: string): WireFrame[] {
  const { bytes, packets } = readCapture(name, captureBytes(name));
  const first = packets[0]!;
  return packets.map((packet) => ({
    bytes, offset: packet.dataOffset, lengthBytes: packet.capturedBytes,
    arrivalNs: Math.max(0, (packet.timeSeconds - first.timeSeconds) * 1e9 + packet.timeNanoseconds - first.timeNanoseconds),
  }));
}
