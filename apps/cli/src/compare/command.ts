import { Option, type Command } from "commander";
import type { NetDriver } from "@netmem/driver/api";
import { PRESET_NAMES, type PresetName, type WireFrame } from "@netmem/machine";
import type { MemoryModel } from "@netmem/memory-model/api";
import { loadCaptures, notesOn } from "../captures.ts";
import { designsOf } from "../designs.ts";
import { once, wholeNumber } from "../options.ts";
import { DRIVER_NAMES, loadDriver, loadModel, splitsHeaders, STREAM_MODEL_NAMES } from "../plugins.ts";
import { DEFAULT_BUFFERS, checkReplayOptions, countsOnlyOption, type ReplayOptions } from "../replay/options.ts";
import { bytesRun, differences, faultsOf, plainRun } from "../replay/faults.ts";
import { DeviceDown, Refused, runDesign, type DesignRun } from "../replay/run.ts";
import { median, roundsFor } from "../replay/timing.ts";
import { CliError, EXIT_FAULT, EXIT_OK, type CommandContext } from "../terminal.ts";
import { counted, grouped } from "../words.ts";

/** Of `--models`: payload in the pool's pages, without a model. */
const PAGES = "pages";

interface RawOptions {
  readonly design?: string;
  readonly drivers: string;
  readonly models: string;
  readonly buffers: number;
  readonly gro?: true;
  readonly seed: number;
  readonly countsOnly?: true;
  readonly json?: true;
}

/** One run of the matrix. The names are those of the JSON document. */
export interface ComparedRun {
  readonly driver: string;
  /** `pages` without a model. */
  readonly model: string;
  readonly design: PresetName;
  readonly delivered: { readonly bytes: number; readonly sha256: string };
  readonly dropped: number;
  readonly pageAllocs: number;
  readonly modelBuffers: number;
  readonly dmaMaps: number;
  readonly dmaSyncs: number;
  readonly memInfoLookups: number;
  readonly recycledPercent: number;
  readonly inflightAtEnd: number;
  readonly reports: number;
  /** 0 where nothing was timed. */
  readonly nsPerPacket: number;
}

/** What of the matrix cannot be. */
export interface LeftOut {
  readonly driver: string;
  readonly model: string;
  /** Absent: under none. */
  readonly design?: PresetName;
  readonly why: string;
}

/** The document that `--json` prints. */
export interface CompareDocument {
  readonly command: "compare";
  readonly inputs: readonly { readonly path: string; readonly packets: number; readonly bytes: number }[];
  readonly runs: readonly ComparedRun[];
  readonly leftOut: readonly LeftOut[];
}

export function declareCompare(command: Command, context: CommandContext): void {
  command
    .argument("<capture...>", "capture files of Ethernet frames, replayed in this order, into sockets that are never full; - reads one from stdin")
    .addOption(new Option("--design <names>", `designs to run, separated by commas (default: ${PRESET_NAMES.join(",")})`).argParser(once("design")))
    .addOption(new Option("--drivers <names>", "drivers, by name or path, separated by commas").default(DRIVER_NAMES.join(",")))
    .addOption(new Option("--models <names>", `memory models, by name or path, separated by commas; ${PAGES} is none`).default([PAGES, ...STREAM_MODEL_NAMES].join(",")))
    .addOption(new Option("--buffers <number>", "buffers of each model, a page each").default(DEFAULT_BUFFERS).argParser(wholeNumber("buffers", 1, 262_144)))
    .addOption(new Option("--gro", "merge TCP segments of a connection as they are received"))
    .addOption(new Option("--seed <number>", "orders what no rule orders").default(1).argParser(wholeNumber("seed", 0, 0xffffffff)))
    .addOption(countsOnlyOption())
    .addOption(new Option("--json", "one JSON document on stdout"))
    .action((paths: string[], raw: RawOptions) => compare(paths, raw, context).then(context.setExitCode));
}

