import type { PresetName, WireFrame } from "@netmem/machine";
import { effectsOf, toldEffect, type Effect } from "./effects.ts";
import { homecomingOf, type Homecoming } from "./homecoming.ts";
import { applyOperation, type Operation } from "./operations.ts";
import type { DesignOptions } from "./options.ts";
import { snapshotOf, type Snapshot } from "./snapshot.ts";
import { Stage } from "./stage.ts";

/** One design's packet: what the operations did, what it looks like now, and what becomes of it. The names are those of the JSON document. */
export interface InspectedDesign {
  readonly design: PresetName;
  readonly operations: readonly {
    readonly operation: string;
    /** The kernel's function. */
    readonly kernel: string;
    /** The kernel refused it, and how. */
    readonly refused?: string;
    /** It was not tried: no kernel would see what it breaks, or it cannot be shown. */
    readonly notDone?: string;
    /** What this kernel does instead. */
    readonly note?: string;
    /** The machine stopped here, and what came after was not done. */
    readonly panic?: string;
    readonly effects: readonly Effect[];
  }[];
  readonly snapshot: Snapshot;
  /** If every packet were freed now: in order, and backwards where that is another order. */
  readonly homecomings: readonly Homecoming[];
  readonly reports: readonly string[];
}

/** Receives `frames`, the last of them packet A, does the operations to it and to those that come `later`, and looks. */
export function inspect(frames: readonly WireFrame[], operations: readonly Operation[], options: DesignOptions, later: readonly WireFrame[] = []): InspectedDesign {
  const { stage, done } = perform(frames, operations, options, later);
  const snapshot = snapshotOf(stage);
  // A panic is told where it happened.
  const reports = stage.machine.kernel.reports.reports.filter(({ severity }) => severity !== "bug").map(({ kind, object, message }) => `${kind}: ${object}: ${message}`);
  const stopped = done.at(-1)?.panic !== undefined;
  const held = stage.skbs.filter(({ holders }) => holders > 0);
  const homecomings = snapshot.skbs.length === 0 || stopped ? [] : [homecomingOf(stage, false)];
  // That machine is spent; the same again is the same again.
  if (held.length > 1 && !stopped) homecomings.push(homecomingOf(perform(frames, operations, options, later).stage, true));
  return { design: options.design, operations: done, snapshot, homecomings, reports };
}

function perform(frames: readonly WireFrame[], operations: readonly Operation[], options: DesignOptions, later: readonly WireFrame[]): { readonly stage: Stage; readonly done: InspectedDesign["operations"] } {
  const stage = new Stage(frames, options, operations.length, later);
  const done: InspectedDesign["operations"][number][] = [];
  let before = snapshotOf(stage);
  let effects: Effect[] = [];
  let told = 0;
  const look = (): void => {
    const after = snapshotOf(stage);
    effects.push(...effectsOf(before, after), ...stage.told.slice(told).map(toldEffect));
    told = stage.told.length;
    before = after;
  };
  stage.look = look;
  for (const [i, operation] of operations.entries()) {
    effects = [];
    const outcome = applyOperation(stage, operation, i + 1);
    look();
    done.push({ operation: operation.text, kernel: operation.kind.kernel, ...outcome, effects });
    if (outcome.panic !== undefined) break;
  }
  return { stage, done };
}
