import type { Scoreboard, ValidatedCapture } from "@netmem/scenarios";

/** Paints, or not. */
export interface Paint {
  readonly green: (text: string) => string;
  readonly red: (text: string) => string;
}

const COLUMNS: readonly { readonly title: string; readonly cell: (capture: ValidatedCapture) => string; readonly right?: true }[] = [
  { title: "capture", cell: ({ name }) => name },
  { title: "design", cell: ({ preset }) => preset },
  { title: "level", cell: ({ level }) => level },
  { title: "checks", cell: ({ checks }) => String(checks), right: true },
  { title: "agreed", cell: ({ agreed }) => String(agreed), right: true },
  { title: "left open by the script", cell: ({ variant }) => variant },
];
const AGREED_COLUMN = 4;

/** A line a capture, then each first difference, then what could not be compared. */
export function renderScoreboard({ captures, left }: Scoreboard, { green, red }: Paint): string {
  const rows = captures.map((capture) => COLUMNS.map(({ cell }) => cell(capture)));
  const widths = COLUMNS.map(({ title }, i) => rows.reduce((most, row) => Math.max(most, row[i]!.length), title.length));
  const line = (cells: readonly string[], paint: (text: string) => string): string =>
    cells.map((cell, i) => {
      const padded = COLUMNS[i]!.right === true ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!);
      return i === AGREED_COLUMN ? paint(padded) : padded;
    }).join("  ").trimEnd();
  const plain = (text: string): string => text;
  const lines = [line(COLUMNS.map(({ title }) => title), plain), "─".repeat(widths.reduce((sum, width) => sum + width + 2, -2))];
  for (const [i, { firstDifference }] of captures.entries()) lines.push(line(rows[i]!, firstDifference === null ? green : red));
  for (const { name, firstDifference } of captures) {
    if (firstDifference === null) continue;
    const { event, field, kernel, model } = firstDifference;
    lines.push("", `${name}: ${event}: ${field}: the kernel has ${kernel}, the model ${model}`);
  }
  const noted = captures.flatMap(({ name, notes }) => notes.map((note) => `note: ${name}: ${note}`));
  if (noted.length > 0) lines.push("", ...noted);
  if (left.length > 0) lines.push("");
  for (const { name, why } of left) lines.push(`not compared: ${name}: ${why}`);
  const agreeing = captures.filter(({ firstDifference }) => firstDifference === null).length;
  lines.push("", `${agreeing} of ${captures.length} captures agree in everything that was asked.`);
  return `${lines.join("\n")}\n`;
}
