import { counted, grouped } from "../words.ts";
import { redirectsLost } from "./table.ts";
import type { DesignRun } from "./run.ts";

/** Two sentences on what the table shows; every number in them is the table's. */
export function says(runs: readonly DesignRun[], packets: number): string {
  const { xdp } = runs[0]!;
  if (packets === 0) return "There was no packet to replay.";
  const memory = runs.every(({ pageAllocs }) => pageAllocs === 0) ? [withoutPoolSentence(runs)] : [memorySentence(runs), pathSentence(runs)];
  return [...(xdp === undefined ? [] : [programSentence(runs)]), ...memory].join("\n");
}

/** What the program said of the packets, and what has come of those that no stack sees. */
function programSentence(runs: readonly DesignRun[]): string {
  const said = alike(runs, ({ xdp }) => {
    const { pass, drop, tx, redirect, aborted } = xdp!.verdicts;
    const parts = [`let ${counted(pass, "packet")} pass`];
    if (drop > 0) parts.push(`dropped ${grouped(drop)}`);
    if (aborted > 0) parts.push(`aborted ${grouped(aborted)}`);
    if (tx > 0) parts.push(`sent ${grouped(tx)} back${xdp!.sent.eth0 === tx ? "" : ` (${grouped(xdp!.sent.eth0)} left)`}`);
    if (redirect > 0) parts.push(`redirected ${grouped(redirect)} (${grouped(xdp!.sent.eth1)} left by eth1)`);
    const none = xdp!.verdicts.none + xdp!.verdicts.invalid;
    if (none > 0) parts.push(`had no verdict for ${grouped(none)}`);
    return listed(parts);
  });
  return `The program ${listed(said.map(([what, group]) => `${what}${said.length > 1 ? ` (${names(group)})` : ""}`))}.${lostSentence(runs)}`;
}

/** Why redirected packets went nowhere. */
function lostSentence(runs: readonly DesignRun[]): string {
  const losing = runs.filter(({ xdp }) => redirectsLost(xdp!) > 0);
  if (losing.length === 0) return "";
  const said = alike(losing, ({ xdp }) => {
    const { redirect, devmap, cpumap } = xdp!.lost;
    const parts = redirect.map(({ errno, count }) => `${grouped(count)} ${errno}`);
    if (devmap > 0) parts.push(`${grouped(devmap)} on the way to a device`);
    if (cpumap > 0) parts.push(`${grouped(cpumap)} on the way to a CPU`);
    return listed(parts);
  });
  return ` Redirects lost: ${listed(said.map(([what, group]) => `${what}${runs.length > 1 ? ` (${names(group)})` : ""}`))}.`;
}

function withoutPoolSentence(runs: readonly DesignRun[]): string {
  const maps = alike(runs, ({ dmaMaps }) => grouped(dmaMaps));
  const counts = maps.map(([count, group]) => `${count}${maps.length > 1 ? ` (${names(group)})` : ""}`);
  return `No page was a pool's: they were the driver's own, or a user's, mapped ${listed(counts)} times, and no design has a part in how they come back.`;
}

function memorySentence(runs: readonly DesignRun[]): string {
  const most = Math.max(...runs.map((run) => run.pageAllocs));
  const least = Math.min(...runs.map((run) => run.pageAllocs));
  const frugal = runs.filter((run) => run.pageAllocs === least);
  const back = listed(alike(runs, (run) => `${run.recycled.percent.toFixed(1)} %`).map(([percent, group]) => `${percent}${runs.length > 1 ? ` (${names(group)})` : ""}`));
  const recycled = `of the pages handed out, ${back} came back to the pool to be used again`;
  const mappedOnce = runs.every((run) => run.dmaMaps === run.pageAllocs);
  if (most === least) return `${runs.length > 1 ? "Every design" : runs[0]!.design} took ${counted(most, "page")} from the page allocator${mappedOnce ? " and mapped each once" : ""}; ${recycled}.`;
  const lavish = runs.filter((run) => run.pageAllocs === most);
  const between = runs.map((run) => run.pageAllocs).filter((pages) => pages !== most && pages !== least);
  const others = between.length === 0 ? "" : between.every((pages) => pages === between[0]) ? ` (the others ${grouped(between[0]!)})` : ` (the others ${grouped(Math.min(...between))} to ${grouped(Math.max(...between))})`;
  const saved = (100 * (1 - least / most)).toFixed(1);
  return `For the same packets ${names(lavish)} took ${counted(most, "page")} from the page allocator, and ${names(frugal)} only ${grouped(least)}${others}: ${saved} % fewer allocations${mappedOnce ? ", DMA maps and unmaps" : ""}; ${recycled}.`;
}

function pathSentence(runs: readonly DesignRun[]): string {
  const recycling = runs.filter((run) => run.recycled.cached + run.recycled.ring > 0);
  if (recycling.length === 0) return "No page came back to its pool: each left it with its packet, or with the last of those who shared it.";
  const looking = recycling.filter((run) => run.memInfoLookups > 0);
  // Stock has no such pointer: its drivers put back what they took.
  const pointing = recycling.filter((run) => run.memInfoLookups === 0 && run.design !== "stock");
  if (looking.length + pointing.length === 0) return `What came back its driver put back itself; ${wherePagesWent(recycling)}.`;
  const same = looking.every((run) => run.memInfoLookups === looking[0]!.memInfoLookups);
  const asked = looking.length === 0 ? ""
    : same ? `${names(looking)} ${looking.length > 1 ? "each " : ""}asked the mem_info registry ${times(looking[0]!.memInfoLookups)}`
    : listed(looking.map((run) => `${run.design} asked the mem_info registry ${times(run.memInfoLookups)}`));
  const followed = pointing.length === 0 ? "" : `${names(pointing)} followed the pointer in the page, without a look-up`;
  return `To find the pages' owners ${[asked, followed].filter((part) => part !== "").join(", and ")}; ${wherePagesWent(recycling)}.`;
}

/** Cache or ring. */
function wherePagesWent(recycling: readonly DesignRun[]): string {
  const ring = recycling.filter((run) => run.recycled.cached === 0);
  const cache = recycling.filter((run) => run.recycled.cached > 0);
  if (cache.length === 0) return "all recycled pages went back through the ring";
  const direct = alike(cache, share).map(([part, group]) => (part === "" ? `${names(group)} put every recycled page straight into the cache` : `${names(group)} put ${part} of ${group.length > 1 ? "their" : "its"} recycled pages straight into the cache and the rest into the ring`));
  return `${listed(direct)}${ring.length === 0 ? "" : `, ${names(ring)} all into the ring`}`;
}

function times(count: number): string {
  return count === 1 ? "once" : `${grouped(count)} times`;
}

export function names(runs: readonly DesignRun[]): string {
  return listed(runs.map((run) => run.design));
}

/** `a, b and c`. */
function listed(parts: readonly string[]): string {
  return parts.length === 1 ? parts[0]! : `${parts.slice(0, -1).join(", ")} and ${parts.at(-1)}`;
}

/** Runs of which the same is said, together, in order of the first of each. */
export function alike(runs: readonly DesignRun[], say: (run: DesignRun) => string): (readonly [string, readonly DesignRun[]])[] {
  return [...new Set(runs.map(say))].map((said) => [said, runs.filter((run) => say(run) === said)]);
}

/** Part that went to the cache; "" for all. */
function share(run: DesignRun): string {
  return run.recycled.ring === 0 ? "" : `${((100 * run.recycled.cached) / (run.recycled.cached + run.recycled.ring)).toFixed(1)} %`;
}