async function compare(paths: readonly string[], raw: RawOptions, { terminal, cwd }: CommandContext): Promise<number> {
  const designs = raw.design === undefined ? PRESET_NAMES : designsOf(raw.design);
  const drivers = await Promise.all(namesOf("--drivers", raw.drivers).map(async (named) => ({ named, driver: await loadDriver(named, cwd, "--drivers") })));
  const models = await Promise.all(namesOf("--models", raw.models).map(async (named) => ({ named, model: named === PAGES ? null : await loadModel(named, cwd, "--models") })));
  const widest = drivers.map(({ driver }) => driver).reduce((most, driver) => (driver.maxFrameBytes > most.maxFrameBytes ? driver : most));
  const inputs = loadCaptures(paths, cwd, widest);
  const frames = inputs.flatMap((input) => input.frames);
  const longest = frames.reduce((most, { lengthBytes }) => Math.max(most, lengthBytes), 0);
  for (const input of inputs) for (const note of notesOn(input)) terminal.err(`netmem: ${note}\n`);
  const runs: ComparedRun[] = [];
  const leftOut: LeftOut[] = [];
  const faults: string[] = [];
  /** By design: what mvneta does, into pages. */
  const plains = new Map<PresetName, DesignRun | null>();
  for (const { named: driverName, driver } of drivers) {
    for (const { named: modelName, model } of models) {
      if (longest > driver.maxFrameBytes) {
        leftOut.push({ driver: driverName, model: modelName, why: `it takes frames of up to ${grouped(driver.maxFrameBytes)} bytes, and the longest here has ${grouped(longest)}` });
        continue;
      }
      if (model?.delivers === "frames") {
        leftOut.push({ driver: driverName, model: modelName, why: "its users are given frames, and here connections are read" });
        continue;
      }
      if (model !== null && !splitsHeaders(driver)) {
        leftOut.push({ driver: driverName, model: modelName, why: "it does not split headers into buffers of their own, on a queue of their own" });
        continue;
      }
      for (const design of designs) {
        if (model !== null && design === "stock") leftOut.push({ driver: driverName, model: modelName, design, why: "each packet takes its memory from its pool for good, and a model's cannot go" });
        else {
          const done = runOf(driverName, driver, modelName, model, design, frames, plains, raw);
          if (typeof done === "string") leftOut.push({ driver: driverName, model: modelName, design, why: done });
          else {
            if (done.run !== null) runs.push(done.run);
            faults.push(...done.faults.map((what) => `${driverName}, ${modelName}, ${what}`));
          }
        }
      }
    }
  }
  if (runs.length === 0 && faults.length === 0) {
    const { driver, model, design, why } = leftOut[0]!;
    throw new CliError(`nothing to compare: ${driver} with ${model}${design === undefined ? "" : ` under ${design}`}: ${why}`);
  }
  const document: CompareDocument = { command: "compare", inputs: inputs.map(({ path, capture, bytes }) => ({ path, packets: capture.packets.length, bytes })), runs, leftOut };
  terminal.out(raw.json === true ? `${JSON.stringify(document)}\n` : textOf(document));
  for (const fault of faults) terminal.err(`netmem: ${fault}\n`);
  return faults.length === 0 ? EXIT_OK : EXIT_FAULT;
}

function namesOf(option: string, list: string): string[] {
  const names = list.split(",").map((name) => name.trim()).filter((name) => name !== "");
  if (names.length === 0) throw new CliError(`${option}: name one, or several separated by commas`);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) throw new CliError(`${option}: ${twice} is named twice`);
  return names;
}

interface Done {
  /** Null: it did not get through, and a fault says why. */
  readonly run: ComparedRun | null;
  /** Bytes that are not those of the captures, what is out in the end, and reports. */
  readonly faults: readonly string[];
}

