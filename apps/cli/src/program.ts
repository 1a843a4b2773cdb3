import { readFileSync } from "node:fs";
import { Command, CommanderError } from "commander";
import pc from "picocolors";
import { CaptureError } from "@netmem/pcap/api";
import { KernelPanic, UsageError } from "@netmem/kernel/api";
import { blamePlugin } from "./blame.ts";
import { CliError, EXIT_FAULT, EXIT_OK, EXIT_USAGE, type CommandContext, type Terminal } from "./terminal.ts";

const VERSION = (JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as { version: string }).version;

/** As the list of commands has them. The code of one is loaded when it is named. */
const COMMANDS: readonly CommandEntry[] = [
  {
    name: "replay", args: "<capture...>", summary: "Replay captures (pcap, pcapng) through a modelled NIC under each design, and count what happens to the pages.",
    load: async () => (await import("./replay/command.ts")).declareReplay,
  },
  {
    name: "inspect", args: "<capture>", summary: "Draw one packet of a capture as it lies in memory after some operations, and say where each of its pages goes and why.",
    load: async () => (await import("./inspect/command.ts")).declareInspect,
  },
  {
    name: "compare", args: "<capture...>", summary: "Replay captures through every driver, memory model and design, into sockets of IPv4, and set the counts side by side.",
    load: async () => (await import("./compare/command.ts")).declareCompare,
  },
  {
    name: "explain", args: "<trace...>", summary: "Say of each page_pool in traces of a real kernel, or of the model, what became of its pages, and who holds those that are out.",
    load: async () => (await import("./explain/command.ts")).declareExplain,
  },
  {
    name: "validate", args: "[folder]", summary: "Do in the model what the scripts of kernel captures did, and compare what came of it.",
    load: async () => (await import("./validate/command.ts")).declareValidate,
  },
  {
    name: "conformance", args: "<package>", summary: "Judge by rules whether a driver or a memory model keeps to them, and show how it does not.",
    load: async () => (await import("./conformance/command.ts")).declareConformance,
  },
];

interface CommandEntry {
  readonly name: string;
  readonly args: string;
  readonly summary: string;
  readonly load: () => Promise<(command: Command, context: CommandContext) => void>;
}

const PROCESS_TERMINAL: Terminal = {
  out: (text) => void process.stdout.write(text),
  err: (text) => void process.stderr.write(text),
  errIsTty: process.stderr.isTTY === true,
  color: pc.isColorSupported && process.stdout.isTTY === true,
};

/** Runs one command line; answers the exit code. Paths are relative to `cwd`. */
export async function runCli(args: readonly string[], terminal: Terminal = PROCESS_TERMINAL, cwd: string = process.env["INIT_CWD"] ?? process.cwd()): Promise<number> {
  let exitCode = EXIT_OK;
  const program = new Command("netmem");
  program
    .description("Linux's network-memory layering, executable: replay real captures through a modelled NIC, page_pool, sk_buff and the free path.")
    .version(VERSION, "-V, --version")
    .exitOverride()
    .configureOutput({ writeOut: terminal.out, writeErr: () => {} })
    .configureHelp({ subcommandTerm: (command) => `${command.name()} ${command.usage()}` })
    .showHelpAfterError(false);
  const context: CommandContext = { terminal, cwd, setExitCode: (code: number) => void (exitCode = code) };
  const [first, second] = args.filter((arg) => !arg.startsWith("-"));
  const wanted = first === "help" ? second : first;
  for (const { name, args: its, summary, load } of COMMANDS) {
    if (name === wanted) (await load())(program.command(name).description(summary), context);
    else program.command(`${name} ${its}`).description(summary);
  }
  try {
    await program.parseAsync([...args], { from: "user" });
    return exitCode;
  } catch (error) {
    if (error instanceof KernelPanic) {
      terminal.err(`netmem: ${error.message}\n`);
      return EXIT_FAULT;
    }
    if (error instanceof CommanderError) return usage(error, program, args, terminal);
    if (error instanceof CliError || error instanceof CaptureError || error instanceof UsageError) {
      terminal.err(`netmem: ${error.message}\n`);
      return EXIT_USAGE;
    }
    const blamed = blamePlugin(error);
    if (blamed === null) throw error;
    terminal.err(`netmem: ${blamed}\n`);
    return EXIT_USAGE;
  }
}

/** Commander's own complaints, in our form; asking for help is no complaint. */
function usage(error: CommanderError, program: Command, args: readonly string[], terminal: Terminal): number {
  if (error.exitCode === 0) return EXIT_OK;
  if (error.code === "commander.help") {
    terminal.err(program.helpInformation());
    return EXIT_USAGE;
  }
  const command = program.commands.find((candidate) => candidate.name() === args[0]);
  const help = command === undefined ? "netmem --help" : `netmem ${command.name()} --help`;
  terminal.err(`netmem: ${error.message.replace(/^error: /, "").replaceAll("\n", " ")} (see ${help})\n`);
  return EXIT_USAGE;
}
