// The last step of each package's build: constants of other modules are compiled in, `PAGE_SIZE` as `4096 /* PAGE_SIZE */`, as C compiles in those
// of its headers, and functions are held in constants, `const $skbRegion = skbRegion`. To the engine an import is a cell that may change, which it loads
// and tests each time, and a function a variable (docs/decisions/0008).
import { existsSync, readFileSync, readdirSync, realpathSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { parseSync } from "oxc-parser";

/** What was compiled in before, with its name behind it; `=` where the parentheses belong to it. */
const COMPILED_IN = /\(-?[\d.e+]+ \/\* =([\w$]+) \*\/\)|[\d.e+]+ \/\* ([\w$]+) \*\//g;

/** What the first statement of a module that was compiled in before has in front: its functions under names that nobody assigns to. */
const NAMED_AGAIN = /\/\* compiled in \*\/ const (?:\$[\w$]+ = [\w$]+(?:, )?)+; /;

/** @typedef {{ path: string, module: Module, declaration: any }} FunctionOf What others have a number for. */
/** @typedef {{ text: string, body: any[], constants: Map<string, number>, functions: Map<string, any>, imports: Map<string, [string, string]>, exports: Map<string, [string | null, string]>, stars: string[] }} Module */

/** Modules of a build, by path, each read once; and what each exports that is a number, or a function, for good. */
export class CompiledIn {
  /** @type {Map<string, Module>} */
  #modules = new Map();
  #read;
  #resolve;

  /** `read` gives a module's text; `resolve` the path that a specifier stands for in the module at a path, or null. */
  constructor(read, resolveSpecifier) {
    this.#read = read;
    this.#resolve = resolveSpecifier;
  }

  /** The text of the module with every constant compiled in that it imports, or exports itself, and its functions and those that it imports held in constants of its own. */
  of(path) {
    const module = this.#module(path);
    const known = new Map();
    for (const [local, [specifier, name]] of module.imports) {
      const found = this.#imported(path, specifier, name, new Set());
      if (found !== undefined) known.set(local, found);
    }
    // What a module exports lies in a cell for itself, too.
    for (const [from, local] of module.exports.values()) if (from === null && module.constants.has(local)) known.set(local, module.constants.get(local));
    for (const name of module.functions.keys()) known.set(name, this.#local(path, module, name, new Set()));
    return known.size === 0 ? module.text : replaced(module, known);
  }

  #module(path) {
    const before = this.#modules.get(path);
    if (before !== undefined) return before;
    const text = withNames(this.#read(path));
    const module = { text, body: parseSync(path, text).program.body, constants: new Map(), functions: new Map(), imports: new Map(), exports: new Map(), stars: [] };
    this.#modules.set(path, module);
    for (const statement of module.body) this.#take(path, module, statement);
    return module;
  }

  #take(path, module, statement) {
    if (statement.type === "ImportDeclaration") {
      for (const { type, local, imported } of statement.specifiers) if (type === "ImportSpecifier") module.imports.set(local.name, [statement.source.value, imported.name]);
    } else if (statement.type === "ExportAllDeclaration") {
      if (statement.exported === null) module.stars.push(statement.source.value);
    } else if (statement.type === "ExportNamedDeclaration" && statement.declaration === null) {
      for (const { local, exported } of statement.specifiers) module.exports.set(exported.name, [statement.source === null ? null : statement.source.value, local.name]);
    }
    const declaration = statement.type === "ExportNamedDeclaration" ? statement.declaration : statement;
    if (declaration?.type === "FunctionDeclaration") {
      module.functions.set(declaration.id.name, declaration);
      if (declaration !== statement) module.exports.set(declaration.id.name, [null, declaration.id.name]);
    }
    if (declaration?.type !== "VariableDeclaration" || declaration.kind !== "const") return;
    for (const { id, init } of declaration.declarations) {
      const value = id.type === "Identifier" && init !== null ? this.#valueOf(path, module, init) : undefined;
      if (value === undefined || !Number.isFinite(value) || Object.is(value, -0)) continue;
      module.constants.set(id.name, value);
      if (declaration !== statement) module.exports.set(id.name, [null, id.name]);
    }
  }

  /** `parameters`: values by name, in the body of a function. */
  #valueOf(path, module, node, parameters = null) {
    const valueOf = (part) => this.#valueOf(path, module, part, parameters);
    switch (node.type) {
      case "Literal": return typeof node.value === "number" ? node.value : undefined;
      case "ParenthesizedExpression": return valueOf(node.expression);
      case "Identifier": {
        const found = parameters?.get(node.name) ?? this.#local(path, module, node.name, new Set());
        return typeof found === "number" ? found : undefined;
      }
      case "UnaryExpression": return unary(node.operator, valueOf(node.argument));
      case "BinaryExpression": return binary(node.operator, valueOf(node.left), valueOf(node.right));
      // What a function calls may call it again.
      case "CallExpression": return parameters === null && node.callee.type === "Identifier" ? this.#returned(this.#local(path, module, node.callee.name, new Set()), node.arguments.map(valueOf)) : undefined;
      default: return undefined;
    }
  }

  /** Of a function that does nothing but compute. */
  #returned(called, values) {
    if (called === undefined || typeof called === "number") return undefined;
    const { params, body, async, generator } = called.declaration;
    const [only] = body.body;
    if (async || generator || body.body.length !== 1 || only.type !== "ReturnStatement" || only.argument === null) return undefined;
    if (params.length !== values.length || params.some(({ type }) => type !== "Identifier") || values.includes(undefined)) return undefined;
    return this.#valueOf(called.path, called.module, only.argument, new Map(params.map(({ name }, i) => [name, values[i]])));
  }

  #local(path, module, name, seen) {
    const declaration = module.functions.get(name);
    if (declaration !== undefined) return { path, module, declaration };
    const imported = module.imports.get(name);
    return module.constants.get(name) ?? (imported === undefined ? undefined : this.#imported(path, imported[0], imported[1], seen));
  }

  #imported(from, specifier, name, seen) {
    const path = this.#resolve(from, specifier);
    if (path === null || seen.has(`${path} ${name}`)) return undefined;
    seen.add(`${path} ${name}`);
    const module = this.#module(path);
    const exported = module.exports.get(name);
    if (exported !== undefined) return exported[0] === null ? this.#local(path, module, exported[1], seen) : this.#imported(path, exported[0], exported[1], seen);
    for (const star of module.stars) {
      const value = this.#imported(path, star, name, seen);
      if (value !== undefined) return value;
    }
    return undefined;
  }
}

