import { CaptureWriter } from "@netmem/pcap";
import type { LoadedCapture } from "../captures.ts";
import { OutputFile } from "../output-file.ts";

/** What devices sent, for `--write`: times are the first capture's, and simulated from there on. */
export class SentFrames {
  readonly #file: OutputFile;
  readonly #writer = new CaptureWriter();
  readonly #startSeconds: number;
  readonly #startNanoseconds: number;

  /** Throws before anything is run if the file could not be written. */
  constructor(path: string, cwd: string, inputs: readonly LoadedCapture[]) {
    this.#file = new OutputFile("--write", path, cwd, inputs.map((input) => input.path).filter((input) => input !== "-"));
    const first = inputs.flatMap(({ capture }) => capture.packets).find(({ timeSeconds }) => timeSeconds >= 0);
    this.#startSeconds = first?.timeSeconds ?? 0;
    this.#startNanoseconds = first?.timeNanoseconds ?? 0;
  }

  add(bytes: Uint8Array, offset: number, lengthBytes: number, timeNs: number): void {
    const nanoseconds = this.#startNanoseconds + timeNs;
    this.#writer.add(bytes, offset, lengthBytes, this.#startSeconds + Math.floor(nanoseconds / 1e9), nanoseconds % 1e9);
  }

  write(): void {
    this.#file.write(this.#writer.toBytes());
    this.#file.commit();
  }

  discard(): void {
    this.#file.discard();
  }
}
