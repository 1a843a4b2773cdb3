import type { TraceEvent } from "../api/index.ts";
import { UNKNOWN_ADDRESS } from "../fields.ts";
import { PoolEpoch, type EpochView, type Losses } from "./epoch.ts";

/** Beyond this many lives the rest is only counted. */
const MOST_EPOCHS = 20_000;
/** Counters are read and printed by several CPUs: a line may be this much behind. */
const OUT_OF_ORDER = 8;
/** A source that tells of an epoch another has begun does so within this time. */
const SAME_LIFE_US = 2e6;
/** The kernel log's clock and a trace's may differ by this much. */
const SAME_STALL_US = 2.5e6;

/** Which life of which pool each event is of. */
export class Pools {
  readonly epochs: PoolEpoch[] = [];
  leftOut = 0;
  readonly #losses: Losses = { lost: 0 };
  readonly #byAddress = new Map<string, PoolEpoch[]>();
  /** By source and address: the life that the source speaks of. */
  readonly #current: Map<string, PoolEpoch>[] = [];
  /** Destroyed, and waiting for pages. */
  readonly stalled: Set<PoolEpoch> = new Set();

  /** Lines of whatever pool. */
  lose(lines: number): void {
    this.#losses.lost += lines;
  }

  /** Null: there are too many. */
  of(event: TraceEvent, source: number): PoolEpoch | null {
    const epoch = event.pool === UNKNOWN_ADDRESS ? this.#byCounters(event, source) : this.#byPool(event.pool!, event, source);
    if (epoch === null) this.leftOut++;
    return epoch;
  }

  /** After it took an event. */
  settle(epoch: PoolEpoch): void {
    if (epoch.stalled) this.stalled.add(epoch);
    else this.stalled.delete(epoch);
  }

  /** Nothing of this source's before is of the same machine's life. */
  cut(source: number): void {
    for (const epoch of this.#current[source]?.values() ?? []) {
      if (epoch.endedAtUs === null) epoch.cutByBoot = true;
      this.stalled.delete(epoch);
      const view = epoch.views.get(source);
      if (view !== undefined) view.ended = true;
    }
    this.#current[source]?.clear();
  }

  /** The life that a complaint of the kernel log, or netlink, speaks of; a new one if none is known. */
  byId(event: TraceEvent, source: number): PoolEpoch | null {
    const { id } = event;
    if (id !== null) {
      const known = this.epochs.findLast((epoch) => epoch.id === id);
      if (known !== undefined) return known;
    }
    const stalledAt = event.kind === "stall" && event.timeUs !== null ? event.timeUs - (event.amount ?? 0) * 1e6 : null;
    const fitting = stalledAt === null ? [] : [...this.stalled].filter(({ destroyedAtUs, inflightReported }) => Math.abs(destroyedAtUs! - stalledAt) < SAME_STALL_US && inflightReported === event.inflight);
    if (fitting.length === 1) {
      fitting[0]!.id ??= id;
      return fitting[0]!;
    }
    const name = id === null ? "(unknown)" : `id ${id}`;
    const last = this.#byAddress.get(name)?.at(-1);
    return last ?? this.#begin(name, source);
  }

  /** Lives that only complaints without a time are known of, and that fit one other, are that. */
  joinComplaints(): void {
    for (const complained of this.epochs.filter(({ destroyedAtUs, complainedSeconds, isCounted }) => destroyedAtUs === null && complainedSeconds > 0 && !isCounted)) {
      const [fitting, ...more] = this.epochs.filter((epoch) => epoch !== complained && couldHaveComplained(epoch, complained));
      if (fitting === undefined || more.length > 0) continue;
      fitting.id ??= complained.id;
      fitting.complainedSeconds = Math.max(fitting.complainedSeconds, complained.complainedSeconds);
      this.epochs.splice(this.epochs.indexOf(complained), 1);
      this.#byAddress.delete(complained.pool);
    }
  }

  #byPool(pool: string, event: TraceEvent, source: number): PoolEpoch | null {
    const current = (this.#current[source] ??= new Map());
    const known = current.get(pool);
    if (known !== undefined && !beginsAnew(known, source, event)) return known;
    const newest = this.#byAddress.get(pool)?.at(-1);
    const epoch = newest !== undefined && newest !== known && !newest.views.has(source) && !newest.cutByBoot && isOfTheSameLife(newest, event) ? newest : this.#begin(pool, source);
    if (epoch !== null) {
      current.set(pool, epoch);
      if (known !== undefined && epoch !== known && known.endedAtUs === null) {
        known.replaced = true;
        this.stalled.delete(known);
      }
    }
    return epoch;
  }

