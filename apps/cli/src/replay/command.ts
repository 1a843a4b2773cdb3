import type { Command } from "commander";
import pc from "picocolors";
import { UsageError } from "@netmem/kernel/api";
import type { WireFrame } from "@netmem/machine";
import { CliError, EXIT_FAULT, EXIT_OK, type CommandContext, type Terminal } from "../terminal.ts";
import { counted } from "../words.ts";
import { clockNote, loadCaptures, notesOn, type LoadedCapture } from "../captures.ts";
import { DEFAULT_DRIVER, loadDriver, loadModel, splitsHeaders } from "../plugins.ts";
import { machineMemory } from "./backing.ts";
import { checkReplayOptions, declareReplayOptions, DEFAULT_DMA, DEFAULT_RING, type ReplayOptions } from "./options.ts";
import { loadProgram, type ProgramInstance, type ProgramModule } from "./program.ts";
import { bytesFor, runDesign, type DesignRun, type Plugins, type RunWatcher } from "./run.ts";
import { differencesOf, faultsOf } from "./faults.ts";
import { heldText } from "./held.ts";
import { says } from "./says.ts";
import { SentFrames } from "./sent-frames.ts";
import { TracedRun } from "./traced.ts";
import { renderTable } from "./table.ts";
import { median, roundsFor } from "./timing.ts";
import { whyText } from "./why.ts";

/** The document that `--json` prints. Optional members appear only when there is something to say. */
export interface ReplayDocument {
  readonly command: "replay";
  /** As they were named. */
  readonly driver: string;
  readonly model?: string;
  readonly inputs: readonly {
    readonly path: string;
    readonly packets: number;
    readonly bytes: number;
    /** Null for a file that describes no interface. */
    readonly linkType: number | null;
    /** Packets that their capture's snap length had cut; replayed as captured. */
    readonly snapped?: number;
    /** The file ends within the record at this byte; replayed up to there. */
    readonly cutOffAtByte?: number;
  }[];
  /** All that shaped the runs, what was not said by its default. */
  readonly settings: ReplayOptions;
  readonly runs: readonly DesignRun[];
}

/** Frames, and bytes, that each design handles before anything is timed: the engine must have compiled the hot paths. A third of a capture, within these. */
const LEAST_WARM_UP_FRAMES = 20_000;
const MOST_WARM_UP_FRAMES = 60_000;
const WARM_UP_BYTES = 96 * 1024 * 1024;
/** On two machines: what the engine took for given in the first its end takes back. The first one's ring is short, so that it is full now and then. */
const SHORT_RING = 64;

/** What a model can only be told of once it is known. */
function checkModel({ driver, model }: Plugins, options: ReplayOptions, hasProgram: boolean): void {
  if (model === null) return;
  const named = `--model ${options.model}`;
  if (model.delivers === "frames") {
    if (options.sockets !== undefined || options.forward) throw new CliError(`${named} delivers whole frames, which no stack sees: leave out ${options.forward ? "--forward" : "--sockets"}`);
    if (hasProgram) throw new CliError(`${named} and --xdp: the model has a program of its own; give one of them`);
    for (const [isGiven, option] of [[options.tap, "--tap"], [options.earlyDrop, "--early-drop"], [options.readerLag > 0, "--reader-lag"]] as const) if (isGiven) throw new CliError(`${named} and ${option}: no packet reaches the stack; give one of them`);
    return;
  }
  if (options.sockets === undefined) throw new CliError(`${named} delivers the bytes of TCP connections: give --sockets too`);
  if (!splitsHeaders(driver)) throw new CliError(`${named}: ${driver.name} does not split headers into buffers of their own, on a queue of their own; give --driver header-split`);
}

export function declareReplay(command: Command, context: CommandContext): void {
  command
    .argument("<capture...>", "capture files of Ethernet frames, replayed in this order; - reads one from stdin");
  declareReplayOptions(command).action((paths: string[], raw) => {
    return replay(paths, checkReplayOptions(raw), context).then(context.setExitCode);
  });
}

