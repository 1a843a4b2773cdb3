import { Option, type Command } from "commander";
import pc from "picocolors";
import { RETURN_PATHS, SHARED_RELEASES, DEFAULT_PRESET } from "@netmem/machine";
import type { SharedRelease } from "@netmem/page-pool/api";
import type { ReturnPathName } from "@netmem/xdp/api";
import { loadCaptures, notesOn } from "../captures.ts";
import { designsOf } from "../designs.ts";
import { once, wholeNumber } from "../options.ts";
import { CliError, EXIT_FAULT, EXIT_OK, type CommandContext } from "../terminal.ts";
import { counted, grouped } from "../words.ts";
import { draw } from "./draw.ts";
import { inspect, type InspectedDesign } from "./inspect.ts";
import { OPERATIONS, parseOperations, usageOf } from "./operations.ts";

/** As commander hands them over. */
interface RawOptions {
  readonly packet?: string;
  readonly after?: string;
  readonly design?: string;
  readonly returnPath?: ReturnPathName;
  readonly sharedRelease?: SharedRelease;
  readonly readerCpu: number;
  readonly json?: true;
}

/** The document that `--json` prints. */
export interface InspectDocument {
  readonly command: "inspect";
  readonly input: { readonly path: string; readonly packets: number };
  readonly packet: { readonly number: number; readonly bytes: number };
  readonly after: readonly string[];
  readonly readerCpu: number;
  /** Overrides of every design. */
  readonly returnPath?: ReturnPathName;
  readonly sharedRelease?: SharedRelease;
  readonly designs: readonly InspectedDesign[];
}

/** Packets are received one after the other up to the one asked for. */
const MOST_PACKETS = 10_000_000;

export function declareInspect(command: Command, context: CommandContext): void {
  command
    .argument("<capture>", "capture file of Ethernet frames (pcap, pcapng); - reads one from stdin")
    .addOption(new Option("--packet <number>", "which packet, as tshark numbers them (default: 1)").argParser(once("packet")))
    .addOption(new Option("--after <operations>", "what is done to it first, separated by commas: clone,expand,free-original. The packet is A, what comes of it B, C, …; an operation is for the newest of them, or for the one named: free:A, coalesce:A.B, pull:B=20").argParser(once("after")))
    .addOption(new Option("--design <names>", `designs to show, separated by commas (default: ${DEFAULT_PRESET})`).argParser(once("design")))
    .addOption(new Option("--return-path <name>", "override how a recycling design finds a page's owner").choices([...RETURN_PATHS]))
    .addOption(new Option("--shared-release <policy>", "override what a put does that finds another reference").choices([...SHARED_RELEASES]))
    .addOption(new Option("--reader-cpu <cpu>", "CPU of the process that does it, 0 or 1; the NIC interrupts CPU 0").default(1).argParser(wholeNumber("reader-cpu", 0, 1)))
    .addOption(new Option("--json", "one JSON document on stdout"))
    .addHelpText("after", `\nOperations:\n${operationsHelp()}\n\nExample: netmem inspect my.pcap --packet 19 --after clone,expand:B=64+0,free:A\nExit codes: 0; 1 when a rule was broken, a page lost, or the kernel stopped; 2 on bad usage or input.`)
    .action((path: string, raw: RawOptions) => context.setExitCode(run(path, raw, context)));
}

function operationsHelp(): string {
  const width = Math.max(...OPERATIONS.map((kind) => usageOf(kind).length));
  const kernelWidth = Math.max(...OPERATIONS.map(({ kernel }) => kernel.length));
  return OPERATIONS.map((kind) => `  ${usageOf(kind).padEnd(width)}  ${kind.kernel.padEnd(kernelWidth)}  ${kind.help}`).join("\n");
}

function run(path: string, raw: RawOptions, { terminal, cwd }: CommandContext): number {
  const designs = designsOf(raw.design ?? DEFAULT_PRESET);
  const packet = wholeNumber("packet", 1, MOST_PACKETS)(raw.packet ?? "1");
  const operations = raw.after === undefined ? [] : parseOperations(raw.after);
  const input = loadCaptures([path], cwd)[0]!;
  const { frames } = input;
  if (packet > frames.length) throw new CliError(`--packet ${packet}: ${path} holds ${counted(frames.length, "packet")}${frames.length === 0 ? "" : `; give 1 to ${frames.length}`}`);
  for (const note of notesOn(input)) terminal.err(`netmem: ${note}\n`);
  const received = frames.slice(0, packet);
  const shown = designs.map((design) => inspect(received, operations, { design, readerCpu: raw.readerCpu, ...overrides(raw) }, frames.slice(packet)));
  const document: InspectDocument = {
    command: "inspect",
    input: { path, packets: frames.length },
    packet: { number: packet, bytes: received.at(-1)!.lengthBytes },
    after: operations.map(({ text }) => text),
    readerCpu: raw.readerCpu,
    ...overrides(raw),
    designs: shown,
  };
  terminal.out(raw.json === true ? `${JSON.stringify(document)}\n` : textOf(document, terminal.color));
  const faults = document.designs.flatMap(({ design, operations: done, reports, homecomings }) => [
    ...done.flatMap(({ operation, panic }) => (panic === undefined ? [] : [`${design}: ${operation}: ${panic}`])),
    ...[...reports, ...homecomings.flatMap((home) => home.reports)].map((report) => `${design}: report ${report}`),
    ...homecomings.flatMap(({ order, memory }) => memory.filter(({ end }) => end === "lost").map(({ name }) => `${design}: ${name} is lost to its pool when freed in the order ${order.join(", ")}`)),
  ]);
  for (const fault of new Set(faults)) terminal.err(`netmem: ${fault}\n`);
  return faults.length === 0 ? EXIT_OK : EXIT_FAULT;
}

function overrides({ returnPath, sharedRelease }: RawOptions): Pick<RawOptions, "returnPath" | "sharedRelease"> {
  return { ...(returnPath === undefined ? {} : { returnPath }), ...(sharedRelease === undefined ? {} : { sharedRelease }) };
}

function textOf({ input, packet, after, returnPath, sharedRelease, designs }: InspectDocument, color: boolean): string {
  const colors = pc.createColors(color);
  return designs.map((run) => {
    const what = after.length === 0 ? "as it was received" : `after ${after.join(", ")}`;
    return `${colors.bold(`${input.path}, packet ${grouped(packet.number)} of ${grouped(input.packets)}`)}: ${counted(packet.bytes, "byte")}, under ${[run.design, ...(sharedRelease === undefined ? [] : [`shared release ${sharedRelease}`]), ...(returnPath === undefined ? [] : [`return path ${returnPath}`])].join(", ")}, ${what}\n\n${draw(run, color)}`;
  }).join("\n");
}
