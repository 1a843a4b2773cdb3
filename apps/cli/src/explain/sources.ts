import { closeSync, constants, createReadStream, fstatSync, openSync, readSync } from "node:fs";
import { resolve } from "node:path";
import { setTimeout } from "node:timers/promises";
import { TraceReader, unpackedChunks, type TraceSource } from "@netmem/trace";
import type { TraceEvent, TraceFileSummary } from "@netmem/trace/api";
import { checkStdin, readError } from "../reading.ts";
import { CliError } from "../terminal.ts";

const CHUNK_BYTES: number = 1 << 16;
/** Between looks at a live source that had nothing. */
const POLL_MS = 50;

/** A trace that is read as it is asked for. */
export interface OpenTrace {
  readonly path: string;
  readonly events: TraceSource;
  readonly summary: () => TraceFileSummary;
}

/** Opens every file before any is read; gzip is unpacked, `-` is standard input. `live`: each event is handed over as soon as its line is read, and that ends them. */
export function openTraces(paths: readonly string[], cwd: string, live: AbortSignal | null): readonly OpenTrace[] {
  checkStdin(paths);
  return paths.map((path) => {
    const reader = new TraceReader(path);
    const fd = openToRead(path, cwd, live !== null);
    let cutOff: string | null = null;
    const bytes = live === null ? createReadStream("", { fd, highWaterMark: CHUNK_BYTES, autoClose: fd !== 0 }) : liveBytes(fd, live);
    const events = eventsOf(reader, unpackedChunks(bytes, (why) => void (cutOff = why)), live !== null);
    return { path, events, summary: () => reader.summary(cutOff) };
  });
}

function openToRead(path: string, cwd: string, live: boolean): number {
  if (path === "-") return 0;
  let fd: number;
  try {
    // A read of a trace_pipe that nothing comes from could not be ended.
    fd = openSync(resolve(cwd, path), live ? constants.O_RDONLY | constants.O_NONBLOCK : constants.O_RDONLY);
  } catch (error) {
    throw new CliError(`${path}: ${readError(error as NodeJS.ErrnoException)}`);
  }
  if (fstatSync(fd).isDirectory()) throw new CliError(`${path}: a folder, not a trace; name the files in it`);
  return fd;
}

async function* eventsOf(reader: TraceReader, chunks: AsyncIterable<Uint8Array>, live: boolean): AsyncGenerator<readonly TraceEvent[]> {
  for await (const chunk of chunks) {
    yield reader.push(chunk);
    if (live) yield reader.flush();
  }
  yield reader.end();
}

/** What comes until the end, or until `ended`. */
async function* liveBytes(fd: number, ended: AbortSignal): AsyncGenerator<Buffer> {
  if (fd === 0) {
    ended.addEventListener("abort", () => void process.stdin.destroy());
    try {
      yield* process.stdin as AsyncIterable<Buffer>;
    } catch (error) {
      if (!ended.aborted) throw error;
    }
    return;
  }
  const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
  // A FIFO has no end before somebody has begun to write.
  let awaitsWriter = fstatSync(fd).isFIFO();
  try {
    while (!ended.aborted) {
      const bytes = readAvailable(fd, chunk);
      if (bytes === 0 && !awaitsWriter) return;
      if (bytes !== 0) awaitsWriter = false;
      if (bytes > 0) yield Buffer.from(chunk.subarray(0, bytes));
      else await setTimeout(POLL_MS, undefined, { signal: ended }).catch(() => undefined);
    }
  } finally {
    closeSync(fd);
  }
}

/** Bytes read; 0 at the end; −1: none now. */
function readAvailable(fd: number, chunk: Buffer): number {
  try {
    return readSync(fd, chunk);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EAGAIN") return -1;
    throw error;
  }
}
