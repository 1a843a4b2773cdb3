import type { PoolSample, PoolStatistics, TraceEvent, TraceEventKind } from "./api/index.ts";

/** An event as a reader fills it in. Every field is set here, so that all are of one shape. */
export class ReadEvent implements TraceEvent {
  kind: TraceEventKind;
  name: string;
  timeUs: number | null;
  cpu: number | null;
  task: string | null;
  softirq: boolean;
  pool: string | null;
  id: number | null;
  pfn: number | null;
  isNetIov: boolean;
  hold: number | null;
  release: number | null;
  inflight: number | null;
  attempts: number | null;
  device: string | null;
  skb: number | null;
  location: string | null;
  reason: string | null;
  amount: number | null;
  sample: PoolSample | null;
  statistics: PoolStatistics | null;
  stack: string[] | null;
  /** Its time is a whole number, of whatever a clock counts. */
  countsTicks: boolean;

  constructor(kind: TraceEventKind, name: string, timeUs: number | null, cpu: number | null, task: string | null) {
    this.kind = kind;
    this.name = name;
    this.timeUs = timeUs;
    this.cpu = cpu;
    this.task = task;
    this.softirq = false;
    this.pool = null;
    this.id = null;
    this.pfn = null;
    this.isNetIov = false;
    this.hold = null;
    this.release = null;
    this.inflight = null;
    this.attempts = null;
    this.device = null;
    this.skb = null;
    this.location = null;
    this.reason = null;
    this.amount = null;
    this.sample = null;
    this.statistics = null;
    this.stack = null;
    this.countsTicks = false;
  }
}
