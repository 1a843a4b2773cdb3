import { describe, expect, it } from "vitest";
import { findImports, type ImportKind } from "../src/imports.ts";
import { checkLayers } from "../src/layers.ts";
import { LayersTable } from "../src/layers-table.ts";
import { Source } from "../src/tree.ts";
import { HOUSE, houseWith, manifest, tsconfig } from "./house.ts";
import { found, lines, repository } from "./judged.ts";

/** What the check finds in the clean house once these files are put in. */
function planted(files: Readonly<Record<string, string>>): string[] {
  return lines(checkLayers(houseWith(files)));
}

describe("law 1, layers: this repository", () => {
  it("keeps to docs/layers.md", () => {
    const verdict = checkLayers(repository());
    expect(verdict.looked.members).toBeGreaterThanOrEqual(11);
    expect(verdict.looked.files).toBeGreaterThanOrEqual(130);
    expect(verdict.looked.imports).toBeGreaterThanOrEqual(400);
    expect(verdict.looked.edges).toBeGreaterThanOrEqual(35);
    expect(verdict.looked.rows).toBeGreaterThanOrEqual(12);
    expect(lines(verdict)).toEqual([]);
  });
});

describe("law 1, layers: planted violations", () => {
  it("finds nothing in the house they are planted in", () => {
    const verdict = checkLayers(houseWith({}));
    expect(lines(verdict)).toEqual([]);
    expect(verdict.looked).toEqual({ members: 7, files: 9, imports: 12, edges: 9, rows: 8 });
  });

  const forms: readonly (readonly [ImportKind, string])[] = [
    ["static import", 'import { PP_SIZE } from "@netmem/page-pool/api";'],
    ["static import", 'import "@netmem/page-pool/api";'],
    ["static import", 'import { type PagePool, PP_SIZE } from "@netmem/page-pool/api";'],
    ["type-only import", 'import type { PagePool } from "@netmem/page-pool/api";'],
    ["type-only import", 'import { type PagePool } from "@netmem/page-pool/api";'],
    ["re-export", 'export { PP_SIZE } from "@netmem/page-pool/api";'],
    ["re-export", 'export * from "@netmem/page-pool/api";'],
    ["re-export", 'export type { PagePool } from "@netmem/page-pool/api";'],
    ["dynamic import", 'export const load = (): unknown => import("@netmem/page-pool/api");'],
    ["dynamic import", "export const load = (): unknown => import(`@netmem/page-pool/api`);"],
    ["type query", 'export type Pool = import("@netmem/page-pool/api").PagePool;'],
    ["type query", 'export type Api = typeof import("@netmem/page-pool/api");'],
    ["import = require", 'import pools = require("@netmem/page-pool/api");'],
    ["declare module", 'declare module "@netmem/page-pool/api" { interface PagePool { readonly mine: number } }'],
  ];
  it.each(forms)("sees a forbidden edge in a %s: %s", (kind, text) => {
    expect(planted({ "packages/net-core/src/bad.ts": `\n${text}\n` })).toEqual([
      `packages/net-core/src/bad.ts:2: layers: ${kind} of "@netmem/page-pool/api": \`net-core\` may not know \`page-pool\`, says docs/layers.md; what points there must be a port of its own`,
    ]);
  });

  it.each(forms)("sees a relative path that leaves the package in a %s: %s", (kind, text) => {
    expect(planted({ "packages/net-core/src/bad.ts": text.replace("@netmem/page-pool/api", "../../page-pool/src/pool.ts") })).toEqual([
      `packages/net-core/src/bad.ts:1: layers: ${kind} of "../../page-pool/src/pool.ts" leaves the package: import the other package by its name`,
    ]);
  });

  it("tells the kinds apart in one file", () => {
    const source = new Source("all.ts", forms.map(([, text]) => text).join("\n"));
    expect(findImports(source).map(({ kind, line }) => [kind, line])).toEqual(forms.map(([kind], index) => [kind, index + 1]));
  });

  it("lets programs use an entry that a manifest opens, and nobody else, as an implementation is", () => {
    const opened = { "packages/machine/package.json": manifest("machine", { dependencies: ["page-pool"] }, { ".": "./x", "./vitest": "./y" }) };
    expect(found(checkLayers(houseWith({ ...opened, "apps/cli/src/ok.ts": 'import { run } from "@netmem/machine/vitest";' })))).toEqual([]);
    expect(found(checkLayers(houseWith({ ...opened, "apps/cli/src/bad.ts": 'import { run } from "@netmem/machine/node";' })))).toEqual(['apps/cli/src/bad.ts:1: static import of "@netmem/machine/node" reaches into the package']);
    const layer = { "packages/mm/package.json": manifest("mm", { dependencies: ["kernel"] }, { ".": "./x", "./vitest": "./y" }) };
    expect(found(checkLayers(houseWith({ ...layer, "packages/net-core/src/bad.ts": 'import { run } from "@netmem/mm/vitest";' })))).toEqual(['packages/net-core/src/bad.ts:1: static import of "@netmem/mm/vitest"']);
  });

  it.each([
    ["a dynamic import of a computed name", { "packages/mm/src/bad.ts": "export const load = (name: string): unknown => import(name);" }, "packages/mm/src/bad.ts:1: dynamic import of a computed name"],
    ["an implementation, in src of a layer", { "packages/net-core/src/bad.ts": 'import { createMm } from "@netmem/mm";' }, 'packages/net-core/src/bad.ts:1: static import of "@netmem/mm"'],
    ["a path into src", { "packages/net-core/src/bad.ts": 'import { Page } from "@netmem/mm/src/api/page.ts";' }, 'packages/net-core/src/bad.ts:1: static import of "@netmem/mm/src/api/page.ts" reaches into the package'],
    ["a path into dist", { "apps/cli/src/bad.ts": 'import { Page } from "@netmem/mm/dist/index.js";' }, 'apps/cli/src/bad.ts:1: static import of "@netmem/mm/dist/index.js" reaches into the package'],
    ["a package that is not there", { "packages/mm/src/bad.ts": 'import type { Vm } from "@netmem/vm/api";' }, 'packages/mm/src/bad.ts:1: type-only import of "@netmem/vm/api"'],
    ["src that imports its own package by name", { "packages/mm/src/bad.ts": 'import type { Page } from "@netmem/mm/api";' }, 'packages/mm/src/bad.ts:1: type-only import of "@netmem/mm/api"'],
    ["a header that imports its implementation", { "packages/mm/src/api/bad.ts": 'export { createMm } from "../mm.ts";' }, 'packages/mm/src/api/bad.ts:1: re-export of "../mm.ts"'],
    ["a test that imports upward", { "packages/mm/test/bad.test.ts": 'import { createPagePools } from "@netmem/page-pool";' }, 'packages/mm/test/bad.test.ts:1: static import of "@netmem/page-pool"'],
    ["a test that imports sideways, a header only", { "packages/net-core/test/bad.test.ts": 'import type { PagePool } from "@netmem/page-pool/api";' }, 'packages/net-core/test/bad.test.ts:1: type-only import of "@netmem/page-pool/api"'],
    ["code outside src and test", { "packages/net-core/bench/bad.ts": 'import { createPagePools } from "@netmem/page-pool";' }, 'packages/net-core/bench/bad.ts:1: static import of "@netmem/page-pool"'],
  ])("finds %s", (_what, files, expected) => {
    expect(found(checkLayers(houseWith(files)))).toEqual([expected]);
  });

  it.each([
    ["an edge that is not in the manifest", { "packages/mm/package.json": manifest("mm", {}) }, ["packages/mm/package.json:1: @netmem/kernel is imported in packages/mm/src/mm.ts"]],
    ["an edge of src that is only in devDependencies", { "packages/mm/package.json": manifest("mm", { devDependencies: ["kernel"] }) }, ["packages/mm/package.json:1: @netmem/kernel is imported in packages/mm/src/mm.ts"]],
    ["an edge of a test that is not in the manifest", { "packages/page-pool/package.json": manifest("page-pool", { dependencies: ["mm"] }) }, ["packages/page-pool/package.json:1: @netmem/kernel is imported in packages/page-pool/test/pool.test.ts"]],
    ["a dependency that nobody imports", { "packages/net-core/package.json": manifest("net-core", { dependencies: ["mm", "kernel"] }) }, ["packages/net-core/package.json:5: @netmem/kernel is in dependencies, and no file in src imports it"]],
    ["a devDependency that nobody imports", { "packages/net-core/package.json": manifest("net-core", { dependencies: ["mm"], devDependencies: ["kernel"] }) }, ["packages/net-core/package.json:7: @netmem/kernel is in devDependencies, and no test imports it"]],
    ["a layer that takes another as its peer", { "packages/mm/package.json": manifest("mm", { dependencies: ["kernel"], peerDependencies: ["kernel"] }) }, ["packages/mm/package.json:7: @netmem/kernel is in peerDependencies"]],
    ["a driver that takes a layer as a dependency", { "packages/driver-demo/package.json": manifest("driver-demo", { dependencies: ["mm"], peerDependencies: ["mm", "net-core"], devDependencies: ["mm", "net-core"] }) }, ["packages/driver-demo/package.json:4: @netmem/mm is in dependencies"]],
    ["a driver's peer that is not there to build against", { "packages/driver-demo/package.json": manifest("driver-demo", { peerDependencies: ["mm", "net-core"], devDependencies: ["mm"] }) }, ["packages/driver-demo/package.json:5: @netmem/net-core is a peer"]],
    ["an edge that is not in the references", { "packages/mm/tsconfig.json": tsconfig() }, ["packages/mm/tsconfig.json:1: @netmem/kernel is imported in packages/mm/src/mm.ts"]],
    ["a reference that nobody needs", { "packages/net-core/tsconfig.json": tsconfig("../mm", "../kernel") }, ["packages/net-core/tsconfig.json:7: references ../kernel, and no file in src imports @netmem/kernel"]],
    ["a reference to nothing", { "packages/net-core/tsconfig.json": tsconfig("../mm", "../vm") }, ["packages/net-core/tsconfig.json:7: references ../vm, where there is no package"]],
    ["a package without a row", { "packages/vm/package.json": manifest("vm", {}), "packages/vm/tsconfig.json": tsconfig() }, ["docs/layers.md:1: packages/vm has no row in the table"]],
    ["a package that is not built", { "packages/trace/package.json": manifest("trace", {}), "packages/trace/src/index.ts": "" }, ["packages/trace/tsconfig.json:1: missing"]],
  ])("finds %s", (_what, files, expected) => {
    expect(found(checkLayers(houseWith(files)))).toEqual(expected);
  });

  it("finds a cycle, also one that the table permits", () => {
    expect(planted({
      "docs/layers.md": HOUSE["docs/layers.md"]!.replace("| `kernel` | nothing |", "| `kernel` | `mm` |"),
      "packages/kernel/test/kernel.test.ts": 'import { createMm } from "@netmem/mm";',
      "packages/kernel/package.json": manifest("kernel", { devDependencies: ["mm"] }),
    })).toEqual(["packages/kernel/package.json:1: layers: cycle @netmem/kernel → @netmem/mm → @netmem/kernel: one of these needs a port instead"]);
  });

  it("lets a watcher see every header, and no implementation", () => {
    const trace = (entry: string): Record<string, string> => ({
      "packages/trace/package.json": manifest("trace", { dependencies: ["page-pool"] }),
      "packages/trace/tsconfig.json": tsconfig("../page-pool"),
      "packages/trace/src/trace.ts": `import type { PagePoolProbe } from "@netmem/page-pool/api";\nimport "@netmem/page-pool${entry}";`,
    });
    expect(planted(trace("/api"))).toEqual([]);
    expect(found(checkLayers(houseWith(trace(""))))).toEqual(['packages/trace/src/trace.ts:2: static import of "@netmem/page-pool"']);
  });
});

describe("the table of docs/layers.md", () => {
  const table = new LayersTable("| Package | May import |\n|:--|---|\n| `driver` | `mm` |\n| `driver-*` | `mm`, `driver` |\n| `driver-x-*` | nothing |\n");

  it("takes the very name first, then the longest pattern", () => {
    expect(table.rule("driver")).toEqual(["mm"]);
    expect(table.rule("driver-mvneta")).toEqual(["mm", "driver"]);
    expect(table.rule("driver-x-1")).toEqual([]);
    expect(table.rule("mm")).toBeNull();
  });

  it("does not pass for read when it is not there, or not understood", () => {
    expect(() => new LayersTable("# Layers\n")).toThrow('docs/layers.md: no table that starts "| Package | May import |"');
    expect(() => new LayersTable("| Package | May import |\n| --- | --- |\n| `mm` | whatever it likes |\n")).toThrow("docs/layers.md: `mm` may import whatever it likes: write nothing");
    expect(() => new LayersTable("| Package | May import |\n| --- | --- |\n| mm | nothing |\n")).toThrow("docs/layers.md: a row starts with mm");
  });
});
