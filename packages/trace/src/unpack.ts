import { createGunzip } from "node:zlib";

const CHUNK_BYTES: number = 1 << 16;

/** The bytes of a file, unpacked if it begins as gzip does. One that is cut off, damaged or cannot be read ends where it does, and `failed` is told why, in words. */
export async function* unpackedChunks(raw: AsyncIterable<Uint8Array>, failed: (why: string) => void): AsyncGenerator<Uint8Array> {
  const pieces = piecesOf(raw, failed);
  const first = await pieces.next();
  if (first.done === true) return;
  if (first.value[0] === 0x1f && first.value[1] === 0x8b) yield* gunzipped(first.value, pieces, failed);
  else {
    yield first.value;
    yield* pieces;
  }
}

async function* piecesOf(raw: AsyncIterable<Uint8Array>, failed: (why: string) => void): AsyncGenerator<Uint8Array> {
  const iterator = raw[Symbol.asyncIterator]();
  const next = (): Promise<IteratorResult<Uint8Array>> => iterator.next().then((result) => result, (error: NodeJS.ErrnoException) => {
    failed(readFailure(error));
    return { done: true, value: undefined };
  });
  for (let piece = await next(); piece.done !== true; piece = await next()) yield piece.value;
}

function readFailure(error: NodeJS.ErrnoException): string {
  switch (error.code) {
    case "Z_BUF_ERROR": return "the compressed file ends too early";
    case "Z_DATA_ERROR": return "the compressed file is damaged";
    default: return `cannot be read (${error.code ?? error.message})`;
  }
}

async function* gunzipped(first: Uint8Array, rest: AsyncIterator<Uint8Array>, failed: (why: string) => void): AsyncGenerator<Uint8Array> {
  const gunzip = createGunzip({ chunkSize: CHUNK_BYTES });
  const out: Uint8Array[] = [];
  const ended = new Promise<void>((resolve) => {
    gunzip.on("data", (piece: Uint8Array) => void out.push(piece));
    gunzip.on("end", resolve);
    gunzip.on("error", (error) => {
      failed(readFailure(error));
      resolve();
    });
  });
  for (let piece: IteratorResult<Uint8Array> = { done: false, value: first }; piece.done !== true && gunzip.errored === null; piece = await rest.next()) {
    const { value } = piece;
    await Promise.race([ended, new Promise<void>((written) => void gunzip.write(value, () => written()))]);
    yield* out.splice(0);
  }
  gunzip.end();
  await ended;
  yield* out.splice(0);
}
