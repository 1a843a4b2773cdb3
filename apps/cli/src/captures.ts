import { fstatSync, readFileSync, statSync } from "node:fs";
import { resolve } from "node:path";
import type { NetDriver } from "@netmem/driver/api";
import { mvneta } from "@netmem/driver-mvneta";
import type { WireFrame } from "@netmem/machine";
import { readCapture } from "@netmem/pcap";
import { CaptureError, LINKTYPE_ETHERNET, linkTypeName, type Capture, type CapturedPacket } from "@netmem/pcap/api";
import { checkStdin, readError } from "./reading.ts";
import { CliError } from "./terminal.ts";
import { counted, grouped } from "./words.ts";

/** LINUX_SLL and LINUX_SLL2: what "any" gives. */
const COOKED: readonly number[] = [113, 276];
/** Largest frame that any capture may hold. */
const MAX_FRAME_BYTES = 65_536;
/** No wire carries such frames: they are what a kernel made of several. */
const OFFLOAD_HINT = "record with segmentation offload off (ethtool -K DEV tso off gso off gro off)";
/** What is longer no card sends: jumbo frames end here. */
const LONGEST_ON_A_WIRE = 9216;
/** More than this does not fit the model's memory beside its pages. */
const MAX_FILE_BYTES = 1024 * 1024 * 1024;

export interface LoadedCapture {
  /** As the user wrote it. */
  readonly path: string;
  readonly capture: Capture;
  readonly frames: readonly WireFrame[];
  readonly bytes: number;
}

/** Reads and checks every capture before anything runs; `driver` is the one that receives. Arrival times of a file follow those of the file before. */
export function loadCaptures(paths: readonly string[], cwd: string, driver: Pick<NetDriver, "name" | "maxFrameBytes"> = mvneta): readonly LoadedCapture[] {
  checkStdin(paths);
  const loaded: LoadedCapture[] = [];
  let startNs = 0;
  for (const path of paths) {
    const capture = readCapture(path, readBytes(path, cwd));
    const frames = toFrames(capture, startNs, driver);
    loaded.push({ path, capture, frames, bytes: frames.reduce((sum, frame) => sum + frame.lengthBytes, 0) });
    startNs = frames.at(-1)?.arrivalNs ?? startNs;
  }
  return loaded;
}

/** What a reader of the results should know of the file. */
export function notesOn({ path, capture }: LoadedCapture): string[] {
  const { snapped, packets, cutOff } = capture;
  const notes: string[] = [];
  if (snapped > 0) notes.push(`${path}: ${grouped(snapped)} of ${counted(packets.length, "packet")} cut by the capture's snap length; received as captured, in fewer buffers than on the wire`);
  if (cutOff !== null) notes.push(`${path}: byte ${cutOff.recordOffset}: file cut off in its last record, ${counted(cutOff.missingBytes, "byte")} missing; read up to there`);
  if (packets.length === 0) notes.push(`${path}: holds no packet`);
  return notes;
}

/** Captures of several CPUs step back by microseconds; more is a clock that was set, a file in pieces out of order, or damage. */
const STEP_BACK_NS = 1_000_000;

/** What to say of a clock that goes back, where it says when frames arrive; null: it does not, by much. */
export function clockNote({ path, capture }: LoadedCapture): string | null {
  let latest: CapturedPacket | null = null;
  let most = 0;
  let late = 0;
  let where = 0;
  for (const packet of capture.packets) {
    if (packet.timeSeconds < 0) continue;
    const back = latest === null ? 0 : -sinceNs(latest, packet);
    if (back <= 0) latest = packet;
    if (back <= STEP_BACK_NS) continue;
    if (late++ === 0) where = packet.recordOffset;
    most = Math.max(most, back);
  }
  if (late === 0) return null;
  return `${path}: ${counted(late, "packet")} from byte ${where} on ${late === 1 ? "is" : "are"} stamped up to ${(most / 1e9).toFixed(3)} s earlier than one before, and ${late === 1 ? "arrives" : "arrive"} together with that; order the file by time (reordercap)`;
}

