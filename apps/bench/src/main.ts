#!/usr/bin/env node
import { Command, CommanderError, InvalidArgumentError } from "commander";
import { measure, type Result } from "./measure.ts";
import { buildReference } from "./opponents.ts";
import { WORKLOADS } from "./workloads.ts";

const EXIT_USAGE = 2;

interface Options {
  readonly rounds: number;
  readonly scale: number;
  readonly json: boolean;
}

function wholeRounds(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1 || value > 1000) throw new InvalidArgumentError("give a whole number from 1 to 1000.");
  return value;
}

function scaleOf(text: string): number {
  const value = Number(text);
  if (!(value > 0 && value <= 100)) throw new InvalidArgumentError("give a number above 0, at most 100.");
  return value;
}

async function bench(names: readonly string[], options: Options): Promise<void> {
  const known = WORKLOADS.map(({ name }) => name);
  const unknown = names.find((name) => !known.includes(name));
  if (unknown !== undefined) throw new CommanderError(EXIT_USAGE, "bench.workload", `no workload ${unknown}: choose ${known.join(", ")}`);
  const reference = buildReference(process.env["CC"] ?? "gcc");
  if ("missing" in reference) process.stderr.write(`bench: C reference skipped: ${reference.missing}\n`);
  const results: Result[] = [];
  for (const workload of WORKLOADS.filter(({ name }) => names.length === 0 || names.includes(name))) {
    if (process.stderr.isTTY) process.stderr.write(`bench: ${workload.name} …\r`);
    results.push(await measure(workload, options.rounds, options.scale, "binary" in reference ? reference.binary : null));
  }
  process.stdout.write(options.json ? `${JSON.stringify({ workloads: results })}\n` : table(results));
}

/** Medians, with least and most behind them. */
function table(results: readonly Result[]): string {
  const rows = results.map(({ name, ns, cNs, ratio, spread, ratioSpread, operation }) => [
    name, `${ns.toFixed(2)} (${spread[0].toFixed(2)}–${spread[1].toFixed(2)})`, cNs === null ? "–" : cNs.toFixed(2),
    ratio === null || ratioSpread === null ? "–" : `${ratio.toFixed(2)} (${ratioSpread[0].toFixed(2)}–${ratioSpread[1].toFixed(2)})`, operation,
  ]);
  const head = ["workload", "ns (range)", "C ns", "× C (range)", "one operation"];
  const widths = head.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]!.length)));
  return [head, ...rows].map((row) => row.map((cell, column) => cell.padEnd(widths[column]!)).join("  ").trimEnd()).join("\n") + "\n";
}

const program = new Command("bench")
  .description("Times the model's hot paths, and the same algorithms in C where there is a compiler.")
  .argument("[workload...]", `which; default all of ${WORKLOADS.map(({ name }) => name).join(", ")}`)
  .option("--rounds <n>", "rounds of each side", wholeRounds, 7)
  .option("--scale <factor>", "operations of a round, as a multiple of the usual", scaleOf, 1)
  .option("--json", "one JSON document on stdout", false)
  .exitOverride()
  .configureOutput({ writeErr: () => {} })
  .action(bench);

try {
  await program.parseAsync();
} catch (error) {
  if (!(error instanceof CommanderError)) throw error;
  if (error.exitCode !== 0) {
    process.stderr.write(`bench: ${error.message.replace(/^error: /, "").replaceAll("\n", " ")} (see bench --help)\n`);
    process.exitCode = EXIT_USAGE;
  }
}