  /** Without an address only the counters tell one pool from another. */
  #byCounters(event: TraceEvent, source: number): PoolEpoch | null {
    const current = (this.#current[source] ??= new Map());
    let found: PoolEpoch | null = null;
    for (const epoch of current.values()) {
      if (epoch.pool !== UNKNOWN_ADDRESS) continue;
      const view = epoch.viewOf(source);
      if (view.ended || !continues(view, event, epoch)) continue;
      if (found === null || fitOf(epoch, event) > fitOf(found, event) || (fitOf(epoch, event) === fitOf(found, event) && (epoch.lastAtUs ?? 0) > (found.lastAtUs ?? 0))) found = epoch;
    }
    if (found !== null) return found;
    const epoch = this.#begin(UNKNOWN_ADDRESS, source);
    if (epoch !== null) current.set(`${UNKNOWN_ADDRESS} ${epoch.epoch}`, epoch);
    return epoch;
  }

  #begin(pool: string, source: number): PoolEpoch | null {
    if (this.epochs.length >= MOST_EPOCHS) return null;
    const lives = this.#byAddress.get(pool) ?? [];
    const epoch = new PoolEpoch(pool, lives.length + 1, this.#losses);
    epoch.viewOf(source);
    lives.push(epoch);
    this.#byAddress.set(pool, lives);
    this.epochs.push(epoch);
    return epoch;
  }
}

/** The pool was seen to be freed, or a counter starts again. */
function beginsAnew(epoch: PoolEpoch, source: number, event: TraceEvent): boolean {
  const { kind, hold, release, pfn, sample, timeUs } = event;
  const view = epoch.viewOf(source);
  // What goes on counting where a pool that was freed had stopped is that pool's, and wrong, or was printed late.
  if (view.ended) return sample !== null || timeUs === null || epoch.endedAtUs === null || timeUs > epoch.endedAtUs + SAME_LIFE_US || !goesOn(view, event);
  if (hold !== null && view.hold !== null && ((hold - view.hold) | 0) < -OUT_OF_ORDER) return true;
  // A counter that wraps comes by 1, too.
  if (kind === "hold" && hold === 1 && view.hold !== null && view.hold !== 0 && (view.hold | 0) > 0) return true;
  // Who was interrupted between counting and printing is late by as much as others freed meanwhile; the page is still in the account.
  return release !== null && view.release !== null && ((release - view.release) | 0) < -OUT_OF_ORDER && !(kind === "release" && pfn !== null && epoch.holdsPage(pfn, source));
}

/** Numbers that are the next ones, or the last. A pool that begins at the address begins with a page, its first. */
function goesOn(view: EpochView, { kind, hold, release }: TraceEvent): boolean {
  if (kind === "hold") return hold !== 1 && view.hold !== null && hold === view.hold + 1;
  return kind === "release" && view.release !== null && release !== null && view.release > 1 && release - view.release <= 1 && view.release - release < OUT_OF_ORDER;
}

/** Of lines of the log without a time: the pool waited as long as it says, and had as many pages out. */
function couldHaveComplained({ destroyedAtUs, endedAtUs, lastAttemptUs, inflightSeries }: PoolEpoch, complained: PoolEpoch): boolean {
  const until = endedAtUs ?? lastAttemptUs;
  return destroyedAtUs !== null && until !== null && until - destroyedAtUs > complained.complainedSeconds * 1e6 - SAME_STALL_US && complained.inflightSeries.every((inflight) => inflightSeries.includes(inflight));
}

function isOfTheSameLife(epoch: PoolEpoch, { timeUs }: TraceEvent): boolean {
  return timeUs === null || epoch.endedAtUs === null || timeUs < epoch.endedAtUs + SAME_LIFE_US;
}

/** Of several whose counters fit: the one whose page it is, then the one of the same task. */
function fitOf(epoch: PoolEpoch, { kind, pfn, task }: TraceEvent): number {
  return (kind === "release" && pfn !== null && epoch.pages.held.has(pfn) ? 2 : 0) + (epoch.lastTask === task ? 1 : 0);
}

function continues(view: EpochView, { kind, hold, release, pfn }: TraceEvent, epoch: PoolEpoch): boolean {
  switch (kind) {
    case "hold": return view.hold !== null && hold === view.hold + 1;
    case "release": return release === (view.release ?? 0) + 1 && (pfn === null || epoch.pages.held.has(pfn) || epoch.startsBefore);
    case "shutdown": return (view.hold === null || hold === view.hold) && (release === (view.release ?? 0) || view.release === null);
    default: return false;
  }
}
