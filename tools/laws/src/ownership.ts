import type { Node, TSInterfaceDeclaration, TSSignature } from "oxc-parser";
import { keyName, walk, type Source, type Tree, type Verdict, type Violation } from "./tree.ts";

const LAW = "ownership";

/** What has an owner. */
const MEMORY: readonly string[] = ["Page", "NetIov", "Netmem", "SkBuff", "SlabObject", "CoherentMemory", "XdpFrame", "XdpBuff"];
/** One of these says who owns it afterwards. */
const SAYS_SO = /\b(keeps|shares|consumes|stays|caller's)\b/i;

/**
 * Law 6: every member of a header's interface that takes memory says in its doc comment who owns the memory afterwards.
 * Probes only look; exported functions of a header are predicates and conversions. Both are left out.
 */
export function checkOwnership(tree: Tree): Verdict<"interfaces" | "members" | "takers"> {
  const violations: Violation[] = [];
  const looked = { interfaces: 0, members: 0, takers: 0 };
  for (const source of tree.sources(/^packages\/[^/]+\/src\/api\//)) {
    for (const declaration of interfacesOf(source)) {
      looked.interfaces++;
      for (const member of declaration.body.body) {
        looked.members++;
        const taken = memoryTaken(member);
        if (taken === null || declaration.id.name.endsWith("Probe")) continue;
        looked.takers++;
        const doc = source.docBefore(member.start)?.value ?? "";
        if (SAYS_SO.test(doc)) continue;
        const name = "key" in member ? `${declaration.id.name}.${keyName(member) ?? "[computed]"}` : declaration.id.name;
        violations.push({ law: LAW, file: source.path, line: source.line(member.start), message: `${name} takes ${taken} and does not say who owns it afterwards: write keeps, shares, consumes, stays or caller's in its comment` });
      }
    }
  }
  return { violations, looked };
}

function interfacesOf(source: Source): TSInterfaceDeclaration[] {
  const found: TSInterfaceDeclaration[] = [];
  walk(source.program, (node) => {
    if (node.type === "TSInterfaceDeclaration") found.push(node);
  });
  return found;
}

/** The first kind of memory among the parameters of a member's function type, or null. */
function memoryTaken(member: TSSignature): string | null {
  let taken: string | null = null;
  walk(member, (node) => {
    if (node.type !== "TSFunctionType" && node.type !== "TSMethodSignature" && node.type !== "TSCallSignatureDeclaration") return;
    for (const parameter of node.params) taken ??= memoryIn(parameter);
  });
  return taken;
}

function memoryIn(parameter: Node): string | null {
  let found: string | null = null;
  walk(parameter, (node) => {
    if (node.type === "TSTypeReference" && node.typeName.type === "Identifier" && MEMORY.includes(node.typeName.name)) found ??= node.typeName.name;
  });
  return found;
}
