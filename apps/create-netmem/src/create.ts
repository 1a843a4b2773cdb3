import { chmodSync, cpSync, existsSync, mkdtempSync, readFileSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

export type Template = "driver" | "memory-model";

/** What a user can do something about: one line. */
export class CreateError extends Error {}

const TEMPLATES: string = fileURLToPath(new URL("../templates", import.meta.url));
/** How the templates call the package that is made of them; in code nothing is called after it, so that any name will do. */
const PLACEHOLDERS: Readonly<Record<Template, string>> = { driver: "my-driver", "memory-model": "my-model" };
/** Files that npm would not pack by their names. */
const RENAMED: Readonly<Record<string, string>> = { gitignore: ".gitignore" };

/** A package of this kind in a folder that is not there yet, or empty: its path. All of it or nothing. */
export function createPlugin(folder: string, template: Template, cwd: string): string {
  const target = resolve(cwd, folder);
  const name = basename(target);
  if (!/^[a-z][a-z0-9]*(-[a-z0-9]+)*$/.test(name)) throw new CreateError(`${folder}: give a folder whose name can be a package's: lower case letters, digits and single hyphens, a letter first`);
  const isThere = existsSync(target);
  if (isThere && (!statSync(target).isDirectory() || readdirSync(target).length > 0)) throw new CreateError(`${folder}: there is something already; give a folder that is empty, or not there`);
  const parent = dirname(target);
  if (!existsSync(parent)) throw new CreateError(`${folder}: there is no folder ${parent}; make it first`);
  const made = mkdtempSync(join(parent, `.${name}-`));
  try {
    cpSync(join(TEMPLATES, template), made, { recursive: true });
    for (const [from, to] of Object.entries(RENAMED)) if (existsSync(join(made, from))) renameSync(join(made, from), join(made, to));
    for (const file of readdirSync(made, { recursive: true, encoding: "utf8" })) fillIn(join(made, file), PLACEHOLDERS[template], name);
    chmodSync(made, 0o777 & ~process.umask());
    // A folder that is there stays the same one: somebody may be in it.
    if (isThere) for (const entry of readdirSync(made)) renameSync(join(made, entry), join(target, entry));
    else renameSync(made, target);
    rmSync(made, { recursive: true, force: true });
  } catch (error) {
    rmSync(made, { recursive: true, force: true });
    throw error;
  }
  return target;
}

function fillIn(file: string, placeholder: string, name: string): void {
  if (!statSync(file).isFile() || file.endsWith(".pcap")) return;
  const text = readFileSync(file, "utf8");
  const filled = text.replaceAll(placeholder, () => name).replaceAll("0.0.0-netmem", () => `^${version()}`);
  if (filled !== text) writeFileSync(file, filled);
}

/** Of this package, which is that of all. */
export function version(): string {
  return (JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as { readonly version: string }).version;
}
