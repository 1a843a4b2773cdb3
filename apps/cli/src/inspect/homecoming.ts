import { KernelPanic } from "@netmem/kernel/api";
import { placeWords, snapshotOf, type MemoryShown, type Place, type Snapshot } from "./snapshot.ts";
import { fragListOf, isGone, type Stage } from "./stage.ts";

/** What became of the memory when every packet was let go of, in one order. */
export interface Homecoming {
  /** A packet once for each of its holders; those that were deferred are freed first, at once. */
  readonly order: readonly string[];
  readonly memory: readonly {
    readonly name: string;
    readonly end: Place;
    /** Its pool has it, or the device has it from its pool. */
    readonly recycled: boolean;
    /** The frees that changed something about it. */
    readonly steps: readonly { readonly freed: string; readonly what: string }[];
  }[];
  /** Rules that were broken on the way. */
  readonly reports: readonly string[];
}

/** Frees everything by the reading process, in order or backwards, what was deferred first of all; the machine is then spent. */
export function homecomingOf(stage: Stage, backwards: boolean): Homecoming {
  const { reports } = stage.machine.kernel;
  const frees = freesOf(stage, backwards);
  const reportsBefore = reports.total;
  const { memory: start, holderCount } = snapshotOf(stage);
  const steps = start.map((): { freed: string; what: string }[] => []);
  const broken: string[] = [];
  let before = start;
  for (const { name, ppRecycle, packets, free } of frees) {
    try {
      free();
    } catch (error) {
      if (!(error instanceof KernelPanic)) throw error;
      broken.push(error.message);
      break;
    }
    const after = snapshotOf(stage).memory;
    for (const [i, was] of before.entries()) {
      const what = packets === 1 ? changeOf(was, after[i]!, ppRecycle, holderCount) : changed(was, after[i]!) ? `freed with the others that were deferred: ${placeWords(after[i]!)}` : null;
      if (what !== null) steps[i]!.push({ freed: name, what });
    }
    before = after;
  }
  return {
    order: frees.map(({ name }) => name),
    memory: start.map(({ name }, i) => ({ name, end: before[i]!.place, recycled: before[i]!.place === "cache" || before[i]!.place === "ring", steps: steps[i]! })),
    reports: [...reports.reports.slice(reportsBefore).filter(({ severity }) => severity !== "bug").map(({ kind, object, message }) => `${kind}: ${object}: ${message}`), ...broken],
  };
}

interface Free {
  readonly name: string;
  readonly ppRecycle: boolean;
  /** So many packets at once: who did what cannot be seen. */
  readonly packets: number;
  readonly free: () => void;
}

function freesOf(stage: Stage, backwards: boolean): Free[] {
  const { lifetime } = stage.machine.net;
  const held = stage.skbs.flatMap((named) => Array.from({ length: named.holders }, () => named));
  if (backwards) held.reverse();
  const frees = held.map((named): Free => ({ name: named.name, ppRecycle: named.skb.ppRecycle, packets: 1, free: () => {
    named.holders--;
    stage.inProcess(() => lifetime.consumeSkb(named.skb));
  } }));
  const deferred = stage.skbs.filter((named) => named.holders === 0 && !isGone(named) && !stage.skbs.some((other) => !isGone(other) && fragListOf(other.skb).includes(named.skb)));
  if (deferred.length === 0) return frees;
  return [{ name: deferred.map(({ name }) => name).join("+"), ppRecycle: deferred[0]!.skb.ppRecycle, packets: deferred.length, free: () => stage.machine.flushDeferred() }, ...frees];
}

function changed(was: MemoryShown, is: MemoryShown): boolean {
  return was.place !== is.place || was.refcount !== is.refcount || was.ppRefCount !== is.ppRefCount || was.pool?.id !== is.pool?.id;
}

/** What one free did to a page, and why; null: nothing. */
export function changeOf(was: MemoryShown, is: MemoryShown, ppRecycle: boolean, holderCount: Snapshot["holderCount"]): string | null {
  if (!changed(was, is)) return null;
  if (was.place !== "held") return `from ${was.place} to ${is.place}`;
  const pool = was.pool === null ? "" : `page_pool ${was.pool.id}`;
  switch (is.place) {
    case "cache": case "ring": return `${lastHolder(was, holderCount)}the one page reference is the pool's: into the ${is.place} of ${pool}`;
    case "posted": return "posted to the device again";
    case "lost": return `${is.refcount === 0 ? "freed" : `refcount ${was.refcount} → ${is.refcount}`}, though ${pool} counts it as out, and nobody will give it back: lost`;
    case "held": return stillHeld(was, is, ppRecycle, holderCount);
    case "user": return `refcount ${was.refcount} → ${is.refcount}: the user's alone`;
    case "withheld": return `freed, though ${pool} still had it mapped and marked: withheld`;
    case "free": return was.pool === null ? "the last reference: free" : `leaves ${pool}, and free: ${was.refcount === 1 ? "no room in the ring" : `${was.refcount} references`}`;
  }
}

/** Where holders are counted, only the last of them looks at the page's references. */
function lastHolder({ ppRefCount }: MemoryShown, holderCount: Snapshot["holderCount"]): string {
  return holderCount === null || ppRefCount === null ? "" : `${holderCount} is ${ppRefCount}, the last holder, and `;
}

function stillHeld(was: MemoryShown, is: MemoryShown, ppRecycle: boolean, holderCount: Snapshot["holderCount"]): string {
  const references = `refcount ${was.refcount} → ${is.refcount}`;
  if (was.pool !== null && is.pool === null) return `${lastHolder(was, holderCount)}it finds ${was.refcount} page references, not 1: the page leaves page_pool ${was.pool.id}, unmapped; ${references}`;
  if (was.ppRefCount !== is.ppRefCount) return `${holderCount} ${was.ppRefCount} → ${is.ppRefCount}, another holder is left`;
  return `${ppRecycle || was.pool === null ? "" : "without pp_recycle it puts a page reference: "}${references}, another holder is left`;
}
