import { FAULTY_VERDICTS, type ExplainedPool, type Explanation, type PageLife } from "@netmem/trace/api";
import { durationOf, microsecondsOf, nameOf, seriesOf } from "./words.ts";

const MOST_POOLS = 200;
const WIDTH = 860;
const CHART_HEIGHT = 160;
const LEFT = 56;
const RIGHT = 12;
const BAR_HEIGHT = 3;
const MOST_BARS = 96;
const TICKS = 5;

const STYLE = `
:root { color-scheme: light dark; --ink: #1d2329; --soft: #66707a; --line: #d5dae0; --paper: #fff; --flight: #2b6cb0; --out: #c05621; --home: #90b4d8; --bad: #b91c1c; --good: #2f855a; --wait: #b7791f; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ec; --soft: #9aa5b1; --line: #39424c; --paper: #14181c; --flight: #63a4e6; --out: #ed8936; --home: #3d5f82; --bad: #f87171; --good: #68d391; --wait: #ecc94b; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 900px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.05rem; margin: 2.2rem 0 .3rem; font-family: ui-monospace, monospace; overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; font-size: .85rem; } th, td { text-align: left; padding: .25rem .6rem .25rem 0; border-bottom: 1px solid var(--line); vertical-align: top; } td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
.scroll { overflow-x: auto; } .verdict { font-weight: 600; } .bad { color: var(--bad); } .good { color: var(--good); } .wait { color: var(--wait); } .soft, figcaption { color: var(--soft); font-size: .85rem; }
figure { margin: .8rem 0; } svg { width: 100%; height: auto; display: block; } svg text { font: 11px ui-monospace, monospace; fill: var(--soft); } ul { margin: .3rem 0; padding-left: 1.2rem; } a { color: inherit; }
`;

/** One page that needs nothing else: the pages in flight of each pool over time, and the lives of its pages. */
export function renderPage({ files, notes, pools, lost }: Explanation): string {
  const shown = pools.slice(0, MOST_POOLS);
  const rows = shown.map((pool, i) => `<tr><td><a href="#p${i}"><code>${escape(nameOf(pool))}</code></a></td><td class="n">${pool.holds ?? "–"}</td><td class="n">${pool.releases ?? "–"}</td><td class="n">${pool.inflight ?? "–"}</td><td class="n">${durationOf(pool.stalledSeconds)}</td><td>${verdictOf(pool)}</td><td class="n">${Math.round(pool.confidence * 100)} %</td></tr>`);
  const sources = files.map(({ path, format, lines, events }) => `${escape(path)}: ${format ?? "unknown format"}, ${lines} lines, ${events} events`);
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>page_pool: what became of ${counted(pools.length)}</title><style>${STYLE}</style></head><body>
<h1>What became of ${counted(pools.length)}</h1>
<p class="soft">${sources.join("<br>")}${lost > 0 ? `<br>${lost} events lost` : ""}</p>
${notes.length === 0 ? "" : `<ul class="soft">${notes.map((note) => `<li>${escape(note)}</li>`).join("")}</ul>`}
<div class="scroll"><table><thead><tr><th>pool</th><th class="n">held</th><th class="n">released</th><th class="n">in flight</th><th class="n">stalled</th><th>verdict</th><th class="n">sure</th></tr></thead><tbody>${rows.join("")}</tbody></table></div>
${pools.length > shown.length ? `<p class="soft">${pools.length - shown.length} more are not shown.</p>` : ""}
${shown.map((pool, i) => section(pool, i)).join("\n")}
</body></html>
`;
}

function section(pool: ExplainedPool, i: number): string {
  const { evidence, firstTask, inflightSeries, allocatedBy, freedBy, holders, inflight, lives } = pool;
  const facts = [
    ["first task", firstTask ?? "unknown"],
    ["as it was freed", inflightSeries.length === 0 ? "not tried" : seriesOf(inflightSeries)],
    ["pages were out for", lives.count === 0 ? "not seen" : `${microsecondsOf(lives.medianUs)} (median), ${microsecondsOf(lives.longestUs)} (longest)`],
    ...([["allocated by", allocatedBy], ["freed by", freedBy], ["held by", (inflight ?? 0) > 0 ? holders : []]] as const).filter(([, counts]) => counts.length > 0).map(([title, counts]) => [title, counts.map(({ who, pages }) => `${who} (${pages})`).join(", ")] as const),
  ];
  return `<section id="p${i}"><h2>${escape(nameOf(pool))}</h2><p>${verdictOf(pool)} <span class="soft">${Math.round(pool.confidence * 100)} % sure</span></p>
<ul>${evidence.map((text) => `<li>${escape(text)}</li>`).join("")}</ul>
${flightChart(pool)}${livesChart(pool)}
<table><tbody>${facts.map(([name, value]) => `<tr><th>${escape(name!)}</th><td>${escape(value!)}</td></tr>`).join("")}</tbody></table></section>`;
}

function verdictOf({ verdict }: ExplainedPool): string {
  const look = FAULTY_VERDICTS.includes(verdict) ? "bad" : verdict === "drained" || verdict === "in-use" || verdict === "system-pool" ? "good" : "wait";
  return `<span class="verdict ${look}">${verdict}</span>`;
}

/** Time to the width of a picture. */
function scale(from: number, to: number): (time: number) => number {
  const span = to > from ? to - from : 1;
  return (time) => LEFT + ((time - from) / span) * (WIDTH - LEFT - RIGHT);
}

function flightChart({ inflightOverTime, destroyedAt, firstRetryAt, endedAt }: ExplainedPool): string {
  const [first] = inflightOverTime;
  const last = inflightOverTime.at(-1);
  if (first === undefined || last === undefined) return "";
  const x = scale(first[0], last[0]);
  const most = inflightOverTime.reduce((value, [, pages]) => Math.max(value, pages), 1);
  const y = (pages: number): number => CHART_HEIGHT - 22 - (Math.max(0, pages) / most) * (CHART_HEIGHT - 40);
  const path = inflightOverTime.map(([time, pages], i) => (i === 0 ? `M${x(time).toFixed(1)} ${y(pages).toFixed(1)}` : `H${x(time).toFixed(1)}V${y(pages).toFixed(1)}`)).join("");
  const area = `${path}V${y(0)}H${x(first[0]).toFixed(1)}Z`;
  const marks = ([["destroyed", destroyedAt], ["tried again", firstRetryAt], ["freed", endedAt]] as const)
    .filter((mark): mark is readonly [(typeof mark)[0], number] => mark[1] !== null)
    .map(([name, time], i) => `<line x1="${x(time).toFixed(1)}" x2="${x(time).toFixed(1)}" y1="14" y2="${CHART_HEIGHT - 22}" stroke="var(--soft)" stroke-dasharray="3 3"/><text x="${(x(time) + (x(time) > WIDTH / 2 ? -3 : 3)).toFixed(1)}" y="${12 + 12 * i}" text-anchor="${x(time) > WIDTH / 2 ? "end" : "start"}">${name}</text>`);
  return `<figure><svg viewBox="0 0 ${WIDTH} ${CHART_HEIGHT}" role="img" aria-label="pages in flight over time"><path d="${area}" fill="var(--flight)" opacity=".18"/><path d="${path}" fill="none" stroke="var(--flight)" stroke-width="1.5"/>
<line x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${y(0)}" y2="${y(0)}" stroke="var(--line)"/><text x="${LEFT - 6}" y="${y(most) + 4}" text-anchor="end">${most}</text><text x="${LEFT - 6}" y="${y(0) + 4}" text-anchor="end">0</text>${marks.join("")}${timeAxis(first[0], last[0], x, CHART_HEIGHT - 6)}</svg><figcaption>Pages in flight</figcaption></figure>`;
}

