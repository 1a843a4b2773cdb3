import { reasonOf } from "@netmem/kernel/api";

/** Files of somebody's plugins that were loaded, and how they were named. */
const LOADED = new Map<string, string>();

/** From now on an error in `file` is that of `named`. */
export function blameFor(file: string, named: string): void {
  LOADED.set(file, named);
}

/** In one line, whose fault an error is: that of a plugin by path whose code was running; null: of none. */
export function blamePlugin(error: unknown): string | null {
  if (!(error instanceof Error) || error.stack === undefined) return null;
  for (const frame of error.stack.split("\n").slice(1)) {
    for (const [file, named] of LOADED) {
      if (!frame.includes(file)) continue;
      const where = /at (?:async )?(\S+) \(/.exec(frame)?.[1];
      return `${named}: threw ${reasonOf(error)}${where === undefined ? "" : `, in ${where}`}`;
    }
  }
  return null;
}
