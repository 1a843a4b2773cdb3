import type { Node } from "oxc-parser";
import { walk, type Source } from "./tree.ts";

/** The ways in which one file can depend on another. */
export type ImportKind = "static import" | "type-only import" | "re-export" | "dynamic import" | "type query" | "import = require" | "declare module";

export interface FoundImport {
  readonly kind: ImportKind;
  /** As written; null for a dynamic import of a computed name. */
  readonly specifier: string | null;
  readonly line: number;
}

/**
 * Every import of a file. The parser's module record knows the first four kinds; the other three stand anywhere in the
 * tree.
 */
export function findImports(source: Source): FoundImport[] {
  const found: FoundImport[] = [];
  const add = (kind: ImportKind, specifier: string | null, start: number): void => {
    found.push({ kind, specifier, line: source.line(start) });
  };
  for (const { start, moduleRequest, entries } of source.module.staticImports) {
    const typeOnly = entries.length > 0 && entries.every((entry) => entry.isType);
    add(typeOnly ? "type-only import" : "static import", moduleRequest.value, start);
  }
  for (const { start, entries } of source.module.staticExports) {
    const request = entries.find((entry) => entry.moduleRequest !== null)?.moduleRequest;
    if (request) add("re-export", request.value, start);
  }
  walk(source.program, (node) => {
    if (node.type === "ImportExpression") add("dynamic import", literalText(node.source), node.start);
    else if (node.type === "TSImportType") add("type query", node.source.value, node.start);
    else if (node.type === "TSExternalModuleReference") add("import = require", node.expression.value, node.start);
    else if (node.type === "TSModuleDeclaration" && node.id.type === "Literal") add("declare module", node.id.value, node.start);
  });
  return found.sort((a, b) => a.line - b.line);
}

/** The text of `"x"`, or of a template without holes. */
function literalText(node: Node): string | null {
  if (node.type === "Literal" && typeof node.value === "string") return node.value;
  return node.type === "TemplateLiteral" && node.expressions.length === 0 ? node.quasis[0]!.value.cooked : null;
}
