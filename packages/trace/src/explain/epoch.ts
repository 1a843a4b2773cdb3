import type { TraceEvent } from "../api/index.ts";
import { Pages } from "./page-lives.ts";
import { callerOf, isGenericXdp, isTestRun } from "./stacks.ts";
import { Tally } from "./tally.ts";
import { Timeline } from "./timeline.ts";

const MOST_ERRORS = 8;
/** Attempts are a second apart: five days of them. */
const MOST_SERIES = 500_000;

/** One source's view of an epoch. */
export class EpochView {
  /** Null: it has not told. */
  hold: number | null = null;
  release: number | null = null;
  /** The first hold it told of, and of which page: to translate the numbers of two sources' pages. */
  firstHold: number | null = null;
  firstPfn: number | null = null;
  firstRelease: number | null = null;
  holdLines = 0;
  releaseLines = 0;
  /** Lines of which the counters say that they should be there. Several CPUs count and print, so lines may be late, and only the sum tells. */
  missing(): { holds: number; releases: number } {
    return { holds: missingOf(this.firstHold, this.hold, this.holdLines), releases: missingOf(this.firstRelease, this.release, this.releaseLines) };
  }

  /** It saw the pool freed: what comes next at the address is another. */
  ended = false;
}

/** Events that were lost up to now, of whatever pool. */
export interface Losses {
  lost: number;
}

/** The life of a pool, as it is told. */
export class PoolEpoch {
  readonly pool: string;
  readonly epoch: number;
  readonly views: Map<number, EpochView> = new Map();
  pages: Pages = new Pages();
  allocatedBy: Tally = new Tally();
  readonly freedBy: Tally = new Tally();
  readonly inflightOverTime: Timeline = new Timeline();
  readonly inflightSeries: number[] = [];
  readonly errors: string[] = [];
  readonly #deviceVotes = new Tally();
  #genericXdpVotes = 0;
  readonly #losses: Losses;
  /** What was lost when it ended. */
  #lostAtEnd: number | null = null;
  /** Of the last attempt that told it. */
  #releasesAtAttempt: number | null = null;
  id: number | null = null;
  /** By who knows it, the monitor or netlink. */
  device: string | null = null;
  firstTask: string | null = null;
  lastTask: string | null = null;
  startedAtUs: number | null = null;
  lastAtUs: number | null = null;
  destroyedAtUs: number | null = null;
  endedAtUs: number | null = null;
  firstRetryAtUs: number | null = null;
  lastAttemptUs: number | null = null;
  /** When the reported pages in flight were last fewer than before. */
  progressAtUs: number | null = null;
  retries = 0;
  /** Attempts to free it that were made before the first that the trace has; null: none, or not known. */
  attemptsBefore: number | null = null;
  holds = 0;
  releases = 0;
  readonly #counts: { hold: number | null; release: number | null } = { hold: null, release: null };
  /** Reported last; null: no attempt to free it was seen. */
  inflightReported: number | null = null;
  /** The first line of it was of a page that was not its first. */
  startsBefore = false;
  holdLines = 0;
  releaseLines = 0;
  /** Seconds of which the kernel log complained. */
  complainedSeconds = 0;
  /** The source whose pages are followed: rather a trace than the monitor, which stops when the device is gone. */
  pagesFrom: number | null = null;
  #followsMonitor = false;
  /** A script printed only some of the lines. */
  thinned = false;
  recycled = false;
  testRun = false;
  cutByBoot = false;
  /** Its address was given to another pool, so that it was freed, though nothing here says so. */
  replaced = false;
  /** Packets of its device that were freed while it waited for its pages. */
  freedInStall = 0;
  deferredInStall = 0;
  lastFreedInStallUs: number | null = null;
  /** What netlink says. */
  detachTime: number | null = null;
  inflightShown: number | null = null;
  statistics: Readonly<Record<string, number>> | null = null;
  #lastSample: { readonly cache: number; readonly ring: number; readonly holds: number } | null = null;

