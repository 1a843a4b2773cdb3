import type { ConformanceReport, RuleOutcome, RuleStatus } from "@netmem/testkit";

const STATUS_WORDS: Readonly<Record<RuleStatus, string>> = { holds: "holds", broken: "BROKEN", waived: "waived", "no occasion": "no occasion" };
const STATUS_WIDTH = 13;
const ID_WIDTH = 9;
const INDENT: string = " ".repeat(2 + STATUS_WIDTH + ID_WIDTH);

/** Rules of each plugin, one a line, and below those that are broken how to see it. */
export function checklist(reports: readonly ConformanceReport[]): string {
  return `${reports.map(ofPlugin).join("\n\n")}\n`;
}

function ofPlugin({ kind, name, cases, outcomes }: ConformanceReport): string {
  const count = (status: RuleStatus): number => outcomes.filter((outcome) => outcome.status === status).length;
  const sums = (["holds", "broken", "waived", "no occasion"] as const).filter((status) => status === "broken" || count(status) > 0).map((status) => `${count(status)} ${status === "holds" ? "hold" : status === "no occasion" ? "without an occasion" : status}`);
  return `${kind} ${name}, ${cases} cases\n${outcomes.map(ofRule).join("\n")}\n  ${sums.join(", ")}`;
}

function ofRule({ id, demands, status, breach, waiver }: RuleOutcome): string {
  const line = `  ${STATUS_WORDS[status].padEnd(STATUS_WIDTH)}${id.padEnd(ID_WIDTH)}${demands}`;
  const why = waiver === null ? "" : `\n${INDENT}because ${waiver}`;
  if (breach === null) return line + why;
  return `${line}${why}\n${INDENT}${breach.what}\n${INDENT}where     ${breach.where === "" ? "outside its own code" : breach.where}\n${INDENT}shown by  ${breach.sequence}`;
}
