import { callForeign } from "@netmem/kernel/api";

/** What a capture's script did, and when: `truth.json`. Of its numbers only what was done is used, never what came of it. */
export interface Truth {
  /** Without a suffix of how long it held. */
  readonly scenario: string;
  /** As `uname -r` prints it. */
  readonly kernel: string;
  readonly cpus: number;
  /** Seconds on the trace's clock at which tracing began. */
  readonly t0: number;
  readonly lostEvents: number;
  /** Events that were recorded, by tracepoint: to see whether the trace is whole. */
  readonly events: ReadonlyMap<string, number>;
  readonly pings: { readonly count: number; readonly payloadBytes: number } | null;
  readonly sends: readonly Send[];
  readonly tcpBytes: number | null;
  readonly receivers: readonly Receiver[];
  /** In the order in which they were run. */
  readonly live: readonly LiveRun[];
  /** When a link was deleted, a program taken away, a quiet CPU given a packet. */
  readonly linkDeleted: number | null;
  readonly xdpOff: number | null;
  readonly flushSoftirq: number | null;
}

export interface Send {
  readonly port: number;
  readonly count: number;
  readonly bytes: number;
}

export interface Step {
  readonly kind: "read" | "closed";
  /** Datagrams that were read. */
  readonly count: number;
  /** Seconds; null: not written down. */
  readonly at: number | null;
}

export interface Receiver {
  readonly port: number;
  readonly rcvbufBytes: number | null;
  readonly steps: readonly Step[];
}

/** A test run with live frames. */
export interface LiveRun {
  readonly verdict: "drop" | "pass" | "tx" | "redirect";
  readonly repeat: number;
  readonly batch: number;
  readonly payloadBytes: number;
}

type Json = Readonly<Record<string, unknown>>;

/** The scripts send to this port unless they say otherwise. */
const DEFAULT_PORT = 7700;
const SECOND_PORT = 7702;
const LIVE_VERDICTS: readonly ("drop" | "pass" | "tx" | "redirect")[] = ["drop", "pass", "redirect", "tx"];

/** What is wrong with it, in words, otherwise. */
export function parseTruth(text: string): Truth | string {
  let why = "no JSON object";
  const parsed = callForeign((): unknown => JSON.parse(text), (reason) => void (why = `no JSON: ${reason}`));
  if (!isObject(parsed)) return why;
  const { scenario, kernel } = parsed;
  if (typeof scenario !== "string" || typeof kernel !== "string") return "it does not say scenario and kernel";
  const bad: string[] = [];
  const truth = read(parsed, scenario, kernel, bad);
  checkTimes(truth, bad);
  return bad[0] ?? truth;
}

/** Numbers that are none are 0, and told to `bad`. */
function read(parsed: Json, scenario: string, kernel: string, bad: string[]): Truth {
  const sends = [["send", DEFAULT_PORT], ["send2", SECOND_PORT]] as const;
  return {
    scenario: scenario.replace(/(g-leak-socket-holds)-\d+$/, "$1"), kernel, cpus: "cpus" in parsed ? count(parsed, "cpus", bad) : 2, t0: numberOr(parsed, "t0", 0, bad), lostEvents: numberOr(parsed, "lost_events", 0, bad),
    events: new Map(Object.entries(objectOf(parsed, "events", bad)).filter((entry): entry is [string, number] => typeof entry[1] === "number")),
    pings: numberOr(parsed, "pings", null, bad) !== null ? { count: count(parsed, "pings", bad), payloadBytes: numberOr(parsed, "payload", 56, bad) } : null,
    sends: sends.flatMap(([name, port]) => {
      const send = objectOf(parsed, name, bad);
      const errors = "errors" in send ? count(send, "errors", bad) : 0;
      const sent = "n" in send ? count(send, "n", bad) : 0;
      if (errors > sent) bad.push(`errors of ${name} is ${errors}, and ${sent} were sent`);
      return "n" in send ? [{ port, count: sent - errors, bytes: count(send, "size", bad) }] : [];
    }),
    tcpBytes: isObject(parsed["send"]) && "bytes" in parsed["send"] ? count(parsed["send"], "bytes", bad) : null,
    receivers: Object.entries(parsed).flatMap(([name, steps]) => {
      const match = /^receiver(\d*)$/.exec(name);
      if (match === null) return [];
      if (Array.isArray(steps)) return [receiverOf(match[1] === "" ? DEFAULT_PORT : Number(match[1]), steps as unknown[], bad)];
      bad.push(`${name} is ${JSON.stringify(steps)}: a list of steps was expected`);
      return [];
    }),
    live: Object.entries(parsed).flatMap(([verdict, run]) => (isVerdict(verdict) && isObject(run) && run["step"] === "live" ? [liveOf(verdict, run, bad)] : [])),
    linkDeleted: numberOr(parsed, "link_deleted", null, bad), xdpOff: numberOr(parsed, "xdp_off", null, bad), flushSoftirq: numberOr(parsed, "flush_softirq", null, bad),
  };
}