/** As it was before anything was compiled in: constants may have other values since, and functions be none. */
function withNames(compiled) {
  const again = NAMED_AGAIN.exec(compiled);
  let text = again === null ? compiled : compiled.replace(again[0], "");
  if (again !== null) for (const [, name] of again[0].matchAll(/\$([\w$]+) = /g)) text = text.replaceAll(new RegExp(`(?<![\\w$])\\$${escaped(name)}(?![\\w$])`, "g"), () => name);
  return text.replace(COMPILED_IN, (all, inParentheses, bare) => {
    const constant = inParentheses ?? bare;
    return new RegExp(`^(?:import \\{[^}]*\\b${constant}\\b|(?:export )?const ${constant}\\b)`, "m").test(text) ? constant : all;
  });
}

function escaped(name) {
  return name.replaceAll("$", "\\$");
}

function unary(operator, value) {
  if (value === undefined) return undefined;
  return operator === "-" ? -value : operator === "~" ? ~value : undefined;
}

function binary(operator, a, b) {
  if (a === undefined || b === undefined) return undefined;
  switch (operator) {
    case "+": return a + b;
    case "-": return a - b;
    case "*": return a * b;
    case "/": return a / b;
    case "**": return a ** b;
    case "<<": return a << b;
    case ">>": return a >> b;
    case ">>>": return a >>> b;
    case "|": return a | b;
    case "&": return a & b;
    case "^": return a ^ b;
    default: return undefined;
  }
}

