import { packageOf, walk, type Tree, type Verdict, type Violation } from "./tree.ts";

const LAW = "trouble";

/** Of the kernel layer: misuse of our API, and the machine that stopped. */
const KERNEL_ERRORS: readonly string[] = ["UsageError", "KernelPanic"];

/** Where somebody's code is run, to judge packets, to provide memory or to be judged itself: there a throw is an answer, and not the layer's. What stops the machine goes on. */
const MAY_CATCH: readonly string[] = ["packages/xdp/src/programs.ts", "packages/kernel/src/api/foreign.ts", "packages/testkit/src/conformance/outcome.ts"];

/**
 * Law 7, as far as exceptions go: what is expected is answered, not thrown; what is thrown has a type that its header
 * exports; and nobody below the apps catches, where users' programs run apart.
 */
export function checkTrouble(tree: Tree): Verdict<"files" | "throws" | "errors"> {
  const violations: Violation[] = [];
  const errors = errorsByPackage(tree);
  const sources = tree.sources(/^packages\/[^/]+\/src\//);
  let throws = 0;
  for (const source of sources) {
    const own = errors.get(packageOf(source.path)) ?? [];
    const report = (start: number, message: string): void => {
      violations.push({ law: LAW, file: source.path, line: source.line(start), message });
    };
    const mayCatch = MAY_CATCH.includes(source.path);
    walk(source.program, (node) => {
      if (node.type === "TryStatement" && !mayCatch) report(node.start, "try: layers do not catch; answer null, a number or a literal union for what is expected");
      if (node.type !== "ThrowStatement") return;
      throws++;
      const { argument } = node;
      const name = argument.type === "NewExpression" && argument.callee.type === "Identifier" ? argument.callee.name : null;
      if (mayCatch && argument.type === "Identifier") return;
      if (name !== null && (KERNEL_ERRORS.includes(name) || own.includes(name))) return;
      const what = source.text.slice(argument.start, argument.end).split("\n")[0]!;
      report(node.start, `throws ${what}: throw a new UsageError, or an …Error class of src/api; a broken kernel rule is a report`);
    });
  }
  const errorCount = [...errors.values()].reduce((sum, names) => sum + names.length, 0);
  return { violations, looked: { files: sources.length, throws, errors: errorCount } };
}

/** The error classes that each package's header exports. */
function errorsByPackage(tree: Tree): Map<string, string[]> {
  const errors = new Map<string, string[]>();
  for (const source of tree.sources(/^packages\/[^/]+\/src\/api\//)) {
    for (const node of source.program.body) {
      const declaration = node.type === "ExportNamedDeclaration" ? node.declaration : null;
      if (declaration?.type !== "ClassDeclaration" || !declaration.id!.name.endsWith("Error")) continue;
      const owner = packageOf(source.path);
      errors.set(owner, [...(errors.get(owner) ?? []), declaration.id!.name]);
    }
  }
  return errors;
}
