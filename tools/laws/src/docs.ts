import { lineAt, walk, type Source, type Tree, type Verdict, type Violation } from "./tree.ts";

const LAW = "docs";
const MOST_LINES = 400;
/** Left for later, or silenced. */
const MARKERS = /\b(TODO|FIXME|XXX)\b|@ts-ignore/g;

/** Every package has a README with an example. */
export function checkReadmes(tree: Tree): Verdict<"packages"> {
  const violations: Violation[] = [];
  const packages = new Set(tree.paths.map((path) => /^packages\/[^/]+(?=\/)/.exec(path)?.[0]).filter((folder) => folder !== undefined));
  for (const folder of packages) {
    const file = `${folder}/README.md`;
    const text = tree.text(file);
    if (text === null) violations.push({ law: LAW, file, line: 1, message: "missing: one screen on the layer, what it owns and uses, and the smallest example" });
    else if (!/^```ts\b[^\n]*\n[\s\S]*?^```/m.test(text)) violations.push({ law: LAW, file, line: 1, message: "no ```ts block: show the smallest example that runs" });
  }
  return { violations, looked: { packages: packages.size } };
}

/** Sources are of a size one can read, and finished. */
export function checkSources(tree: Tree): Verdict<"files" | "lines"> {
  const violations: Violation[] = [];
  const sources = tree.sources(/^packages\/[^/]+\/src\//);
  let total = 0;
  for (const source of sources) {
    const report = (line: number, message: string): void => {
      violations.push({ law: LAW, file: source.path, line, message });
    };
    const lines = source.text.replace(/\n$/, "").split("\n").length;
    total += lines;
    if (lines > MOST_LINES) report(MOST_LINES + 1, `${lines} lines, and ${MOST_LINES} is the most: split it by idea`);
    for (const marker of source.text.matchAll(MARKERS)) report(lineAt(source.text, marker.index), `${marker[0]}: do it now, or open an issue and say what holds today`);
    for (const start of castsToAny(source)) report(source.line(start), "as any: say the type, or `unknown` and narrow it");
  }
  return { violations, looked: { files: sources.length, lines: total } };
}

/** From the syntax, since prose may say "as any other". */
function castsToAny(source: Source): number[] {
  const starts: number[] = [];
  walk(source.program, (node) => {
    if ((node.type === "TSAsExpression" || node.type === "TSTypeAssertion") && node.typeAnnotation.type === "TSAnyKeyword") starts.push(node.start);
  });
  return starts;
}