async function replay(paths: readonly string[], options: ReplayOptions, { terminal, cwd }: CommandContext): Promise<number> {
  const program = options.xdp === undefined ? null : await loadProgram(options.xdp, cwd);
  const plugins: Plugins = { driver: await loadDriver(options.driver, cwd), model: options.model === undefined ? null : await loadModel(options.model, cwd) };
  checkModel(plugins, options, program !== null);
  const inputs = loadCaptures(paths, cwd, plugins.driver);
  for (const input of inputs) for (const note of notesOn(input)) terminal.err(`netmem: ${note}\n`);
  for (const note of options.timing === "capture" ? inputs.map(clockNote) : []) if (note !== null) terminal.err(`netmem: ${note}\n`);
  const frames = inputs.flatMap((input) => input.frames);
  // What it prints is of the packets it is counted on.
  const timed = program?.instantiate(null) ?? null;
  if (!options.countsOnly) warmUp(frames, options, timed, plugins);
  const first: DesignRun[] = [];
  const sent = options.write === undefined ? null : new SentFrames(options.write, cwd, inputs);
  let traced: TracedRun | null = null;
  try {
    traced = options.trace === undefined ? null : new TracedRun(options.trace, cwd, [...paths.filter((path) => path !== "-"), ...(options.write === undefined ? [] : [options.write])]);
    for (const design of options.designs) first.push(runWithProgress(design, frames, options, terminal, program, plugins, watcherOf(sent, traced)));
    sent?.write();
    traced?.write();
  } finally {
    sent?.discard();
    traced?.discard();
  }
  const runs = options.countsOnly ? first.map((run) => ({ ...run, nsPerPacket: 0 })) : timeAgain(first, frames, options, timed, plugins);
  terminal.out(options.json ? `${JSON.stringify(documentOf(inputs, runs, options))}\n` : textOf(inputs, runs, options, plugins, terminal));
  if (!options.json) terminal.out(whyText(runs, options, inputs) + heldText(runs));
  for (const { design, expandFailures = 0 } of runs) {
    if (expandFailures > 0) terminal.err(`netmem: ${design}: ${counted(expandFailures, "clone")} kept the shared head: no memory for a private one\n`);
  }
  const faults = [...runs.flatMap((run) => faultsOf(run, frames, options)), ...differencesOf(runs, frames, options, plugins)];
  for (const fault of faults) terminal.err(`netmem: ${fault}\n`);
  return faults.length === 0 ? EXIT_OK : EXIT_FAULT;
}

/** The first design to run must not pay for compiling the code that the later ones reuse. */
function warmUp(frames: readonly WireFrame[], options: ReplayOptions, program: ProgramInstance | null, plugins: Plugins): void {
  // Now, so that all machines to come have the same.
  machineMemory().put(machineMemory().take(bytesFor(frames, options, plugins)));
  const repeated: WireFrame[] = [];
  const wanted = Math.min(MOST_WARM_UP_FRAMES, Math.max(LEAST_WARM_UP_FRAMES, frames.length / 3));
  for (let bytes = 0; frames.length > 0 && repeated.length < wanted && bytes < WARM_UP_BYTES;) {
    const frame = frames[repeated.length % frames.length]!;
    repeated.push(frame);
    bytes += frame.lengthBytes;
  }
  for (const ring of [Math.min(SHORT_RING, options.ring), options.ring]) {
    try {
      for (const design of options.designs) runDesign(design, repeated, { ...options, ring, timing: "back-to-back", packetCostNs: 0 }, {}, program, plugins);
    } catch (error) {
      // So many frames may take memory that the capture's own do not, and a driver may have no such ring: the run that counts will tell.
      if (!(error instanceof CliError || error instanceof UsageError)) throw error;
    }
  }
}

/**
 * The runs with the median time of several rounds, the designs in turn; all else is the same in each round. With a program only these rounds are
 * timed: each run before had an instance of its own, which the engine had to compile for anew.
 */
function timeAgain(first: readonly DesignRun[], frames: readonly WireFrame[], options: ReplayOptions, timed: ProgramInstance | null, plugins: Plugins): readonly DesignRun[] {
  if (frames.length === 0) return first;
  const rounds = roundsFor(frames.length);
  const times = first.map((run) => (timed === null ? [run.nsPerPacket] : []));
  if (timed !== null) warmUp(frames, options, timed, plugins);
  for (let round = timed === null ? 1 : 0; round < rounds; round++) {
    for (const [i, { design }] of first.entries()) times[i]!.push(runDesign(design, frames, options, {}, timed, plugins).nsPerPacket);
  }
  return first.map((run, i) => ({ ...run, nsPerPacket: median(times[i]!) }));
}

function watcherOf(sent: SentFrames | null, traced: TracedRun | null): RunWatcher {
  return { ...(sent === null ? {} : { sent: (...frame) => sent.add(...frame) }), ...traced?.watcher() };
}

