// npm run -s registry: this checkout's packages for npm create and npm install elsewhere, as long as they are not published.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildIfChanged, install } from "./lib.mjs";
import { LocalRegistry } from "./local-registry.mjs";

install();
buildIfChanged();
const folder = mkdtempSync(join(tmpdir(), "netmem-registry-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit(0));
const registry = new LocalRegistry(folder);
const url = await registry.listen();
process.stdout.write(`${registry.names.length} packages of this checkout, until Ctrl-C. In another terminal, before npm create and npm install:\n  export npm_config_registry=${url}\n`);
