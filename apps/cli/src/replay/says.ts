import { grouped } from "./table.ts";
import type { DesignRun } from "./run.ts";

/** Two sentences on what the table shows; every number in them is the table's. */
export function says(runs: readonly DesignRun[]): string {
  if (runs[0]!.delivered.packets + runs[0]!.dropped === 0) return "There was no packet to replay.";
  const most = runs.reduce((a, b) => (b.pageAllocs > a.pageAllocs ? b : a));
  const least = runs.reduce((a, b) => (b.pageAllocs < a.pageAllocs ? b : a));
  return `${memorySentence(runs, most, least)}\n${pathSentence(runs)}`;
}

function memorySentence(runs: readonly DesignRun[], most: DesignRun, least: DesignRun): string {
  if (runs.length === 1) {
    return `${most.design} took ${pages(most)} from the page allocator and mapped each once; ${most.recycled.percent.toFixed(1)} % of what it handed out came back to be used again.`;
  }
  if (most.pageAllocs === least.pageAllocs) {
    return `Every design took ${pages(most)} from the page allocator: ${percentRange(runs)} of what the pool handed out came back to it.`;
  }
  const saved = (100 * (1 - least.dmaMaps / most.dmaMaps)).toFixed(1);
  const factor = (most.pageAllocs / least.pageAllocs).toFixed(1);
  return `For the same packets ${most.design} took ${pages(most)} from the page allocator and ${least.design} ${pages(least)}, ${factor} times fewer, which saved ${saved} % of the DMA maps and unmaps; ${percentRange(runs)} of what the pool handed out came back to it.`;
}

function pathSentence(runs: readonly DesignRun[]): string {
  const recycling = runs.filter((run) => run.recycled.percent > 0);
  if (recycling.length === 0) return "No page found its way back to a pool: each was unmapped and given to the page allocator when its packet was freed.";
  const looking = runs.filter((run) => run.memInfoLookups > 0);
  const lookups = looking.length === 0
    ? `${names(recycling)} found each page's owner by the pointer in the page, without one mem_info look-up`
    : `To find the pages' owners ${looking.map((run) => `${run.design} asked the mem_info registry ${times(run.memInfoLookups)}`).join(" and ")}${recycling.length > looking.length ? `, while ${names(recycling.filter((run) => run.memInfoLookups === 0))} followed the pointer in the page` : ""}`;
  return `${lookups}; ${wherePagesWent(recycling)}.`;
}

/** Cache or ring: the cache is for pages freed in the pool's own poll. */
function wherePagesWent(recycling: readonly DesignRun[]): string {
  const direct = recycling.filter((run) => run.recycled.cached > 0);
  if (direct.length === 0) return "all recycled pages went through the ring, since they were freed outside the pool's own poll";
  const rest = recycling.filter((run) => run.recycled.cached === 0);
  const put = direct.map((run) => (run.recycled.ring === 0 ? `${run.design} put all its recycled pages straight into the cache` : `${run.design} put ${share(run)} of its recycled pages straight into the cache and the rest into the ring`));
  return `${put.join(", ")}${rest.length === 0 ? "" : `, ${names(rest)} all of theirs into the ring`}`;
}

function pages(run: DesignRun): string {
  return run.pageAllocs === 1 ? "1 page" : `${grouped(run.pageAllocs)} pages`;
}

function times(count: number): string {
  return count === 1 ? "once" : `${grouped(count)} times`;
}

function names(runs: readonly DesignRun[]): string {
  const list = runs.map((run) => run.design);
  return list.length === 1 ? list[0]! : `${list.slice(0, -1).join(", ")} and ${list.at(-1)}`;
}

function share(run: DesignRun): string {
  return `${((100 * run.recycled.cached) / (run.recycled.cached + run.recycled.ring)).toFixed(1)} %`;
}

function percentRange(runs: readonly DesignRun[]): string {
  const percents = runs.map((run) => run.recycled.percent);
  const low = Math.min(...percents).toFixed(1);
  const high = Math.max(...percents).toFixed(1);
  return low === high ? `${low} %` : `between ${low} % and ${high} %`;
}
