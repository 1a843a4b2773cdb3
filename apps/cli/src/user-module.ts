import { accessSync, constants, statSync } from "node:fs";
import type { BuildFailure, BuildOptions, Message } from "esbuild";
import { readError } from "./reading.ts";
import { CliError } from "./terminal.ts";

/** What esbuild only warns of in TypeScript, where an import may be a type: the module would see undefined. */
const IMPORT_IS_UNDEFINED = "import-is-undefined";

/** A file that a user names with `option`, and that can be read; `what` it should be. */
export function checkFile(option: string, what: string, path: string, file: string): void {
  try {
    const stat = statSync(file);
    if (stat.isDirectory()) throw new CliError(`${option} ${path}: a folder; name the ${what}'s file in it`);
    if (!stat.isFile()) throw new CliError(`${option} ${path}: no regular file; name the ${what}'s`);
    accessSync(file, constants.R_OK);
  } catch (error) {
    if (error instanceof CliError) throw error;
    throw new CliError(`${option} ${path}: ${readError(error as NodeJS.ErrnoException)}`);
  }
}

/** The file with what it imports, types stripped, as one CommonJS script and its source map. */
export async function bundle(option: string, path: string, file: string, cwd: string, settings: Pick<BuildOptions, "alias" | "external">): Promise<{ readonly code: string; readonly map: string }> {
  const { build } = await import("esbuild");
  try {
    const { outputFiles, warnings } = await build({ entryPoints: [file], absWorkingDir: cwd, outdir: cwd, bundle: true, write: false, platform: "node", format: "cjs", target: "node20", sourcemap: "external", logLevel: "silent", ...settings });
    const missing = warnings.find(({ id }) => id === IMPORT_IS_UNDEFINED);
    if (missing !== undefined) throw refused(option, path, missing);
    const text = (suffix: string): string => outputFiles.find((output) => output.path.endsWith(suffix))!.text;
    return { code: text(".js"), map: text(".js.map") };
  } catch (error) {
    const [first] = (error as Partial<BuildFailure>).errors ?? [];
    throw first === undefined ? error : refused(option, path, first);
  }
}

function refused(option: string, path: string, { text, location }: Message): CliError {
  return new CliError(`${option} ${path}: cannot be loaded: ${location === null ? "" : `${location.file}, line ${location.line}, column ${location.column + 1}: `}${oneLine(text)}`);
}

/** Nothing that a terminal would act upon. */
export function oneLine(text: string): string {
  return text.replace(/[\s\p{C}]+/gu, " ").trim();
}
