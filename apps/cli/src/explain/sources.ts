import { createReadStream, fstatSync, openSync } from "node:fs";
import { resolve } from "node:path";
import { createGunzip } from "node:zlib";
import { TraceReader, type TraceSource } from "@netmem/trace";
import type { TraceEvent, TraceFileSummary } from "@netmem/trace/api";
import { readError } from "../captures.ts";
import { CliError } from "../terminal.ts";

const CHUNK_BYTES: number = 1 << 16;

/** A trace that is read as it is asked for. */
export interface OpenTrace {
  readonly path: string;
  readonly events: TraceSource;
  readonly summary: () => TraceFileSummary;
}

/** Opens every file before any is read; gzip is unpacked, `-` is standard input. `live`: each event is handed over as soon as its line is read. */
export function openTraces(paths: readonly string[], cwd: string, live: boolean): readonly OpenTrace[] {
  if (paths.filter((path) => path === "-").length > 1) throw new CliError("-: standard input is named twice");
  return paths.map((path) => {
    const reader = new TraceReader(path);
    const fd = openToRead(path, cwd);
    let cutOff: string | null = null;
    const events = eventsOf(reader, chunksOf(fd), live, (why) => void (cutOff = why));
    return { path, events, summary: () => reader.summary(cutOff) };
  });
}

function openToRead(path: string, cwd: string): number {
  if (path === "-") return 0;
  let fd: number;
  try {
    fd = openSync(resolve(cwd, path), "r");
  } catch (error) {
    throw new CliError(`${path}: ${readError(error as NodeJS.ErrnoException)}`);
  }
  if (fstatSync(fd).isDirectory()) throw new CliError(`${path}: a folder, not a trace; name the files in it`);
  return fd;
}

async function* eventsOf(reader: TraceReader, chunks: AsyncIterable<Uint8Array>, live: boolean, cutOff: (why: string) => void): AsyncGenerator<readonly TraceEvent[]> {
  try {
    for await (const chunk of chunks) {
      yield reader.push(chunk);
      if (live) yield reader.flush();
    }
  } catch (error) {
    cutOff(readFailure(error as NodeJS.ErrnoException));
  }
  yield reader.end();
}

function readFailure(error: NodeJS.ErrnoException): string {
  switch (error.code) {
    case "Z_BUF_ERROR": return "the compressed file ends too early";
    case "Z_DATA_ERROR": return "the compressed file is damaged";
    default: return `cannot be read (${error.code ?? error.message})`;
  }
}

/** Unpacked, if it begins as gzip does. */
async function* chunksOf(fd: number): AsyncGenerator<Uint8Array> {
  const raw = createReadStream("", { fd, highWaterMark: CHUNK_BYTES, autoClose: fd !== 0 });
  const iterator = raw[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  const first = await iterator.next();
  if (first.done === true) return;
  const rest = { [Symbol.asyncIterator]: () => iterator };
  const isGzip = first.value[0] === 0x1f && first.value[1] === 0x8b;
  if (!isGzip) {
    yield first.value;
    yield* rest;
    return;
  }
  yield* unpacked(first.value, iterator);
}

/** What there is is handed over, also of a file that is cut off or damaged. */
async function* unpacked(first: Buffer, rest: AsyncIterator<Buffer>): AsyncGenerator<Uint8Array> {
  const gunzip = createGunzip({ chunkSize: CHUNK_BYTES });
  const out: Buffer[] = [];
  const failure: Error[] = [];
  const ended = new Promise<void>((resolve) => {
    gunzip.on("data", (piece: Buffer) => void out.push(piece));
    gunzip.on("end", resolve);
    gunzip.on("error", (error) => {
      failure.push(error);
      resolve();
    });
  });
  for (let piece: IteratorResult<Buffer> = { done: false, value: first }; piece.done !== true && failure.length === 0; piece = await rest.next()) {
    const { value } = piece;
    await Promise.race([ended, new Promise<void>((written) => void gunzip.write(value, () => written()))]);
    yield* out.splice(0);
  }
  gunzip.end();
  await ended;
  yield* out.splice(0);
  if (failure.length > 0) throw failure[0]!;
}
