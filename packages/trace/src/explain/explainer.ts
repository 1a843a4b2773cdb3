import type { Explanation, TraceEvent, TraceFileSummary } from "../api/index.ts";
import { describePool } from "./describe.ts";
import type { PoolEpoch } from "./epoch.ts";
import { Packets } from "./packets.ts";
import { Pools } from "./pools.ts";

/** A poll is that of the pages that came before it only within this time. */
const SAME_POLL_US = 20_000;
/** Pools that one softirq fills, as far as they are followed. */
const MOST_IN_POLL = 64;
/** Pools that wait at a time, beyond which packets are not looked at for whose they might be. */
const MOST_ATTRIBUTED = 512;
/** @kernel NO_DEV (include/trace/events/napi.h) */
const NO_DEVICE = "(no_device)";
/** Of a counter that is below zero, or was wrong. */
const MOST_INFLIGHT: number = 2 ** 31 - 1;
/** Copies a packet for a program; a driver does so before it hands the packet up, generic XDP after it was. @kernel skb_pp_cow_data (net/core/skbuff.c) */
const COPIED = "skb_pp_cow_data";

interface PollOf {
  readonly epoch: PoolEpoch;
  readonly task: string | null;
  readonly timeUs: number;
}

/** What an event changed, for who reads along. */
export interface Noticed {
  readonly epoch: { readonly pool: string; readonly epoch: number; readonly startsBefore: boolean };
  readonly what: "began" | "destroyed" | "retried" | "freed" | "complained";
  readonly inflight: number;
  readonly timeUs: number | null;
}

/**
 * Follows pools through the events of traces, in bounded memory. Feed it every event once, those of one file in order (`take`); `explain` says what is known so far, as often
 * as wanted.
 */
export class Explainer {
  readonly #pools = new Pools();
  readonly #packets = new Packets();
  /** By CPU: pools whose pages came in a softirq that is not over. */
  readonly #inPoll = new Map<number, PollOf[]>();
  /** By CPU: the packet that was received last. */
  readonly #newestPacket = new Map<number, number>();
  readonly #notice: ((noticed: Noticed) => void) | null;
  /** By source: the one whose account it goes on with, or itself. */
  readonly #accounts = new Map<number, number>();
  /** Accounts of files that are over, and that no other has gone on with; a monitor tells of pages by other numbers, and goes on with none. */
  readonly #over: number[] = [];
  readonly #monitors = new Set<number>();
  #lastUs: number | null = null;
  #unattributed = 0;

  /** `notice` is called at what happens to a pool. */
  constructor(notice: ((noticed: Noticed) => void) | null = null) {
    this.#notice = notice;
  }

