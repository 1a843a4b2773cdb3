import { UsageError, type ReportMode } from "@netmem/kernel/api";
import type { MmOptions } from "@netmem/mm";
import { PP_SIGNATURE, PP_SIGNATURE_V3, type PayloadBacking } from "@netmem/mm/api";
import type { PagePoolRules } from "@netmem/page-pool";
import type { SharedRelease } from "@netmem/page-pool/api";
import type { ReturnPathName } from "@netmem/xdp/api";
import { resolveDates, type DateOptions } from "./dates.ts";
import type { MachineProbes } from "./tracing.ts";
import { DEFAULT_PRESET, PRESETS, PRESET_NAMES, RETURN_PATHS, SHARED_RELEASES, type Preset, type PresetName } from "./presets.ts";

export interface MachineOptions {
  /** Which kernel's behaviour; default 6.18. */
  readonly preset?: PresetName;
  /** Overrides of the preset. */
  readonly returnPath?: ReturnPathName;
  readonly sharedRelease?: SharedRelease;
  /** Single behaviours of another kernel than the preset's. */
  readonly dates?: DateOptions;
  /** A kernel with PREEMPT_RT: page_pool then takes no put for its consumer's that does not say so. Default false. */
  readonly preemptRt?: boolean;
  /** Default 2. */
  readonly nrCpus?: number;
  /** Memory node of each CPU; default all on node 0. */
  readonly cpuNodes?: readonly number[];
  /** Ticks a second, 1 … 10000; default 1000. @kernel CONFIG_HZ */
  readonly hz?: number;
  /** Orders what is not ordered by rules; 0 … 2^32 − 1, default 1. */
  readonly seed?: number;
  /** Pages of host memory; default 4096 (16 MiB). */
  readonly nrPages?: number;
  /** What else can be said of memory: nodes and zones (instead of `nrPages`), reserves, per-CPU lists, bounce buffer, CPU cache, DMA checks. */
  readonly memory?: Pick<MmOptions, "nodes" | "minFreePages" | "pcp" | "swiotlb" | "cpuCache" | "dmaDebug">;
  /** Bytes beyond them for wires, users and devices; multiple of 8, default 0. */
  readonly extraBytes?: number;
  /** Where the bytes live; default a plain buffer. */
  readonly backing?: PayloadBacking;
  /** Default `collect`. */
  readonly reports?: ReportMode;
  /** Events the trace ring holds; default 0, no tracing. */
  readonly traceEntries?: number;
  /** Whoever else looks on, layer by layer; told after the trace ring. It must not change anything. */
  readonly probes?: Partial<MachineProbes>;
  /** Simulated time a received packet costs its CPU, in ns; default 0. */
  readonly packetCostNs?: number;
}

/** The preset with its overrides; names the option that does not exist. */
export function resolvePreset(options: Pick<MachineOptions, "preset" | "returnPath" | "sharedRelease" | "dates">): Preset {
  const name = options.preset ?? DEFAULT_PRESET;
  if (!PRESET_NAMES.includes(name)) throw new UsageError("machine", "preset", name, `choose ${PRESET_NAMES.join(", ")}`);
  const preset: Preset = PRESETS[name];
  const returnPath = options.returnPath ?? preset.returnPath;
  const sharedRelease = options.sharedRelease ?? preset.sharedRelease;
  if (!RETURN_PATHS.includes(returnPath)) throw new UsageError("machine", "returnPath", returnPath, `choose ${RETURN_PATHS.join(", ")}`);
  if (!SHARED_RELEASES.includes(sharedRelease)) throw new UsageError("machine", "sharedRelease", sharedRelease, `choose ${SHARED_RELEASES.join(", ")}`);
  return { ...preset, returnPath, sharedRelease, ...resolveDates(preset, options.dates ?? {}) };
}

/** What the pools of a machine of this preset go by. */
export function pagePoolRules(preset: Preset, preemptRt: boolean): PagePoolRules {
  return {
    ...preset.pagePool,
    sharedRelease: preset.sharedRelease,
    signature: preset.signature === "v3" ? PP_SIGNATURE_V3 : PP_SIGNATURE,
    ownSignatureWord: preset.signature === "v3",
    stampsOwnerAtAlloc: !preset.stampsOwnerAtMark,
    preemptRt,
    dmaAddrInPages: false,
  };
}
