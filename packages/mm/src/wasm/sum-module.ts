import { ADD, AND, END, EQ, I32, IF, SHR_U, V128, VECTOR_BYTES, get, i32, load16, load32, load8, loadVector, loopUntil, moduleOf, set, vectorOp } from "./encoding.ts";

/** Parameters of the function, then its locals. */
const AT = 0;
const BYTES = 1;
const SUM = 2;
const STOP = 3;
const EVEN = 4;
const ODD = 5;

/** Vectors of one turn of the loop: it costs as much as one of them. */
const UNROLLED = 4;
/** Numbers of the instructions on vectors. */
const EXTRACT_LANE = 0x1b;
const SPLAT = 0x11;
const VECTOR_AND = 0x4e;
const PAIRS_OF_16_TO_32 = 0x7f;
const SHIFT_RIGHT_32 = 0xad;
const ADD_32 = 0xae;

/** `sum(at, bytes)` within an imported memory, as a WebAssembly module: what `PayloadBacking.sum16` says. No lane overflows before half a MiB. */
export function sumModule(): Uint8Array {
  const block = UNROLLED * VECTOR_BYTES;
  return moduleOf({
    name: "sum", parameters: 2, returnsI32: true, locals: [[2, I32], [2, V128]],
    code: [
      ...stopAfter(block), ...loopUntil(reached(), [...Array.from({ length: UNROLLED }, (_, i) => addVector(i)).flat(), ...advance(block)]),
      ...stopAfter(VECTOR_BYTES), ...loopUntil(reached(), [...addVector(0), ...advance(VECTOR_BYTES)]),
      ...get(EVEN), ...get(ODD), ...vectorOp(ADD_32), ...set(EVEN), ...foldLanes(),
      ...ifBytes(8, [...addWord(0), ...addWord(4), ...advance(8)]),
      ...ifBytes(4, [...addWord(0), ...advance(4)]),
      ...ifBytes(2, [...get(AT), ...load16(0), ...get(SUM), ADD, ...set(SUM), ...advance(2)]),
      ...ifBytes(1, [...get(AT), ...load8(0), ...get(SUM), ADD, ...set(SUM)]),
      ...get(SUM),
    ],
  });
}

/** STOP = where the last whole block from AT on ends; then BYTES is what is left behind it. */
function stopAfter(blockBytes: number): number[] {
  return [...get(AT), ...get(BYTES), ...i32(-blockBytes), AND, ADD, ...set(STOP), ...get(BYTES), ...i32(blockBytes - 1), AND, ...set(BYTES)];
}

function reached(): number[] {
  return [...get(AT), ...get(STOP), EQ];
}

function advance(bytes: number): number[] {
  return [...get(AT), ...i32(bytes), ADD, ...set(AT)];
}

/** Neighbours added in pairs of 16 bits to lanes of 32; two accumulators, so that one does not wait for the other. */
function addVector(i: number): number[] {
  const to = i % 2 === 0 ? EVEN : ODD;
  return [...get(to), ...get(AT), ...loadVector(i * VECTOR_BYTES), ...vectorOp(PAIRS_OF_16_TO_32), ...vectorOp(ADD_32), ...set(to)];
}

/** SUM = the halves of the lanes of EVEN. */
function foldLanes(): number[] {
  const halves = [
    ...get(EVEN), ...i32(0xffff), ...vectorOp(SPLAT), ...vectorOp(VECTOR_AND), ...get(EVEN), ...i32(16), ...vectorOp(SHIFT_RIGHT_32), ...vectorOp(ADD_32), ...set(EVEN),
  ];
  const lane = (i: number): number[] => [...get(EVEN), ...vectorOp(EXTRACT_LANE), i];
  return [...halves, ...lane(0), ...lane(1), ADD, ...lane(2), ADD, ...lane(3), ADD, ...set(SUM)];
}

function ifBytes(bit: number, code: readonly number[]): number[] {
  return [...get(BYTES), ...i32(bit), AND, ...IF, ...code, END];
}

/** SUM += both halves of the word at AT. */
function addWord(offset: number): number[] {
  const word = [...get(AT), ...load32(offset)];
  return [...word, ...i32(0xffff), AND, ...word, ...i32(16), SHR_U, ADD, ...get(SUM), ADD, ...set(SUM)];
}
