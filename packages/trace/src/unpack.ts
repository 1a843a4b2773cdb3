import { createGunzip } from "node:zlib";

const CHUNK_BYTES: number = 1 << 16;

/** The bytes of a file, unpacked if it begins as gzip does. One that is cut off, damaged or cannot be read ends where it does, and `failed` is told why, once, in words. */
export async function* unpackedChunks(raw: AsyncIterable<Uint8Array>, failed: (why: string) => void): AsyncGenerator<Uint8Array> {
  let told = false;
  const tell = (error: NodeJS.ErrnoException): void => {
    if (!told) failed(readFailure(error));
    told = true;
  };
  const pieces = piecesOf(raw, tell);
  const first = await pieces.next();
  if (first.done === true) return;
  if (first.value[0] === 0x1f && first.value[1] === 0x8b) yield* gunzipped(first.value, pieces, tell);
  else {
    yield first.value;
    yield* { [Symbol.asyncIterator]: () => pieces };
  }
}

/** What fails ends it. */
function piecesOf(raw: AsyncIterable<Uint8Array>, tell: (error: NodeJS.ErrnoException) => void): AsyncIterator<Uint8Array> {
  const iterator = raw[Symbol.asyncIterator]();
  const end: IteratorResult<Uint8Array> = { done: true, value: undefined };
  return {
    next: () => iterator.next().then((result) => result, (error: NodeJS.ErrnoException) => {
      tell(error);
      return end;
    }),
    return: () => iterator.return?.().then(() => end) ?? Promise.resolve(end),
  };
}

function readFailure(error: NodeJS.ErrnoException): string {
  switch (error.code) {
    case "Z_BUF_ERROR": return "the compressed file ends too early";
    case "Z_DATA_ERROR": return "the compressed file is damaged";
    default: return `cannot be read (${error.code ?? error.message})`;
  }
}

async function* gunzipped(first: Uint8Array, rest: AsyncIterator<Uint8Array>, tell: (error: NodeJS.ErrnoException) => void): AsyncGenerator<Uint8Array> {
  const gunzip = createGunzip({ chunkSize: CHUNK_BYTES });
  const out: Uint8Array[] = [];
  const ended = new Promise<void>((resolve) => {
    gunzip.on("data", (piece: Uint8Array) => void out.push(piece));
    gunzip.on("end", resolve);
    gunzip.on("error", (error) => {
      tell(error);
      resolve();
    });
  });
  for (let piece: IteratorResult<Uint8Array> = { done: false, value: first }; piece.done !== true && gunzip.errored === null; piece = await rest.next()) {
    const { value } = piece;
    await Promise.race([ended, new Promise<void>((written) => void gunzip.write(value, () => written()))]);
    yield* out.splice(0);
  }
  // Of one that is damaged the rest is nobody's.
  await rest.return?.();
  gunzip.end();
  await ended;
  yield* out.splice(0);
}
