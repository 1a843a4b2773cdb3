import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseSync, visitorKeys, type Comment, type EcmaScriptModule, type Node, type Program } from "oxc-parser";

/** One broken law, in one place. */
export interface Violation {
  readonly law: string;
  /** Path from the root of the tree. */
  readonly file: string;
  readonly line: number;
  /** What, and what to do about it; the place is in `file` and `line`. */
  readonly message: string;
}

/** What a check found, and how much it looked at: a check that read nothing must not pass for a clean tree. */
export interface Verdict<Counted extends string> {
  readonly violations: readonly Violation[];
  readonly looked: Readonly<Record<Counted, number>>;
}

/** `packages/mm/src/page.ts:12: structs: …`. */
export function formatViolation({ file, line, law, message }: Violation): string {
  return `${file}:${line}: ${law}: ${message}`;
}

/** A file of the tree, parsed. */
export class Source {
  readonly path: string;
  readonly text: string;
  readonly program: Program;
  /** What the parser itself notes of imports and exports. */
  readonly module: EcmaScriptModule;
  readonly comments: readonly Comment[];

  constructor(path: string, text: string) {
    const { program, module, comments, errors } = parseSync(path, text);
    // A file that does not parse comes back empty, and an empty file breaks no law.
    if (errors.length > 0) throw new Error(`${path} does not parse: ${errors[0]!.message}`);
    this.path = path;
    this.text = text;
    this.program = program;
    this.module = module;
    this.comments = comments;
  }

  line(offset: number): number {
    return lineAt(this.text, offset);
  }

  /** The doc comment that ends right above `start`, or null. */
  docBefore(start: number): Comment | null {
    for (const comment of this.comments) {
      if (isDoc(comment) && comment.end <= start && this.text.slice(comment.end, start).trim() === "") return comment;
    }
    return null;
  }
}

export function isDoc(comment: Comment): boolean {
  return comment.type === "Block" && comment.value.startsWith("*");
}

export function lineAt(text: string, offset: number): number {
  let line = 1;
  for (let at = text.indexOf("\n"); at >= 0 && at < offset; at = text.indexOf("\n", at + 1)) line++;
  return line;
}

/** The files that the laws are about, by their paths from the root: a checkout, or a few lines written by a test. */
export class Tree {
  /** In code-point order, so that every run reports in the same order. */
  readonly paths: readonly string[];
  readonly #texts: ReadonlyMap<string, string>;
  readonly #sources = new Map<string, Source>();

  constructor(texts: ReadonlyMap<string, string>) {
    this.#texts = texts;
    this.paths = [...texts.keys()].sort();
  }

  text(path: string): string | null {
    return this.#texts.get(path) ?? null;
  }

  source(path: string): Source {
    let source = this.#sources.get(path);
    if (source === undefined) {
      source = new Source(path, this.#texts.get(path)!);
      this.#sources.set(path, source);
    }
    return source;
  }

  /** Every TypeScript or JavaScript file whose path matches. */
  sources(where: RegExp): Source[] {
    return this.paths.filter((path) => where.test(path) && /\.[cm]?[jt]sx?$/.test(path)).map((path) => this.source(path));
  }
}

/** Made by tools, or broken on purpose. */
const NOT_OURS: readonly string[] = ["node_modules", "dist", "fixtures", ".turbo"];

/** Packages, apps and docs of the checkout at `root`. */
export function readTree(root: string): Tree {
  const texts = new Map<string, string>();
  const visit = (folder: string): void => {
    for (const entry of readdirSync(join(root, folder), { withFileTypes: true })) {
      const path = `${folder}/${entry.name}`;
      if (entry.isDirectory() && !NOT_OURS.includes(entry.name)) visit(path);
      if (entry.isFile() && /\.([cm]?[jt]sx?|json|md)$/.test(entry.name)) texts.set(path, readFileSync(join(root, path), "utf8"));
    }
  };
  for (const folder of ["packages", "apps", "docs"]) visit(folder);
  return new Tree(texts);
}

/** A tree of the files given, for planting violations. */
export function treeOf(files: Readonly<Record<string, string>>): Tree {
  return new Tree(new Map(Object.entries(files)));
}

/** `packages/mm/src/api/page.ts` → `mm`. */
export function packageOf(path: string): string {
  return path.split("/")[1]!;
}

/** Sees a node and everything below it, parents first; `false` keeps it from looking below. */
export type Visit = (node: Node, parent: Node | null, key: string) => boolean | void;

export function walk(node: Node, visit: Visit, parent: Node | null = null, key = ""): void {
  if (visit(node, parent, key) === false) return;
  for (const child of visitorKeys[node.type] ?? []) {
    const value = (node as unknown as Record<string, Node | (Node | null)[] | null | undefined>)[child];
    if (Array.isArray(value)) {
      for (const item of value) if (item !== null) walk(item, visit, node, child);
    } else if (value !== null && value !== undefined) walk(value, visit, node, child);
  }
}

/** The expression inside casts, assertions and parentheses. */
export function bare(node: Node): Node {
  switch (node.type) {
    case "ParenthesizedExpression":
    case "TSAsExpression":
    case "TSSatisfiesExpression":
    case "TSNonNullExpression":
    case "TSTypeAssertion": return bare(node.expression);
    default: return node;
  }
}

/** The name of a key that is written out: `name`, `"name"` or `#name`; null for a computed one. */
export function keyName(node: { readonly key: Node; readonly computed: boolean }): string | null {
  const { key } = node;
  if (key.type === "Literal") return String(key.value);
  if (node.computed) return null;
  if (key.type === "PrivateIdentifier") return `#${key.name}`;
  return key.type === "Identifier" ? key.name : null;
}
