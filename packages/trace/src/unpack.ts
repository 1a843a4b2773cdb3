import { createGunzip } from "node:zlib";

const CHUNK_BYTES: number = 1 << 16;

/** The bytes of a file, unpacked if it begins as gzip does. Of one that is cut off or damaged what there is comes first; then it throws, and `readFailure` puts that into words. */
export async function* unpackedChunks(raw: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const iterator = raw[Symbol.asyncIterator]();
  const first = await iterator.next();
  if (first.done === true) return;
  if (first.value[0] === 0x1f && first.value[1] === 0x8b) {
    yield* gunzipped(first.value, iterator);
    return;
  }
  yield first.value;
  yield* { [Symbol.asyncIterator]: () => iterator };
}

/** Why a trace could not be read to its end, of an error of the file or of what unpacks it. */
export function readFailure(error: NodeJS.ErrnoException): string {
  switch (error.code) {
    case "Z_BUF_ERROR": return "the compressed file ends too early";
    case "Z_DATA_ERROR": return "the compressed file is damaged";
    default: return `cannot be read (${error.code ?? error.message})`;
  }
}

async function* gunzipped(first: Uint8Array, rest: AsyncIterator<Uint8Array>): AsyncGenerator<Uint8Array> {
  const gunzip = createGunzip({ chunkSize: CHUNK_BYTES });
  const out: Uint8Array[] = [];
  const failure: Error[] = [];
  const ended = new Promise<void>((resolve) => {
    gunzip.on("data", (piece: Uint8Array) => void out.push(piece));
    gunzip.on("end", resolve);
    gunzip.on("error", (error) => {
      failure.push(error);
      resolve();
    });
  });
  for (let piece: IteratorResult<Uint8Array> = { done: false, value: first }; piece.done !== true && failure.length === 0; piece = await rest.next()) {
    const { value } = piece;
    await Promise.race([ended, new Promise<void>((written) => void gunzip.write(value, () => written()))]);
    yield* out.splice(0);
  }
  gunzip.end();
  await ended;
  yield* out.splice(0);
  if (failure.length > 0) throw failure[0]!;
}
