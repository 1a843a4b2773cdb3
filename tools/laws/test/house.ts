import { treeOf, type Tree } from "../src/tree.ts";

/** A small house without a fault: two layers side by side, a plugin, a composition root and an app. */
const TABLE = `
| Package | May import | Because |
| --- | --- | --- |
| \`kernel\` | nothing | |
| \`mm\` | \`kernel\` | |
| \`net-core\` | \`kernel\`, \`mm\` | |
| \`page-pool\` | \`kernel\`, \`mm\` | |
| \`driver-*\` | \`mm\`, \`net-core\` | |
| \`trace\` | every header | |
| \`machine\` | anything | |
| \`apps/*\` | anything | |
`;

interface Fields {
  readonly dependencies?: readonly string[];
  readonly peerDependencies?: readonly string[];
  readonly devDependencies?: readonly string[];
}

/** A manifest, one dependency a line; `mm` stands for `@netmem/mm`. `entries`: what it exports beside the usual. */
export function manifest(name: string, fields: Fields, entries?: Readonly<Record<string, string>>): string {
  const dependencies = Object.entries(fields).map(([field, names]) => [field, Object.fromEntries((names as string[]).map((each) => [`@netmem/${each}`, "workspace:^"]))]);
  return JSON.stringify({ name: `@netmem/${name}`, ...(entries === undefined ? {} : { exports: entries }), ...Object.fromEntries(dependencies) as object }, null, 2);
}

export function tsconfig(...references: readonly string[]): string {
  return JSON.stringify({ references: references.map((path) => ({ path })) }, null, 2);
}

export const HOUSE: Readonly<Record<string, string>> = {
  "docs/layers.md": TABLE,
  "packages/kernel/package.json": manifest("kernel", {}),
  "packages/kernel/tsconfig.json": tsconfig(),
  "packages/kernel/src/api/index.ts": "export interface Kernel { readonly hz: number }",
  "packages/mm/package.json": manifest("mm", { dependencies: ["kernel"] }),
  "packages/mm/tsconfig.json": tsconfig("../kernel"),
  "packages/mm/src/mm.ts": 'import type { Kernel } from "@netmem/kernel/api";',
  "packages/mm/test/mm.test.ts": 'import { createKernel } from "@netmem/kernel";\nimport { createMm } from "../src/mm.ts";\nimport type { Mm } from "@netmem/mm/api";',
  "packages/net-core/package.json": manifest("net-core", { dependencies: ["mm"] }),
  "packages/net-core/tsconfig.json": tsconfig("../mm"),
  "packages/net-core/src/net-core.ts": 'import { Page } from "@netmem/mm/api";',
  "packages/page-pool/package.json": manifest("page-pool", { dependencies: ["mm"], devDependencies: ["kernel"] }),
  "packages/page-pool/tsconfig.json": tsconfig("../mm"),
  "packages/page-pool/src/pool.ts": 'import type { Page } from "@netmem/mm/api";',
  "packages/page-pool/test/pool.test.ts": 'import { createKernel } from "@netmem/kernel";',
  "packages/driver-demo/package.json": manifest("driver-demo", { peerDependencies: ["mm", "net-core"], devDependencies: ["mm", "net-core"] }),
  "packages/driver-demo/tsconfig.json": tsconfig("../mm", "../net-core"),
  "packages/driver-demo/src/demo.ts": 'import type { Page } from "@netmem/mm/api";\nimport type { NetCore } from "@netmem/net-core/api";',
  "packages/machine/package.json": manifest("machine", { dependencies: ["page-pool"] }),
  "packages/machine/tsconfig.json": tsconfig("../page-pool"),
  "packages/machine/src/boot.ts": 'import { createPagePools } from "@netmem/page-pool";',
  // `mm` and `net-core` are here because the driver asks whoever uses it to provide them.
  "apps/cli/package.json": manifest("cli", { dependencies: ["driver-demo", "machine", "mm", "net-core"] }),
  "apps/cli/tsconfig.json": tsconfig("../../packages/driver-demo", "../../packages/machine"),
  "apps/cli/src/main.ts": 'import { demo } from "@netmem/driver-demo";\nimport { createMachine } from "@netmem/machine";',
};

/** The house with some files put in, or in place of its own. */
export function houseWith(files: Readonly<Record<string, string>>): Tree {
  return treeOf({ ...HOUSE, ...files });
}
