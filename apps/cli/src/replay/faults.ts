import { createHash } from "node:crypto";
import { mvneta } from "@netmem/driver-mvneta";
import type { PresetName, WireFrame } from "@netmem/machine";
import { DEFAULT_DRIVER } from "../plugins.ts";
import { CliError } from "../terminal.ts";
import { counted, grouped } from "../words.ts";
import type { ReplayOptions } from "./options.ts";
import { runDesign, type DesignRun, type Plugins } from "./run.ts";
import { PROGRAM_REPORTS } from "./xdp.ts";

/** What no run may show: reports, pages not home, or bytes other than those sent. */
export function faultsOf(run: DesignRun, frames: readonly WireFrame[], options: ReplayOptions): string[] {
  const faults = [...programFaults(run), ...run.reports.filter(({ kind }) => run.xdp === undefined || !PROGRAM_REPORTS.includes(kind)).map(({ kind, count }) => `${run.design}: report ${kind}, ${counted(count, "time")}`)];
  if (run.inflightAtEnd !== 0) faults.push(`${run.design}: ${counted(run.inflightAtEnd, "page")} still in flight at the end`);
  if (run.modelBuffersMissing !== undefined) faults.push(`${run.design}: ${missingText(run.modelBuffersMissing, options.buffers)}`);
  if (run.inet !== undefined && run.inet.unaccounted !== 0) faults.push(`${run.design}: ${counted(run.inet.unaccounted, "frame")} unaccounted for: this is a bug of the model`);
  // What a program drops, or writes, is its own affair.
  if (run.xdp !== undefined || run.inet !== undefined) return faults;
  if (run.dropped > 0 && !options.earlyDrop && options.timing === "back-to-back") faults.push(`${run.design}: ${counted(run.dropped, "packet")} lost, though the wire waits for the ring`);
  if (run.dropped === 0 && run.delivered.sha256 !== sha256Of(frames)) faults.push(`${run.design}: the bytes delivered are not those of the captures`);
  return faults;
}

function missingText(missing: number, buffers: number): string {
  return missing > 0 ? `of the model's ${counted(buffers, "buffer")} ${grouped(missing)} never came back, though all is over` : `of the model's ${counted(buffers, "buffer")} ${grouped(buffers - missing)} are free when all is over: some were given back twice`;
}

/** What is dropped for what it holds, whoever received it; the rest hangs on room. */
const SAME_EVERYWHERE = { notIpv4: "not IPv4", badHeader: "bad headers", checksum: "wrong checksums", unknownProtocol: "other protocols", noSocket: "of no socket" } as const;

/** The same frames read or sent on by mvneta, into pages and without GRO; null where that cannot take them. */
export function plainRun(design: PresetName, frames: readonly WireFrame[], { model: _model, ...options }: ReplayOptions): DesignRun | null {
  if (frames.some(({ lengthBytes }) => lengthBytes > mvneta.maxFrameBytes)) return null;
  return unmerged(design, frames, { ...options, driver: DEFAULT_DRIVER }, { driver: mvneta, model: null });
}

/** The run whose bytes are looked at: with GRO the order of flows hangs on where a poll ends, so that it is one without; null where that does not get through. */
export function bytesRun(run: DesignRun, frames: readonly WireFrame[], options: ReplayOptions, plugins: Plugins): DesignRun | null {
  return options.gro ? unmerged(run.design, frames, options, plugins) : run;
}

/** Null: it is refused something, as buffers that bounce, or has too little of them. */
function unmerged(design: PresetName, frames: readonly WireFrame[], options: ReplayOptions, plugins: Plugins): DesignRun | null {
  try {
    return runDesign(design, frames, { ...options, gro: false, udpGro: false, countsOnly: true }, {}, null, plugins);
  } catch (error) {
    if (error instanceof CliError) return null;
    throw error;
  }
}

/** Whether a plugin gives the stack what mvneta does, in `plain`: what is refused for what it holds, and, where nothing was lost, every byte, must be the same. Programs may do as they like. */
export function differences(run: DesignRun | null, plain: DesignRun | null, { driver, model }: Plugins): string[] {
  if (run === null || plain === null || run.inet === undefined || run.xdp !== undefined || (run.overruns ?? plain.overruns) !== undefined) return [];
  const named = model === null ? driver.name : `${driver.name} with ${model.name}`;
  const { dropped } = run.inet;
  const expected = plain.inet!.dropped;
  const refused = (Object.keys(SAME_EVERYWHERE) as (keyof typeof SAME_EVERYWHERE)[]).filter((why) => dropped[why] > expected[why]);
  if (refused.length > 0) return refused.map((why) => `${counted(dropped[why], "frame")} refused as ${SAME_EVERYWHERE[why]}, and ${grouped(expected[why])} with mvneta into pages: ${named} changes what it receives`);
  const isWhole = ({ inet }: DesignRun): boolean => inet!.dropped.socketFull + inet!.dropped.notSent + inet!.dropped.other === 0;
  if (!isWhole(run) || !isWhole(plain) || run.delivered.sha256 === plain.delivered.sha256) return [];
  return [`other bytes came out (${grouped(run.delivered.bytes)}) than with mvneta into pages (${grouped(plain.delivered.bytes)}): ${named} changes, repeats or loses some`];
}

/** `differences` of all runs of one pair of plugins that are not the first of ours. */
export function differencesOf(runs: readonly DesignRun[], frames: readonly WireFrame[], options: ReplayOptions, plugins: Plugins): string[] {
  if (plugins.driver === mvneta && plugins.model === null) return [];
  return runs.filter(({ inet, xdp }) => inet !== undefined && xdp === undefined).flatMap((run) => differences(bytesRun(run, frames, options, plugins), plainRun(run.design, frames, options), plugins).map((what) => `${run.design}: ${what}`));
}

/** The first packet that each program failed on, and how many the attached one did. */
function programFaults({ design, xdp }: DesignRun): string[] {
  if (xdp === undefined) return [];
  const all = xdp.verdicts.none + xdp.verdicts.invalid;
  const firsts = xdp.faults.filter((fault, i, faults) => faults.findIndex(({ program }) => program === fault.program) === i);
  return firsts.map(({ program, packet, reason }) => `${design}: ${program}: packet ${grouped(packet)}: ${reason}${program === xdp.program && all > 1 ? `; ${counted(all, "packet")} in all` : ""}`);
}

function sha256Of(frames: readonly WireFrame[]): string {
  const hash = createHash("sha256");
  for (const { bytes, offset, lengthBytes } of frames) hash.update(bytes.subarray(offset, offset + lengthBytes));
  return hash.digest("hex");
}
