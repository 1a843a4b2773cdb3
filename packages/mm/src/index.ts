export { backingBytes, createMm, type MmOptions } from "./mm.ts";
export { createWasmBacking } from "./wasm-backing.ts";