function runWithProgress(design: DesignRun["design"], frames: readonly WireFrame[], options: ReplayOptions, terminal: Terminal, program: ProgramModule | null, plugins: Plugins, watcher: RunWatcher): DesignRun {
  const instance = program?.instantiate(terminal.err) ?? null;
  if (!terminal.errIsTty) return runDesign(design, frames, options, watcher, instance, plugins);
  const run = runDesign(design, frames, options, {
    ...watcher,
    progress: (done) => terminal.err(`\r\u001b[Kreplaying under ${design}: ${Math.floor((100 * done) / frames.length)} %`),
  }, instance, plugins);
  terminal.err("\r\u001b[K");
  return run;
}

function documentOf(inputs: readonly LoadedCapture[], runs: readonly DesignRun[], options: ReplayOptions): ReplayDocument {
  return {
    command: "replay",
    driver: options.driver,
    ...(options.model === undefined ? {} : { model: options.model }),
    inputs: inputs.map(({ path, capture, bytes }) => ({
      path,
      packets: capture.packets.length,
      bytes,
      linkType: capture.linkTypes[0] ?? null,
      ...(capture.snapped === 0 ? {} : { snapped: capture.snapped }),
      ...(capture.cutOff === null ? {} : { cutOffAtByte: capture.cutOff.recordOffset }),
    })),
    settings: options,
    runs,
  };
}

function textOf(inputs: readonly LoadedCapture[], runs: readonly DesignRun[], options: ReplayOptions, plugins: Plugins, terminal: Terminal): string {
  const color = pc.createColors(terminal.color);
  const lines = inputs.map(({ path, capture, bytes }) => `${color.bold(path)}: ${counted(capture.packets.length, "packet")}, ${counted(bytes, "byte")}, ${capture.format}`);
  const settings = settingsOf(options, plugins);
  if (settings !== "") lines.push(settings);
  return `${lines.join("\n")}\n\n${renderTable(runs)}\n${says(runs, inputs.reduce((sum, { frames }) => sum + frames.length, 0))}\n`;
}

const READ_WORDS: Readonly<Record<ReplayOptions["reader"], string>> = { prompt: "at once", late: "when the traffic is over", never: "never" };

/** A plugin's, and where it was found. */
function nameOf(name: string, named: string): string {
  return name === named ? name : `${name} (${named})`;
}

/** What differs from a plain replay, in words. */
function settingsOf(options: ReplayOptions, { driver, model }: Plugins): string {
  const words: string[] = [];
  if (options.driver !== DEFAULT_DRIVER) words.push(`driver ${nameOf(driver.name, options.driver)}`);
  if (options.model !== undefined) words.push(`${options.sockets === undefined ? "frames" : "TCP's payload"} in ${counted(options.buffers, "buffer")} of ${nameOf(model!.name, options.model)}`);
  if (options.timing === "capture") words.push(`by the capture's clock, ${options.packetCostNs} ns a packet`);
  if (options.earlyDrop) words.push("dropped in the driver");
  if (options.tap) words.push(options.expand ? "every packet cloned to a tap, the clone's head made private" : "every packet cloned to a tap");
  if (options.tap) words.push(options.freeOrder === "alternate" ? "packet and clone freed first in turn" : `${options.freeOrder} freed first`);
  if (options.readerLag > 0) words.push(`reader ${options.readerLag} packets behind`);
  if (options.returnPath !== undefined) words.push(`return path ${options.returnPath}`);
  if (options.sharedRelease !== undefined) words.push(`shared release ${options.sharedRelease}`);
  if ((options.returnPath ?? options.sharedRelease) !== undefined && options.designs.includes("stock")) words.push("stock recycles no packet's pages and is not affected");
  if (options.ring !== DEFAULT_RING) words.push(`${options.ring} receive descriptors`);
  if (options.dma !== DEFAULT_DMA) words.push(`DMA ${options.dma}`);
  if (options.xdp !== undefined) words.push(`XDP program ${options.xdp} ${options.xdpMode === "generic" ? "on skbs" : "in the driver"}`);
  if (options.dmaDebug !== "on") words.push(options.dmaDebug === "off" ? "DMA mappings not checked" : "no DMA sync skipped");
  if (options.cpuCache) words.push("CPU cache modelled");
  if (options.sockets !== undefined) words.push(`IPv4 into ${counted(options.sockets, "socket")} of UDP and each connection's of TCP, read ${READ_WORDS[options.reader]}${options.zerocopy ? ", streams by mapping their pages" : ""}`);
  if (options.rcvbuf !== undefined) words.push(`${counted(options.rcvbuf, "byte")} each`);
  if (options.forward) words.push("IPv4 sent on by eth1");
  if (options.gro) words.push(options.udpGro ? "GRO, of UDP too" : "GRO");
  return words.join("; ");
}
