import { Option, type Command } from "commander";
import { Explainer, mergeTraces, type Noticed } from "@netmem/trace";
import { FAULTY_VERDICTS, type ExplainedPool, type Explanation, type TraceEvent } from "@netmem/trace/api";
import { once } from "../options.ts";
import { EXIT_FAULT, EXIT_OK, EXIT_USAGE, type CommandContext, type Terminal } from "../terminal.ts";
import { renderPage } from "./html.ts";
import { OutputFile } from "../output-file.ts";
import { openTraces } from "./sources.ts";
import { renderExplanation } from "./text.ts";

interface RawOptions {
  readonly follow?: true;
  readonly html?: string;
  readonly perfetto?: string;
  readonly parquet?: string;
  readonly json?: true;
}

/** The document that `--json` prints: what the trace package finds, without what is only for pictures. */
export interface ExplainDocument extends Omit<Explanation, "pools"> {
  readonly command: "explain";
  readonly pools: readonly (Omit<ExplainedPool, "lives" | "inflightOverTime"> & { readonly lives: Omit<ExplainedPool["lives"], "sampled"> })[];
}

/** Whoever else wants every event. */
interface EventSink {
  readonly take: (event: TraceEvent, source: number) => void;
}

export function declareExplain(command: Command, context: CommandContext): void {
  command
    .argument("<trace...>", "tracefs trace or trace_pipe, perf script, the monitor's JSON lines, bpftrace output, dmesg, netlink page-pool-get; packed with gzip or not; - reads one from stdin")
    .addOption(new Option("--follow", "of a live trace_pipe: say what happens to each pool as it happens, and explain at the end (Ctrl-C)"))
    .addOption(new Option("--html <file>", "write one page with the pages in flight of each pool over time, and the lives of its pages").argParser(once("html")))
    .addOption(new Option("--perfetto <file>", "write a trace for ui.perfetto.dev").argParser(once("perfetto")))
    .addOption(new Option("--parquet <file>", "write the events as a table").argParser(once("parquet")))
    .addOption(new Option("--json", "one JSON document on stdout"))
    .action((paths: string[], raw: RawOptions) => explain(paths, raw, context).then(context.setExitCode));
}

async function explain(paths: readonly string[], raw: RawOptions, { terminal, cwd }: CommandContext): Promise<number> {
  const traces = openTraces(paths, cwd, raw.follow === true ? interruption() : null);
  const outputs: OutputFile[] = [];
  const open = (option: string, path: string): OutputFile => {
    const file = new OutputFile(option, path, cwd, [...paths.filter((input) => input !== "-"), ...outputs.map((output) => output.path)]);
    outputs.push(file);
    return file;
  };
  try {
    const explainer = new Explainer(raw.follow === true && raw.json !== true ? (noticed) => follow(noticed, terminal) : null);
    const perfetto = raw.perfetto === undefined ? null : new (await import("./perfetto.ts")).PerfettoTrace(open("--perfetto", raw.perfetto));
    const parquet = raw.parquet === undefined ? null : new (await import("./parquet.ts")).ParquetEvents(open("--parquet", raw.parquet), paths);
    const html = raw.html === undefined ? null : open("--html", raw.html);
    const sinks: EventSink[] = [explainer, perfetto, parquet].filter((sink) => sink !== null);
    await mergeTraces(traces.map(({ events }) => events), (event, source) => {
      for (const sink of sinks) sink.take(event, source);
    }, (source) => explainer.ended(source));
    const explanation = explainer.explain(traces.map(({ summary }) => summary()));
    perfetto?.end(explanation);
    parquet?.end();
    html?.write(renderPage(explanation));
    for (const file of outputs) file.commit();
    terminal.out(raw.json === true ? `${JSON.stringify(documentOf(explanation))}\n` : renderExplanation(explanation, terminal.color));
    return exitCodeOf(explanation, terminal);
  } finally {
    for (const file of outputs) file.discard();
  }
}

/** A fault of a pool counts for more than a file that could not be understood. */
function exitCodeOf({ files, pools }: Explanation, terminal: Terminal): number {
  const unread = files.filter(({ format }) => format === null);
  for (const { path, lines, cutOff, binaryLines } of unread) {
    const why = cutOff ?? (lines === 0 ? "empty" : `not a trace: none of ${lines} lines is of a known format${binaryLines > 0 ? "; it is binary (a trace.dat of trace-cmd? read it with trace-cmd report; a perf.data? perf script)" : ""}`);
    terminal.err(`netmem: ${path}: ${why}; give a tracefs trace, perf script, monitor lines, bpftrace, dmesg or netlink output\n`);
  }
  if (pools.some(({ verdict }) => FAULTY_VERDICTS.includes(verdict))) return EXIT_FAULT;
  return unread.length > 0 ? EXIT_USAGE : EXIT_OK;
}

function follow({ epoch: { pool, epoch, startsBefore }, what, inflight, timeUs }: Noticed, terminal: Terminal): void {
  const time = timeUs === null ? "" : `${(timeUs / 1e6).toFixed(6)} `;
  const words = { began: startsBefore ? `seen first, ${inflight} in flight` : "its first page", destroyed: `destroyed, ${inflight} in flight`, retried: `tried again, ${inflight} in flight`, freed: "freed", complained: `the kernel log complains, ${inflight} in flight` }[what];
  terminal.out(`${time}${pool}${epoch > 1 ? `#${epoch}` : ""}: ${words}\n`);
}

/** Ctrl-C, or that nobody wants to know any more; another one is the end of the process. */
function interruption(): AbortSignal {
  const controller = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => controller.abort());
  return controller.signal;
}

function documentOf(explanation: Explanation): ExplainDocument {
  return {
    command: "explain",
    ...explanation,
    pools: explanation.pools.map(({ inflightOverTime: _points, lives: { sampled: _sampled, ...lives }, ...pool }) => ({ ...pool, lives })),
  };
}