function readBytes(path: string, cwd: string): Uint8Array {
  if (path === "") throw new CliError("a capture without a name: name a file");
  const file = resolve(cwd, path);
  try {
    const stats = path === "-" ? fstatSync(0) : statSync(file);
    if (stats.isCharacterDevice()) throw new CliError(`${path}: a terminal, or a device, which may never end; give a file, or pipe one into -`);
    if (stats.size > MAX_FILE_BYTES) throw new CliError(`${path}: ${stats.size} bytes, more than ${MAX_FILE_BYTES}; split it (editcap -c)`);
    return readFileSync(path === "-" ? 0 : file);
  } catch (error) {
    if (error instanceof CliError) throw error;
    throw new CliError(`${path}: ${readError(error as NodeJS.ErrnoException)}`);
  }
}

function toFrames(capture: Capture, startNs: number, driver: Pick<NetDriver, "name" | "maxFrameBytes">): WireFrame[] {
  const { packets, cutOff, path } = capture;
  if (cutOff !== null && packets.length === 0) {
    throw new CaptureError(path, cutOff.recordOffset, `file cut off in its first record, ${counted(cutOff.missingBytes, "byte")} missing: nothing to replay`);
  }
  for (const linkType of capture.linkTypes) if (linkType !== LINKTYPE_ETHERNET && packets.length === 0) refuseLinkType(path, 20, linkType);
  // With a fraction first, the engine keeps all arrivals as doubles; otherwise it converts each frame anew once one is past 2^31 ns.
  const frames: WireFrame[] = [{ bytes: capture.bytes, offset: 0, lengthBytes: 0, arrivalNs: 0.5 }];
  frames.length = 0;
  const first = packets.find((packet) => packet.timeSeconds >= 0);
  let arrivalNs = startNs;
  for (const packet of packets) {
    check(path, packet, driver);
    // Captures from several CPUs may step back a little; the wire cannot.
    if (first !== undefined && packet.timeSeconds >= 0) arrivalNs = Math.max(arrivalNs, startNs + sinceNs(first, packet));
    frames.push({ bytes: capture.bytes, offset: packet.dataOffset, lengthBytes: packet.capturedBytes, arrivalNs });
  }
  return frames;
}

function sinceNs(first: CapturedPacket, packet: CapturedPacket): number {
  return (packet.timeSeconds - first.timeSeconds) * 1e9 + packet.timeNanoseconds - first.timeNanoseconds;
}

function check(path: string, packet: CapturedPacket, { name, maxFrameBytes }: Pick<NetDriver, "name" | "maxFrameBytes">): void {
  const { recordOffset, capturedBytes, linkType } = packet;
  if (linkType !== LINKTYPE_ETHERNET) refuseLinkType(path, recordOffset, linkType);
  if (capturedBytes === 0) throw new CaptureError(path, recordOffset, "frame of 0 bytes: there is nothing to receive; remove it (editcap)");
  if (capturedBytes > MAX_FRAME_BYTES) {
    throw new CaptureError(path, recordOffset, `frame of ${capturedBytes} bytes, more than 64 KiB: ${OFFLOAD_HINT}`);
  }
  if (capturedBytes > maxFrameBytes) {
    throw new CaptureError(path, recordOffset, `frame of ${capturedBytes} bytes, and ${name} takes at most ${maxFrameBytes}: ${capturedBytes > LONGEST_ON_A_WIRE ? `${OFFLOAD_HINT}, or ` : ""}choose another --driver`);
  }
}

function refuseLinkType(path: string, offset: number, linkType: number): never {
  throw new CaptureError(path, offset, `link type ${linkTypeName(linkType)}: a NIC receives Ethernet frames, ${linkTypeName(LINKTYPE_ETHERNET)}${COOKED.includes(linkType) ? '; record on one device, not on "any"' : ""}`);
}
