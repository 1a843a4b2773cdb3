import type { Class, Node, Statement, VariableDeclarator } from "oxc-parser";
import { isPrimitiveType, ReadonlyTypes } from "./readonly-types.ts";
import { keyName, type Source, type Tree, type Verdict, type Violation } from "./tree.ts";

const LAW = "module-state";

/** Something that two machines in one process would share, and either could change. */
interface Mutable {
  readonly node: Node;
  readonly what: string;
}

/**
 * Law 3: a module of a package holds no state. At its top level stand imports, types, functions, classes and constants,
 * and nothing runs. A constant is
 * - a primitive: a literal, arithmetic, or anything at all under an annotation like `: number`;
 * - a function;
 * - an array or object literal `as const`, frozen, or under an annotation that is readonly all the way down (a readonly
 *   array, or an interface whose members, and their members, are readonly or functions), of such parts again.
 * Never an instance, the result of a call, or a regular expression that remembers where it stopped.
 */
export function checkModuleState(tree: Tree): Verdict<"files" | "constants"> {
  const sources = tree.sources(/^packages\/[^/]+\/src\//);
  const types = new ReadonlyTypes(sources);
  const violations: Violation[] = [];
  let constants = 0;
  for (const source of sources) {
    const report = (node: Node, message: string): void => {
      violations.push({ law: LAW, file: source.path, line: source.line(node.start), message });
    };
    for (const statement of source.program.body) constants += judgeStatement(statement, source, types, report);
  }
  return { violations, looked: { files: sources.length, constants } };
}

type Report = (node: Node, message: string) => void;

/** Answers how many constants it looked at. */
function judgeStatement(statement: Statement, source: Source, types: ReadonlyTypes, report: Report): number {
  const node: Node | null = statement.type === "ExportNamedDeclaration" || statement.type === "ExportDefaultDeclaration" ? statement.declaration : statement;
  if (node === null) return 0;
  switch (node.type) {
    case "ImportDeclaration": case "ExportAllDeclaration": case "FunctionDeclaration": case "TSDeclareFunction":
    case "TSInterfaceDeclaration": case "TSTypeAliasDeclaration": case "TSModuleDeclaration": case "TSImportEqualsDeclaration": return 0;
    case "ClassDeclaration": judgeStatics(node, types, report); return 0;
    case "VariableDeclaration":
      if (node.declare === true) return 0;
      if (node.kind !== "const") report(node, `top-level ${node.kind}: every machine in the process would share it; keep it in an object that the machine creates`);
      else for (const declarator of node.declarations) judgeConstant(declarator, source, types, report);
      return node.declarations.length;
    default: report(node, "runs when the module is imported: move it into a function that the machine calls"); return 0;
  }
}

function judgeConstant({ id, init }: VariableDeclarator, source: Source, types: ReadonlyTypes, report: Report): void {
  const annotation = id.typeAnnotation?.typeAnnotation;
  if (init === null || (annotation !== undefined && isPrimitiveType(annotation))) return;
  if (init.type === "ClassExpression") judgeStatics(init, types, report);
  const found = mutablePart(init, annotation !== undefined && types.has(annotation), types);
  if (found !== null) report(found.node, `const ${source.text.slice(id.start, annotation?.start ?? id.end).replace(/:\s*$/, "")} holds ${found.what}`);
}

/** A class is a constant; what hangs on it by `static` belongs to the module. */
function judgeStatics(declaration: Class, types: ReadonlyTypes, report: Report): void {
  for (const element of declaration.body.body) {
    if (element.type === "StaticBlock") report(element, "static block: it runs when the module is imported; move it into a function that the machine calls");
    if (element.type !== "PropertyDefinition" || !element.static) continue;
    const name = `static ${keyName(element) ?? "field"}`;
    const annotation = element.typeAnnotation?.typeAnnotation;
    if (element.readonly !== true) report(element, `${name} can be assigned: every machine in the process would share it; make it a field of an instance`);
    else if (element.value !== null && !(annotation !== undefined && isPrimitiveType(annotation))) {
      const found = mutablePart(element.value, annotation !== undefined && types.has(annotation), types);
      if (found !== null) report(found.node, `${name} holds ${found.what}`);
    }
  }
}

/** The first part of an initialiser that could change. `covered`: the type around it lets nobody change a literal. */
function mutablePart(node: Node, covered: boolean, types: ReadonlyTypes): Mutable | null {
  const part = (inner: Node | null): Mutable | null => (inner === null ? null : mutablePart(inner, covered, types));
  switch (node.type) {
    case "Literal":
      if ("regex" in node && /[gy]/.test(node.regex.flags)) return { node, what: "a regular expression that remembers lastIndex: drop its g or y flag, or make it where it is used" };
      return null;
    case "Identifier": case "MemberExpression": case "ArrowFunctionExpression": case "FunctionExpression": case "ClassExpression": return null;
    case "TemplateLiteral": return first(node.expressions, part);
    case "UnaryExpression": case "SpreadElement": return part(node.argument);
    case "BinaryExpression": case "LogicalExpression": return part(node.left) ?? part(node.right);
    case "ConditionalExpression": return part(node.consequent) ?? part(node.alternate);
    case "ParenthesizedExpression": case "TSSatisfiesExpression": case "TSNonNullExpression": return part(node.expression);
    case "TSAsExpression": return mutablePart(node.expression, covered || isConst(node.typeAnnotation) || types.has(node.typeAnnotation), types);
    case "ArrayExpression":
      if (!covered) return { node, what: "an array that anyone can change: annotate it `readonly …[]`, or write `as const`" };
      return first(node.elements, part);
    case "ObjectExpression":
      if (!covered) return { node, what: "an object that anyone can change: write `as const`, or annotate it with a type that is readonly all the way down" };
      return first(node.properties, (property) => part(property.type === "Property" ? property.value : property));
    case "CallExpression": return judgeCall(node.callee, node.arguments, node, types);
    case "NewExpression": return { node, what: "an instance: it belongs to a machine; create it where the machine is put together" };
    default: return { node, what: "what the check cannot judge: use a literal, or annotate it as a number, string or boolean" };
  }
}

function isConst(type: Node): boolean {
  return type.type === "TSTypeReference" && type.typeName.type === "Identifier" && type.typeName.name === "const";
}

/** Of all calls only two make constants: `Object.freeze(…)`, one level deep, and `Symbol(…)`. */
function judgeCall(callee: Node, args: readonly Node[], node: Node, types: ReadonlyTypes): Mutable | null {
  if (callee.type === "Identifier" && callee.name === "Symbol") return null;
  const freezes = callee.type === "MemberExpression" && callee.object.type === "Identifier" && callee.object.name === "Object" && keyName({ key: callee.property, computed: callee.computed }) === "freeze";
  if (!freezes) return { node, what: "the result of a call, which may be anything: annotate it as a number, string or boolean, or call it where it is used" };
  const frozen = args[0]!;
  if (frozen.type === "ArrayExpression") return first(frozen.elements, (element) => (element === null ? null : mutablePart(element, false, types)));
  if (frozen.type === "ObjectExpression") return first(frozen.properties, (property) => mutablePart(property.type === "Property" ? property.value : property, false, types));
  return mutablePart(frozen, false, types);
}

function first<T>(items: readonly T[], judge: (item: T) => Mutable | null): Mutable | null {
  for (const item of items) {
    const found = judge(item);
    if (found !== null) return found;
  }
  return null;
}
