import { UsageError } from "@netmem/kernel/api";
import type { MmRules } from "@netmem/mm";
import { CLONED_COALESCES, DEFER_LISTS, GRO_BIG_TCPS, type NetCoreDates } from "@netmem/net-core";
import { NAPI_LOCALS, type PagePoolDates } from "@netmem/page-pool";
import type { XdpDates } from "@netmem/xdp";
import type { Preset } from "./presets.ts";

/** By layer; each rule says from when it holds. */
export interface DateOptions {
  readonly net?: Partial<NetCoreDates>;
  readonly mm?: Partial<MmRules>;
  readonly pagePool?: Partial<PagePoolDates>;
  readonly xdp?: Partial<XdpDates>;
}

type Layer = keyof DateOptions;
export type Dates = Pick<Preset, Layer>;

const LAYERS: readonly string[] = ["net", "mm", "pagePool", "xdp"];
/** Of rules that are more than on or off. */
const CHOICES: Readonly<Record<string, readonly unknown[]>> = { clonedCoalesce: CLONED_COALESCES, deferLists: DEFER_LISTS, groBigTcp: GRO_BIG_TCPS, napiLocal: NAPI_LOCALS };

/** The preset's rules, and those that take the place of some. */
export function resolveDates(preset: Preset, dates: DateOptions): Dates {
  for (const layer of Object.keys(dates)) if (!LAYERS.includes(layer)) throw new UsageError("machine", "dates", layer, `choose ${LAYERS.join(", ")}`);
  return {
    net: dated("net", preset.net, dates.net),
    mm: dated("mm", preset.mm, dates.mm),
    pagePool: dated("pagePool", preset.pagePool, dates.pagePool),
    xdp: dated("xdp", preset.xdp, dates.xdp),
  };
}

function dated<T extends object>(layer: string, preset: T, dates: Partial<T> | undefined): T {
  if (dates === undefined) return preset;
  for (const [rule, value] of Object.entries(dates)) {
    const known = (preset as Readonly<Record<string, unknown>>)[rule];
    const name = `dates.${layer}.${rule}`;
    if (known === undefined) throw new UsageError("machine", name, value, `there is no such rule: choose ${Object.keys(preset).join(", ")}`);
    const choices = CHOICES[rule];
    if (choices !== undefined && !choices.includes(value)) throw new UsageError("machine", name, value, `choose ${choices.join(", ")}`);
    if (typeof value !== typeof known || (typeof value === "number" && !(Number.isInteger(value) && value >= 0))) throw new UsageError("machine", name, value, typeof known === "number" ? "give a whole number, 0 or more" : `give a ${typeof known}`);
  }
  return { ...preset, ...dates };
}