  constructor(pool: string, epoch: number, losses: Losses) {
    this.pool = pool;
    this.epoch = epoch;
    this.#losses = losses;
  }

  /** Lines that were lost before it ended. */
  get disturbed(): number {
    return this.#lostAtEnd ?? this.#losses.lost;
  }

  /** Its counters were told: by lines of it, or by attempts to free it. */
  get isCounted(): boolean {
    return this.#counts.hold !== null && this.#counts.release !== null;
  }

  /** As it was last told; of a pool that is seen from its first page on it begins with 0. Null: it was never told. */
  get holdsTold(): number | null {
    return this.#counts.hold ?? this.#first;
  }

  get releasesTold(): number | null {
    return this.#counts.release ?? this.#first;
  }

  get #first(): number | null {
    return this.holdLines + this.releaseLines > 0 && !this.startsBefore ? 0 : null;
  }

  /** The stack's own, by where its pages came from; those of a device, whose program copies packets too, have more polls that speak for it. */
  get genericXdp(): boolean {
    return this.#genericXdpVotes > 0 && this.device === null && this.#genericXdpVotes >= (this.#deviceVotes.top(1)[0]?.pages ?? 0);
  }

  voteForGenericXdp(): void {
    this.#genericXdpVotes++;
  }

  get inflight(): number {
    return (this.holds - this.releases) | 0;
  }

  /** The trace has the attempt in which it was destroyed. */
  get sawDestruction(): boolean {
    return (this.attemptsBefore ?? 0) <= 0;
  }

  get stalled(): boolean {
    return this.destroyedAtUs !== null && this.endedAtUs === null;
  }

  /** As far as it can be told from who polled after pages came. */
  likelyDevice(): string | null {
    return this.device ?? this.#deviceVotes.top(1)[0]?.who ?? null;
  }

  voteForDevice(device: string): void {
    this.#deviceVotes.add(device);
  }

  viewOf(source: number): EpochView {
    let view = this.views.get(source);
    if (view === undefined) this.views.set(source, (view = new EpochView()));
    return view;
  }

  /** Lines that no source has, of which the counters say that they should be there. */
  missing(): { holds: number; releases: number } {
    const all = [...this.views.values()].map((view) => view.missing());
    return { holds: Math.min(...all.map(({ holds }) => holds)), releases: Math.min(...all.map(({ releases }) => releases)) };
  }

  /** Every line from its first page on is here: only then a page that is missing is an error. */
  get complete(): boolean {
    const { holds, releases } = this.missing();
    return !this.startsBefore && this.disturbed === 0 && holds + releases === 0;
  }

  take(event: TraceEvent, source: number): void {
    const view = this.viewOf(source);
    const { timeUs } = event;
    if (timeUs !== null) {
      this.startedAtUs ??= timeUs;
      if (this.lastAtUs === null || timeUs > this.lastAtUs) this.lastAtUs = timeUs;
    }
    this.firstTask ??= event.task;
    this.lastTask = event.task;
    this.thinned ||= event.sample === null && event.name === event.kind;
    this.id ??= event.id;
    this.device ??= event.sample === null ? null : event.device;
    if (event.stack !== null) {
      if (isGenericXdp(event.stack)) this.voteForGenericXdp();
      this.testRun ||= isTestRun(event.stack);
    }
    switch (event.kind) {
      case "hold":
        this.#hold(event, view, source);
        break;
      case "release":
        this.#release(event, view, source);
        break;
      case "shutdown":
        this.#shutdown(event, view);
        break;
      case "packet":
        this.#packet(event, view, source);
        break;
      default:
    }
    if (event.sample !== null) this.#sampled(event);
    // Of a source that was seen from the start both counters are known.
    if (timeUs !== null && (event.kind === "hold" || event.kind === "release")) this.inflightOverTime.add(timeUs / 1e6, this.inflight);
  }

  error(text: string): void {
    if (this.errors.length < MOST_ERRORS) this.errors.push(text);
  }

  #hold(event: TraceEvent, view: EpochView, source: number): void {
    const hold = event.hold!;
    this.holdLines++;
    view.holdLines++;
    if (view.hold === null) {
      if (hold !== 1 && this.views.size === 1) this.startsBefore = true;
      view.firstHold = this.startsBefore ? hold : 1;
      view.firstPfn = hold === view.firstHold ? event.pfn : null;
    }
    if (event.sample === null && hold === view.hold && event.pfn !== null && this.complete) this.error(`hold ${hold} is told of two pages`);
    if (view.ended && event.sample === null) this.error(`a page came into the pool (hold ${hold}) after it was freed`);
    view.hold = latest(view.hold, hold);
    this.#counted(hold, event.sample === null ? null : event.release);
    if (event.pfn === null || event.timeUs === null || !this.#followsPagesOf(source, event, view)) return;
    const who = event.stack === null ? (event.task ?? "unknown") : callerOf(event.stack);
    this.allocatedBy.add(who);
    if (!this.pages.hold(event.pfn, event.timeUs, who) && !event.isNetIov && this.complete) this.error(`page pfn 0x${event.pfn.toString(16)} came into the pool (hold ${hold}) while it was in it`);
  }

  #release(event: TraceEvent, view: EpochView, source: number): void {
    const release = event.release!;
    this.releaseLines++;
    view.releaseLines++;
    if (view.release === null) {
      if (view.hold === null && event.sample === null && this.views.size === 1) this.startsBefore = true;
      view.firstRelease = this.startsBefore ? release : 1;
    }
    if (view.ended && event.sample === null && view.release !== null && ((release - view.release) | 0) > 0) this.error(`a page left the pool (release ${release}) after it was freed`);
    view.release = latest(view.release, release);
    this.#counted(event.sample === null ? null : event.hold, release);
    if (this.destroyedAtUs !== null && event.timeUs !== null) this.progressAtUs = event.timeUs;
    if (event.pfn === null || event.timeUs === null || !this.#followsPagesOf(source, event, view)) return;
    this.freedBy.add(event.stack === null ? (event.task ?? "unknown") : callerOf(event.stack));
    if (this.pages.release(event.pfn, event.timeUs) === null && !event.isNetIov && this.complete) this.error(`page pfn 0x${event.pfn.toString(16)} left the pool (release ${release}) and was not in it`);
  }

  #shutdown(event: TraceEvent, view: EpochView): void {
    const inflight = event.inflight ?? 0;
    const { hold, release, timeUs } = event;
    if (hold !== null && release !== null) {
      if (inflight !== ((hold - release) | 0)) this.error(`reported ${inflight} pages in flight, where ${hold} held less ${release} released are ${(hold - release) | 0}`);
      if (view.hold === null && hold > 0 && this.views.size === 1) this.startsBefore = true;
      if (!this.startsBefore && release > 0) view.firstRelease ??= 1;
      view.hold = latest(view.hold, hold);
      view.release = latest(view.release, release);
      this.#counted(hold, release);
    }
    if (release !== null) {
      if (this.#releasesAtAttempt !== null && ((release - this.#releasesAtAttempt) | 0) < 0) this.error(`${release} released, where the attempt before had ${this.#releasesAtAttempt}: a counter that goes back`);
      this.#releasesAtAttempt = latest(this.#releasesAtAttempt, release);
    }
    if (this.inflightReported !== null && inflight > this.inflightReported) this.error(`reported ${inflight} pages in flight after ${this.inflightReported}: pages came into the pool after it was destroyed`);
    if (inflight < 0) this.error(`reported ${inflight} pages in flight: more left the pool than came`);
    // Two sources tell of the same attempt.
    const repeated = this.views.size > 1 && this.inflightReported === inflight && timeUs !== null && this.lastAttemptUs !== null && timeUs - this.lastAttemptUs < SAME_ATTEMPT_US;
    if (inflight === 0) {
      view.ended = true;
      this.endedAtUs ??= timeUs;
      this.#lostAtEnd ??= this.#losses.lost;
    }
    if (repeated) return;
    if (this.destroyedAtUs === null) this.destroyedAtUs = timeUs;
    else {
      this.retries++;
      this.firstRetryAtUs ??= timeUs;
    }
    if (event.attempts !== null && event.attempts > 1) {
      this.firstRetryAtUs ??= timeUs;
      this.attemptsBefore ??= event.attempts - 1 - this.retries;
    }
    if (this.inflightReported !== null && inflight < this.inflightReported) this.progressAtUs = timeUs;
    this.inflightReported = inflight;
    this.lastAttemptUs = timeUs;
    if (this.inflightSeries.length < MOST_SERIES) this.inflightSeries.push(inflight);
    if (timeUs !== null) this.inflightOverTime.add(timeUs / 1e6, inflight);
  }

  #packet(event: TraceEvent, view: EpochView, source: number): void {
    this.#counted(event.hold, event.release);
    const pfn = this.#pageAs(event.pfn, view, source);
    const page = pfn === null ? undefined : this.pages.held.get(pfn);
    if (page !== undefined) page.skb = event.skb;
  }

  /** As its source numbers pages. */
  holdsPage(pfn: number, source: number): boolean {
    const page = this.#pageAs(pfn, this.viewOf(source), source);
    return page !== null && this.pages.held.has(page);
  }

  /** A page of one source's, by the number that the followed source has for it. */
  #pageAs(pfn: number | null, view: EpochView, source: number): number | null {
    if (pfn === null || this.pagesFrom === null || source === this.pagesFrom) return pfn;
    const followed = this.views.get(this.pagesFrom);
    if (followed === undefined || followed.firstPfn === null || view.firstPfn === null || followed.firstHold !== view.firstHold) return null;
    return pfn - view.firstPfn + followed.firstPfn;
  }

  #followsPagesOf(source: number, { sample }: TraceEvent, view: EpochView): boolean {
    const isMonitor = sample !== null;
    if (this.pagesFrom === null) {
      this.pagesFrom = source;
      this.#followsMonitor = isMonitor;
    } else if (this.#followsMonitor && !isMonitor && view.firstHold === this.views.get(this.pagesFrom)?.firstHold) {
      // It tells again of every page that the monitor has told of.
      this.pagesFrom = source;
      this.#followsMonitor = false;
      this.pages = new Pages();
      this.allocatedBy = new Tally();
    }
    return this.pagesFrom === source;
  }

  #counted(hold: number | null, release: number | null): void {
    if (hold !== null) this.holds = this.#counts.hold = latest(this.#counts.hold, hold);
    if (release !== null) this.releases = this.#counts.release = latest(this.#counts.release, release);
  }

  #sampled({ sample, hold }: TraceEvent): void {
    const before = this.#lastSample;
    const { cache, ring } = sample!;
    // Pages that came back are in the ring, or in the cache without having been allocated.
    if (this.destroyedAtUs === null && (ring > 0 || (before !== null && hold === before.holds && cache > before.cache))) this.recycled = true;
    this.#lastSample = { cache, ring, holds: hold! };
  }
}

/** The later of two values of a counter that wraps. */
function latest(before: number | null, value: number): number {
  return before === null || ((value - before) | 0) > 0 ? value : before;
}

function missingOf(first: number | null, last: number | null, lines: number): number {
  return first === null || last === null ? 0 : Math.max(0, ((last - first) | 0) + 1 - lines);
}

/** Two sources' lines of one event are closer than two attempts. */
const SAME_ATTEMPT_US = 100_000;
