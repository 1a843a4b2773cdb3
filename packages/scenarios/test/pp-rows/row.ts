import { test } from "vitest";
import { PRESETS, PRESET_NAMES, type PresetName } from "@netmem/machine";
import { PoolBench } from "./pool-bench.ts";

type Body = (bench: PoolBench, preset: PresetName) => void;

/** Presets that do something else, or do not have what the row is about: why, and what must hold instead. */
export interface Otherwise {
  readonly presets: readonly PresetName[];
  readonly why: string;
  readonly body: Body;
}

/** Row `number` of part 3 of the specification, under every preset and both ways home: the row itself, or what stands in its place. */
export function row(number: number, what: string, body: Body, ...otherwise: readonly Otherwise[]): void {
  for (const preset of PRESET_NAMES) {
    const other = otherwise.find(({ presets }) => presets.includes(preset));
    const title = other === undefined ? what : `not so: ${other.why}`;
    test(`pp-xdp row ${number} [${preset}]: ${title}`, () => {
      (other?.body ?? body)(new PoolBench(preset), preset);
    });
    // Where nothing recycles, no page is looked up.
    if (!PRESETS[preset].recyclesSkbPages) continue;
    const returnPath = PRESETS[preset].returnPath === "mem-info" ? "pool-pointer" : "mem-info";
    test(`pp-xdp row ${number} [${preset}, ${returnPath}]: the same whichever way a freed page finds its pool`, () => {
      (other?.body ?? body)(new PoolBench(preset, { returnPath }), preset);
    });
  }
}

export const SINGLE_PAGES: readonly PresetName[] = ["stock", "v3-2021"];
export const NO_FRAGMENTS: readonly PresetName[] = ["stock", "v3-2021", "5.14"];
/** Kernels with fragments, but without holders counted apart. */
export const FRAG_COUNT: readonly PresetName[] = ["6.1"];
export const BEFORE_6_18: readonly PresetName[] = ["stock", "v3-2021", "5.14", "6.1", "6.8"];