function isVerdict(name: string): name is LiveRun["verdict"] {
  return (LIVE_VERDICTS as readonly string[]).includes(name);
}

function receiverOf(port: number, steps: readonly unknown[], bad: string[]): Receiver {
  const read = steps.filter(isObject);
  if (read.length < steps.length) bad.push(`a step of receiver ${port} is none: an object was expected`);
  return {
    port, rcvbufBytes: read.map((step) => numberOr(step, "rcvbuf", null, bad)).find((bytes) => bytes !== null) ?? null,
    steps: read.flatMap((step): Step[] => {
      const at = numberOr(step, "mono", null, bad);
      if (step["step"] === "read") return [{ kind: "read", count: count(step, "k", bad), at }];
      return step["step"] === "closed" ? [{ kind: "closed", count: 0, at }] : [];
    }),
  };
}

function liveOf(verdict: LiveRun["verdict"], run: Json, bad: string[]): LiveRun {
  return { verdict, repeat: count(run, "repeat", bad), batch: count(run, "batch", bad), payloadBytes: count(run, "payload", bad) };
}

/** More packets than any capture's script sends or reads, and more bytes; the model would not end. */
const MOST_PACKETS = 200_000;
const MOST_BYTES = 100_000_000;
/** Longer than any capture's script runs, in seconds. */
const LONGEST = 4 * 3600;

function count(from: Json, name: string, bad: string[]): number {
  const value = from[name];
  const most = name === "bytes" || name === "size" || name === "payload" ? MOST_BYTES : MOST_PACKETS;
  if (typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= most) return value;
  bad.push(`${name} is ${JSON.stringify(value)}: a whole number up to ${most} was expected`);
  return 0;
}

/** Times are on the trace's clock, from the script's begin on. */
function checkTimes({ t0, receivers, linkDeleted, xdpOff, flushSoftirq }: Truth, bad: string[]): void {
  const times = [["link_deleted", linkDeleted], ["xdp_off", xdpOff], ["flush_softirq", flushSoftirq], ...receivers.flatMap(({ port, steps }) => steps.map(({ at }) => [`mono of receiver ${port}`, at] as const))] as const;
  for (const [name, at] of times) if (at !== null && (at < t0 - 1 || at > t0 + LONGEST)) bad.push(`${name} is ${at}, and the script began at ${t0}: no time of its run`);
}

/** What is not written down is `otherwise`. */
function numberOr<T extends number | null>(from: Json, name: string, otherwise: T, bad: string[]): number | T {
  const value = from[name] ?? null;
  if (typeof value === "number" && Number.isFinite(value)) return value;
  if (value !== null) bad.push(`${name} is ${JSON.stringify(value)}: a number was expected`);
  return otherwise;
}

/** What is not written down has nothing. */
function objectOf(from: Json, name: string, bad: string[]): Json {
  const value = from[name] ?? null;
  if (isObject(value)) return value;
  if (value !== null) bad.push(`${name} is ${JSON.stringify(value)}: an object was expected`);
  return {};
}

function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
