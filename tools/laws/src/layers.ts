import { posix } from "node:path";
import { findImports, type FoundImport } from "./imports.ts";
import { LAYERS_PAGE, LayersTable, type LayerRule } from "./layers-table.ts";
import { lineAt, type Source, type Tree, type Verdict, type Violation } from "./tree.ts";

const LAW = "layers";

/** A package or an app. Its name in the table is its folder within `packages/`, or `apps/…`. */
interface Member {
  readonly folder: string;
  readonly row: string;
  readonly rule: LayerRule | null;
  readonly manifest: Manifest;
}

interface Manifest {
  readonly name: string;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly peerDependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
  readonly exports?: Readonly<Record<string, unknown>>;
}

/** Where a member first imports another, by the other's package name. */
interface Used {
  readonly bySrc: Map<string, string>;
  readonly byTests: Map<string, string>;
}

/**
 * Law 1. Compares four accounts of who knows whom: the table of `docs/layers.md`, the imports in the sources, the
 * manifests and the project references; and allows no cycle.
 */
export function checkLayers(tree: Tree): Verdict<"members" | "files" | "imports" | "edges" | "rows"> {
  const table = new LayersTable(tree.text(LAYERS_PAGE) ?? "");
  const violations: Violation[] = [];
  const report = (file: string, line: number, message: string): void => {
    violations.push({ law: LAW, file, line, message });
  };
  const members = readMembers(tree, table);
  const byName = new Map(members.map((member) => [member.manifest.name, member]));
  const edges = new Map<string, ReadonlySet<string>>();
  let files = 0;
  let imports = 0;
  for (const member of members) {
    const { folder, row, rule } = member;
    if (rule === null) report(LAYERS_PAGE, 1, `${folder} has no row in the table: say what \`${row}\` may import`);
    const used: Used = { bySrc: new Map(), byTests: new Map() };
    for (const source of tree.sources(new RegExp(`^${folder}/`))) {
      files++;
      for (const found of findImports(source)) {
        imports++;
        const message = judgeImport(found, source, member, byName, used);
        if (message !== null) report(source.path, found.line, message);
      }
    }
    compareManifest(tree, member, used, byName, report);
    compareReferences(tree, member, used, members, report);
    edges.set(member.manifest.name, new Set([...used.bySrc.keys(), ...used.byTests.keys()]));
  }
  for (const cycle of findCycles(edges)) {
    report(`${byName.get(cycle[0]!)!.folder}/package.json`, 1, `cycle ${cycle.join(" → ")}: one of these needs a port instead`);
  }
  const edgeCount = [...edges.values()].reduce((sum, targets) => sum + targets.size, 0);
  return { violations, looked: { members: members.length, files, imports, edges: edgeCount, rows: table.size } };
}

