import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { compileFunction } from "node:vm";
import { build } from "esbuild";
import * as driverApi from "@netmem/driver/api";
import * as kernelApi from "@netmem/kernel/api";
import * as memoryModelApi from "@netmem/memory-model/api";
import * as mmApi from "@netmem/mm/api";
import * as netCoreApi from "@netmem/net-core/api";
import * as pagePoolApi from "@netmem/page-pool/api";
import * as xdpApi from "@netmem/xdp/api";

/** One of our own plugins with a mistake in it. */
export interface Mutant {
  /** What it does wrong, as a reviewer would say it. */
  readonly mistake: string;
  /** Folder in `packages/`. */
  readonly plugin: string;
  /** What it exports. */
  readonly member: string;
  readonly edits: readonly { readonly file: string; readonly find: string; readonly replace: string }[];
  /** The rule that must name it. */
  readonly rule: string;
  /** Others that are broken in the shortest sequence, by what it does. */
  readonly also?: readonly string[];
  /** It passes what one would test without thinking of this rule. */
  readonly subtle: boolean;
}

const PACKAGES = fileURLToPath(new URL("../../..", import.meta.url));
const HEADERS: Readonly<Record<string, object>> = {
  "@netmem/kernel/api": kernelApi, "@netmem/mm/api": mmApi, "@netmem/xdp/api": xdpApi, "@netmem/page-pool/api": pagePoolApi, "@netmem/net-core/api": netCoreApi, "@netmem/driver/api": driverApi, "@netmem/memory-model/api": memoryModelApi,
};

/** The plugin from its sources, with the edits in them; throws for one whose place is not there, or not alone. */
export async function loadMutant<T>({ plugin, member, edits }: Mutant): Promise<T> {
  const entry = join(PACKAGES, plugin, "src/index.ts");
  const used = new Set<string>();
  const { outputFiles } = await build({
    entryPoints: [entry], bundle: true, write: false, platform: "node", format: "cjs", target: "node20", external: ["@netmem/*"],
    plugins: [{ name: "mutate", setup: (setup) => void setup.onLoad({ filter: /\.ts$/ }, ({ path }) => {
      let text = readFileSync(path, "utf8");
      for (const { file, find, replace } of edits) {
        if (path !== join(dirname(entry), file)) continue;
        if (text.split(find).length !== 2) throw new Error(`${plugin}/src/${file}: ${text.split(find).length - 1} places for ${JSON.stringify(find)}`);
        text = text.replace(find, () => replace);
        used.add(find);
      }
      return { contents: text, loader: "ts" };
    }) }],
  });
  for (const { file, find } of edits) if (!used.has(find)) throw new Error(`${plugin}/src/${file} is not part of it`);
  const module: { exports: Record<string, unknown> } = { exports: {} };
  compileFunction(outputFiles[0]!.text, ["module", "exports", "require"], { filename: `${plugin}.mutant.js` })(module, module.exports, (id: string) => HEADERS[id]);
  return module.exports[member] as T;
}
