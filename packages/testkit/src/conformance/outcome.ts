import { reasonOf } from "@netmem/kernel/api";
import { firstPluginFrame } from "./findings.ts";

/** What somebody's code threw, and where. */
export interface Thrown {
  readonly reason: string;
  readonly where: string;
  /** The kind of report that stopped the machine; "" if it threw by itself. */
  readonly panic: string;
}

/** Runs what calls somebody's code: null, or what it threw. A machine is of no use after that. */
export function thrownBy(run: () => void): Thrown | null {
  try {
    run();
    return null;
  } catch (error) {
    const { stack, kind } = error as { readonly stack?: unknown; readonly kind?: unknown };
    return { reason: reasonOf(error), where: typeof stack === "string" ? firstPluginFrame(stack) : "", panic: typeof kind === "string" ? kind : "" };
  }
}
