import type { PresetName, WireFrame } from "@netmem/machine";
import { grouped } from "../words.ts";
import { changeOf, homecomingOf, type Homecoming } from "./homecoming.ts";
import { applyOperation, type Operation } from "./operations.ts";
import type { DesignOptions } from "./options.ts";
import { placeWords, snapshotOf, type MemoryShown, type SkbShown, type Snapshot } from "./snapshot.ts";
import { Stage } from "./stage.ts";

/** One design's packet: what the operations did, what it looks like now, and what becomes of it. The names are those of the JSON document. */
export interface InspectedDesign {
  readonly design: PresetName;
  readonly operations: readonly {
    readonly operation: string;
    /** The kernel's function. */
    readonly kernel: string;
    /** Why it was not done. */
    readonly refused?: string;
    /** The machine stopped here, and what came after was not done. */
    readonly panic?: string;
    readonly effects: readonly string[];
  }[];
  readonly snapshot: Snapshot;
  /** If every packet were freed now: in order, and backwards where that is another order. */
  readonly homecomings: readonly Homecoming[];
  readonly reports: readonly string[];
}

/** Receives `frames`, the last of them packet A, does the operations to it, and looks. */
export function inspect(frames: readonly WireFrame[], operations: readonly Operation[], options: DesignOptions): InspectedDesign {
  const { stage, done } = perform(frames, operations, options);
  const snapshot = snapshotOf(stage);
  // A panic is told where it happened.
  const reports = stage.machine.kernel.reports.reports.filter(({ severity }) => severity !== "bug").map(({ kind, object, message }) => `${kind}: ${object}: ${message}`);
  const stopped = done.at(-1)?.panic !== undefined;
  const held = stage.skbs.filter(({ holders }) => holders > 0);
  const homecomings = snapshot.skbs.length === 0 || stopped ? [] : [homecomingOf(stage, false)];
  // That machine is spent; the same again is the same again.
  if (held.length > 1 && !stopped) homecomings.push(homecomingOf(perform(frames, operations, options).stage, true));
  return { design: options.design, operations: done, snapshot, homecomings, reports };
}

function perform(frames: readonly WireFrame[], operations: readonly Operation[], options: DesignOptions): { readonly stage: Stage; readonly done: InspectedDesign["operations"] } {
  const stage = new Stage(frames, options, operations.length);
  const done: InspectedDesign["operations"][number][] = [];
  let before = snapshotOf(stage);
  let effects: string[] = [];
  const look = (): void => {
    const after = snapshotOf(stage);
    effects.push(...effectsOf(before, after));
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

/** What differs between two looks, in words. */
function effectsOf(before: Snapshot, after: Snapshot): string[] {
  const lines: string[] = [];
  for (const skb of after.skbs) {
    const was = before.skbs.find(({ name }) => name === skb.name);
    if (was === undefined) lines.push(`${skb.name} is ${skb.from}`);
    else {
      const changes = skbChanges(was, skb);
      if (changes.length > 0) lines.push(`${skb.name}: ${changes.join(", ")}`);
    }
  }
  // A free says why.
  const gone = before.skbs.filter(({ name }) => !after.skbs.some((skb) => skb.name === name));
  for (const { name } of gone) lines.push(`${name} is gone`);
  const freed = gone.length === 1 && after.skbs.length < before.skbs.length ? gone[0]! : null;
  const alike = new Map<string, string[]>();
  for (const memory of after.memory) {
    const was = before.memory.find(({ name }) => name === memory.name);
    const changes = was === undefined ? "" : (freed === null ? memoryChanges(was, memory, after.holderCount).join(", ") : (changeOf(was, memory, freed.ppRecycle, after.holderCount) ?? ""));
    if (changes !== "") alike.set(changes, [...(alike.get(changes) ?? []), memory.name]);
  }
  return [...lines, ...[...alike].map(([changes, names]) => `${names.join(", ")}: ${changes}`)];
}

function skbChanges(was: SkbShown, is: SkbShown): string[] {
  return [
    ...change("users", was.users, is.users), ...change("len", was.len, is.len), ...change("data_len", was.dataLen, is.dataLen), ...change("truesize", was.truesize, is.truesize),
    ...change("head", was.head.memory, is.head.memory), ...change("data", was.head.data, is.head.data), ...change("tail", was.head.tail, is.head.tail), ...change("end", was.head.end, is.head.end),
    ...change("frags", was.frags.length, is.frags.length), ...change("dataref", was.dataref.all, is.dataref.all), ...change("payload-only", was.dataref.payloadOnly, is.dataref.payloadOnly),
    ...change("pp_recycle", bit(was.ppRecycle), bit(is.ppRecycle)), ...change("cloned", bit(was.cloned), bit(is.cloned)), ...change("nohdr", bit(was.nohdr), bit(is.nohdr)),
    ...(was.state === is.state ? [] : ["waits for the CPU that built it"]),
  ];
}

function memoryChanges(was: MemoryShown, is: MemoryShown, holderCount: Snapshot["holderCount"]): string[] {
  const changes = [...(was.refcount === null || is.refcount === null ? [] : change("refcount", was.refcount, is.refcount)), ...(was.ppRefCount === null || is.ppRefCount === null ? [] : change(holderCount!, was.ppRefCount, is.ppRefCount))];
  if (was.pool !== null && is.pool === null) changes.push(`leaves page_pool ${was.pool.id}`);
  if (was.place !== is.place) changes.push(placeWords(is));
  return changes;
}

function change(what: string, was: number | string, is: number | string): string[] {
  return was === is ? [] : [`${what} ${numeral(was)} → ${numeral(is)}`];
}

function numeral(value: number | string): string {
  return typeof value === "number" ? grouped(value) : value;
}

function bit(set: boolean): string {
  return set ? "on" : "off";
}
