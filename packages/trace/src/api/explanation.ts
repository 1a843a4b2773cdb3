import type { TraceFileSummary } from "./event.ts";

/**
 * What became of a pool, as far as the trace goes:
 * - `drained`: it was destroyed, and every page came home.
 * - `draining`: destroyed, and pages came home until the trace's end, or it had no time to.
 * - `held-by-socket`: destroyed, and packets that were received are not yet freed: somebody reads late.
 * - `deferred-free`: destroyed, and the pages out are of packets that were read, which wait on a per-CPU list for the next receive softirq. It looks like a leak and is none.
 * - `leak-suspect`: destroyed, pages are out, and nothing in the trace accounts for them.
 * - `accounting-error`: counters that no pool can have.
 * - `system-pool`: one of the stack's own, which is never destroyed.
 * - `starts-before-trace`: pages are out that were taken before the trace began.
 * - `in-use`: not destroyed.
 */
export type PoolVerdict = "drained" | "draining" | "held-by-socket" | "deferred-free" | "leak-suspect" | "accounting-error" | "system-pool" | "starts-before-trace" | "in-use";

/** Somebody, and how many pages of his. */
export interface PageCount {
  readonly who: string;
  readonly pages: number;
}

/** From when to when a page was in the pool's account, in microseconds of the trace's clock; `toUs` null: until the end. */
export interface PageLife {
  readonly pfn: number;
  readonly fromUs: number;
  readonly toUs: number | null;
}

/** How long pages were in the pool's account, of those whose begin and end are both in the trace, and of those still there. */
export interface PageLives {
  readonly count: number;
  readonly medianUs: number | null;
  readonly longestUs: number | null;
  /** Pages that did not come home, and how long the oldest of them has been out. */
  readonly held: number;
  readonly oldestHeldUs: number | null;
  /** Some of them, for a picture: spread over all the time, and those that are out. */
  readonly sampled: readonly PageLife[];
}

/** A time in which a destroyed pool waited for its pages. */
export interface PoolStall {
  readonly seconds: number;
  /** Pages that it waited for at first. */
  readonly pages: number;
  /** What freed them in the end, as far as is known, or is thought to hold them. */
  readonly cause: "held-by-socket" | "deferred-free" | "unknown";
}

/** The life of one pool. Addresses recur: it is the `epoch`-th at its address in these traces. */
export interface ExplainedPool {
  readonly pool: string;
  /** 1 …. */
  readonly epoch: number;
  /** Its number in the kernel log; null: unknown. */
  readonly id: number | null;
  /** Null: unknown, or it has none. */
  readonly device: string | null;
  readonly firstTask: string | null;
  /** The kernel's own counters as they were last seen: pages that came, and left, whether or not the trace has a line for each. Null: never seen. */
  readonly holds: number | null;
  readonly releases: number | null;
  readonly inflight: number | null;
  /** As reported by each attempt to free it. */
  readonly inflightSeries: readonly number[];
  /** Seconds on the trace's clock. */
  readonly startedAt: number | null;
  readonly destroyedAt: number | null;
  /** The first attempt to free it after the one in which it was destroyed. */
  readonly firstRetryAt: number | null;
  readonly endedAt: number | null;
  readonly retries: number;
  readonly stalledSeconds: number;
  readonly stall: PoolStall | null;
  /** Pages were used again without leaving the pool: seen in its samples or in more packets than its pages can carry; or not to be seen in such a trace. */
  readonly recycling: "seen" | "not-visible";
  readonly lives: PageLives;
  readonly allocatedBy: readonly PageCount[];
  readonly freedBy: readonly PageCount[];
  readonly holders: readonly PageCount[];
  /** Lines of which the counters say that they should be there. */
  readonly missing: { readonly holds: number; readonly releases: number };
  /** Pages in flight over time, thinned out: pairs of seconds and pages. */
  readonly inflightOverTime: readonly (readonly [number, number])[];
  readonly verdict: PoolVerdict;
  /** 0 … 1: how sure. */
  readonly confidence: number;
  /** In words, the weightiest first. */
  readonly evidence: readonly string[];
}

/** What `explain` finds. */
export interface Explanation {
  readonly files: readonly TraceFileSummary[];
  /** Of all files. */
  readonly lost: number;
  readonly unknownLines: number;
  readonly pools: readonly ExplainedPool[];
  /** Pools that were not looked at, because there were too many. */
  readonly poolsLeftOut: number;
  readonly notes: readonly string[];
}

/** Verdicts that should make a script stop. */
export const FAULTY_VERDICTS: readonly PoolVerdict[] = ["leak-suspect", "accounting-error"];
