import { Worker } from "node:worker_threads";
import type { Command } from "commander";
import type { ConformanceReport } from "@netmem/testkit";
import { wholeNumber } from "../options.ts";
import { CliError, EXIT_FAULT, EXIT_OK, type CommandContext } from "../terminal.ts";
import { checklist } from "./text.ts";
import type { ConformanceMessage, ConformanceTask } from "./worker.ts";

/** Seconds that one case may take, unless said otherwise: they take a tenth of one. */
const CASE_LIMIT_SECONDS = 20;
const RANDOM_CASES = 60;
const SEED = 20_210_407;
/** Progress is drawn at most so often, in ms. */
const PROGRESS_MS = 100;

interface RawOptions {
  readonly caseLimit: number;
  readonly cases: number;
  readonly seed: number;
  readonly rules?: string;
  readonly json?: true;
}

/** The document that `--json` prints. */
export interface ConformanceDocument {
  readonly command: "conformance";
  readonly plugin: string;
  readonly reports: readonly ConformanceReport[];
}

export function declareConformance(command: Command, context: CommandContext): void {
  command
    .description("Runs the conformance suites on every driver and memory model that a package exports: planned and random cases with failures at each allocation and registration, reconfiguration under traffic, frames of all sizes and all XDP verdicts. Prints the rules as a checklist; of a broken one what was done, where in the plugin, and the shortest sequence that shows it. Exit code 1: a rule is broken.")
    .argument("<package>", "a folder with a package, a file, a package that is installed here, or the name of one of ours")
    .option("--cases <n>", "random cases, beside those that are planned", wholeNumber("cases", 0, 100_000), RANDOM_CASES)
    .option("--seed <n>", "of the random cases", wholeNumber("seed", 0, 2 ** 31 - 1), SEED)
    .option("--rules <ids>", "judge these only, R10 or R2,R11")
    .option("--case-limit <seconds>", "a case that takes longer hangs", wholeNumber("case-limit", 1, 3600), CASE_LIMIT_SECONDS)
    .option("--json", "print one JSON document instead of the checklist")
    .action(async (named: string, options: RawOptions) => {
      const reports = await judge({ named, cwd: context.cwd, randomCases: options.cases, seed: options.seed, rules: options.rules?.split(",").map((id) => id.trim()) ?? null }, options.caseLimit, context);
      const document: ConformanceDocument = { command: "conformance", plugin: named, reports };
      context.terminal.out(options.json === true ? `${JSON.stringify(document, null, 2)}\n` : checklist(reports));
      context.setExitCode(reports.some(({ outcomes }) => outcomes.some(({ status }) => status === "broken")) ? EXIT_FAULT : EXIT_OK);
    });
}

/** In a thread of its own, which is ended if the plugin does not return. */
async function judge(task: ConformanceTask, limitSeconds: number, { terminal }: CommandContext): Promise<readonly ConformanceReport[]> {
  const worker = new Worker(new URL("./worker.js", import.meta.url), { workerData: task, stdout: true });
  // What a plugin prints is no part of the document.
  worker.stdout.on("data", (text: Buffer) => terminal.err(text.toString()));
  let last = "while it was loaded";
  let drawn = 0;
  let cases = 0;
  try {
    return await new Promise((resolve, reject) => {
      let limit: NodeJS.Timeout | null = null;
      const watch = (): void => {
        if (limit !== null) clearTimeout(limit);
        limit = setTimeout(() => reject(new CliError(`conformance ${task.named}: hangs: nothing for ${limitSeconds} seconds ${last}`)), limitSeconds * 1000);
      };
      watch();
      worker.on("message", (message: ConformanceMessage) => {
        watch();
        if (message.kind === "case") {
          last = `in ${message.plugin}, ${message.inWords}`;
          cases++;
          if (!terminal.errIsTty || Date.now() - drawn < PROGRESS_MS) return;
          drawn = Date.now();
          terminal.err(`\r\x1b[K${message.plugin}: case ${cases}`);
          return;
        }
        clearTimeout(limit!);
        if (terminal.errIsTty) terminal.err("\r\x1b[K");
        if (message.kind === "reports") resolve(message.reports);
        else reject(new CliError(message.line));
      });
      worker.on("error", (error) => {
        clearTimeout(limit!);
        reject(error);
      });
      worker.on("exit", (code) => {
        clearTimeout(limit!);
        reject(new CliError(`conformance ${task.named}: ended its process with ${code} ${last}`));
      });
    });
  } finally {
    worker.removeAllListeners("exit");
    await worker.terminate();
  }
}
