import { UsageError } from "@netmem/kernel/api";
import type { MemoryModel } from "@netmem/memory-model/api";

/** Where nothing has checked types: names the first member that is missing. */
export function checkMemoryModel(model: MemoryModel): void {
  requireMembers("memory model", model, { name: "string", bind: "function" });
}

function requireMembers(what: string, plugin: object | null, members: Readonly<Record<string, "string" | "number" | "function" | "object">>): void {
  if (typeof plugin !== "object" || plugin === null) throw new UsageError("machine", what, plugin, "give an object");
  const name = (plugin as { readonly name?: unknown }).name;
  const called = typeof name === "string" ? `${what} ${name}` : what;
  for (const [member, type] of Object.entries(members)) {
    const value: unknown = (plugin as Record<string, unknown>)[member];
    if (typeof value !== type) throw new UsageError("machine", `${member} of ${called}`, value, `it must be a ${type}`);
  }
}
