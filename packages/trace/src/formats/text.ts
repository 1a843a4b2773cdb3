import { ReadEvent } from "../event.ts";
import type { Interned } from "../fields.ts";
import { kindOf, readPayload } from "./payload.ts";

/**
 * `TASK-PID [cpu] flags seconds: event: fields`, where the task's name may hold blanks, slashes, colons and brackets, and a column with the thread group may follow the process.
 * @kernel print_trace_line, trace_print_context (kernel/trace/trace_output.c)
 */
const TRACEFS = /^ *(.{0,16})-(\d+) +(?:\( *[\d-]+\) +)?\[(\d{1,5})\] +(?:([^\s:]{1,8}) +)?(\d+)(?:\.(\d{1,9}))?: ([\w.<>][^:]*)(?:: ?(.*))?$/;
/** `comm pid[/tid] [cpu] seconds: system:event: fields`. */
const PERF = /^ *(.{0,16}?) +(\d+)(?:\/(\d+))? +\[(\d{1,5})\] +(\d+)\.(\d{1,9}): +([\w-]+):([\w]+): ?(.*)$/;
/** Position of the hardirq/softirq column among the flags. */
const IRQ_FLAG = 2;

export const STACK_FOLLOWS = "stack follows";

/** An event of tracefs' `trace` or `trace_pipe`; null: the line is none. */
export function readTracefsLine(line: string, names: Interned): ReadEvent | typeof STACK_FOLLOWS | null {
  const match = TRACEFS.exec(line);
  if (match === null) return null;
  const name = match[7]!;
  if (name === "<stack trace>" || name === "<user stack trace>") return STACK_FOLLOWS;
  const event = new ReadEvent(kindOf(name), names.of(name), microseconds(match[5]!, match[6]), Number(match[3]), names.of(`${match[1]}-${match[2]}`));
  event.countsTicks = match[6] === undefined;
  const flag = match[4]?.[IRQ_FLAG];
  event.softirq = flag === "s" || flag === "H";
  return readPayload(event, match[8] ?? "", names) ? event : null;
}

/** An event as `perf script` prints it; null: the line is none. */
export function readPerfLine(line: string, names: Interned): ReadEvent | null {
  const match = PERF.exec(line);
  if (match === null) return null;
  const name = match[8]!;
  const event = new ReadEvent(kindOf(name), names.of(name), microseconds(match[5]!, match[6]), Number(match[4]), names.of(`${match[1]}-${match[3] ?? match[2]}`));
  return readPayload(event, match[9]!, names) ? event : null;
}

/** Without a point it is a clock that counts nanoseconds, or whatever it counts. */
function microseconds(whole: string, fraction: string | undefined): number {
  return fraction === undefined ? Number(whole) / 1000 : Number(whole) * 1e6 + Number(fraction.padEnd(9, "0")) / 1000;
}
