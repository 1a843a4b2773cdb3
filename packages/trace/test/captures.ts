import { readdirSync, readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { Explainer, mergeTraces, TraceReader, type TraceSource } from "@netmem/trace";
import type { ExplainedPool, Explanation, TraceEvent, TraceFileSummary } from "@netmem/trace/api";

const FOLDER = new URL("../../../examples/kernel-captures/", import.meta.url);

export const CAPTURES: readonly string[] = readdirSync(FOLDER).filter((name) => name.endsWith(".trace.gz")).map((name) => name.slice(0, -".trace.gz".length));

/** The text of a file of the examples. */
export function captured(name: string): string {
  return gunzipSync(readFileSync(new URL(name, FOLDER))).toString("utf8");
}

/** What the scripts wrote down of each pool, as far as tests use it. */
export interface TruthOfPool {
  readonly holds: number;
  readonly releases: number;
  readonly shutdown: readonly (number | string)[];
  readonly first_comm: string;
  readonly last_hold?: number;
  readonly last_release?: number;
}

/** Null: there is none. */
export function truthOf(name: string): Readonly<Record<string, TruthOfPool>> | null {
  try {
    return (JSON.parse(readFileSync(new URL(`${name}.truth.json`, FOLDER), "utf8")) as { pools?: Record<string, TruthOfPool> }).pools ?? null;
  } catch {
    return null;
  }
}

export function read(text: string, path: string = "test"): { readonly events: TraceEvent[]; readonly summary: TraceFileSummary } {
  const reader = new TraceReader(path);
  const events = [...reader.push(Buffer.from(text, "utf8")), ...reader.end()];
  return { events, summary: reader.summary() };
}

export function explain(...texts: readonly string[]): Explanation {
  const explainer = new Explainer();
  const all = texts.map((text) => read(text));
  if (all.length === 1) for (const event of all[0]!.events) explainer.take(event);
  return explainer.explain(all.map(({ summary }) => summary));
}

export async function explainTogether(...texts: readonly string[]): Promise<Explanation> {
  const explainer = new Explainer();
  const all = texts.map((text) => read(text));
  await mergeTraces(all.map(({ events }) => sourceOf(events)), (event, source) => explainer.take(event, source), (source) => explainer.ended(source));
  return explainer.explain(all.map(({ summary }) => summary));
}

async function* sourceOf(events: readonly TraceEvent[]): TraceSource {
  for (let i = 0; i < events.length; i += 100) yield events.slice(i, i + 100);
}

/** The one of a device. */
export function poolOf({ pools }: Explanation, device: string): ExplainedPool {
  const found = pools.filter((pool) => pool.device === device);
  if (found.length !== 1) throw new Error(`${found.length} pools of ${device}`);
  return found[0]!;
}

/** Lines of a trace up to the first for which `stop` holds. */
export function upTo(text: string, stop: (line: string) => boolean): string {
  const lines = text.split("\n");
  const at = lines.findIndex(stop);
  return lines.slice(0, at < 0 ? lines.length : at).join("\n");
}

let clock = 0;

/** A line as tracefs has it. */
export function line(event: string, { task = "app-1", cpu = 0, flags = ".....", us }: { readonly task?: string; readonly cpu?: number; readonly flags?: string; readonly us?: number } = {}): string {
  clock = us ?? clock + 10;
  return `${task.padStart(16)}     [${String(cpu).padStart(3, "0")}] ${flags} ${String(Math.floor(clock / 1e6)).padStart(5)}.${String(clock % 1e6).padStart(6, "0")}: ${event}\n`;
}

export const POOL = "ffff888118efc000";

export function hold(n: number, pfn: number = 0x1000 + n, options: Parameters<typeof line>[1] & { readonly pool?: string } = {}): string {
  return line(`page_pool_state_hold: page_pool=${options.pool ?? POOL} netmem=ffffea0000000000 is_net_iov=0, pfn=0x${pfn.toString(16)} hold=${n}`, options);
}

export function release(n: number, pfn: number = 0x1000 + n, options: Parameters<typeof line>[1] & { readonly pool?: string } = {}): string {
  return line(`page_pool_state_release: page_pool=${options.pool ?? POOL} netmem=ffffea0000000000 is_net_iov=0 pfn=0x${pfn.toString(16)} release=${n}`, options);
}

export function shutdown(inflight: number, holds: number, releases: number, cnt: number, options: Parameters<typeof line>[1] & { readonly pool?: string } = {}): string {
  return line(`page_pool_release: page_pool=${options.pool ?? POOL} inflight=${inflight} hold=${holds} release=${releases} cnt=${cnt}`, options);
}
