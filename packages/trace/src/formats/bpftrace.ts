import { ReadEvent } from "../event.ts";
import { addressOf, counterOf, hexOf, signedOf, type Interned } from "../fields.ts";

/** `nsecs hold|release|shutdown pool=… …`, as the script in the guide prints it. */
const LINE = /^(\d+) (hold|release|shutdown) (pool=.*)$/;
/** `@hold[0xffff…]: 64`: a map, printed as the script ends. */
const MAP = /^@\w*(?:\[[^\]]*\])?: /;

/** Null: the line is none. */
export function readBpftraceLine(line: string, names: Interned): ReadEvent | null {
  const match = LINE.exec(line);
  if (match === null) return null;
  const kind = match[2] as "hold" | "release" | "shutdown";
  const text = match[3]!;
  const pool = addressOf(text, "pool=");
  if (pool === null) return null;
  const comm = /\bcomm=(.*)$/.exec(text);
  const event = new ReadEvent(kind, kind, Number(match[1]) / 1000, counterOf(text, "cpu="), comm === null ? null : names.of(comm[1]!));
  event.pool = names.of(pool);
  event.pfn = hexOf(text, "pfn=");
  event.hold = counterOf(text, "hold=");
  event.release = counterOf(text, "release=") ?? counterOf(text, "rel=");
  event.inflight = signedOf(text, "inflight=");
  event.attempts = counterOf(text, "cnt=");
  const complete = kind === "hold" ? event.hold !== null : kind === "release" ? event.release !== null : event.inflight !== null;
  return complete ? event : null;
}

/** What bpftrace prints beside the script's own lines. */
export function isBpftraceTalk(line: string): boolean {
  return MAP.test(line) || /^Attaching \d+ probes?\.\.\.$/.test(line) || /^(?:ERROR|WARNING): /.test(line);
}
