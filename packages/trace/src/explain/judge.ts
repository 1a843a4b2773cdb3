import type { PoolVerdict } from "../api/index.ts";
import type { PoolEpoch } from "./epoch.ts";
import type { Packets } from "./packets.ts";

/** What is known beside the pool's own lines. */
export interface JudgeContext {
  readonly packets: Packets;
  /** Events lost in all files. */
  readonly lost: number;
  readonly cutOff: boolean;
  readonly lastUs: number | null;
  /** Devices of which there is one pool only, so that every packet is of that. */
  readonly devicesOfOnePool: ReadonlySet<string>;
}

export interface Judgement {
  readonly verdict: PoolVerdict;
  readonly confidence: number;
  readonly evidence: readonly string[];
}

/** Attempts are a second apart: pages that came home within this time before the end may be followed by others. @kernel DEFER_TIME (net/core/page_pool.c) */
const STILL_MOVING_US = 2.2e6;
/** So many attempts that find as many pages as the one before are longer than that. */
const STILL_MOVING_ATTEMPTS = 4;
/** At least between two attempts. @kernel DEFER_TIME */
const DEFER_SECONDS = 1;
/** Most packets that can share a page, with room for a program in front and the shared info behind. @kernel skb_pp_cow_data */
export const PACKETS_OF_A_PAGE = 6;
/** 64 KiB, and a head. */
const PAGES_OF_LONGEST = 66;
/** Between two attempts, in seconds, as they are seen: a tick or two more than it is meant to be. */
const ATTEMPT_SECONDS = 1.024;
/** A page may be taken for a packet that is already told of. */
export const BEFORE_FIRST_PAGE_US = 1000;
/** Sure as far as a trace can make one. */
const CERTAIN = 0.98;

export function judge(epoch: PoolEpoch, context: JudgeContext): Judgement {
  const found = verdictOf(epoch, context);
  const doubts = doubtsOf(epoch, context);
  let { confidence } = found;
  for (const doubt of doubts) confidence *= doubt.factor;
  return { verdict: found.verdict, confidence: Math.round(confidence * 100) / 100, evidence: [...found.evidence, ...doubts.map(({ text }) => text)] };
}

function verdictOf(epoch: PoolEpoch, context: JudgeContext): Judgement {
  if (epoch.errors.length > 0) return { verdict: "accounting-error", confidence: CERTAIN, evidence: epoch.errors };
  if (!epoch.startsBefore && epoch.disturbed === 0 && epoch.isCounted && epoch.inflight < 0) return { verdict: "accounting-error", confidence: CERTAIN, evidence: [`${epoch.holds} held and ${epoch.releases} released: more left the pool than came`] };
  if (epoch.endedAtUs !== null || epoch.inflightReported === 0) return drained(epoch);
  if (epoch.replaced) return { verdict: "drained", confidence: 0.7, evidence: [`its address was given to another pool: it was freed, though nothing here says when; ${epoch.inflight} pages were in flight as it was last told of`] };
  if (epoch.cutByBoot && epoch.destroyedAtUs === null) return { verdict: "in-use", confidence: 0.5, evidence: ["another boot began while it was in use"] };
  if (epoch.detachTime !== null && epoch.destroyedAtUs === null) return detached(epoch);
  if (epoch.destroyedAtUs === null && epoch.inflightSeries.length === 0) return alive(epoch);
  return waiting(epoch, context);
}

function drained(epoch: PoolEpoch): Judgement {
  const evidence = [`an attempt to free it found no page in flight: ${epoch.holds} held, ${epoch.releases} released`];
  const { freedInStall, deferredInStall, destroyedAtUs, endedAtUs } = epoch;
  const series = withoutRepeats(epoch.inflightSeries);
  if (series.length > 1) {
    const took = destroyedAtUs === null || endedAtUs === null ? "" : ` after ${((endedAtUs - destroyedAtUs) / 1e6 + secondsBefore(epoch)).toFixed(1)} s`;
    evidence.push(`its pages came home${took}: ${series.join(" → ")} in flight`);
    if (freedInStall > 0 && epoch.likelyDevice() !== null) evidence.push(`meanwhile ${freedInStall} of its device's packets were freed by their readers or sockets: they held it up`);
    if (deferredInStall > 0 && epoch.likelyDevice() !== null) evidence.push(`meanwhile ${deferredInStall} of its device's packets that were read on another CPU were freed by a receive softirq: the deferred-free list held it up`);
  }
  return { verdict: "drained", confidence: CERTAIN, evidence };
}

