import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { Option, type Command } from "commander";
import pc from "picocolors";
import { validateFolder, type Scoreboard } from "@netmem/scenarios";
import { readError } from "../reading.ts";
import { designsOf } from "../designs.ts";
import { once } from "../options.ts";
import { CannotRecord } from "./live/commands.ts";
import { recordHere } from "./live/record.ts";
import { renderScoreboard } from "./text.ts";
import { CliError, EXIT_FAULT, EXIT_OK, type CommandContext } from "../terminal.ts";

/** What test harnesses take for a skip. */
const EXIT_SKIP = 77;

interface RawOptions {
  readonly live?: true;
  readonly keep?: string;
  readonly design?: string;
  readonly json?: true;
}

/** The document that `--json` prints. */
export interface ValidateDocument extends Scoreboard {
  readonly command: "validate";
}

export function declareValidate(command: Command, context: CommandContext): void {
  command
    .description("Do in the model what the scripts of kernel captures did, and compare what came of it: counts, pages in flight as pools are freed, and, where a monitor looked on, the state at each event.")
    .argument("[folder]", "captures, each with its truth.json")
    .addOption(new Option("--live", "record on this machine first: takes root, tracefs and network namespaces; exits 77 where it cannot be"))
    .addOption(new Option("--keep <folder>", "with --live: keep the captures there").argParser(once("keep")))
    .addOption(new Option("--design <name>", "compare with this design, whatever the kernel").argParser(once("design")))
    .addOption(new Option("--json", "one JSON document on stdout"))
    .action((folder: string | undefined, raw: RawOptions) => validate(folder, raw, context).then(context.setExitCode));
}

async function validate(folder: string | undefined, raw: RawOptions, { terminal, cwd }: CommandContext): Promise<number> {
  const live = raw.live === true;
  if (live && folder !== undefined) throw new CliError(`${folder}: with --live there is no folder to read; --keep names one to write`);
  if (!live && folder === undefined) throw new CliError("name a folder of captures, or record some with --live");
  if (!live && raw.keep !== undefined) throw new CliError(`--keep ${raw.keep}: only with --live`);
  const designs = raw.design === undefined ? [null] : designsOf(raw.design);
  if (designs.length > 1) throw new CliError(`--design ${raw.design}: one at a time`);
  const source = live ? (raw.keep === undefined ? mkdtempSync(join(tmpdir(), "netmem-")) : resolve(cwd, raw.keep)) : resolve(cwd, folder!);
  try {
    if (live) {
      try {
        await recordHere(source, (text) => {
          if (terminal.errIsTty) terminal.err(`netmem: ${text}\n`);
        });
      } catch (error) {
        if (!(error instanceof CannotRecord)) throw error;
        terminal.err(`netmem: cannot record here: ${error.message}\n`);
        return EXIT_SKIP;
      }
    } else checkFolder(folder!, source);
    const scoreboard = await validateFolder(source, designs[0] ?? null);
    if (scoreboard.captures.length === 0) {
      const [first] = scoreboard.left;
      throw new CliError(`${folder ?? source}: no capture that the model can be compared with${first === undefined ? ": no truth.json in it" : `: ${first.name}: ${first.why}`}`);
    }
    const document: ValidateDocument = { command: "validate", ...scoreboard };
    terminal.out(raw.json === true ? `${JSON.stringify(document)}\n` : renderScoreboard(scoreboard, pc.createColors(terminal.color)));
    return scoreboard.captures.every(({ firstDifference }) => firstDifference === null) ? EXIT_OK : EXIT_FAULT;
  } finally {
    if (live && raw.keep === undefined) rmSync(source, { recursive: true, force: true });
  }
}

function checkFolder(folder: string, path: string): void {
  try {
    if (!statSync(path).isDirectory()) throw new CliError(`${folder}: a file; name the folder that it is in`);
  } catch (error) {
    if (error instanceof CliError) throw error;
    throw new CliError(`${folder}: ${readError(error as NodeJS.ErrnoException)}`);
  }
}