  /** That file has no more: one that begins from now on goes on where it ended, as rotated files do. */
  ended(source: number): void {
    if (!this.#monitors.has(source)) this.#over.push(this.#accounts.get(source) ?? source);
  }

  /** Files that are read as others' ends. */
  #joined(files: readonly TraceFileSummary[]): string[] {
    return [...this.#accounts].filter(([file, account]) => file !== account).map(([file, account]) => `${files[file]!.path}: begins after the end of ${files[account]!.path}, and is read as going on with it`);
  }

  #accountOf({ sample }: TraceEvent, file: number): number {
    const known = this.#accounts.get(file);
    if (known !== undefined) return known;
    if (sample !== null) this.#monitors.add(file);
    const account = sample === null ? (this.#over.pop() ?? file) : file;
    this.#accounts.set(file, account);
    return account;
  }

  /** `file` tells files apart: what two of them say of the same pool at the same time is one life. */
  take(event: TraceEvent, file: number = 0): void {
    const source = this.#accountOf(event, file);
    const { timeUs } = event;
    if (timeUs !== null && (this.#lastUs === null || timeUs > this.#lastUs)) this.#lastUs = timeUs;
    switch (event.kind) {
      case "hold": case "release": case "shutdown":
        this.#poolEvent(event, source);
        break;
      case "packet":
        this.#packets.received(event);
        if (event.cpu !== null && event.skb !== null) this.#newestPacket.set(event.cpu, event.skb);
        if (event.pool !== null) this.#poolEvent(event, source);
        break;
      case "packet-freed":
        this.#packetFreed(event);
        break;
      case "poll":
        this.#packets.polled(event);
        this.#polled(event);
        break;
      case "stall":
        this.#complained(event, source);
        break;
      case "snapshot":
        this.#snapshot(event, source);
        break;
      case "lost":
        this.#pools.lose(event.amount ?? 1);
        break;
      case "boot":
        this.#pools.cut(source);
        this.#lastUs = timeUs;
        break;
      default:
    }
  }

  /** `files` are the readers' own summaries. */
  explain(files: readonly TraceFileSummary[]): Explanation {
    this.#pools.joinComplaints();
    const lost = files.reduce((sum, file) => sum + file.lost, 0);
    const unknownLines = files.reduce((sum, file) => sum + file.unknownLines, 0);
    const cutOff = files.some((file) => file.cutOff !== null);
    const devices = this.#pools.epochs.map((epoch) => epoch.likelyDevice());
    const devicesOfOnePool = new Set(devices.filter((device) => device !== null && devices.indexOf(device) === devices.lastIndexOf(device)).map(String));
    const pools = this.#pools.epochs.map((epoch) => describePool(epoch, { packets: this.#packets, lost, cutOff, lastUs: this.#lastUs, devicesOfOnePool }));
    return { files, lost, unknownLines, pools, poolsLeftOut: this.#pools.leftOut, notes: [...notesOn(files, this.#pools.leftOut, this.#unattributed), ...this.#joined(files)] };
  }

  #poolEvent(event: TraceEvent, source: number): void {
    const epoch = this.#pools.of(event, source);
    if (epoch === null) return;
    const began = epoch.startedAtUs === null;
    const attempts = epoch.inflightSeries.length;
    epoch.take(event, source);
    this.#pools.settle(epoch);
    if (event.kind === "hold" && event.softirq && event.cpu !== null) this.#rememberPoll(epoch, event);
    if (began) this.#tell(epoch, "began", event);
    if (epoch.inflightSeries.length > attempts) this.#tell(epoch, epoch.endedAtUs !== null ? "freed" : attempts === 0 ? "destroyed" : "retried", event);
  }

  #rememberPoll(epoch: PoolEpoch, { cpu, task, timeUs }: TraceEvent): void {
    let pending = this.#inPoll.get(cpu!);
    if (pending === undefined) this.#inPoll.set(cpu!, (pending = []));
    if (pending.at(-1)?.epoch === epoch) pending.pop();
    else if (pending.length === MOST_IN_POLL) pending.shift();
    pending.push({ epoch, task, timeUs: timeUs ?? 0 });
  }

  #polled({ cpu, task, timeUs, device }: TraceEvent): void {
    const pending = cpu === null ? undefined : this.#inPoll.get(cpu);
    if (pending === undefined || pending.length === 0) return;
    for (const poll of pending) if (poll.task === task && (timeUs ?? 0) - poll.timeUs < SAME_POLL_US && device !== null) {
      if (device === NO_DEVICE) poll.epoch.voteForGenericXdp();
      else poll.epoch.voteForDevice(device);
    }
    pending.length = 0;
  }

  #packetFreed(event: TraceEvent): void {
    const freed = this.#packets.freed(event);
    if (freed === null) return;
    // A packet whose end was not seen, and that was sent again, is copied by a driver: only what was just received is generic XDP's.
    if (event.location === COPIED && event.cpu !== null && this.#newestPacket.get(event.cpu) === event.skb) for (const { epoch } of this.#inPoll.get(event.cpu)?.splice(0) ?? []) epoch.voteForGenericXdp();
    if (this.#pools.stalled.size > MOST_ATTRIBUTED) {
      this.#unattributed++;
      return;
    }
    for (const epoch of this.#pools.stalled) {
      const device = epoch.likelyDevice();
      if (freed.packet.timeUs > epoch.destroyedAtUs! || (device !== null && device !== freed.packet.device)) continue;
      if (freed.deferred) epoch.deferredInStall++;
      else epoch.freedInStall++;
      epoch.lastFreedInStallUs = event.timeUs;
    }
  }

  #complained(event: TraceEvent, source: number): void {
    const epoch = this.#pools.byId(event, source);
    if (epoch === null) return;
    const { timeUs, inflight, amount } = event;
    if (inflight !== null && inflight < 0) epoch.error(`the kernel log has ${inflight} pages in flight: more left the pool than came`);
    epoch.complainedSeconds = Math.max(epoch.complainedSeconds, amount ?? 0);
    if (epoch.lastAttemptUs === null || epoch.inflightReported === null) {
      // Nothing but the log knows of it.
      if (timeUs !== null) epoch.destroyedAtUs ??= timeUs - (amount ?? 0) * 1e6;
      epoch.id ??= event.id;
      epoch.inflightSeries.push(inflight ?? 0);
    } else if (epoch.inflightReported !== inflight && epoch.holdLines + epoch.releaseLines === 0) epoch.inflightSeries.push(inflight ?? 0);
    if (epoch.lastAttemptUs === null) epoch.inflightReported = inflight;
    if (timeUs !== null) {
      epoch.startedAtUs ??= timeUs;
      epoch.lastAtUs = Math.max(epoch.lastAtUs ?? timeUs, timeUs);
    }
    this.#tell(epoch, "complained", event);
  }

