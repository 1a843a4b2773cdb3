import type { Class, MethodDefinition, Node, PropertyDefinition } from "oxc-parser";
import { bare, keyName, packageOf, walk, type Source, type Tree, type Verdict, type Violation } from "./tree.ts";

const LAW = "structs";
/** Its type keeps look-alikes out; it is declared, and never there at run time. */
const BRAND = "nominal";

/**
 * Law 4. The classes of a header are structs: fields and a constructor. Only their own package makes them or asks what
 * they are. The interfaces of a header have readonly function properties, since methods are bivariant: a port that takes
 * any netmem could be filled with a method that takes pages only.
 */
export function checkStructs(tree: Tree): Verdict<"structs" | "files" | "signatures"> {
  const violations: Violation[] = [];
  const headers = tree.sources(/^packages\/[^/]+\/src\/api\//);
  /** Struct names, and the packages that own one of that name. */
  const owners = new Map<string, Set<string>>();
  let signatures = 0;
  for (const source of headers) {
    const report = reporter(source, violations);
    for (const node of source.program.body) {
      const declaration = node.type === "ExportNamedDeclaration" ? node.declaration : node;
      if (declaration?.type !== "ClassDeclaration" || isError(declaration)) continue;
      const name = declaration.id!.name;
      owners.set(name, (owners.get(name) ?? new Set()).add(packageOf(source.path)));
      judgeStruct(declaration, name, source, report);
    }
    signatures += judgeSignatures(source, report);
  }
  const files = tree.sources(/^(packages|apps)\/[^/]+\/src\//);
  for (const source of files) judgeUses(source, owners, reporter(source, violations));
  const structs = [...owners.values()].reduce((sum, packages) => sum + packages.size, 0);
  return { violations, looked: { structs, files: files.length, signatures } };
}

type Report = (node: Node, message: string) => void;

function reporter(source: Source, violations: Violation[]): Report {
  return (node, message) => void violations.push({ law: LAW, file: source.path, line: source.line(node.start), message });
}

function isError({ superClass }: Class): boolean {
  return superClass?.type === "Identifier" && superClass.name.endsWith("Error");
}

function judgeStruct(declaration: Class, name: string, source: Source, report: Report): void {
  if (declaration.superClass !== null) report(declaration, `${name} extends another class: a struct stands alone`);
  const fields: PropertyDefinition[] = [];
  let constructed: ReadonlySet<string> = new Set();
  for (const element of declaration.body.body) {
    if (element.type === "PropertyDefinition" && !element.static) fields.push(element);
    else if (element.type === "MethodDefinition" && element.kind === "constructor") constructed = assignedIn(element);
    else report(element, `${name} has \`${firstLine(source, element)}\`: a struct is fields and a constructor; make it a function beside the class`);
  }
  const brands = fields.filter((field) => keyName(field) === BRAND);
  if (!brands.some((field) => isBrand(field, name))) report(declaration, `${name} lacks \`declare private readonly ${BRAND}: "${name}"\`: a look-alike would pass for it`);
  for (const field of fields) {
    const key = keyName(field);
    if (key === null || key.startsWith("#")) report(field, `${name} has a field without a plain name: everybody must be able to read it`);
    else if (key !== BRAND && !constructed.has(key)) report(field, `${name}.${key} is not assigned in the constructor: every instance must have the same fields in the same order`);
  }
}

function firstLine(source: Source, { start, end }: Node): string {
  return source.text.slice(start, end).split("\n")[0]!;
}

function isBrand(field: PropertyDefinition, name: string): boolean {
  const type = field.typeAnnotation?.typeAnnotation;
  return field.declare === true && field.accessibility === "private" && field.readonly === true
    && type?.type === "TSLiteralType" && type.literal.type === "Literal" && type.literal.value === name;
}

/** The fields that the constructor assigns whatever happens: by statements of its own, not inside an `if`. */
function assignedIn(constructor: MethodDefinition): ReadonlySet<string> {
  const names = new Set<string>();
  for (const statement of constructor.value.body?.body ?? []) {
    if (statement.type !== "ExpressionStatement" || statement.expression.type !== "AssignmentExpression") continue;
    const { left, operator } = statement.expression;
    if (operator === "=" && left.type === "MemberExpression" && left.object.type === "ThisExpression" && left.property.type === "Identifier") names.add(left.property.name);
  }
  return names;
}

/** Answers how many signatures it looked at. */
function judgeSignatures(source: Source, report: Report): number {
  let count = 0;
  walk(source.program, (node) => {
    if (node.type === "TSMethodSignature") {
      count++;
      const key = keyName(node) ?? "[computed]";
      report(node, `${key} is declared as a method, and methods are bivariant: write \`readonly ${key}: (…) => …\``);
    }
    if (node.type !== "TSPropertySignature") return;
    count++;
    if (node.typeAnnotation?.typeAnnotation.type === "TSFunctionType" && !node.readonly) report(node, `${keyName(node) ?? "[computed]"} is a function that anyone may replace: make it readonly`);
  });
  return count;
}

/** `new` and `instanceof` of a struct that was imported from another package, under whatever local name. */
function judgeUses(source: Source, owners: ReadonlyMap<string, ReadonlySet<string>>, report: Report): void {
  const structs = new Map<string, string>();
  const namespaces = new Set<string>();
  for (const { moduleRequest, entries } of source.module.staticImports) {
    if (!moduleRequest.value.startsWith("@netmem/")) continue;
    for (const { importName, localName } of entries) {
      if (importName.name === null) namespaces.add(localName.value);
      else if (owners.has(importName.name)) structs.set(localName.value, importName.name);
    }
  }
  const struct = (expression: Node): string | null => {
    const node = bare(expression);
    if (node.type === "Identifier") return structs.get(node.name) ?? null;
    if (node.type !== "MemberExpression" || node.object.type !== "Identifier" || !namespaces.has(node.object.name)) return null;
    const name = keyName({ key: node.property, computed: node.computed });
    return name !== null && owners.has(name) ? name : null;
  };
  walk(source.program, (node) => {
    const isNew = node.type === "NewExpression";
    if (!isNew && !(node.type === "BinaryExpression" && node.operator === "instanceof")) return;
    const name = struct(isNew ? node.callee : node.right);
    if (name === null) return;
    const owner = [...owners.get(name)!].join(" or ");
    report(node, isNew ? `new ${name}: only ${owner} makes this struct; ask the service of its header` : `instanceof ${name}: only ${owner} may ask; use a field that tells them apart`);
  });
}
