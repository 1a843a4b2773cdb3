import type { ExplainedPool } from "@netmem/trace/api";

/** How a pool is called where people read: `ffff888118efc000#2 kcb0`. */
export function nameOf({ pool, epoch, device, id }: Pick<ExplainedPool, "pool" | "epoch" | "device" | "id">): string {
  return [`${pool}${epoch > 1 ? `#${epoch}` : ""}`, ...(device === null ? [] : [device]), ...(id === null || pool === `id ${id}` ? [] : [`id ${id}`])].join(" ");
}

/** `40 ×6 → 35 ×2 → 15 ×2 → 0`. */
export function seriesOf(values: readonly number[]): string {
  const runs: { value: number; times: number }[] = [];
  for (const value of values) {
    const last = runs.at(-1);
    if (last !== undefined && last.value === value) last.times++;
    else runs.push({ value, times: 1 });
  }
  const shown = runs.length > 10 ? [...runs.slice(0, 5), null, ...runs.slice(-4)] : runs;
  return shown.map((run) => (run === null ? "…" : run.times === 1 ? String(run.value) : `${run.value} ×${run.times}`)).join(" → ");
}

export function durationOf(seconds: number): string {
  if (seconds === 0) return "–";
  return seconds < 1 ? `${(seconds * 1000).toFixed(0)} ms` : `${seconds.toFixed(1)} s`;
}

export function microsecondsOf(us: number | null): string {
  if (us === null) return "–";
  return us < 1000 ? `${us.toFixed(0)} µs` : us < 1e6 ? `${(us / 1000).toFixed(1)} ms` : `${(us / 1e6).toFixed(1)} s`;
}
