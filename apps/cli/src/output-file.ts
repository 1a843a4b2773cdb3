import { closeSync, openSync, renameSync, rmSync, statSync, writeSync } from "node:fs";
import { resolve } from "node:path";
import { CliError } from "./terminal.ts";

/** A file that is there whole, or not at all. */
export class OutputFile {
  readonly path: string;
  readonly #target: string;
  readonly #partial: string;
  #fd: number | null;

  constructor(path: string, cwd: string) {
    this.path = path;
    this.#target = resolve(cwd, path);
    this.#partial = `${this.#target}.part-${process.pid}`;
    if (statSync(this.#target, { throwIfNoEntry: false })?.isDirectory() === true) throw new CliError(`${path}: a folder; name a file`);
    try {
      this.#fd = openSync(this.#partial, "w");
    } catch (error) {
      throw new CliError(`${path}: ${writeError(error as NodeJS.ErrnoException)}`);
    }
  }

  write(data: string | Uint8Array): void {
    const bytes = typeof data === "string" ? Buffer.from(data, "utf8") : data;
    try {
      for (let at = 0; at < bytes.length; ) at += writeSync(this.#fd!, bytes, at);
    } catch (error) {
      throw new CliError(`${this.path}: ${writeError(error as NodeJS.ErrnoException)}`);
    }
  }

  /** All of it is written. */
  commit(): void {
    if (this.#fd === null) return;
    closeSync(this.#fd);
    this.#fd = null;
    renameSync(this.#partial, this.#target);
  }

  /** What was not committed is nowhere. */
  discard(): void {
    if (this.#fd === null) return;
    closeSync(this.#fd);
    this.#fd = null;
    rmSync(this.#partial, { force: true });
  }
}

function writeError(error: NodeJS.ErrnoException): string {
  switch (error.code) {
    case "ENOENT": case "ENOTDIR": return "cannot be written: no such folder";
    case "EACCES": case "EPERM": case "EROFS": return "cannot be written: no permission";
    case "ENOSPC": return "cannot be written: no space left";
    default: return `cannot be written (${error.code ?? error.message})`;
  }
}
