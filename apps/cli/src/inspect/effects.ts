import { grouped } from "../words.ts";
import { changeOf } from "./homecoming.ts";
import { placeWords, type MemoryShown, type SkbShown, type Snapshot } from "./snapshot.ts";

type Value = number | string | boolean | null;

/** One field of a packet or of a piece of memory. */
export interface Change {
  readonly what: string;
  readonly from: Value;
  readonly to: Value;
}

/** What an operation did to packets, or to memory. */
export interface Effect {
  /** Names of packets or of memory, to each of which the same happened. */
  readonly of: readonly string[];
  readonly changes: readonly Change[];
  /** The same as a sentence. */
  readonly text: string;
}

/** What differs between two looks. */
export function effectsOf(before: Snapshot, after: Snapshot): Effect[] {
  const effects: Effect[] = [];
  for (const skb of after.skbs) {
    const was = before.skbs.find(({ name }) => name === skb.name);
    if (was === undefined) {
      effects.push({ of: [skb.name], changes: [{ what: "exists", from: false, to: true }], text: `${skb.name} is ${skb.from}` });
      continue;
    }
    const changes = skbChanges(was, skb);
    if (changes.length > 0) effects.push({ of: [skb.name], changes, text: `${skb.name}: ${changes.map((change) => skbWords(change, skb)).join(", ")}` });
  }
  const gone = before.skbs.filter(({ name }) => !after.skbs.some((skb) => skb.name === name));
  for (const { name } of gone) effects.push({ of: [name], changes: [{ what: "exists", from: true, to: false }], text: `${name} is gone` });
  // A free says why.
  const freed = gone.length === 1 && after.skbs.length < before.skbs.length ? gone[0]! : null;
  const alike = new Map<string, { of: string[]; changes: readonly Change[] }>();
  for (const memory of after.memory) {
    const was = before.memory.find(({ name }) => name === memory.name);
    if (was === undefined) continue;
    const changes = memoryChanges(was, memory, after.holderCount);
    const text = freed === null ? changes.map((change) => memoryWords(change, was, memory)).join(", ") : (changeOf(was, memory, freed.ppRecycle, after.holderCount) ?? "");
    if (text === "") continue;
    const known = alike.get(text);
    if (known === undefined) alike.set(text, { of: [memory.name], changes });
    else known.of.push(memory.name);
  }
  return [...effects, ...[...alike].map(([text, { of, changes }]): Effect => ({ of, changes, text: `${of.join(", ")}: ${text}` }))];
}

/** The user has his memory back. */
export function toldEffect(neverCopied: boolean): Effect {
  return { of: ["user"], changes: [{ what: "told", from: null, to: neverCopied ? "zerocopy" : "copied" }], text: `the user is told that his memory is his again${neverCopied ? "" : ", and that it was copied"}` };
}

function skbChanges(was: SkbShown, is: SkbShown): Change[] {
  return [
    ...change("users", was.users, is.users), ...change("len", was.len, is.len), ...change("data_len", was.dataLen, is.dataLen), ...change("truesize", was.truesize, is.truesize),
    ...change("head", was.head.memory, is.head.memory), ...change("data", was.head.data, is.head.data), ...change("tail", was.head.tail, is.head.tail), ...change("end", was.head.end, is.head.end),
    ...change("frags", was.frags.length, is.frags.length), ...change("frag list", was.fragList.join(" "), is.fragList.join(" ")), ...change("dataref", was.dataref.all, is.dataref.all), ...change("payload-only", was.dataref.payloadOnly, is.dataref.payloadOnly),
    ...change("pp_recycle", was.ppRecycle, is.ppRecycle), ...change("cloned", was.cloned, is.cloned), ...change("nohdr", was.nohdr, is.nohdr),
    ...change("user references", was.userReferences, is.userReferences), ...change("state", was.state, is.state),
  ];
}

function skbWords({ what, from, to }: Change, skb: SkbShown): string {
  if (what === "state") return to === "listed" ? `is in the frag list of ${skb.listOf.join(", ")}` : to === "deferred" ? "waits for the CPU that built it" : "is held";
  return `${what} ${valueWords(from)} → ${valueWords(to)}`;
}

function memoryChanges(was: MemoryShown, is: MemoryShown, holderCount: Snapshot["holderCount"]): Change[] {
  return [
    ...(was.refcount === null || is.refcount === null ? [] : change("refcount", was.refcount, is.refcount)),
    ...(was.ppRefCount === null || is.ppRefCount === null ? [] : change(holderCount!, was.ppRefCount, is.ppRefCount)),
    ...change("page_pool", was.pool?.id ?? null, is.pool?.id ?? null),
    ...change("place", was.place, is.place),
  ];
}

function memoryWords({ what, from, to }: Change, was: MemoryShown, is: MemoryShown): string {
  if (what === "page_pool") return to === null ? `leaves page_pool ${was.pool!.id}` : `is page_pool ${is.pool!.id}'s`;
  if (what === "place") return placeWords(is);
  return `${what} ${valueWords(from)} → ${valueWords(to)}`;
}

function change(what: string, from: Value, to: Value): Change[] {
  return from === to ? [] : [{ what, from, to }];
}

function valueWords(value: Value): string {
  if (typeof value === "number") return grouped(value);
  if (typeof value === "boolean") return value ? "on" : "off";
  return value === null || value === "" ? "none" : value;
}