function readMembers(tree: Tree, table: LayersTable): Member[] {
  const folders = new Set(tree.paths.map((path) => /^(?:packages|apps)\/[^/]+(?=\/)/.exec(path)?.[0]).filter((folder) => folder !== undefined));
  return [...folders].map((folder) => {
    const row = folder.replace(/^packages\//, "");
    return { folder, row, rule: table.rule(row), manifest: readJson<Manifest>(tree, `${folder}/package.json`) };
  });
}

function readJson<T>(tree: Tree, path: string): T {
  const text = tree.text(path);
  if (text === null) throw new Error(`${path} is missing: every folder of packages/ and apps/ is a package`);
  return JSON.parse(text) as T;
}

/** What is wrong with one import, or null; an import along a permitted edge is noted in `used`. */
function judgeImport(found: FoundImport, source: Source, member: Member, byName: ReadonlyMap<string, Member>, used: Used): string | null {
  const { kind, specifier } = found;
  const wires = member.rule === "anything";
  if (specifier === null) return wires ? null : `${kind} of a computed name: nobody can see where it leads; write the name out`;
  const what = `${kind} of "${specifier}"`;
  if (specifier.startsWith(".")) return judgeRelative(what, specifier, source.path, member.folder);
  const parts = /^(@netmem\/[^/]+)(\/.*)?$/.exec(specifier);
  if (parts === null) return null;
  const [, name, entry] = parts as unknown as [string, string, string | undefined];
  const target = byName.get(name);
  if (target === undefined) return `${what}: there is no such package in packages/ or apps/`;
  // What else a package opens stands in its manifest: testkit has an entry for each test runner.
  if (entry !== undefined && entry !== "/api" && target.manifest.exports?.[`.${entry}`] === undefined) return `${what} reaches into the package: import "${name}/api" or "${name}"`;
  const inSrc = source.path.startsWith(`${member.folder}/src/`);
  if (target === member) return inSrc ? `${what}: the package imports itself by name; use a relative path` : null;
  if (!permits(member.rule, target, entry === "/api")) {
    return `${what}: \`${member.row}\` may not know \`${target.row}\`, says ${LAYERS_PAGE}; what points there must be a port of its own`;
  }
  if (entry !== "/api" && inSrc && !wires) {
    return `${what}: an implementation, which only machine, testkit, scenarios and apps may import; use "${name}/api" and take the service in deps`;
  }
  const users = inSrc ? used.bySrc : used.byTests;
  if (!users.has(name)) users.set(name, `${source.path}:${found.line}`);
  return null;
}

function permits(rule: LayerRule | null, target: Member, isHeader: boolean): boolean {
  // A package without a row is reported once, not at each of its imports.
  if (rule === null || rule === "anything") return true;
  return rule === "every header" ? isHeader : rule.includes(target.row);
}

/** A relative path stays in its package, and a header's in the header: what it names, everybody sees. */
function judgeRelative(what: string, specifier: string, from: string, folder: string): string | null {
  const target = posix.join(posix.dirname(from), specifier);
  if (!target.startsWith(`${folder}/`)) return `${what} leaves the package: import the other package by its name`;
  const header = `${folder}/src/api/`;
  if (from.startsWith(header) && !target.startsWith(header)) return `${what}: the header reaches into the implementation; move what it needs into src/api`;
  return null;
}

type Report = (file: string, line: number, message: string) => void;

/**
 * Drivers and memory models are plugins: they take the layers as peers, so that there is one copy of each in a program,
 * and as devDependencies, so that they are there to build against.
 */
function compareManifest(tree: Tree, member: Member, used: Used, byName: ReadonlyMap<string, Member>, report: Report): void {
  const { folder, manifest } = member;
  const file = `${folder}/package.json`;
  const isPlugin = /^(driver|memory-model)-/.test(member.row);
  const field = isPlugin ? "peerDependencies" : "dependencies";
  const declared = (fieldName: "dependencies" | "peerDependencies" | "devDependencies"): string[] =>
    Object.keys(manifest[fieldName] ?? {}).filter((name) => name.startsWith("@netmem/"));
  const runtime = declared(field);
  const dev = declared("devDependencies");
  const lineOf = (fieldName: string, name: string): number => lineIn(tree.text(file)!, `"${fieldName}"`, `"${name}"`);

  for (const [name, where] of used.bySrc) if (!runtime.includes(name)) report(file, 1, `${name} is imported in ${where}: add it to ${field}`);
  for (const name of runtime) {
    if (!used.bySrc.has(name) && !isPeerOfAnother(name, runtime, byName)) report(file, lineOf(field, name), `${name} is in ${field}, and no file in src imports it: take it out`);
    if (isPlugin && !dev.includes(name)) report(file, lineOf(field, name), `${name} is a peer: add it to devDependencies too, to build against`);
  }
  for (const [name, where] of used.byTests) {
    if (!used.bySrc.has(name) && !runtime.includes(name) && !dev.includes(name)) report(file, 1, `${name} is imported in ${where}: add it to devDependencies`);
  }
  for (const name of dev) {
    if (!runtime.includes(name) && !used.byTests.has(name)) report(file, lineOf("devDependencies", name), `${name} is in devDependencies, and no test imports it: take it out`);
  }
  const wrong = isPlugin ? "dependencies" : "peerDependencies";
  for (const name of declared(wrong)) report(file, lineOf(wrong, name), `${name} is in ${wrong}: ${isPlugin ? "a plugin" : "a package that is no plugin"} takes layers as ${field}`);
}

/** Whoever depends on a plugin must provide the layers that the plugin asks for. */
function isPeerOfAnother(name: string, runtime: readonly string[], byName: ReadonlyMap<string, Member>): boolean {
  return runtime.some((other) => byName.get(other)?.manifest.peerDependencies?.[name] !== undefined);
}

/** A missing reference passes in most builds, by luck of the order; an unused one makes the build wait. */
function compareReferences(tree: Tree, member: Member, used: Used, members: readonly Member[], report: Report): void {
  const file = `${member.folder}/tsconfig.json`;
  if (tree.text(file) === null) {
    // Scenarios have tests only: nothing is built, and the tests are type-checked from the root.
    if (tree.sources(new RegExp(`^${member.folder}/src/`)).length > 0) report(file, 1, "missing: without it nothing in src is built");
    return;
  }
  const referenced = new Set<string>();
  for (const { path } of readJson<{ references?: { path: string }[] }>(tree, file).references ?? []) {
    const target = members.find((other) => other.folder === posix.join(member.folder, path));
    const line = lineIn(tree.text(file)!, `"references"`, `"${path}"`);
    if (target === undefined) report(file, line, `references ${path}, where there is no package: take it out`);
    else if (!used.bySrc.has(target.manifest.name)) report(file, line, `references ${path}, and no file in src imports ${target.manifest.name}: take it out`);
    if (target !== undefined) referenced.add(target.manifest.name);
  }
  for (const [name, where] of used.bySrc) {
    if (!referenced.has(name)) report(file, 1, `${name} is imported in ${where}: add it to references`);
  }
}

/** The line of `needle` behind `section`. */
function lineIn(text: string, section: string, needle: string): number {
  return lineAt(text, Math.max(0, text.indexOf(needle, text.indexOf(section))));
}

/** Each cycle once: the names along it from the alphabetically first, which stands again at the end. */
function findCycles(edges: ReadonlyMap<string, ReadonlySet<string>>): string[][] {
  const cycles: string[][] = [];
  const finished = new Set<string>();
  const visit = (name: string, path: readonly string[]): void => {
    const start = path.indexOf(name);
    if (start >= 0) cycles.push(fromFirst(path.slice(start)));
    if (start >= 0 || finished.has(name)) return;
    for (const target of edges.get(name) ?? []) visit(target, [...path, name]);
    finished.add(name);
  };
  for (const name of edges.keys()) visit(name, []);
  return cycles;
}

function fromFirst(ring: readonly string[]): string[] {
  const first = ring.indexOf([...ring].sort()[0]!);
  return [...ring.slice(first), ...ring.slice(0, first + 1)];
}
