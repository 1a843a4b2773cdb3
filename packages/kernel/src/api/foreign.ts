import { KernelPanic } from "./errors.ts";

/** Longest reason that a report gives. */
const REASON_CHARACTERS = 300;

/**
 * A call of somebody's plugin, in a place where it may fail without its caller: `threw` answers for it, and is told why in one line. A machine that has stopped stays stopped. Not for the packet path: it makes closures.
 */
export function callForeign<T>(call: () => T, threw: (reason: string) => T): T {
  try {
    return call();
  } catch (error) {
    if (error instanceof KernelPanic) throw error;
    return threw(reasonOf(error));
  }
}

/** What was thrown, or given instead of what was asked for, in one line of printable characters, whatever it is; asking it may run its code once more. */
export function reasonOf(thrown: unknown): string {
  try {
    return lineOf(thrown);
  } catch {
    return "what cannot even be named";
  }
}

function lineOf(thrown: unknown): string {
  const isError = typeof thrown === "object" && thrown !== null && "message" in thrown;
  const text = isError ? `${"name" in thrown ? String(thrown.name) : "Error"}: ${String(thrown.message)}` : describe(thrown);
  // Whatever is no character to print would reach the terminal of whoever reads the report.
  const line = text.replace(/[\s\p{C}]+/gu, " ");
  return line.length > REASON_CHARACTERS ? `${line.slice(0, REASON_CHARACTERS)}…` : line;
}

function describe(value: unknown): string {
  switch (typeof value) {
    case "string": return JSON.stringify(value);
    case "object": return value === null ? "null" : value instanceof Promise ? "a promise" : "an object";
    case "function": return "a function";
    case "bigint": return `${value}n`;
    default: return String(value);
  }
}
