import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { createInterface, type Interface } from "node:readline";
import { fileURLToPath } from "node:url";

/** A process that answers "ops" with the nanoseconds they took. Ours and C's speak the same. */
export class Opponent {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  readonly #reader: Interface;
  readonly #command: string;

  constructor(command: string, args: readonly string[]) {
    this.#command = `${command} ${args.join(" ")}`;
    this.#child = spawn(command, args, { stdio: ["pipe", "pipe", "inherit"] });
    // A side that has died shows in what it does not answer.
    this.#child.stdin!.on("error", () => {});
    this.#reader = createInterface({ input: this.#child.stdout! });
    this.#lines = this.#reader[Symbol.asyncIterator]();
  }

  /** Nanoseconds an operation. */
  async round(ops: number): Promise<number> {
    this.#child.stdin!.write(`${ops}\n`);
    const { value, done } = await this.#lines.next();
    if (done === true || !/^\d+$/.test(value)) throw new Error(`${this.#command} ended in the middle of a round`);
    return Number(value) / ops;
  }

  end(): void {
    this.#child.stdin!.end();
    this.#reader.close();
  }
}

export function ours(workload: string): Opponent {
  return new Opponent(process.execPath, [fileURLToPath(new URL("./worker.js", import.meta.url)), workload]);
}

const FOLDER = fileURLToPath(new URL("../", import.meta.url));

/** Builds the reference if it changed; the binary, or why there is none. */
export function buildReference(compiler: string): { readonly binary: string } | { readonly missing: string } {
  const sources = join(FOLDER, "reference");
  const source = join(sources, "bench.c");
  const hash = createHash("sha256").update(compiler);
  for (const file of readdirSync(sources).toSorted()) hash.update(readFileSync(join(sources, file)));
  const folder = join(FOLDER, "node_modules/.cache/netmem-bench");
  const binary = join(folder, `bench-${hash.digest("hex").slice(0, 16)}`);
  if (existsSync(binary)) return { binary };
  mkdirSync(folder, { recursive: true });
  const unfinished = `${binary}-${process.pid}`;
  const built = spawnSync(compiler, ["-O2", "-Wall", "-Wextra", "-Werror", "-std=c11", "-o", unfinished, source], { encoding: "utf8" });
  if (built.error !== undefined) return { missing: `no C compiler: cannot run ${compiler} (install gcc, or set CC)` };
  if (built.status !== 0) {
    rmSync(unfinished, { force: true });
    return { missing: `${compiler} does not build reference/bench.c: ${(built.stderr.split("\n").find((line) => line.includes("error")) ?? built.stderr).trim()}` };
  }
  renameSync(unfinished, binary);
  return { binary };
}
