import { accessSync, constants, existsSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { CaptureWriter } from "@netmem/pcap";
import type { LoadedCapture } from "../captures.ts";
import { CliError } from "../terminal.ts";

/** What devices sent, for `--write`: times are the first capture's, and simulated from there on. */
export class SentFrames {
  readonly #named: string;
  readonly #path: string;
  readonly #writer = new CaptureWriter();
  readonly #startSeconds: number;
  readonly #startNanoseconds: number;

  /** Throws before anything is run if the file could not be written. */
  constructor(named: string, cwd: string, inputs: readonly LoadedCapture[]) {
    this.#named = named;
    this.#path = resolve(cwd, named);
    const folder = dirname(this.#path);
    if (!existsSync(folder)) throw new CliError(`--write ${named}: there is no folder ${dirname(named)}; make it first`);
    if (existsSync(this.#path) && statSync(this.#path).isDirectory()) throw new CliError(`--write ${named}: a folder; name a file in it`);
    if (inputs.some(({ path }) => resolve(cwd, path) === this.#path)) throw new CliError(`--write ${named}: that is what is replayed; name another file`);
    try {
      accessSync(folder, constants.W_OK);
    } catch {
      throw new CliError(`--write ${named}: no permission to write there`);
    }
    const first = inputs.flatMap(({ capture }) => capture.packets).find(({ timeSeconds }) => timeSeconds >= 0);
    this.#startSeconds = first?.timeSeconds ?? 0;
    this.#startNanoseconds = first?.timeNanoseconds ?? 0;
  }

  add(bytes: Uint8Array, offset: number, lengthBytes: number, timeNs: number): void {
    const nanoseconds = this.#startNanoseconds + timeNs;
    this.#writer.add(bytes, offset, lengthBytes, this.#startSeconds + Math.floor(nanoseconds / 1e9), nanoseconds % 1e9);
  }

  /** The whole file at once, or as it was before. */
  write(): void {
    const part = `${this.#path}.part`;
    try {
      writeFileSync(part, this.#writer.toBytes());
      renameSync(part, this.#path);
    } catch (error) {
      rmSync(part, { force: true });
      throw new CliError(`--write ${this.#named}: cannot be written (${(error as NodeJS.ErrnoException).code ?? (error as Error).message})`);
    }
  }
}
