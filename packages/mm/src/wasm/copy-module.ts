import { ADD, END, IF, LE_U, RETURN, SUB, V128, VECTOR_BYTES, get, i32, loadVector, moduleOf, set, storeVector } from "./encoding.ts";

/** Parameters of the function, then its locals. */
const TO = 0;
const FROM = 1;
const BYTES = 2;
const FIRST_VECTOR = 3;

/** Calls the machine's memmove. */
const MEMORY_COPY: readonly number[] = [0xfc, 0x0a, 0x00, 0x00];

/**
 * `copy(to, from, bytes)` within an imported memory, as a WebAssembly module: the only way from JavaScript to the machine's own memcpy without a view
 * per call. `vectors`: frames and headers of 16 to 128 bytes are moved by vector instructions, all loaded before any is stored, without
 * the call to memmove, which takes longer than they do.
 */
export function copyModule(vectors: boolean): Uint8Array {
  const small = vectors ? [...within(32, 64, fromBothEnds(2)), ...within(16, 31, fromBothEnds(1)), ...within(65, 128, fromBothEnds(4))] : [];
  return moduleOf({
    name: "copy", parameters: 3, returnsI32: false, locals: vectors ? [[8, V128]] : [],
    code: [...small, ...get(TO), ...get(FROM), ...get(BYTES), ...MEMORY_COPY],
  });
}

/** `if (least <= bytes && bytes <= most) { code; return; }` */
function within(least: number, most: number, code: readonly number[]): number[] {
  return [...get(BYTES), ...i32(least), SUB, ...i32(most - least), LE_U, ...IF, ...code, RETURN, END];
}

/** The first and the last `vectors` vectors; in between they overlap. Memory that overlaps is moved right, as nothing is stored before all is loaded. */
function fromBothEnds(vectors: number): number[] {
  const end = (base: number): number[] => [...get(base), ...get(BYTES), ADD, ...i32(vectors * VECTOR_BYTES), SUB];
  const loads: number[] = [];
  const stores: number[] = [];
  for (let i = 0; i < vectors; i++) {
    const offset = i * VECTOR_BYTES;
    const [first, last] = [FIRST_VECTOR + 2 * i, FIRST_VECTOR + 2 * i + 1];
    loads.push(...get(FROM), ...loadVector(offset), ...set(first), ...end(FROM), ...loadVector(offset), ...set(last));
    stores.push(...get(TO), ...get(first), ...storeVector(offset), ...end(TO), ...get(last), ...storeVector(offset));
  }
  return [...loads, ...stores];
}