function livesChart({ lives: { sampled, count, held }, inflightOverTime }: ExplainedPool): string {
  if (sampled.length === 0) return "";
  const bars = pick(sampled);
  const begin = bars.reduce((least, { fromUs }) => Math.min(least, fromUs), Infinity);
  const end = bars.reduce((most, { toUs }) => Math.max(most, toUs ?? 0), (inflightOverTime.at(-1)?.[0] ?? 0) * 1e6);
  const x = scale(begin, end);
  const height = bars.length * (BAR_HEIGHT + 1) + 22;
  const drawn = bars.map(({ pfn, fromUs, toUs }, i) => {
    const from = x(fromUs);
    const to = x(toUs ?? end);
    return `<rect x="${from.toFixed(1)}" y="${i * (BAR_HEIGHT + 1)}" width="${Math.max(1, to - from).toFixed(1)}" height="${BAR_HEIGHT}" fill="var(--${toUs === null ? "out" : "home"})"><title>pfn 0x${Math.trunc(pfn).toString(16)}: ${toUs === null ? `out since ${(fromUs / 1e6).toFixed(6)}` : `out for ${microsecondsOf(toUs - fromUs)}`}</title></rect>`;
  });
  return `<figure><svg viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="lives of pages">${drawn.join("")}${timeAxis(begin / 1e6, end / 1e6, x, height - 6, 1e6)}</svg><figcaption>A line a page, from when it came into the pool's account to when it left: ${bars.length} of ${count + held}, ${held} of which are out.</figcaption></figure>`;
}

/** Those that are out, and of the others the longest, in the order in which they came. */
function pick(sampled: readonly PageLife[]): PageLife[] {
  const length = ({ fromUs, toUs }: PageLife): number => (toUs === null ? Infinity : toUs - fromUs);
  return sampled.toSorted((a, b) => (length(b) === length(a) ? 0 : length(b) - length(a))).slice(0, MOST_BARS).toSorted((a, b) => a.fromUs - b.fromUs);
}

function timeAxis(from: number, to: number, x: (time: number) => number, y: number, unit: number = 1): string {
  const ticks: string[] = [];
  for (let i = 0; i <= TICKS; i++) {
    const time = from + ((to - from) * i) / TICKS;
    ticks.push(`<text x="${x(time * unit).toFixed(1)}" y="${y}" text-anchor="${i === TICKS ? "end" : i === 0 ? "start" : "middle"}">${i === 0 ? `${from.toFixed(3)} s` : `+${durationOf(time - from)}`}</text>`);
  }
  return ticks.join("");
}

function counted(pools: number): string {
  return pools === 1 ? "a page_pool" : `${pools} page_pools`;
}

function escape(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}
