import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { validateFolder, type ValidatedCapture } from "@netmem/scenarios";

const ROOT = new URL("../../../", import.meta.url);
const README = new URL("README.md", ROOT);
const BEGIN = "<!-- scoreboard -->\n";
const END = "<!-- /scoreboard -->";

/** A row a scenario: captures of it, and what was asked of all of them. */
function scoreboard(captures: readonly ValidatedCapture[]): string {
  const scenarios = [...new Set(captures.map(({ scenario, preset }) => `${scenario} ${preset}`))];
  const rows = scenarios.map((key) => {
    const those = captures.filter(({ scenario, preset }) => `${scenario} ${preset}` === key);
    const sum = (of: (capture: ValidatedCapture) => number): number => those.reduce((total, capture) => total + of(capture), 0);
    const levels = [...new Set(those.map(({ level }) => level))].toSorted().toReversed();
    return `| \`${those[0]!.scenario}\` | ${those[0]!.preset} | ${those.length} | ${levels.join(", ")} | ${sum(({ checks }) => checks)} | ${sum(({ agreed }) => agreed)} |`;
  });
  return `\n| scenario | kernel | captures | level | asked | agreed |\n| --- | --- | --: | --- | --: | --: |\n${rows.join("\n")}\n\n`;
}

/** `UPDATE_SCOREBOARD=1` writes it anew. */
test("the scoreboard in the README is that of the captures beside it", { timeout: 120_000 }, async () => {
  const text = readFileSync(README, "utf8");
  const { captures } = await validateFolder(fileURLToPath(new URL("examples/kernel-captures", ROOT)));
  const begin = text.indexOf(BEGIN) + BEGIN.length;
  const expected = text.slice(0, begin) + scoreboard(captures) + text.slice(text.indexOf(END));
  if (process.env["UPDATE_SCOREBOARD"] === "1") writeFileSync(README, expected);
  else expect(text).toBe(expected);
});
