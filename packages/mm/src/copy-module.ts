/** Parameters of the function, then its locals. */
const TO = 0;
const FROM = 1;
const BYTES = 2;
const FIRST_VECTOR = 3;

const VECTOR_BYTES = 16;
const I32 = 0x7f;
const V128 = 0x7b;

const get = (local: number): number[] => [0x20, local];
const set = (local: number): number[] => [0x21, local];
const i32 = (value: number): number[] => [0x41, ...signedLeb(value)];
const ADD = 0x6a;
const SUB = 0x6b;
const LE_U = 0x4d;
const END = 0x0b;

/**
 * `copy(to, from, bytes)` within an imported memory, as a WebAssembly module: the only way from JavaScript to the machine's own memcpy without a view
 * per call. `vectors`: frames and headers of 32 to 128 bytes are moved by vector instructions, all loaded before any is stored, without
 * the call to memmove, which takes longer than they do.
 */
export function copyModule(vectors: boolean): Uint8Array {
  const locals = vectors ? [1, 8, V128] : [0];
  const small = vectors ? [...within(32, 64, fromBothEnds(2)), ...within(65, 128, fromBothEnds(4))] : [];
  // memory.copy calls the machine's memmove.
  const copy = [...get(TO), ...get(FROM), ...get(BYTES), 0xfc, 0x0a, 0x00, 0x00];
  const body = [...locals, ...small, ...copy, END];
  return Uint8Array.of(
    0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00,
    ...section(1, [0x60, 3, I32, I32, I32, 0]),
    // import "m" "m": a memory of whatever size
    ...section(2, [1, 0x6d, 1, 0x6d, 0x02, 0x00, 0x00]),
    ...section(3, [0]),
    // export "copy"
    ...section(7, [4, 0x63, 0x6f, 0x70, 0x79, 0x00, 0x00]),
    ...section(10, [...leb(body.length), ...body]),
  );
}

/** `if (least <= bytes && bytes <= most) { code; return; }` */
function within(least: number, most: number, code: readonly number[]): number[] {
  return [...get(BYTES), ...i32(least), SUB, ...i32(most - least), LE_U, 0x04, 0x40, ...code, 0x0f, END];
}

/** The first and the last `vectors` vectors; in between they overlap. Memory that overlaps is moved right, as nothing is stored before all is loaded. */
function fromBothEnds(vectors: number): number[] {
  const end = (base: number): number[] => [...get(base), ...get(BYTES), ADD, ...i32(vectors * VECTOR_BYTES), SUB];
  const loads: number[] = [];
  const stores: number[] = [];
  for (let i = 0; i < vectors; i++) {
    const offset = i * VECTOR_BYTES;
    const [first, last] = [FIRST_VECTOR + 2 * i, FIRST_VECTOR + 2 * i + 1];
    loads.push(...get(FROM), 0xfd, 0x00, 0, offset, ...set(first), ...end(FROM), 0xfd, 0x00, 0, offset, ...set(last));
    stores.push(...get(TO), ...get(first), 0xfd, 0x0b, 0, offset, ...end(TO), ...get(last), 0xfd, 0x0b, 0, offset);
  }
  return [...loads, ...stores];
}

/** One entry. */
function section(id: number, entry: readonly number[]): number[] {
  const content = [1, ...entry];
  return [id, ...leb(content.length), ...content];
}

function leb(value: number): number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...leb(value >> 7)];
}

function signedLeb(value: number): number[] {
  return value < 0x40 ? [value] : [(value & 0x7f) | 0x80, ...signedLeb(value >> 7)];
}
