import { closeSync, openSync, realpathSync, renameSync, rmSync, statSync, writeSync, type Stats } from "node:fs";
import { resolve } from "node:path";
import { CliError } from "./terminal.ts";

/** A file that is there whole, or not at all; what is no file, a pipe or a device, is written as it comes. */
export class OutputFile {
  readonly path: string;
  /** As it was asked for. */
  readonly #named: string;
  readonly #target: string;
  /** Null: written as it comes. */
  readonly #partial: string | null;
  #fd: number | null;
  readonly #atExit = (): void => this.discard();

  /** `option` names it. `taken`: files that are read, or written otherwise: none of them is written over. */
  constructor(option: string, path: string, cwd: string, taken: readonly string[]) {
    this.path = path;
    this.#named = `${option} ${path}`;
    if (path === "") throw new CliError(`${option}: no name; name a file`);
    if (path === "-") throw new CliError(`${this.#named}: only what is read may be that; name a file, or /dev/stdout`);
    if (path.startsWith("--")) throw new CliError(`${this.#named}: that is an option; name a file`);
    const named = resolve(cwd, path);
    const there = statSync(named, { throwIfNoEntry: false });
    if (there?.isDirectory() === true) throw new CliError(`${this.#named}: a folder; name a file in it`);
    for (const other of taken) if (isSame(named, there, resolve(cwd, other))) throw new CliError(`${this.#named}: ${other === path ? "that" : `that is ${other}, which`} is read or written too; name another file`);
    this.#target = there === undefined ? named : realpathSync(named);
    this.#partial = there === undefined || there.isFile() ? `${this.#target}.part-${process.pid}` : null;
    try {
      this.#fd = openSync(this.#partial ?? this.#target, "w");
    } catch (error) {
      throw new CliError(`${this.#named}: ${writeError(error as NodeJS.ErrnoException)}`);
    }
    // A user's program may end the process.
    process.on("exit", this.#atExit);
  }

  write(data: string | Uint8Array): void {
    const bytes = typeof data === "string" ? Buffer.from(data, "utf8") : data;
    try {
      for (let at = 0; at < bytes.length; ) at += writeSync(this.#fd!, bytes, at);
    } catch (error) {
      throw new CliError(`${this.#named}: ${writeError(error as NodeJS.ErrnoException)}`);
    }
  }

  /** All of it is written. */
  commit(): void {
    if (this.#fd === null) return;
    this.#close(this.#fd);
    if (this.#partial !== null) renameSync(this.#partial, this.#target);
  }

  /** What was not committed is nowhere. */
  discard(): void {
    if (this.#fd === null) return;
    this.#close(this.#fd);
    if (this.#partial !== null) rmSync(this.#partial, { force: true });
  }

  #close(fd: number): void {
    closeSync(fd);
    this.#fd = null;
    process.off("exit", this.#atExit);
  }
}

/** By whatever name. */
function isSame(named: string, there: Stats | undefined, other: string): boolean {
  if (there === undefined) return named === other;
  const otherThere = statSync(other, { throwIfNoEntry: false });
  return there.isFile() && otherThere !== undefined && otherThere.ino === there.ino && otherThere.dev === there.dev;
}

function writeError(error: NodeJS.ErrnoException): string {
  switch (error.code) {
    case "ENOENT": case "ENOTDIR": return "cannot be written: there is no such folder; make it first";
    case "EACCES": case "EPERM": case "EROFS": return "cannot be written: no permission";
    case "ENOSPC": return "cannot be written: no space left";
    default: return `cannot be written (${error.code ?? error.message})`;
  }
}
