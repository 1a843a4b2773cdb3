import type { PoolStatistics } from "../api/index.ts";
import { ReadEvent } from "../event.ts";
import { parseJson } from "../json.ts";

/**
 * Replies of `page-pool-get` and `page-pool-stats-get`, as `ynl` prints them: JSON, or Python's own notation. Null: the text is neither.
 * @kernel Documentation/netlink/specs/netdev.yaml
 */
export function readNetlink(text: string): ReadEvent[] | null {
  const parsed = parseJson(text) ?? parseJson(fromPython(text));
  if (parsed === undefined || parsed === null) return null;
  const events: ReadEvent[] = [];
  for (const entry of Array.isArray(parsed) ? (parsed as unknown[]) : [parsed]) {
    const event = readReply(entry);
    if (event !== null) events.push(event);
  }
  return events.length === 0 && !(Array.isArray(parsed) && parsed.length === 0) ? null : events;
}

function fromPython(text: string): string {
  return text.replaceAll("'", '"').replaceAll(/\bNone\b/g, "null").replaceAll(/\bTrue\b/g, "true").replaceAll(/\bFalse\b/g, "false");
}

/** What `page-pool-get` says of a pool, beside what others say. */
const POOL_MEMBERS: readonly string[] = ["inflight", "inflight-mem", "detach-time"];

function readReply(entry: unknown): ReadEvent | null {
  if (typeof entry !== "object" || entry === null) return null;
  const reply = entry as Readonly<Record<string, unknown>>;
  // Statistics name their pool within.
  const info = typeof reply["info"] === "object" && reply["info"] !== null ? (reply["info"] as Readonly<Record<string, unknown>>) : reply;
  const id = whole(info["id"]);
  // Replies about NAPI and queues have an id, too.
  if (id === null || (info === reply && !POOL_MEMBERS.some((name) => name in reply))) return null;
  const counts: Record<string, number> = {};
  for (const [name, value] of Object.entries(reply)) {
    const count = whole(value);
    if (count !== null && /^(?:alloc|recycle)-/.test(name)) counts[name] = count;
  }
  const statistics: PoolStatistics = { ifindex: whole(info["ifindex"]), napiId: whole(reply["napi-id"]), inflightBytes: whole(reply["inflight-mem"]), detachTime: whole(reply["detach-time"]), counts };
  const event = new ReadEvent("snapshot", "page-pool-get", null, null, null);
  event.id = id;
  event.inflight = whole(reply["inflight"]);
  event.statistics = statistics;
  return event;
}

function whole(value: unknown): number | null {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? value : null;
}