function alive(epoch: PoolEpoch): Judgement {
  const { holds, releases, inflight, genericXdp, startsBefore, device } = epoch;
  if (epoch.statistics !== null || epoch.inflightShown !== null) return { verdict: "in-use", confidence: CERTAIN, evidence: [`netlink shows it, attached${device === null ? "" : ` to ${device}`}, with ${epoch.inflightShown ?? "unknown"} pages in flight`] };
  if (genericXdp) return { verdict: "system-pool", confidence: 0.8, evidence: ["its pages were taken for packets that a device had handed up already, as generic XDP does: it is of the stack's own pools, which are never destroyed"] };
  if (startsBefore) return { verdict: "starts-before-trace", confidence: 0.8, evidence: [`its first line here is not of its first page, and it is not destroyed here: ${holds} held and ${releases} released as far as is known; it may be a device's, or one of the stack's own, which are never destroyed`] };
  return { verdict: "in-use", confidence: 0.9, evidence: [`not destroyed within the trace: ${inflight} pages in flight at its end`] };
}

function detached(epoch: PoolEpoch): Judgement {
  const inflight = epoch.inflightShown ?? epoch.inflight;
  if (inflight === 0) return { verdict: "drained", confidence: 0.9, evidence: ["netlink shows it let go by its driver, with no page in flight"] };
  return { verdict: "leak-suspect", confidence: 0.4, evidence: [`netlink shows ${inflight} pages in flight of a pool that its driver let go ${epoch.detachTime} s after boot`, "netlink does not say who holds them: look at sockets that are not read (ss -m), and record skb:* beside page_pool:*"] };
}

/** Destroyed, and pages are out. */
function waiting(epoch: PoolEpoch, context: JudgeContext): Judgement {
  const { inflightReported, inflightSeries, destroyedAtUs, lastAttemptUs, progressAtUs, holdLines, freedInStall, deferredInStall, lastFreedInStallUs } = epoch;
  const inflight = epoch.isCounted ? epoch.inflight : (inflightReported ?? inflightSeries.at(-1) ?? 0);
  // Where its attempts are told no more, the trace is of something else.
  const traceEndUs = context.lastUs ?? 0;
  const lastUs = lastAttemptUs === null ? traceEndUs : traceEndUs - lastAttemptUs < STILL_MOVING_US ? Math.max(traceEndUs, lastAttemptUs) : lastAttemptUs;
  // Attempts are a second apart, whatever the trace's clock counts.
  const unmoved = inflightSeries.length - 1 - inflightSeries.indexOf(inflightSeries.at(-1) ?? 0);
  const waited = destroyedAtUs === null ? 0 : Math.max((lastUs - destroyedAtUs) / 1e6 + secondsBefore(epoch), (inflightSeries.length - 1) * DEFER_SECONDS);
  const pages = `${inflight} ${inflight === 1 ? "page is" : "pages are"} in flight ${Math.max(waited, epoch.complainedSeconds).toFixed(1)} s after it was destroyed`;
  const series = withoutRepeats(inflightSeries);
  if (inflight === 0) return { verdict: "draining", confidence: 0.9, evidence: [`all its pages are home, ${epoch.holds} held and ${epoch.releases} released: the next attempt to free it will do so`] };
  const stillMoving = progressAtUs !== null && lastUs - progressAtUs < STILL_MOVING_US && unmoved < STILL_MOVING_ATTEMPTS;
  // A page that came back is in the ring until the next attempt, which empties that.
  const freedSince = lastFreedInStallUs !== null && (lastAttemptUs === null || lastFreedInStallUs > lastAttemptUs);
  const { queued, read } = destroyedAtUs === null ? { queued: [], read: [] } : context.packets.waiting(epoch.likelyDevice(), (epoch.startedAtUs ?? 0) - BEFORE_FIRST_PAGE_US, destroyedAtUs);
  const moved = series.length > 1 ? [`so far ${series.join(" → ")}`] : [];
  if (holdLines === 0 && epoch.startsBefore) {
    return { verdict: "starts-before-trace", confidence: 0.7, evidence: [pages, "they were taken before the trace began: who holds them is not to be seen here", ...(epoch.sawDestruction ? [] : [`by its attempts it was destroyed about ${Math.round(secondsBefore(epoch))} s before the trace`]), ...moved] };
  }
  const whose = epoch.likelyDevice() === null ? "packets" : `packets of ${epoch.likelyDevice()}`;
  const carried = [...queued, ...read].reduce((sum, { lengthBytes }) => sum + mostPagesOf(lengthBytes), 0);
  if (carried > 0 && inflight > carried && !stillMoving && !freedSince) {
    return { verdict: "leak-suspect", confidence: 0.6, evidence: [pages, `${queued.length + read.length} ${whose} are not freed, which can hold ${carried} pages at most: ${inflight - carried} pages are with nobody that the trace knows`, ...moved] };
  }
  if (queued.length > 0) {
    // Pages that came home in packets whose end is not in the trace: then more of them may have ended unseen.
    const cameHome = (inflightSeries[0] ?? inflight) - inflight;
    const unseen = cameHome > freedInStall + deferredInStall || queued.length + read.length > inflight * PACKETS_OF_A_PAGE;
    const doubt = unseen ? [`${cameHome} pages came home meanwhile and ${freedInStall + deferredInStall} packets were seen to be freed: the trace does not have every end of a packet, so that some of these may be freed`] : [];
    const most = inflight * PACKETS_OF_A_PAGE;
    const told = unseen ? "were received and not seen to be freed" : "were received and are not freed";
    const room = queued.length > most ? `, ${most} of which can lie in ${inflight === 1 ? "that page" : `those ${inflight} pages`} at most` : "";
    const also = read.length > 0 ? [`${read.length} more were read, and wait to be freed on the CPU that received them`] : [];
    return {
      verdict: "held-by-socket", confidence: unseen ? 0.45 : 0.65,
      evidence: [pages, `${queued.length} ${whose} ${told}${lengthsOf(queued)}${room}: they are in a socket that is not read, or with a tap or a pipe${unseen ? ", or were read on another CPU and wait on its deferred-free list" : ""}`, ...also, ...doubt, ...moved, `if nobody has them: a packet received on ${cpusOf(queued)} frees what was read elsewhere`],
    };
  }
  if (read.length > 0) {
    return {
      verdict: "deferred-free", confidence: 0.65,
      evidence: [pages, `${read.length} ${whose} are not freed, though others that came after them are: they were read, on another CPU than received them (${cpusOf(read)}), which frees them in its next receive softirq`, ...moved, "this is no leak: any packet received there ends it", "or they are another socket's, which is not read: the trace does not say whose a packet is"],
    };
  }
  if (freedSince) return { verdict: "draining", confidence: 0.8, evidence: [pages, `the last of the ${whose} that were received were freed after the last attempt to free the pool: the next one finds their pages`] };
  if (stillMoving) return { verdict: "draining", confidence: 0.8, evidence: [pages, `pages were coming home until the end: ${series.join(" → ")}`] };
  if (waited < STILL_MOVING_US / 1e6 && epoch.complainedSeconds === 0) return { verdict: "draining", confidence: 0.5, evidence: [pages, "the trace ends before it could be tried again"] };
  const blind = context.packets.seen ? [] : ["there are no skb events here, which could tell a late reader from a leak: record skb:consume_skb, skb:kfree_skb and net:netif_receive_skb as well"];
  const accounted = context.packets.seen ? [`every one of the ${whose} that were received is freed`] : [];
  return { verdict: "leak-suspect", confidence: context.packets.seen ? 0.85 : 0.4, evidence: [pages, ...accounted, ...moved, ...blind] };
}

