import { counted, grouped } from "../words.ts";
import type { HeldAtEnd } from "./ends.ts";
import type { DesignRun } from "./run.ts";
import { alike, names } from "./says.ts";

/** Of those that hold pages, so many are named. */
const MOST_NAMED = 5;

/** Whose the pages are that are not home when the traffic is over; designs that agree are told of together. */
export function heldText(runs: readonly DesignRun[]): string {
  const holding = runs.filter(({ held }) => held !== undefined && held.by.length > 0);
  return alike(holding, ({ held }) => heldBy(held!)).map(([text, group]) => `\n${names(group)}: ${text}`).join("");
}

function heldBy({ by, posted }: HeldAtEnd): string {
  const most = by.toSorted((a, b) => b.pages - a.pages);
  const named = most.slice(0, MOST_NAMED).map(({ kind, name, packets, pages, sinceNs = null, sinceFrame = null }) => {
    const since = sinceNs !== null ? `, since ${(sinceNs / 1e9).toFixed(6)} s` : sinceFrame !== null ? `, since frame ${grouped(sinceFrame)} or before` : "";
    return `${kind} ${name}: ${counted(pages, "page")}${kind === "user" ? ", or given back and not yet taken" : packets === 0 ? "" : ` of ${counted(packets, "packet")}`}${since}`;
  });
  const others = most.slice(MOST_NAMED);
  if (others.length > 0) named.push(`${counted(others.length, "other")}: ${counted(others.reduce((sum, { pages }) => sum + pages, 0), "page")}`);
  const total = by.reduce((sum, { pages }) => sum + pages, 0);
  return `when the traffic was over ${counted(total, "page")} ${total === 1 ? "was" : "were"} held, and ${grouped(posted)} ${posted === 1 ? "was" : "were"} posted to eth0:\n${named.map((line) => `  ${line}\n`).join("")}`;
}
