import type { LoadedCapture } from "../captures.ts";
import { grouped } from "../words.ts";
import type { InetRun } from "./ends.ts";
import type { ReplayOptions } from "./options.ts";
import type { DesignRun } from "./run.ts";
import { alike, names } from "./says.ts";

const OTHER_WORDS: Readonly<Record<keyof InetRun["other"], string>> = {
  segments: "segments that their connection does not take", noMemory: "without memory", sourceRoute: "with a source route", martian: "of addresses that are not sent on", tooLong: "too long to be sent on", reassembly: "pieces of datagrams that were not put together",
};

/** Under the table: why what was not delivered was not, and what can be done. */
export function whyText(runs: readonly DesignRun[], options: ReplayOptions, inputs: readonly LoadedCapture[]): string {
  return otherText(runs) + fullText(runs, options) + untakenText(runs, inputs) + unsentText(runs, options) + unmappedText(runs, options);
}

/** Why packets found their socket full that is read at once. */
function fullText(runs: readonly DesignRun[], { reader, timing }: ReplayOptions): string {
  if (reader !== "prompt" || timing !== "back-to-back" || runs.every(({ inet }) => (inet?.dropped.socketFull ?? 0) === 0)) return "";
  return "\nSockets were full because frames back to back come faster than they are read: --rcvbuf gives more room, --timing capture keeps the file's pace.\n";
}

/** What captures have that nobody takes, most of them for a reason that is not in the packets. */
function untakenText(runs: readonly DesignRun[], inputs: readonly LoadedCapture[]): string {
  const frames = inputs.reduce((sum, input) => sum + input.frames.length, 0);
  const most = (why: "checksum" | "notIpv4" | "badHeader"): boolean => runs.some(({ inet }) => (inet?.dropped[why] ?? 0) * 2 > frames);
  const said: string[] = [];
  if (most("checksum")) said.push("Most checksums are wrong: a host that leaves them to its NIC captures what it sends before they are written; capture where it arrives.");
  if (most("notIpv4")) said.push("Most frames are not IPv4, or are tagged (VLAN), which is nobody's here either.");
  if (most("badHeader") && inputs.some(({ capture }) => capture.snapped > 0)) said.push("Packets that the capture's snap length has cut are shorter than their headers say, and dropped for that; capture with -s 0.");
  return said.map((line) => `\n${line}\n`).join("");
}

/** What the row of other drops is made of. */
function otherText(runs: readonly DesignRun[]): string {
  const dropping = runs.filter(({ inet }) => (inet?.dropped.other ?? 0) > 0);
  const parts = ({ inet }: DesignRun): string => (Object.keys(OTHER_WORDS) as (keyof typeof OTHER_WORDS)[]).filter((why) => inet!.other[why] > 0).map((why) => `${OTHER_WORDS[why]}: ${grouped(inet!.other[why])}`).join(", ");
  return alike(dropping, parts).map(([text, group]) => `\n${names(group)}: dropped otherwise: ${text}.\n`).join("");
}

/** Why nothing was mapped, though that was asked for. */
function unmappedText(runs: readonly DesignRun[], { zerocopy, reader }: ReplayOptions): string {
  if (!zerocopy || reader === "never" || runs.every(({ inet }) => (inet?.connections ?? 0) === 0) || runs.some(({ inet }) => (inet?.mappedBytes ?? 0) > 0)) return "";
  return "\nNo page was mapped: only where payload fills a page from its beginning it can be, which takes a driver that splits headers (--driver header-split), and streams of some pages.\n";
}

/** Why frames that came were not sent on. */
function unsentText(runs: readonly DesignRun[], { timing }: ReplayOptions): string {
  if (timing !== "back-to-back" || runs.every(({ inet }) => (inet?.dropped.notSent ?? 0) === 0)) return "";
  return "\nFrames were not sent because eth1 had no descriptor left: back to back they come faster than they leave; --timing capture keeps the file's pace.\n";
}
