import type { PresetName } from "@netmem/machine";
import type { FlushPoint } from "../deferred-flushes.ts";
import type { Truth } from "../truth.ts";
import type { VethWorld } from "../world.ts";

/** How closely a model's run can be held to a kernel's: to the same numbers, or to what holds for both. */
export type Level = "exact" | "invariant";

/** What a script leaves open, and the kernel decided: a model is asked for each, and the one that comes closest is compared. */
export interface Variant {
  readonly name: string;
  /** Datagrams are read on another CPU than they were received on, and wait for that to free them. */
  readonly readerIsElsewhere: boolean;
  /** As the trace shows when that CPU freed what was read. */
  readonly asTraced: boolean;
  /** By read: how many of its datagrams were left to be read when the CPU that received last had a packet, of whatever else goes on, or was told that many wait: what was read before is freed then. Null: it had none. */
  readonly wokenBefore: readonly (number | null)[];
  /** It has others once the script is over. */
  readonly wokenLater: boolean;
  /** Checksums are the sender's and not left to its device: `ethtool -K kca0 tx off`. */
  readonly senderSums: boolean;
}

export const ONE: Variant = { name: "", readerIsElsewhere: false, asTraced: false, wokenBefore: [], wokenLater: false, senderSums: false };
/** Of more reads than this, only whether all or none of them were followed by a packet. */
const MOST_READS = 4;
/** When so many wait, the CPU is told at once; how many more are read until it has looked is a race. @kernel net.core.skb_defer_max, half of it */
const TOLD_AT = 32;

export function only(): readonly Variant[] {
  return [ONE];
}

/** What the capture's prefix says, which its script does not. */
export function senders(): readonly Variant[] {
  return [{ ...ONE, name: "checksums left to devices" }, { ...ONE, name: "checksums by the sender", senderSums: true }];
}

/** Which CPU a reader runs on is the scheduler's to say, and what else goes on is everybody's. */
export function readers(truth: Truth): readonly Variant[] {
  return truth.receivers.length === 0 ? [ONE] : [{ ...ONE, name: "read where it was received" }, ...elsewhere(truth)];
}

/** A reader that the script pins to another CPU. */
export function elsewhere({ receivers }: Truth): readonly Variant[] {
  const counts = receivers.flatMap(({ steps }) => steps.filter(({ kind }) => kind === "read").map(({ count }) => count));
  const all = counts.map(() => 0);
  const sets: (number | null)[][] = counts.length > MOST_READS ? [counts.map(() => null), all] : Array.from({ length: 1 << counts.length }, (_, mask) => counts.map((_count, i) => ((mask & (1 << i)) === 0 ? null : 0)));
  const last = counts.at(-1) ?? 0;
  // Only where that many are read at all there is such a race.
  if (counts.some((count) => count > TOLD_AT)) for (let left = 1; left <= Math.min(TOLD_AT, last - 1); left++) sets.push([...counts.slice(0, -1).map(() => 0), left]);
  const traced: Variant = { ...ONE, name: "read on another CPU; the one that received freed as the trace shows", readerIsElsewhere: true, asTraced: true };
  const guessed = [false, true].flatMap((wokenLater) => sets.map((wokenBefore) => ({ name: nameOf(wokenBefore, wokenLater), readerIsElsewhere: true, asTraced: false, wokenBefore, wokenLater, senderSums: false })));
  return [traced, ...guessed];
}

function nameOf(wokenBefore: readonly (number | null)[], wokenLater: boolean): string {
  const when = [
    ...wokenBefore.flatMap((left, i) => (left === null ? [] : [left === 0 ? `after read ${i + 1}` : `with ${left} of read ${i + 1} to come`])),
    ...(wokenLater ? ["in the end"] : []),
  ];
  return `read on another CPU; the one that received was woken ${when.length === 0 ? "never" : when.join(", ")}`;
}

/** When the kernel did what a script does not write down, in seconds on the capture's clock. */
export interface KernelTimes {
  /** Pools of test runs, by their order, were destroyed. */
  readonly liveDestroyed: readonly number[];
  readonly end: number;
  /** When CPUs freed what was read on another. */
  readonly flushes: readonly FlushPoint[];
}

/** The script of a capture, for the model. */
export interface Recipe {
  readonly level: Level;
  readonly variants: (truth: Truth) => readonly Variant[];
  /** Kernels whose behaviour there is; null: any. */
  readonly presets: readonly PresetName[] | null;
  /** Does what the script did. Answers the numbers of the pools of its test runs, in order. */
  readonly run: (world: VethWorld, truth: Truth, variant: Variant, times: KernelTimes) => readonly number[];
}
