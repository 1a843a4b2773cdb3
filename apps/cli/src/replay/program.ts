import { Console } from "node:console";
import { createRequire, SourceMap } from "node:module";
import { relative, resolve } from "node:path";
import { Writable } from "node:stream";
import { compileFunction, constants } from "node:vm";
import { CliError } from "../terminal.ts";
import type { XdpModule } from "../xdp-module.ts";
import { bundle, checkFile, oneLine } from "../user-module.ts";

/** A user's module, evaluated for one run, so that what a program remembers of packets is of this run's. */
export interface ProgramInstance extends Required<Pick<XdpModule, "frags">> {
  readonly path: string;
  readonly run: XdpModule["default"];
  readonly setup: XdpModule["setup"] | null;
  /** Where in the user's files something was thrown: `program.js:3`; null if nowhere in them. */
  readonly placeOf: (thrown: unknown) => string | null;
}

export interface ProgramModule {
  /** As the user wrote it. */
  readonly path: string;
  /** `print` takes what the program writes to its console; null for nobody. */
  readonly instantiate: (print: ((text: string) => void) | null) => ProgramInstance;
}

/** As the program's frames are called in stack traces. */
const BUNDLE = "netmem:xdp-program";

/** Reads, strips and bundles a program with what it imports; throws what a user can do something about. */
export async function loadProgram(path: string, cwd: string): Promise<ProgramModule> {
  if (path === "") throw new CliError("--xdp: name the program's file");
  const file = resolve(cwd, path);
  checkFile("--xdp", "program", path, file);
  // The constants are ours, wherever the program lies.
  const { code, map: written } = await bundle("--xdp", path, file, cwd, { alias: { "@netmem/xdp/api": createRequire(import.meta.url).resolve("@netmem/xdp/api") } });
  const map = new SourceMap(JSON.parse(written));
  const placeOf = (thrown: unknown): string | null => placeIn(map, file, cwd, thrown);
  return { path, instantiate: (print) => instantiate(path, file, code, print, placeOf) };
}

function instantiate(path: string, file: string, code: string, print: ((text: string) => void) | null, placeOf: ProgramInstance["placeOf"]): ProgramInstance {
  const module: { exports: unknown } = { exports: {} };
  try {
    const evaluate = compileFunction(code, ["module", "exports", "require", "console"], { filename: BUNDLE, importModuleDynamically: constants.USE_MAIN_CONTEXT_DEFAULT_LOADER });
    evaluate(module, module.exports, createRequire(file), consoleTo(print));
  } catch (error) {
    throw new CliError(`--xdp ${path}: cannot be loaded: ${saidBy(error, placeOf)}`);
  }
  const { exports } = module;
  // A CommonJS module may be the program itself.
  const { default: run, setup = null, frags = false } = (typeof exports === "function" ? { default: exports, ...exports } : exports ?? {}) as Record<string, unknown>;
  if (typeof run !== "function") throw new CliError(`--xdp ${path}: exports no program: give it a function of the packet as its default export`);
  if (setup !== null && typeof setup !== "function") throw new CliError(`--xdp ${path}: its export "setup" is no function`);
  if (typeof frags !== "boolean") throw new CliError(`--xdp ${path}: its export "frags" says whether it takes packets in several buffers: true or false`);
  return { path, run: run as ProgramInstance["run"], frags, setup: setup as ProgramInstance["setup"], placeOf };
}

/** Standard output is for the counts. */
function consoleTo(print: ((text: string) => void) | null): Console {
  const stream = new Writable({
    decodeStrings: false,
    write: (text, _encoding, done) => {
      print?.(String(text));
      done();
    },
  });
  return new Console(stream, stream);
}

/** The innermost of the program's own frames. */
function placeIn(map: SourceMap, file: string, cwd: string, thrown: unknown): string | null {
  const stack = thrown instanceof Error ? String(thrown.stack) : "";
  const frame = new RegExp(`${BUNDLE}:(\\d+):(\\d+)`).exec(stack);
  if (frame === null) return null;
  const origin = map.findOrigin(Number(frame[1]), Number(frame[2]));
  return "fileName" in origin ? `${relative(cwd, resolve(cwd, origin.fileName)) || file}:${origin.lineNumber}` : null;
}

/** What was thrown, in one line, and where. */
export function saidBy(thrown: unknown, placeOf: ProgramInstance["placeOf"]): string {
  const place = placeOf(thrown);
  const what = thrown instanceof Error ? `${thrown.name === "Error" ? "" : `${thrown.name}: `}${thrown.message}` : String(thrown);
  return `${oneLine(what)}${place === null ? "" : ` (${place})`}`;
}
