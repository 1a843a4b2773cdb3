import { spawn, spawnSync, type ChildProcessByStdio } from "node:child_process";
import type { Readable, Writable } from "node:stream";

/** This machine cannot do it, in a sentence. */
export class CannotRecord extends Error {
  constructor(message: string) {
    super(message);
    this.name = "CannotRecord";
  }
}

/** Runs a program to its end; what it printed. Throws `CannotRecord`, which names it, if it fails. */
export function run(program: string, ...args: readonly string[]): string {
  const { status, stdout, stderr, error } = spawnSync(program, args, { encoding: "utf8" });
  if (error !== undefined) throw new CannotRecord(`${program} is not to be had (${(error as NodeJS.ErrnoException).code ?? error.message}); install iproute2`);
  if (status !== 0) throw new CannotRecord(`${program} ${args.join(" ")}: ${firstLine(stderr)}`);
  return stdout;
}

/** The same, whose failure does not matter: for clearing up. */
export function tryRun(program: string, ...args: readonly string[]): void {
  spawnSync(program, args, { stdio: "ignore" });
}

function firstLine(text: string): string {
  return text.trim().split("\n")[0] ?? "";
}

/** A process that says a line of JSON after each step. */
export class Peer {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #said: Readonly<Record<string, unknown>>[] = [];
  #wake: (() => void) | null = null;
  #text = "";
  #ended = false;

  constructor(program: string, args: readonly string[]) {
    this.#child = spawn(program, args, { stdio: ["pipe", "pipe", "inherit"] });
    this.#child.stdout.on("data", (chunk: Buffer) => {
      this.#text += chunk.toString("utf8");
      const lines = this.#text.split("\n");
      this.#text = lines.pop()!;
      for (const line of lines) this.#said.push(JSON.parse(line) as Readonly<Record<string, unknown>>);
      this.#wake?.();
    });
    this.#child.on("close", () => {
      this.#ended = true;
      this.#wake?.();
    });
    this.#child.on("error", () => {
      this.#ended = true;
      this.#wake?.();
    });
  }

  /** Everything it said. */
  get said(): readonly Readonly<Record<string, unknown>>[] {
    return this.#said;
  }

  tell(line: string): void {
    this.#child.stdin.write(`${line}\n`);
  }

  /** Until it has said so many lines, or `CannotRecord`. */
  async until(lines: number, timeoutMs: number = 20_000): Promise<void> {
    const deadline = Date.now() + timeoutMs;
    while (this.#said.length < lines) {
      if (this.#ended || Date.now() > deadline) throw new CannotRecord(`a process of the script ended, or said nothing for ${timeoutMs / 1000} s`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 100);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  kill(): void {
    this.#child.kill("SIGKILL");
  }
}
