import type { ExplainedPool, PageCount, PoolStall } from "../api/index.ts";
import type { PoolEpoch } from "./epoch.ts";
import { BEFORE_FIRST_PAGE_US, judge, PACKETS_OF_A_PAGE, secondsBefore, type JudgeContext } from "./judge.ts";
import { Tally } from "./tally.ts";

const NAMES_SHOWN = 5;
/** Waiting for less than an attempt's time is no stall. */
const STALL_SECONDS = 0.5;

export function describePool(epoch: PoolEpoch, context: JudgeContext): ExplainedPool {
  const device = epoch.likelyDevice();
  const packets = device === null || !context.devicesOfOnePool.has(device) ? 0 : context.packets.countOf(device);
  const recycled = epoch.recycled || (packets > epoch.holds * PACKETS_OF_A_PAGE && epoch.holds > 0);
  const { verdict, confidence, evidence } = judge(epoch, context);
  const stalledSeconds = stalledFor(epoch);
  const isKnown = epoch.holdsTold !== null && epoch.releasesTold !== null;
  const inflight = isKnown ? epoch.inflight : (epoch.inflightReported ?? epoch.inflightShown);
  return {
    pool: epoch.pool, epoch: epoch.epoch, id: epoch.id, device, firstTask: epoch.firstTask, holds: epoch.holdsTold, releases: epoch.releasesTold, inflight, inflightSeries: epoch.inflightSeries,
    startedAt: seconds(epoch.startedAtUs), destroyedAt: epoch.sawDestruction ? seconds(epoch.destroyedAtUs) : null, firstRetryAt: seconds(epoch.firstRetryAtUs), endedAt: seconds(epoch.endedAtUs), retries: epoch.retries,
    stalledSeconds, stall: stallOf(epoch, context, stalledSeconds), recycling: recycled ? "seen" : "not-visible", lives: epoch.pages.lives(context.lastUs ?? 0), allocatedBy: epoch.allocatedBy.top(NAMES_SHOWN),
    freedBy: epoch.freedBy.top(NAMES_SHOWN), holders: holdersOf(epoch, context), missing: epoch.missing(), inflightOverTime: epoch.inflightOverTime.points(), verdict, confidence,
    evidence: recycled && !epoch.recycled ? [...evidence, `${packets} packets came in by ${device} and ${epoch.holds} pages into the pool: pages were used again`] : evidence,
  };
}

/** From its destruction to its end, or to the last that is known of it. */
function stalledFor(epoch: PoolEpoch): number {
  const { destroyedAtUs, endedAtUs, lastAttemptUs, lastAtUs, complainedSeconds, inflightSeries } = epoch;
  const until = endedAtUs ?? lastAttemptUs ?? lastAtUs;
  const seen = destroyedAtUs === null || until === null || (inflightSeries[0] === 0 && epoch.sawDestruction) ? 0 : (until - destroyedAtUs) / 1e6 + secondsBefore(epoch);
  return Math.max(complainedSeconds, Math.round(seen * 1e6) / 1e6);
}

function stallOf(epoch: PoolEpoch, { packets }: JudgeContext, stalledSeconds: number): PoolStall | null {
  if (stalledSeconds < STALL_SECONDS || epoch.inflightSeries[0] === 0) return null;
  const { freedInStall, deferredInStall, stalled, destroyedAtUs } = epoch;
  const pages = epoch.inflightSeries[0] ?? 0;
  const waiting = stalled && destroyedAtUs !== null ? packets.waiting(epoch.likelyDevice(), (epoch.startedAtUs ?? 0) - BEFORE_FIRST_PAGE_US, destroyedAtUs) : null;
  const held = freedInStall + (waiting?.queued.length ?? 0);
  const deferred = deferredInStall + (waiting?.read.length ?? 0);
  return { seconds: stalledSeconds, pages, cause: held + deferred === 0 ? "unknown" : held >= deferred ? "held-by-socket" : "deferred-free" };
}

/** Of the pages that are out: whose packets they are in, as far as is known, or else who allocated them. */
function holdersOf(epoch: PoolEpoch, { packets }: JudgeContext): PageCount[] {
  const holders = new Tally();
  for (const { who, skb } of epoch.pages.held.values()) {
    if (skb !== null && packets.isOut(skb)) holders.add(`a packet of ${epoch.likelyDevice() ?? "its device"} that is not freed`);
    else holders.add(`allocated by ${who}`);
  }
  return holders.top(NAMES_SHOWN);
}

function seconds(us: number | null): number | null {
  return us === null ? null : us / 1e6;
}