/** With a page a kilobyte: packets that were merged lie in many. */
function mostPagesOf(lengthBytes: number | null): number {
  return lengthBytes === null ? PAGES_OF_LONGEST : 2 + Math.ceil(lengthBytes / 1024);
}

/** How long before the first attempt that the trace has it was destroyed, by the attempts that were made. */
export function secondsBefore({ attemptsBefore }: PoolEpoch): number {
  return Math.max(0, attemptsBefore ?? 0) * ATTEMPT_SECONDS;
}

interface Doubt {
  readonly factor: number;
  readonly text: string;
}

function doubtsOf(epoch: PoolEpoch, { lost, cutOff }: JudgeContext): Doubt[] {
  const doubts: Doubt[] = [];
  const { holds, releases } = epoch.missing();
  if (lost > 0) doubts.push({ factor: 0.6, text: `${lost} events were lost while this was recorded` });
  const missing = [holds > 0 ? `${holds} hold` : "", releases > 0 ? `${releases} release` : ""].filter((text) => text !== "").join(" and ");
  if (epoch.thinned) doubts.push({ factor: 0.95, text: "the script that printed this prints only some of the lines" });
  else if (missing !== "") doubts.push({ factor: 0.8, text: `${missing} lines missing: the counters say ${epoch.holds} held and ${epoch.releases} released, the trace has ${epoch.holdLines} and ${epoch.releaseLines} lines${lost === 0 ? ", and no mark of a loss explains it" : ""}` });
  if (epoch.startsBefore && epoch.holdLines + epoch.releaseLines > 0) doubts.push({ factor: 0.9, text: "it is older than the trace" });
  if (epoch.cutByBoot) doubts.push({ factor: 0.5, text: "another boot begins in the file before its end is told" });
  if (cutOff) doubts.push({ factor: 0.9, text: "a file could not be read to its end" });
  return doubts;
}

function withoutRepeats(values: readonly number[]): number[] {
  return values.filter((value, i) => value !== values[i - 1]);
}

function lengthsOf(packets: readonly { readonly lengthBytes: number | null }[]): string {
  const lengths = [...new Set(packets.map(({ lengthBytes }) => lengthBytes))].filter((length) => length !== null);
  return lengths.length === 0 || lengths.length > 3 ? "" : `, of ${lengths.join(" or ")} bytes`;
}

function cpusOf(packets: readonly { readonly cpu: number | null }[]): string {
  const cpus = [...new Set(packets.map(({ cpu }) => cpu))].filter((cpu) => cpu !== null).toSorted((a, b) => a - b);
  return cpus.length === 0 ? "that CPU" : `CPU ${cpus.join(" and ")}`;
}
