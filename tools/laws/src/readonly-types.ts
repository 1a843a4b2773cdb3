import type { Node, TSInterfaceDeclaration, TSSignature, TSType, TSTypeAliasDeclaration, TSTypeAnnotation, TSTypeName } from "oxc-parser";
import type { Source } from "./tree.ts";

const READONLY_CONTAINERS: readonly string[] = ["ReadonlyArray", "ReadonlyMap", "ReadonlySet"];

/** Numbers, strings and the like: whatever computed them, nobody can change them. */
export function isPrimitiveType(type: TSType): boolean {
  switch (type.type) {
    case "TSNumberKeyword": case "TSStringKeyword": case "TSBooleanKeyword": case "TSBigIntKeyword": case "TSSymbolKeyword":
    case "TSNullKeyword": case "TSUndefinedKeyword": case "TSLiteralType": case "TSTemplateLiteralType": return true;
    case "TSUnionType": return type.types.every((part) => isPrimitiveType(part));
    case "TSTypeOperator": return type.operator === "unique";
    default: return false;
  }
}

/** The named types of all packages; tells which of them are readonly all the way down. */
export class ReadonlyTypes {
  readonly #declarations = new Map<string, (TSInterfaceDeclaration | TSTypeAliasDeclaration)[]>();

  constructor(sources: readonly Source[]) {
    for (const source of sources) {
      for (const statement of source.program.body) {
        const node: Node | null = statement.type === "ExportNamedDeclaration" ? statement.declaration : statement;
        if (node?.type !== "TSInterfaceDeclaration" && node?.type !== "TSTypeAliasDeclaration") continue;
        const known = this.#declarations.get(node.id.name);
        if (known === undefined) this.#declarations.set(node.id.name, [node]);
        else known.push(node);
      }
    }
  }

  /** Nothing can be assigned, pushed or set through a value of this type, at any depth. Unknown names: false. */
  has(type: TSType): boolean {
    return this.#deep(type, new Set());
  }

  #deep(type: TSType, open: ReadonlySet<string>): boolean {
    if (isPrimitiveType(type)) return true;
    switch (type.type) {
      case "TSFunctionType": case "TSUnknownKeyword": case "TSNeverKeyword": return true;
      case "TSParenthesizedType": return this.#deep(type.typeAnnotation, open);
      case "TSUnionType": case "TSIntersectionType": return type.types.every((part) => this.#deep(part, open));
      case "TSTypeOperator": return type.operator === "readonly" && this.#elements(type.typeAnnotation, open);
      case "TSTypeLiteral": return this.#members(type.members, true, open);
      case "TSTypeReference": return this.#reference(type.typeName, type.typeArguments?.params ?? [], true, open);
      default: return false;
    }
  }

  /** The inside of `readonly …[]` or `readonly […]`. */
  #elements(type: TSType, open: ReadonlySet<string>): boolean {
    if (type.type === "TSArrayType") return this.#deep(type.elementType, open);
    return type.type === "TSTupleType" && type.elementTypes.every((element) => this.#deep(element as TSType, open));
  }

  /** `own`: the members must be readonly themselves, no `Readonly<…>` standing around them. */
  #members(members: readonly TSSignature[], own: boolean, open: ReadonlySet<string>): boolean {
    return members.every((member) => {
      if (member.type !== "TSPropertySignature" && member.type !== "TSIndexSignature") return true;
      const annotation: TSTypeAnnotation | null = member.typeAnnotation;
      return (member.readonly || !own) && annotation !== null && this.#deep(annotation.typeAnnotation, open);
    });
  }

  #reference(name: TSTypeName, args: readonly TSType[], own: boolean, open: ReadonlySet<string>): boolean {
    if (name.type !== "Identifier") return false;
    if (READONLY_CONTAINERS.includes(name.name)) return args.every((arg) => this.#deep(arg, open));
    if (name.name === "Record") return !own && this.#deep(args[1]!, open);
    if (name.name === "Readonly") {
      const inner = args[0]!;
      if (inner.type === "TSTypeLiteral") return this.#members(inner.members, false, open);
      return inner.type === "TSTypeReference" && this.#reference(inner.typeName, inner.typeArguments?.params ?? [], false, open);
    }
    // A type that comes back to itself has been found fault with already, or has none.
    if (open.has(name.name)) return true;
    const within = new Set([...open, name.name]);
    // Two packages may use a name for different things; then both must do.
    const declarations = this.#declarations.get(name.name);
    return declarations !== undefined && declarations.every((declaration) => {
      if (declaration.type === "TSTypeAliasDeclaration") return this.#deep(declaration.typeAnnotation, within);
      return this.#members(declaration.body.body, own, within)
        && declaration.extends.every(({ expression }) => expression.type === "Identifier" && this.#reference(expression as TSTypeName, [], own, within));
    });
  }
}
