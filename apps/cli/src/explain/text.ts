import pc from "picocolors";
import { FAULTY_VERDICTS, type ExplainedPool, type Explanation, type PoolVerdict } from "@netmem/trace/api";
import { counted, grouped } from "../words.ts";
import { durationOf, microsecondsOf, nameOf, seriesOf } from "./words.ts";

/** More than a terminal shows. */
const MOST_ROWS = 200;

const COLUMNS: readonly { readonly title: string; readonly cell: (pool: ExplainedPool) => string; readonly right?: true }[] = [
  { title: "pool", cell: nameOf },
  { title: "first task", cell: ({ firstTask }) => firstTask ?? "–" },
  { title: "held", cell: ({ holds }) => groupedOr(holds), right: true },
  { title: "released", cell: ({ releases }) => groupedOr(releases), right: true },
  { title: "in flight", cell: ({ inflight }) => groupedOr(inflight), right: true },
  { title: "as it was freed", cell: ({ inflightSeries }) => (inflightSeries.length === 0 ? "–" : seriesOf(inflightSeries)) },
  { title: "stalled", cell: ({ stalledSeconds }) => durationOf(stalledSeconds), right: true },
  { title: "verdict", cell: ({ verdict }) => verdict },
  { title: "sure", cell: ({ confidence }) => `${Math.round(confidence * 100)} %`, right: true },
];
const VERDICT_COLUMN = 7;

function groupedOr(value: number | null): string {
  return value === null ? "–" : grouped(value);
}

/** A table with a line a pool, and what speaks for the verdict of each that is not simply drained. */
export function renderExplanation({ files, pools, notes, poolsLeftOut }: Explanation, color: boolean): string {
  const lines = files.map(({ path, format, lines: count, events }) => `${path}: ${format ?? "unknown format"}, ${counted(count, "line")}, ${counted(events, "event")}`);
  // A file that could not be understood at all has a line of its own on standard error.
  const unread = files.filter(({ format }) => format === null).map(({ path }) => `${path}: `);
  for (const note of notes) if (!unread.some((prefix) => note.startsWith(prefix))) lines.push(`note: ${note}`);
  if (pools.length === 0) return `${[...lines, "", "No page_pool in it: record the events of page_pool (echo 1 > events/page_pool/enable)."].join("\n")}\n`;
  const shown = pools.slice(0, MOST_ROWS);
  const rows = shown.map((pool) => COLUMNS.map(({ cell }) => cell(pool)));
  const widths = COLUMNS.map(({ title }, i) => rows.reduce((most, row) => Math.max(most, row[i]!.length), title.length));
  const line = (cells: readonly string[], verdict: PoolVerdict | null): string =>
    cells.map((cell, i) => (i === VERDICT_COLUMN && verdict !== null ? painted(cell.padEnd(widths[i]!), verdict, color) : COLUMNS[i]!.right === true ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!))).join("  ").trimEnd();
  lines.push("", line(COLUMNS.map(({ title }) => title), null), "─".repeat(widths.reduce((sum, width) => sum + width + 2, -2)));
  for (const [i, pool] of shown.entries()) lines.push(line(rows[i]!, pool.verdict));
  if (pools.length > shown.length || poolsLeftOut > 0) lines.push(`… and ${grouped(pools.length - shown.length)} more: --json has them all`);
  for (const pool of shown) if (pool.verdict !== "drained" || pool.stall !== null || pool.confidence < 0.9) lines.push("", ...story(pool));
  return `${lines.join("\n")}\n`;
}

function story(pool: ExplainedPool): string[] {
  const { verdict, evidence, lives, allocatedBy, freedBy, holders, inflight, firstRetryAt } = pool;
  const lines = [`${nameOf(pool)}: ${verdict}`, ...evidence.map((text) => `  · ${text}`)];
  if (firstRetryAt !== null) lines.push(`  first tried again at ${firstRetryAt.toFixed(6)}`);
  if (lives.count > 0) lines.push(`  pages that came home had been out for ${microsecondsOf(lives.medianUs)} (median), ${microsecondsOf(lives.longestUs)} (longest)`);
  if (lives.held > 0 && (inflight ?? 0) > 0) lines.push(`  pages that are out: ${grouped(lives.held)}, the oldest for ${microsecondsOf(lives.oldestHeldUs)}`);
  for (const [title, counts] of [["allocated by", allocatedBy], ["freed by", freedBy], ["held by", (inflight ?? 0) > 0 ? holders : []]] as const) {
    if (counts.length > 0) lines.push(`  ${title}: ${counts.map(({ who, pages }) => `${who} (${grouped(pages)})`).join(", ")}`);
  }
  return lines;
}

function painted(text: string, verdict: PoolVerdict, color: boolean): string {
  const { green, red, yellow } = pc.createColors(color);
  if (FAULTY_VERDICTS.includes(verdict)) return red(text);
  return verdict === "drained" || verdict === "in-use" || verdict === "system-pool" ? green(text) : yellow(text);
}
