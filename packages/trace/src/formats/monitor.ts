import type { PacketSample, TraceEventKind } from "../api/index.ts";
import { ReadEvent } from "../event.ts";
import { parseAddress, parseHex, type Interned } from "../fields.ts";
import { parseJson } from "../json.ts";

const KINDS: Readonly<Record<string, TraceEventKind>> = { hold: "hold", release: "release", shutdown: "shutdown", gro: "packet", rx: "packet", consume: "packet-freed", kfree: "packet-freed" };
/** Bytes of a struct page. */
const STRUCT_PAGE_BYTES = 64;

/** A line of the monitor's: an object with `t`, `ev` and `pool`. Null: it is none. */
export function readMonitorLine(line: string, names: Interned): ReadEvent | null {
  // Beyond 2^53 a number would lose what tells one fragment from two.
  const parsed = parseJson(line.replace(/"pp_ref":(-?\d+)/, '"pp_ref":"$1"'));
  if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed)) return null;
  const read = parsed as Readonly<Record<string, unknown>>;
  const { t, ev, pool } = read;
  if (typeof t !== "number" || typeof ev !== "string" || typeof pool !== "string") return null;
  const address = parseAddress(pool);
  if (address === null) return null;
  const event = new ReadEvent(Object.hasOwn(KINDS, ev) ? KINDS[ev]! : "other", names.of(ev), t * 1e6, number(read, "cpu"), typeof read["comm"] === "string" ? names.of(`${read["comm"]}-${number(read, "pid") ?? 0}`) : null);
  event.pool = names.of(address);
  event.id = number(read, "id");
  event.device = typeof read["dev"] === "string" && read["dev"] !== "" ? names.of(read["dev"]) : null;
  event.hold = number(read, "hold");
  event.release = number(read, "rel");
  event.inflight = number(read, "inflight");
  if (event.kind !== "other" && (event.hold === null || event.release === null)) return null;
  event.skb = typeof read["skb"] === "string" ? parseHex(read["skb"]) : null;
  event.amount = number(read, "len");
  // No frame number, but the struct page itself: one as good as the other for telling pages apart.
  const page = typeof read["page"] === "string" ? parseHex(read["page"]) : null;
  event.pfn = page === null ? null : page / STRUCT_PAGE_BYTES;
  const ppRef = read["pp_ref"];
  event.sample = {
    cache: number(read, "cache") ?? 0, ring: number(read, "ring") ?? 0, fragOffset: number(read, "frag_off") ?? 0, fragUsers: number(read, "frag_users") ?? 0,
    refcount: number(read, "refcount"), ppRef: typeof ppRef === "string" ? ppRef : null, packet: packetOf(read),
  };
  return event;
}

function packetOf(read: Readonly<Record<string, unknown>>): PacketSample | null {
  if (typeof read["skb"] !== "string") return null;
  return {
    len: number(read, "len") ?? 0, dataLen: number(read, "data_len") ?? 0, truesize: number(read, "truesize") ?? 0, nrFrags: number(read, "nr_frags") ?? 0,
    dataref: number(read, "dataref") ?? 0, cloned: number(read, "cloned") ?? 0, users: number(read, "users") ?? 0,
  };
}

function number(read: Readonly<Record<string, unknown>>, name: string): number | null {
  const value = read[name];
  return typeof value === "number" && Number.isFinite(value) ? value : null;
}
