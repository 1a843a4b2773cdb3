/** What of WebAssembly's binary format the two modules here need. */

export const I32 = 0x7f;
export const V128 = 0x7b;

export const ADD = 0x6a;
export const SUB = 0x6b;
export const AND = 0x71;
export const SHR_U = 0x76;
export const EQ = 0x46;
export const LE_U = 0x4d;
export const END = 0x0b;
export const RETURN = 0x0f;
export const IF: readonly number[] = [0x04, 0x40];
export const VECTOR_BYTES = 16;

export const get = (local: number): number[] => [0x20, local];
export const set = (local: number): number[] => [0x21, local];
export const i32 = (value: number): number[] => [0x41, ...signedLeb(value)];
/** From the address on the stack. */
export const load32 = (offset: number): number[] => [0x28, 0, ...leb(offset)];
export const load16 = (offset: number): number[] => [0x2f, 0, ...leb(offset)];
export const load8 = (offset: number): number[] => [0x2d, 0, ...leb(offset)];
export const loadVector = (offset: number): number[] => [0xfd, 0x00, 0, ...leb(offset)];
export const storeVector = (offset: number): number[] => [0xfd, 0x0b, 0, ...leb(offset)];
export const vectorOp = (op: number): number[] => [0xfd, ...leb(op)];

/** Until `done` leaves something else than 0 on the stack: `body`. */
export function loopUntil(done: readonly number[], body: readonly number[]): number[] {
  return [0x02, 0x40, 0x03, 0x40, ...done, 0x0d, 1, ...body, 0x0c, 0, END, END];
}

export interface WasmFunction {
  readonly name: string;
  /** Of 32 bits each. */
  readonly parameters: number;
  readonly returnsI32: boolean;
  /** How many locals of which type. */
  readonly locals: readonly (readonly [number, number])[];
  readonly code: readonly number[];
}

/** A module that exports the function, over the memory "m" of whatever size that it imports from "m". */
export function moduleOf({ name, parameters, returnsI32, locals, code }: WasmFunction): Uint8Array {
  const body = [...leb(locals.length), ...locals.flatMap(([count, type]) => [...leb(count), type]), ...code, END];
  const text = [...name].map((letter) => letter.charCodeAt(0));
  return Uint8Array.of(
    0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00,
    ...section(1, [0x60, parameters, ...Array.from({ length: parameters }, () => I32), ...(returnsI32 ? [1, I32] : [0])]),
    ...section(2, [1, 0x6d, 1, 0x6d, 0x02, 0x00, 0x00]),
    ...section(3, [0]),
    ...section(7, [...leb(text.length), ...text, 0x00, 0x00]),
    ...section(10, [...leb(body.length), ...body]),
  );
}

/** One entry. */
function section(id: number, entry: readonly number[]): number[] {
  const content = [1, ...entry];
  return [id, ...leb(content.length), ...content];
}

function leb(value: number): number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...leb(value >>> 7)];
}

function signedLeb(value: number): number[] {
  return value >= -0x40 && value < 0x40 ? [value & 0x7f] : [(value & 0x7f) | 0x80, ...signedLeb(value >> 7)];
}