  #snapshot(event: TraceEvent, source: number): void {
    const epoch = this.#pools.byId(event, source);
    if (epoch === null) return;
    epoch.id ??= event.id;
    const { statistics, inflight } = event;
    if (statistics === null) return;
    if (statistics.ifindex !== null) epoch.device ??= `ifindex ${statistics.ifindex}`;
    const { counts, detachTime } = statistics;
    if ((counts["recycle-cached"] ?? 0) + (counts["recycle-ring"] ?? 0) > 0) epoch.recycled = true;
    epoch.statistics = { ...epoch.statistics, ...counts };
    epoch.detachTime = detachTime ?? epoch.detachTime;
    if (inflight !== null && inflight > MOST_INFLIGHT) epoch.error(`netlink has ${inflight} pages in flight: more left the pool than came`);
    if (inflight !== null && epoch.holdLines + epoch.releaseLines === 0 && epoch.lastAttemptUs === null) epoch.inflightShown = inflight;
  }

  #tell(epoch: PoolEpoch, what: Noticed["what"], { timeUs }: TraceEvent): void {
    this.#notice?.({ epoch, what, inflight: epoch.inflightReported ?? epoch.inflight, timeUs });
  }
}

function notesOn(files: readonly TraceFileSummary[], poolsLeftOut: number, unattributed: number): string[] {
  const notes: string[] = [];
  for (const { path, lost, unknownLines, lines, binaryLines, overlongLines, ticks, boots, cutOff, format } of files) {
    if (lines === 0) notes.push(`${path}: empty`);
    else if (format === null) notes.push(`${path}: no line of ${lines} is of a known trace format${binaryLines > 0 ? "; it is binary" : ""}`);
    if (lost > 0) notes.push(`${path}: ${lost} events were lost while it was recorded`);
    if (format !== null && unknownLines > 0) notes.push(`${path}: ${unknownLines === 1 ? "1 line is" : `${unknownLines} lines are`} of no known format${binaryLines > 0 ? `, ${binaryLines} of them binary` : ""}`);
    if (overlongLines > 0) notes.push(`${path}: ${overlongLines} lines are longer than a million characters and were not looked at`);
    if (ticks > 0) notes.push(`${path}: its times are whole numbers, read as nanoseconds; of a trace_clock that counts something else (x86-tsc, counter) no duration is one: record with mono`);
    if (boots > 1) notes.push(`${path}: its clock begins again ${boots - 1} times; each begin is taken for another boot, and pools are not followed across`);
    if (cutOff !== null) notes.push(`${path}: ${cutOff}; read up to there`);
  }
  const formats = new Set(files.map(({ format }) => format));
  if (formats.has("monitor") && files.length > 1) notes.push("what several files say of one pool is joined by its address: one recorded with hashed addresses cannot be joined with one that has raw ones");
  if (unattributed > 0) notes.push(`more than ${MOST_ATTRIBUTED} pools waited at a time: ${unattributed} packets that were freed then are counted for none of them`);
  if (poolsLeftOut > 0) notes.push(`too many pools: ${poolsLeftOut} events are of pools that were not followed`);
  return notes;
}
