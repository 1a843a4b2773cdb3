/** A rule that was broken. */
export interface Finding {
  readonly rule: string;
  /** In a line: what was done, and what it should have been. */
  readonly what: string;
  /** Function, file and line of the plugin that did it, as far as known. */
  readonly where: string;
}

/** Any function, as a mark on the call stack. */
export type Frame = (...args: never[]) => unknown;

/**
 * What one run of a plugin shows. A rule is found broken once a run. What is only a consequence (pages that are missing in the end) counts where nothing before it explains it.
 */
export class Findings {
  readonly found: Finding[] = [];
  /** By rule: how many times there was something to judge. */
  readonly occasions: Map<string, number> = new Map<string, number>();
  /** The watcher that the plugin has called, if it has. */
  frame: Frame | null = null;
  /** Where the plugin had to do with each page is kept, which is slow. */
  readonly traces: boolean;
  #explained = false;

  constructor(traces: boolean) {
    this.traces = traces;
  }

  occasion(rule: string): void {
    this.occasions.set(rule, (this.occasions.get(rule) ?? 0) + 1);
  }

  /** The plugin just did it. */
  broke(rule: string, what: string): void {
    this.#explained = true;
    this.stated(rule, what);
  }

  /** The plugin just said it of itself: it explains nothing that goes wrong later. */
  stated(rule: string, what: string): void {
    if (!this.found.some((finding) => finding.rule === rule)) this.found.push({ rule, what, where: this.here() });
  }

  /** It shows now; `where` is the last that the plugin had to do with it. */
  consequence(rule: string, what: string, where: string): void {
    if (this.#explained) return;
    this.#explained = true;
    if (!this.found.some((finding) => finding.rule === rule)) this.found.push({ rule, what, where });
  }

  /** Where the plugin is; "" outside it. */
  here(): string {
    return this.frame === null ? "" : callerOf(this.frame);
  }

  /** The same, in a run that keeps places; else "". */
  trace(): string {
    return this.traces ? this.here() : "";
  }

  /** Who called `frame`, a function of the suite's that the plugin was given; "" in a run that keeps no places. */
  traceOf(frame: Frame): string {
    return this.traces ? callerOf(frame) : "";
  }
}

interface StackTraces {
  readonly captureStackTrace: (holder: { stack?: string }, below: Frame) => void;
}

/** The kit's own helpers, which a plugin calls and which call for it. */
const OF_THE_KIT = /[\\/](@netmem|packages)[\\/](driver|memory-model|kernel|page-pool|net-core|xdp|mm|testkit)[\\/]/;

/** Who called `frame`, the kit left out: `pollRx (src/poll.ts:58:5)`. */
export function callerOf(frame: Frame): string {
  const holder: { stack?: string } = {};
  (Error as unknown as StackTraces).captureStackTrace(holder, frame);
  return firstPluginFrame(holder.stack ?? "");
}

/** The first line of a stack that is the plugin's. */
export function firstPluginFrame(stack: string): string {
  for (const line of stack.split("\n").slice(1)) {
    if (OF_THE_KIT.test(line) || line.includes("node:internal")) continue;
    const [, name, place] = /^\s*at (?:(?:async )?(.+?) \()?(.+?)\)?$/.exec(line) ?? [];
    if (place === undefined) continue;
    const path = place.replace(/^file:\/\//, "").replaceAll("\\", "/").split("/");
    const short = path.slice(-2).join("/");
    return name === undefined ? short : `${name.replace(/^Object\./, "")} (${short})`;
  }
  return "";
}
