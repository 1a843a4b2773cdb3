import { ReadEvent } from "../event.ts";

/** With the number from 6.8 on. @kernel page_pool_release_retry (net/core/page_pool.c) */
const STALL = /stalled pool shutdown:? (?:id (\d+), )?(-?\d+) inflight (\d+) sec/;
const BOOT_TIME = /^\s*(?:<\d+>)?\[\s*(\d+)\.(\d+)\]/;
/** A line of the kernel log, by its time, or by who speaks in the system's journal. */
const LOG_LINE = /^\s*(?:<\d+>)?\[\s*\d+\.\d+\]|^\[[A-Z][a-z]{2} [A-Z][a-z]{2} .{12,}\]|^[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \S+ kernel:|^\d{4}-\d\d-\d\dT\S+ \S+ kernel:/;

/** A complaint of the kernel log's, with or without its time; null: the line is none. */
export function readStallLine(line: string): ReadEvent | null {
  const match = STALL.exec(line);
  if (match === null) return null;
  const time = BOOT_TIME.exec(line);
  const event = new ReadEvent("stall", "page_pool_release_retry", time === null ? null : Number(time[1]) * 1e6 + Number(time[2]!.padEnd(6, "0").slice(0, 6)), null, null);
  event.id = match[1] === undefined ? null : Number(match[1]);
  event.inflight = Number(match[2]);
  event.amount = Number(match[3]);
  return event;
}

export function isLogLine(line: string): boolean {
  return LOG_LINE.test(line);
}
