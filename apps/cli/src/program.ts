import { readFileSync } from "node:fs";
import { Command, CommanderError } from "commander";
import pc from "picocolors";
import { CaptureError } from "@netmem/pcap/api";
import { KernelPanic, UsageError } from "@netmem/kernel/api";
import { addCompareCommand } from "./compare/command.ts";
import { addConformanceCommand } from "./conformance/command.ts";
import { addExplainCommand } from "./explain/command.ts";
import { addInspectCommand } from "./inspect/command.ts";
import { blamePlugin } from "./plugins.ts";
import { addReplayCommand } from "./replay/command.ts";
import { addValidateCommand } from "./validate/command.ts";
import { CliError, EXIT_FAULT, EXIT_OK, EXIT_USAGE, type Terminal } from "./terminal.ts";

const VERSION = (JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as { version: string }).version;

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
    .showHelpAfterError(false);
  const context = { terminal, cwd, setExitCode: (code: number) => void (exitCode = code) };
  addReplayCommand(program, context);
  addInspectCommand(program, context);
  addCompareCommand(program, context);
  addExplainCommand(program, context);
  addValidateCommand(program, context);
  addConformanceCommand(program, context);
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
