import type { Node } from "oxc-parser";
import { findImports } from "./imports.ts";
import { bare, keyName, walk, type Tree, type Verdict, type Violation } from "./tree.ts";

const LAW = "determinism";

const CLOCK = "time is simulated: take the kernel's clock, timers or scheduler from deps";
const RANDOM = "randomness is seeded: take the kernel's random from deps";

/** Globals that make two runs differ, and what to use instead. */
const FORBIDDEN: ReadonlyMap<string, string> = new Map([
  ["Date", CLOCK], ["performance", CLOCK],
  ["setTimeout", CLOCK], ["setInterval", CLOCK], ["setImmediate", CLOCK], ["queueMicrotask", CLOCK],
  ["crypto", RANDOM],
  ["process", "a layer knows no process: take what it needs as an option"],
]);

const FORBIDDEN_MODULE = /^(node:)?(crypto|perf_hooks|process|timers)(\/.*)?$/;

/** Law 5: the packages read no clock, no environment and no randomness but the machine's own. Apps may. */
export function checkDeterminism(tree: Tree): Verdict<"files" | "identifiers"> {
  const violations: Violation[] = [];
  const sources = tree.sources(/^packages\/[^/]+\/src\//);
  let identifiers = 0;
  for (const source of sources) {
    const report = (line: number, message: string): void => {
      violations.push({ law: LAW, file: source.path, line, message });
    };
    for (const { specifier, line } of findImports(source)) {
      if (specifier !== null && FORBIDDEN_MODULE.test(specifier)) report(line, `imports ${specifier}: the machine has its own clock and randomness, and no process`);
    }
    walk(source.program, (node, parent, key) => {
      if (node.type === "ImportDeclaration") return false;
      if (node.type === "ForInStatement") report(source.line(node.start), "for … in: the order of keys depends on their names; loop over an array or with for … of");
      const name = globalName(node, parent, key);
      if (name === null) return true;
      identifiers++;
      if (name === "Math.random") report(source.line(node.start), `Math.random: ${RANDOM}`);
      else if (FORBIDDEN.has(name)) report(source.line(node.start), `${name}: ${FORBIDDEN.get(name)!}`);
      return true;
    });
  }
  return { violations, looked: { files: sources.length, identifiers } };
}

/** The global that a node may stand for: `x`, `globalThis.x`, or `Math.x` with its `Math`. */
function globalName(node: Node, parent: Node | null, key: string): string | null {
  if (node.type === "Identifier") return parent !== null && isPropertyName(parent, key) ? null : node.name;
  if (node.type !== "MemberExpression") return null;
  const object = bare(node.object);
  const property = keyName({ key: node.property, computed: node.computed });
  if (object.type !== "Identifier" || property === null) return null;
  if (object.name === "globalThis") return property;
  return object.name === "Math" ? `Math.${property}` : null;
}

/** `x.Date`, `{ Date: … }` and `readonly Date: …` are names of our own. */
function isPropertyName(parent: Node, key: string): boolean {
  if (key === "property") return parent.type === "MemberExpression" && !parent.computed;
  if (key === "right") return parent.type === "TSQualifiedName";
  // The value of a shorthand `{ process }` is a node of its own.
  return key === "key" && "computed" in parent && !parent.computed;
}
