import { createReadStream, existsSync } from "node:fs";
import { basename } from "node:path";
import { Explainer, TraceReader, mergeTraces, unpackedChunks, type TraceSource } from "@netmem/trace";
import type { ExplainedPool, Explanation, TraceEvent } from "@netmem/trace/api";
import { DeferredFlushes, type FlushPoint } from "./deferred-flushes.ts";
import { sampleOf, type Sample } from "./samples.ts";
import type { Truth } from "./truth.ts";

/** What a kernel did, as its trace and the monitor tell. */
export interface KernelRecord {
  readonly explanation: Explanation;
  /** Pools of the capture's own: of its devices, and of its test runs; in the order of their first line. Others are somebody else's on the machine. */
  readonly pools: readonly KernelPool[];
  readonly flushes: readonly FlushPoint[];
  /** Lines of the trace, by tracepoint. */
  readonly events: ReadonlyMap<string, number>;
  /** Packets that were dropped, by reason; null: what becomes of packets was not recorded. */
  readonly drops: ReadonlyMap<string, number> | null;
  /** There is a file of the monitor's. */
  readonly hasMonitor: boolean;
}

export interface KernelPool {
  readonly pool: ExplainedPool;
  /** Empty: there was no monitor, or it does not look at such pools. */
  readonly samples: readonly Sample[];
}

/** Devices and processes of the capture scripts. */
const OUR_DEVICE = /^kc/;
const OUR_TASK = /^(?:kt_live|ping|python3|udph)-/;
const LIVE_TASK = /^kt_live-/;

/** `base` without its ending: `base.trace[.gz]`, and `base.mon.jsonl[.gz]` if it is there; packed or not, whatever they are called. A text: why there is none, or what of it cannot be read. */
export async function readKernelRecord(base: string, truth: Truth): Promise<KernelRecord | string> {
  const trace = firstOf(`${base}.trace`, `${base}.trace.gz`);
  if (trace === null) return `no ${basename(base)}.trace or ${basename(base)}.trace.gz`;
  const monitor = firstOf(`${base}.mon.jsonl`, `${base}.mon.jsonl.gz`);
  const paths = monitor === null ? [trace] : [trace, monitor];
  const readers = paths.map((path) => new TraceReader(path));
  const samples = new Map<string, Sample[]>();
  const explainer = new Explainer();
  const flushes = new DeferredFlushes(truth);
  const events = new Map<string, number>();
  const drops = new Map<string, number>();
  const failures: string[] = [];
  await mergeTraces(paths.map((path, i) => eventsOf(path, readers[i]!, failures)), (event, source) => {
    explainer.take(event, source);
    if (source === 0) {
      flushes.take(event);
      events.set(event.name, (events.get(event.name) ?? 0) + 1);
      if (event.reason !== null) drops.set(event.reason, (drops.get(event.reason) ?? 0) + 1);
    } else keepSample(samples, event);
  }, (source) => explainer.ended(source));
  if (failures.length > 0) return failures.join("; ");
  const explanation = explainer.explain(readers.map((reader) => reader.summary()));
  return { explanation, events, drops: events.has("consume_skb") || events.has("kfree_skb") ? drops : null, hasMonitor: monitor !== null, flushes: flushes.points(), pools: explanation.pools.filter((pool) => isOurs(pool, truth)).map((pool) => ({ pool, samples: samples.get(`${pool.pool} ${pool.id}`) ?? [] })) };
}

function isOurs({ device, firstTask, startedAt, holds, inflightSeries, allocatedBy }: ExplainedPool, { live, t0 }: Truth): boolean {
  // Of an earlier script, which still waits for its pages.
  if ((holds ?? 0) > 0 && allocatedBy.length === 0) return false;
  if (device !== null) return OUR_DEVICE.test(device);
  if (firstTask === null || (startedAt ?? 0) < t0) return false;
  return live.length > 0 ? LIVE_TASK.test(firstTask) : OUR_TASK.test(firstTask) && (holds ?? 0) > 0 && inflightSeries.length > 0;
}

function keepSample(samples: Map<string, Sample[]>, event: TraceEvent): void {
  const sample = sampleOf(event);
  if (sample === null || event.pool === null) return;
  const key = `${event.pool} ${event.id}`;
  const known = samples.get(key);
  if (known === undefined) samples.set(key, [sample]);
  else known.push(sample);
}

async function* eventsOf(path: string, reader: TraceReader, failures: string[]): TraceSource {
  for await (const chunk of unpackedChunks(createReadStream(path), (why) => void failures.push(`${basename(path)}: ${why}`))) yield reader.push(chunk);
  yield reader.end();
}

function firstOf(...paths: readonly string[]): string | null {
  return paths.find((path) => existsSync(path)) ?? null;
}
