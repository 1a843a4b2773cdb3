import pc from "picocolors";
import { PRESETS } from "@netmem/machine";
import { PAGE_SIZE } from "@netmem/mm/api";
import { counted, grouped } from "../words.ts";
import type { Homecoming } from "./homecoming.ts";
import type { InspectedDesign } from "./inspect.ts";
import { placeWords, type MemoryShown, type SkbShown, type Snapshot } from "./snapshot.ts";

/** Columns of a buffer's drawing. */
const BUFFER_COLUMNS = 76;
/** Orders of more packets than this are abridged. */
const LONG_ORDER = 4;

type Colors = ReturnType<typeof pc.createColors>;

/** One design's packet as text. */
export function draw(run: InspectedDesign, color: boolean): string {
  const colors = pc.createColors(color);
  const { operations, snapshot, homecomings } = run;
  const lines: string[] = [];
  if (operations.length > 0) lines.push(...drawOperations(run, colors), "");
  if (snapshot.skbs.length === 0) lines.push("No skb is left.", "");
  for (const skb of snapshot.skbs) lines.push(...drawSkb(skb, snapshot, colors), "");
  lines.push(colors.bold("memory"), ...drawMemory(snapshot, !PRESETS[run.design].recyclesSkbPages), "");
  if (homecomings.length > 0) lines.push(...drawHomecomings(homecomings, snapshot, colors));
  return lines.join("\n").trimEnd() + "\n";
}

function drawOperations({ operations }: InspectedDesign, colors: Colors): string[] {
  const width = Math.max(...operations.map(({ operation }) => operation.length));
  return operations.flatMap(({ operation, kernel, refused, notDone, note, panic, effects }, i) => {
    const said = [...(refused === undefined ? [] : [`refused: ${kernel} ${refused}`]), ...(notDone === undefined ? [] : [`not done: ${notDone}`]), ...(note === undefined ? [] : [note]), ...(panic === undefined ? [] : [panic]), ...effects.map(({ text }) => text)];
    const front = `${String(i + 1).padStart(3)}  ${colors.bold(operation.padEnd(width))}  `;
    return (said.length === 0 ? ["nothing changed"] : said).map((line, j) => `${j === 0 ? front : " ".repeat(width + 7)}${line}`);
  });
}

function drawSkb(skb: SkbShown, { memory }: Snapshot, colors: Colors): string[] {
  const { head, frags, fragList, dataref } = skb;
  const linear = head.tail - head.data;
  const inFrags = frags.reduce((sum, { bytes }) => sum + bytes, 0);
  const title = `${colors.bold(skb.name)}, ${skb.from}: ${counted(skb.len, "byte")} = ${grouped(linear)} in the head${frags.length === 0 ? "" : ` + ${grouped(inFrags)} in ${counted(frags.length, "frag")}`}${fragList.length === 0 ? "" : ` + ${grouped(skb.dataLen - inFrags)} in its frag list ${fragList.join(", ")}`}, truesize ${grouped(skb.truesize)}`;
  const shares = skb.sharesDataWith.length === 0 ? "its own" : `shared with ${skb.sharesDataWith.join(", ")}`;
  const words = [
    `users ${skb.users}`,
    `dataref ${dataref.all}${dataref.payloadOnly === 0 ? "" : ` (${dataref.payloadOnly} for payload only)`}: data ${shares}`,
    skb.ppRecycle ? "pp_recycle: its pages go to their pools" : "no pp_recycle: its pages are put as anybody's",
    ...(skb.nohdr ? ["nohdr"] : []),
    ...(skb.unreadable ? ["unreadable"] : []),
    ...(skb.userReferences === null ? [] : [`frags in a user's memory, which has ${counted(skb.userReferences, "reference")}`]),
    ...(skb.state === "deferred" ? ["given up, waits for the CPU that built it"] : []),
    ...(skb.state === "listed" ? [`in the frag list of ${skb.listOf.join(", ")}`] : []),
  ];
  const lines = [title, `   ${words.join("; ")}`];
  lines.push(`   head in ${describe(find(memory, head.memory))}${head.offset === 0 ? "" : ` at ${grouped(head.offset)}`}${skb.macHeader === null ? "" : `; MAC header at data ${signed(skb.macHeader)}`}`);
  lines.push(...drawBuffer(head).map((line) => `   ${line}`));
  for (const [i, frag] of frags.entries()) lines.push(`   frag ${String(i).padEnd(2)} ${describe(find(memory, frag.memory))}, bytes ${grouped(frag.offset)} … ${grouped(frag.offset + frag.bytes)}`);
  return lines;
}

