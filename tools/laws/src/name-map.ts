import type { Node } from "oxc-parser";
import { isDoc, keyName, packageOf, type Source, type Tree } from "./tree.ts";

/** Where the page stands, in the tree. */
export const NAME_MAP_PAGE = "docs/name-map.md";

interface Row {
  readonly kernel: string;
  readonly ours: string;
  readonly path: string;
}

/** What a doc comment stands over. */
interface Documented {
  readonly name: string;
  /** A constant, and those on the lines right below it without a comment of their own; else empty. */
  readonly constants: readonly string[];
}

const INTRO = `# From the kernel's names to ours

Generated from the \`@kernel\` tags of the sources; do not edit. After a change of tags:
\`UPDATE_NAME_MAP=1 npx --yes pnpm@10.34.9 exec vitest run tools/laws/test/name-map.test.ts\`.

Names are sorted without their leading underscores. \`Interface.member\` is what callers see; a class or a function without
\`src/api\` in its path is where the work is done. \`NAME …\` stands for a constant and those below it.
`;

/** The page `docs/name-map.md`: where a kernel name lives here. */
export function renderNameMap(tree: Tree): string {
  const rows = tree.sources(/^packages\/[^/]+\/src\//).flatMap((source) => rowsOf(source)).sort(compareRows);
  const names = rows.filter(({ kernel }) => !isPath(kernel));
  const files = rows.filter(({ kernel }) => isPath(kernel));
  return `${INTRO}\n${renderTable("C name", names)}\n## Whole files of the kernel\n\n${renderTable("C file", files)}`;
}

function renderTable(title: string, rows: readonly Row[]): string {
  const lines = rows.map(({ kernel, ours, path }) => {
    const inPackage = path.split("/").slice(2).join("/");
    return `| \`${kernel}\` | \`${ours}\` | ${packageOf(path)} | [${inPackage}](../${path}) |\n`;
  });
  return `| ${title} | Here | Package | File |\n| --- | --- | --- | --- |\n${lines.join("")}`;
}

/** By name; under one name the header first. */
function compareRows(a: Row, b: Row): number {
  return compare(sortKey(a.kernel), sortKey(b.kernel)) || compare(a.kernel, b.kernel)
    || Number(isInner(a.path)) - Number(isInner(b.path)) || compare(a.path, b.path) || compare(a.ours, b.ours);
}

/** By code unit: a page must not depend on anybody's locale. */
function compare(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

function sortKey(kernel: string): string {
  return kernel.replace(/^_+/, "").toLowerCase();
}

function isInner(path: string): boolean {
  return !path.includes("/src/api/");
}

function isPath(kernel: string): boolean {
  return kernel.includes("/");
}

function rowsOf(source: Source): Row[] {
  const documented = documentedIn(source);
  const rows: Row[] = [];
  for (const comment of source.comments) {
    if (!isDoc(comment) || !comment.value.includes("@kernel")) continue;
    const target = documented.get(skipSpace(source.text, comment.end));
    if (target === undefined) throw new Error(`${source.path}:${source.line(comment.start)}: a @kernel tag stands over nothing that has a name: put it right above a declaration or a member`);
    for (const text of tagTexts(comment.value)) {
      for (const [kernel, ours] of pairs(kernelNames(text), target)) rows.push({ kernel, ours, path: source.path });
    }
  }
  return rows;
}

function skipSpace(text: string, from: number): number {
  return from + /^\s*/.exec(text.slice(from))![0].length;
}

/** The text behind each tag of a comment, in one line. */
export function tagTexts(comment: string): string[] {
  const flat = comment.replace(/\n\s*\*/g, " ").replace(/\s+/g, " ");
  return flat.split("@kernel ").slice(1).map((text) => text.replace(/ @\w+ .*$/, "").trim());
}

/**
 * The kernel names in a tag's text. It is prose that begins with a name: `skb_clone`, `struct page (include/…)`,
 * `napi_poll, __napi_poll`, `page_pool_release_page, up to 6.5`, `the body of __xdp_return for one type`. A clause gives
 * its first word if that is all of it, or looks like C; one that begins with "the" gives the first word that does.
 * `PP_FLAG_DMA_MAP …` keeps its dots.
 */
export function kernelNames(text: string): string[] {
  const names: string[] = [];
  const clauses = text.replace(/\([^)]*\)/g, " ").split(":")[0]!.split(/[;,]| and /);
  clauses.forEach((clause, index) => {
    const words = clause.trim().replace(/^(struct|enum|union) /, "").split(" ").map((word) => /^[A-Za-z_][\w./>-]*\*?/.exec(word)?.[0] ?? "");
    const name = words[0] === "the" ? words.find(looksLikeC) : words[0];
    const isName = index === 0 || words.length === 1 || looksLikeC(name ?? "");
    if (name !== undefined && name !== "" && isName) names.push(clause.trim().endsWith("…") ? `${name} …` : name);
  });
  return names;
}

function looksLikeC(word: string): boolean {
  return /_|\/.*\.[ch]$/.test(word);
}

/**
 * Which of our names each kernel name stands for. Constants come in groups under one comment: a kernel name that is one
 * of them stands for that one, `NAME …` for all, `PREFIX_*` for those with the prefix, and as many names as there are
 * constants for one each.
 */
function pairs(kernel: readonly string[], { name, constants }: Documented): [string, string][] {
  if (constants.length < 2) return kernel.map((each) => [each, name]);
  const byPosition = kernel.length === constants.length;
  return kernel.flatMap((each, index): [string, string][] => {
    if (constants.includes(each)) return [[each, each]];
    const prefix = /^(.*)\*$/.exec(each)?.[1] ?? (each.endsWith(" …") ? "" : null);
    if (prefix !== null) return constants.filter((constant) => constant.startsWith(prefix)).map((constant) => [constant, constant]);
    return [[each, byPosition ? constants[index]! : `${name} …`]];
  });
}

/** Everything with a name that a comment may stand over, by where it starts. */
function documentedIn(source: Source): Map<number, Documented> {
  const found = new Map<number, Documented>();
  const add = (node: Node, name: string | null, constants: readonly string[] = []): void => {
    if (name !== null && !found.has(node.start)) found.set(node.start, { name, constants });
  };
  const { body } = source.program;
  body.forEach((statement, index) => {
    const node = statement.type === "ExportNamedDeclaration" ? statement.declaration : statement;
    switch (node?.type) {
      case "FunctionDeclaration": case "ClassDeclaration": add(statement, node.id?.name ?? null); break;
      case "TSInterfaceDeclaration": case "TSTypeAliasDeclaration": add(statement, node.id.name); break;
      case "VariableDeclaration": add(statement, constantName(statement), constantsFrom(source, index)); break;
    }
    if (node?.type !== "ClassDeclaration" && node?.type !== "TSInterfaceDeclaration") return;
    for (const member of node.body.body) if ("key" in member) add(member, `${node.id!.name}.${keyName(member as Parameters<typeof keyName>[0])}`);
  });
  return found;
}

function constantName(statement: Node): string | null {
  const node = statement.type === "ExportNamedDeclaration" ? statement.declaration : statement;
  if (node?.type !== "VariableDeclaration") return null;
  const { id } = node.declarations[0]!;
  return id.type === "Identifier" ? id.name : null;
}

function constantsFrom(source: Source, index: number): string[] {
  const { body } = source.program;
  const names: string[] = [];
  for (let i = index; i < body.length; i++) {
    const name = constantName(body[i]!);
    if (name === null || (i > index && source.text.slice(body[i - 1]!.end, body[i]!.start) !== "\n")) break;
    names.push(name);
  }
  return names;
}
