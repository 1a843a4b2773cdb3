import { Opponent, ours } from "./opponents.ts";
import type { Workload } from "./workloads.ts";

export interface Result {
  readonly name: string;
  readonly operation: string;
  /** Nanoseconds an operation: the median of the rounds. */
  readonly ns: number;
  /** C's, or null without a reference. */
  readonly cNs: number | null;
  /** The median of each round's ratio. */
  readonly ratio: number | null;
  /** Least and most of our rounds, in ns. */
  readonly spread: readonly [number, number];
  /** Least and most ratio of a round. */
  readonly ratioSpread: readonly [number, number] | null;
  readonly rounds: number;
}

/** Part of the round's operations that each side runs before anything is measured. */
const WARM_UP = 0.25;

/** Both sides in turn, round by round; the first of each is for the engine to compile and the caches to fill. */
export async function measure(workload: Workload, rounds: number, scale: number, binary: string | null): Promise<Result> {
  const mine = ours(workload.name);
  const theirs = binary === null || !workload.inC ? null : new Opponent(binary, [workload.name]);
  const ops = Math.max(64, Math.round((workload.opsPerRound * scale) / 64) * 64);
  const ns: number[] = [];
  const cNs: number[] = [];
  try {
    for (const opponent of [mine, theirs]) await opponent?.round(Math.ceil((ops * WARM_UP) / 64) * 64);
    for (let round = 0; round < rounds; round++) {
      if (theirs !== null) cNs.push(await theirs.round(ops));
      ns.push(await mine.round(ops));
    }
  } finally {
    mine.end();
    theirs?.end();
  }
  const ratios = cNs.map((c, round) => ns[round]! / c);
  return {
    name: workload.name,
    operation: workload.operation,
    ns: rounded(median(ns)),
    cNs: cNs.length === 0 ? null : rounded(median(cNs)),
    ratio: ratios.length === 0 ? null : rounded(median(ratios)),
    spread: range(ns),
    ratioSpread: ratios.length === 0 ? null : range(ratios),
    rounds,
  };
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

function range(values: readonly number[]): readonly [number, number] {
  return [rounded(Math.min(...values)), rounded(Math.max(...values))];
}

function rounded(value: number): number {
  return Math.round(value * 100) / 100;
}