/** Offsets above, what lies between them inside, to scale as far as the words allow. */
function drawBuffer({ data, tail, end, sharedInfoBytes }: SkbShown["head"]): string[] {
  const parts = [
    { at: "head 0", label: "headroom", bytes: data },
    { at: `data ${grouped(data)}`, label: "linear data", bytes: tail - data },
    { at: `tail ${grouped(tail)}`, label: "tailroom", bytes: end - tail },
    { at: `end ${grouped(end)}`, label: "shared info", bytes: sharedInfoBytes },
  ];
  const least = parts.map(({ at, label }) => Math.max(at.length, label.length) + 3);
  const spare = Math.max(0, BUFFER_COLUMNS - least.reduce((sum, columns) => sum + columns, 0));
  const total = parts.reduce((sum, { bytes }) => sum + bytes, 0);
  const columns = parts.map(({ bytes }, i) => least[i]! + Math.floor((spare * bytes) / total));
  const row = (text: (part: (typeof parts)[number]) => string, between: string, fill: string, close: string): string =>
    parts.map((part, i) => between + text(part).padEnd(columns[i]! - 1, fill)).join("") + close;
  return [
    row(({ at }) => at, " ", " ", ""),
    row(() => "", "┌", "─", "┐").replaceAll(/(?<=.)┌/g, "┬"),
    row(({ label }) => ` ${label}`, "│", " ", "│"),
    row(({ bytes }) => ` ${grouped(bytes)}`, "│", " ", "│"),
    row(() => "", "└", "─", "┘").replaceAll(/(?<=.)└/g, "┴"),
  ].map((line) => line.trimEnd());
}

/** `leftAtBirth`: the design's driver takes each page out of its pool when an skb is built over it. */
function drawMemory({ memory, holderCount }: Snapshot, leftAtBirth: boolean): string[] {
  const rows = memory.map((one) => [
    one.name,
    describe(one).slice(one.name.length + 1),
    one.pool === null ? (one.kind === "slab" ? "the slab's" : one.ofUser ? "the user's" : leftAtBirth ? "no pool's: left when its skb was built" : "no pool's") : `page_pool ${one.pool.id} of ${one.pool.device}`,
    one.refcount === null ? "" : `refcount ${one.refcount}`,
    one.ppRefCount === null ? "" : `${holderCount} ${one.ppRefCount}`,
    one.holders.length === 0 ? placeWords(one) : [...one.holders.map(({ skbs, as }) => `${skbs.join("+")} ${as}`), ...(one.ofUser ? ["the user"] : [])].join(", "),
  ]);
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows.map((row) => `   ${row.map((cell, column) => cell.padEnd(widths[column]!)).join("   ").trimEnd()}`);
}

function drawHomecomings(homecomings: readonly Homecoming[], { memory }: Snapshot, colors: Colors): string[] {
  const orders = homecomings.map(({ order }) => (order.length > LONG_ORDER ? `${order[0]} … ${order.at(-1)}` : order.join(", ")));
  const stories = new Map<string, { names: string[]; lines: string[] }>();
  for (const [i, { name }] of homecomings[0]!.memory.entries()) {
    const lines = storyOf(homecomings.map((home) => home.memory[i]!), orders, find(memory, name));
    if (lines.length === 0) continue;
    const story = stories.get(lines.join("\n")) ?? { names: [], lines };
    story.names.push(name);
    stories.set(lines.join("\n"), story);
  }
  const lines = [colors.bold(`freed now by the process, which is not the pool's NAPI, in the order ${orders.join(" or ")}`)];
  for (const { names, lines: [verdict, ...steps] } of stories.values()) lines.push(`   ${colors.bold(names.join(", "))}  ${verdict}`, ...steps.map((step) => `       ${step}`));
  for (const [i, { reports }] of homecomings.entries()) for (const report of reports) lines.push(`   ${orders[i]}: report ${report}`);
  return lines;
}

/** A verdict, then what each free did, of which a slab's object has no more to tell; none for memory that no free touched. */
function storyOf(fates: readonly Homecoming["memory"][number][], orders: readonly string[], { kind }: MemoryShown): string[] {
  if (fates.every(({ steps }) => steps.length === 0)) return [];
  if (kind === "slab") return ["back to its slab"];
  if (fates.every(({ end }) => end === "user")) return ["a user's page"];
  const recycled = orders.filter((_, i) => fates[i]!.recycled);
  const verdict = recycled.length === 0 ? "not recycled" : recycled.length === orders.length ? "recycled" : `recycled only in the order ${recycled.join(" or ")}`;
  const told = fates.map(({ steps }) => steps.map(({ freed, what }) => `${freed}: ${what}`));
  const same = told.every((text) => text.join() === told[0]!.join());
  return [verdict, ...(same ? told[0]! : told.flatMap((text, i) => text.map((line, j) => `${(j === 0 ? orders[i]! : "").padEnd(orders[i]!.length)}   ${line}`)))];
}

function describe({ name, kind, pfn, bytes }: MemoryShown): string {
  switch (kind) {
    case "page": return `${name} page pfn 0x${pfn!.toString(16)}${bytes > PAGE_SIZE ? ` (${grouped(bytes)} bytes)` : ""}`;
    case "slab": return `${name} slab object of ${grouped(bytes)} bytes`;
    case "net_iov": return `${name} net_iov`;
  }
}

function signed(value: number): string {
  return value < 0 ? `− ${grouped(-value)}` : `+ ${grouped(value)}`;
}

function find(memory: readonly MemoryShown[], name: string): MemoryShown {
  return memory.find((one) => one.name === name)!;
}
