import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect } from "vitest";

/** How a mutant was caught. */
export interface Score {
  readonly plugin: string;
  readonly mistake: string;
  readonly rule: string;
  readonly also: readonly string[];
  readonly subtle: boolean;
  readonly what: string;
  readonly where: string;
  readonly sequence: string;
}

const PAGE = fileURLToPath(new URL("../../../../docs/conformance.md", import.meta.url));

/** Without numbers that another layer's change would change. */
function cell(text: string): string {
  return text.replaceAll(/pfn 0x[0-9a-f]+/g, "pfn …").replaceAll(/page_pool \d+/g, "page_pool").replaceAll(/(hold|release|in flight|cache|ring|id|address) (0x)?[0-9a-f]+\b/g, "$1 …").replaceAll("|", "\\|").replaceAll("<", "&lt;");
}

/** The table between the marks of this name; with UPDATE_CONFORMANCE set it is written anew. */
export function compareOrUpdate(name: string, scores: readonly Score[]): void {
  const [begin, end] = [`<!-- ${name} -->`, `<!-- /${name} -->`];
  const rows = scores.map(({ plugin, mistake, rule, also, subtle, what, where, sequence }) => `| \`${plugin}\` ${cell(mistake)}${subtle ? "" : " *" } | ${[`**${rule}**`, ...also].join(", ")} | ${cell(what)}${/^\S+ \(/.test(where) ? `, in \`${where.replace(/ \(.*/, "")}\`` : ""} | ${cell(sequence)} |`);
  const table = `${begin}\n\n| the plugin … | rule | what it says | shortest sequence |\n| --- | --- | --- | --- |\n${rows.join("\n")}\n\n${end}`;
  const page = readFileSync(PAGE, "utf8");
  const from = page.indexOf(begin);
  const to = page.indexOf(end) + end.length;
  if (process.env["UPDATE_CONFORMANCE"] !== undefined) writeFileSync(PAGE, page.slice(0, from) + table + page.slice(to));
  else expect(page.slice(from, to), "run with UPDATE_CONFORMANCE=1, and look at the difference").toBe(table);
}