/** A name that the module declares once more, as somebody's parameter perhaps, is left alone everywhere. */
function replaced({ text, body }, known) {
  const edits = [];
  const declaredAgain = new Set();
  const visit = (node, parent, key) => {
    if (node.type === "Identifier") {
      if (!known.has(node.name)) return;
      const use = useOf(parent, key);
      if (use === "value") edits.push({ node, parent, key });
      else if (use === "binding") declaredAgain.add(node.name);
      return;
    }
    if (node.type === "ObjectPattern") {
      for (const property of node.properties) {
        if (property.computed) visit(property.key, property, "computed");
        visit(property.type === "Property" ? property.value : property, node, "properties");
      }
      return;
    }
    if (node.type === "ImportDeclaration" || node.type === "ExportAllDeclaration" || node.type === "ExportSpecifier") return;
    for (const [name, child] of Object.entries(node)) {
      for (const each of Array.isArray(child) ? child : [child]) if (each !== null && typeof each === "object") visit(each, node, name);
    }
  };
  for (const statement of body) {
    const declaration = statement.type === "ExportNamedDeclaration" ? statement.declaration : statement;
    // The constants' own declarations.
    if (declaration?.type === "VariableDeclaration") for (const { id, init } of declaration.declarations) {
      if (id.type !== "Identifier") visit(id, declaration, "id");
      if (init !== null) visit(init, declaration, "init");
    } else if (declaration?.type === "FunctionDeclaration") {
      for (const parameter of declaration.params) visit(parameter, declaration, "params");
      visit(declaration.body, declaration, "body");
    } else if (declaration) visit(declaration, statement, "declaration");
  }
  const held = new Set();
  const first = body[0].start;
  let out = "";
  let from = first;
  for (const { node, parent, key } of edits.filter(({ node: { name } }) => !declaredAgain.has(name)).toSorted((a, b) => a.node.start - b.node.start)) {
    const value = known.get(node.name);
    if (typeof value !== "number") held.add(node.name);
    const written = typeof value === "number" ? numberWritten(node.name, value, parent, key) : `$${node.name}`;
    out += text.slice(from, node.start) + (parent.type === "Property" && parent.shorthand ? `${node.name}: ${written}` : written);
    from = node.end;
  }
  // On the line of the first statement, so that all others stay where their source map has them.
  const again = held.size === 0 ? "" : `/* compiled in */ const ${[...held].map((name) => `$${name} = ${name}`).join(", ")}; `;
  return `${text.slice(0, first)}${again}${out}${text.slice(from)}`;
}

/** Neither `4096.toString()` nor `-1 ** 2` can be written. */
function numberWritten(name, value, parent, key) {
  return value < 0 || (parent.type === "MemberExpression" && key === "object") ? `(${value} /* =${name} */)` : `${value} /* ${name} */`;
}

/** Of an identifier: `value` where it stands for one, `binding` where it is declared, `name` where it is a member's. */
function useOf(parent, key) {
  switch (parent.type) {
    case "MemberExpression": return key === "property" && !parent.computed ? "name" : "value";
    case "Property": return key === "key" && !parent.computed ? "name" : "value";
    case "MethodDefinition":
    case "PropertyDefinition":
    case "AccessorProperty": return key === "key" && !parent.computed ? "name" : "value";
    case "LabeledStatement":
    case "BreakStatement":
    case "ContinueStatement": return "name";
    case "ArrayPattern":
    case "ObjectPattern":
    case "RestElement":
    case "CatchClause": return "binding";
    case "AssignmentPattern": return key === "left" ? "binding" : "value";
    case "VariableDeclarator":
    case "FunctionDeclaration":
    case "FunctionExpression":
    case "ClassDeclaration":
    case "ClassExpression": return key === "id" || key === "params" ? "binding" : "value";
    case "ArrowFunctionExpression": return key === "params" ? "binding" : "value";
    default: return "value";
  }
}

/** Where a specifier leads from a built module: within the package, or to what a package of ours exports. */
function resolveBuilt(from, specifier) {
  if (specifier.startsWith(".")) return resolve(dirname(from), specifier);
  const [, name, entry] = /^(@netmem\/[^/]+)(\/.*)?$/.exec(specifier) ?? [];
  if (name === undefined) return null;
  for (let folder = dirname(from); folder !== dirname(folder); folder = dirname(folder)) {
    const at = join(folder, "node_modules", name);
    if (!existsSync(at)) continue;
    const found = JSON.parse(readFileSync(join(at, "package.json"), "utf8")).exports[`.${entry ?? ""}`];
    const built = found?.default ?? found;
    return typeof built === "string" && built.endsWith(".js") ? join(realpathSync(at), built) : null;
  }
  return null;
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(realpathSync(process.argv[1])).href) {
  const dist = resolve("dist");
  if (!existsSync(dist)) {
    process.stderr.write("compile-in: there is no dist, though tsc holds it to be up to date: remove tsconfig.tsbuildinfo and build again\n");
    process.exit(1);
  }
  const compiled = new CompiledIn((path) => readFileSync(path, "utf8"), resolveBuilt);
  for (const name of readdirSync(dist, { recursive: true })) {
    if (!name.endsWith(".js")) continue;
    const path = join(dist, name);
    const text = compiled.of(path);
    if (text !== readFileSync(path, "utf8")) writeFileSync(path, text);
  }
}
