import { describe, expect, test } from "vitest";
import { PRESET_NAMES, type PresetName } from "@netmem/machine";
import { GFP_ATOMIC } from "@netmem/mm/api";
import { PoolBench } from "./pp-rows/pool-bench.ts";

/**
 * What each kernel does, as its history says; the rows of part 1 read their expectations from the presets themselves.
 * `direct`: where a page goes that the driver puts directly in process context (allow_direct and in_softirq() up to 6.9).
 * `system`: pools of the stack's own, one a CPU (2b0cfa6e4956, 6.9).
 * `bulkNode`: where a pool of node 1 gets its pages from on a CPU of node 0 (d810d367ec40, 6.0).
 */
const HISTORY: Readonly<Record<PresetName, { readonly direct: "cache" | "ring"; readonly bulkNode: 0 | 1; readonly taken: number; readonly system: number }>> = {
  stock: { direct: "ring", bulkNode: 1, taken: 1, system: 0 },
  "v3-2021": { direct: "ring", bulkNode: 1, taken: 1, system: 0 },
  "5.14": { direct: "ring", bulkNode: 0, taken: 64, system: 0 },
  "6.1": { direct: "ring", bulkNode: 1, taken: 64, system: 0 },
  "6.8": { direct: "ring", bulkNode: 1, taken: 64, system: 0 },
  "6.18": { direct: "cache", bulkNode: 1, taken: 64, system: 2 },
};

describe.each(PRESET_NAMES)("%s", (preset) => {
  test("a direct put in process context", () => {
    const bench = new PoolBench(preset);
    const pool = bench.create();
    const page = bench.take(pool, 1)[0]!;
    const cached = pool.cacheCount;
    pool.recycleDirect(page);
    expect([pool.cacheCount - cached, pool.ringCount()]).toEqual(HISTORY[preset].direct === "cache" ? [1, 0] : [0, 1]);
  });

  test("the stack's own pools", () => {
    expect(new PoolBench(preset).machine.systemPools.length).toBe(HISTORY[preset].system);
  });

  test("pages that a pool takes at once, and their node", () => {
    const bench = new PoolBench(preset);
    const pool = bench.create({ nid: 1 });
    const page = bench.softirq(0, () => pool.allocPages(GFP_ATOMIC))!;
    expect([pool.holdCnt, page.nid]).toEqual([HISTORY[preset].taken, HISTORY[preset].bulkNode]);
  });
});