/** Words: why it cannot be. */
function runOf(driverName: string, driver: NetDriver, modelName: string, model: MemoryModel | null, design: PresetName, frames: readonly WireFrame[], plains: Map<PresetName, DesignRun | null>, raw: RawOptions): Done | string {
  const options: ReplayOptions = checkReplayOptions({
    design, timing: "back-to-back", seed: raw.seed, ring: 512, readerLag: 0, readerCpu: 1, dma: "iommu-strict", sockets: 1, rcvbuf: 0x7fffffff, driver: driverName,
    ...(model === null ? {} : { model: modelName, buffers: raw.buffers }), ...(raw.gro === true ? { gro: true } : {}),
  });
  const runOnce = (): DesignRun => runDesign(design, frames, options, {}, null, { driver, model });
  // The engine has another plugin to compile for, and what it is compiled in is not timed.
  let run: DesignRun;
  try {
    run = runOnce();
  } catch (error) {
    if (error instanceof DeviceDown) return error.why;
    if (error instanceof Refused) return error.message.replace(`${design}: `, "");
    if (error instanceof CliError) return { run: null, faults: [error.message] };
    throw error;
  }
  const times = raw.countsOnly === true ? [0] : Array.from({ length: roundsFor(frames.length) }, () => runOnce().nsPerPacket);
  const compared: ComparedRun = {
    driver: driverName, model: modelName, design, delivered: { bytes: run.delivered.bytes, sha256: run.delivered.sha256 }, dropped: run.dropped, pageAllocs: run.pageAllocs, modelBuffers: run.modelBuffers ?? 0,
    dmaMaps: run.dmaMaps, dmaSyncs: run.dmaSyncs, memInfoLookups: run.memInfoLookups, recycledPercent: run.recycled.percent, inflightAtEnd: run.inflightAtEnd,
    reports: run.reports.reduce((sum, { count }) => sum + count, 0), nsPerPacket: median(times),
  };
  if (!plains.has(design)) plains.set(design, plainRun(design, frames, options));
  const faults = [...faultsOf(run, frames, options), ...differences(bytesRun(run, frames, options, { driver, model }), plains.get(design)!, { driver, model }).map((what) => `${design}: ${what}`)];
  return { run: compared, faults };
}

const COLUMNS: readonly { readonly title: string; readonly cell: (run: ComparedRun) => string }[] = [
  { title: "driver", cell: ({ driver }) => driver },
  { title: "model", cell: ({ model }) => model },
  { title: "design", cell: ({ design }) => design },
  { title: "bytes read", cell: ({ delivered }) => grouped(delivered.bytes) },
  { title: "dropped", cell: ({ dropped }) => grouped(dropped) },
  { title: "pages", cell: ({ pageAllocs }) => grouped(pageAllocs) },
  { title: "buffers", cell: ({ modelBuffers }) => grouped(modelBuffers) },
  { title: "maps", cell: ({ dmaMaps }) => grouped(dmaMaps) },
  { title: "syncs", cell: ({ dmaSyncs }) => grouped(dmaSyncs) },
  { title: "look-ups", cell: ({ memInfoLookups }) => grouped(memInfoLookups) },
  { title: "recycled", cell: ({ recycledPercent }) => `${recycledPercent.toFixed(1)} %` },
  { title: "in flight", cell: ({ inflightAtEnd }) => grouped(inflightAtEnd) },
  { title: "reports", cell: ({ reports }) => grouped(reports) },
  { title: "packets/s", cell: ({ nsPerPacket }) => (nsPerPacket === 0 ? "–" : grouped(Math.round(1e9 / nsPerPacket))) },
];
const NAMING_COLUMNS = 3;

function textOf({ inputs, runs, leftOut }: CompareDocument): string {
  const rows = [COLUMNS.map(({ title }) => title), ...runs.map((run) => COLUMNS.map(({ cell }) => cell(run)))];
  const widths = COLUMNS.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  const lines = rows.map((row) => row.map((cell, column) => (column < NAMING_COLUMNS ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!))).join("  ").trimEnd());
  const names = inputs.map(({ path, packets, bytes }) => `${path}: ${counted(packets, "packet")}, ${counted(bytes, "byte")}`);
  const reasons = [...new Set(leftOut.map(({ why }) => why))].map((why) => {
    const those = leftOut.filter((entry) => entry.why === why);
    return `left out: ${those.map(({ driver, model, design }) => `${driver} with ${model}${design === undefined ? "" : ` under ${design}`}`).join(", ")}: ${why}`;
  });
  return `${[...names, "", lines[0], "─".repeat(Math.max(...lines.map(({ length }) => length))), ...lines.slice(1), ...(reasons.length === 0 ? [] : ["", ...reasons])].join("\n")}\n`;
}
