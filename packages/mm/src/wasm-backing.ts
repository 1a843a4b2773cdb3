import { UsageError } from "@netmem/kernel/api";
import type { PayloadBacking } from "./api/index.ts";

/** Only what is used here; the ES library of TypeScript does not declare WebAssembly. */
interface WebAssemblyApi {
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object, imports: object) => { readonly exports: Record<string, unknown> };
  readonly Memory: new (descriptor: { initial: number; maximum: number }) => { readonly buffer: ArrayBuffer };
}

const WASM_PAGE = 65_536;

/**
 * `(func (export "copy") (param i32 i32 i32) (memory.copy (local.get 0) (local.get 1) (local.get 2)))` over an
 * imported memory: the only way from JavaScript to the machine's own memcpy without a view per call.
 */
const COPY_MODULE = [
  0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00,
  0x01, 0x07, 0x01, 0x60, 0x03, 0x7f, 0x7f, 0x7f, 0x00, // type: (i32, i32, i32) -> ()
  0x02, 0x08, 0x01, 0x01, 0x6d, 0x01, 0x6d, 0x02, 0x00, 0x00, // import: "m" "m" memory, min 0
  0x03, 0x02, 0x01, 0x00, // function 0: type 0
  0x07, 0x08, 0x01, 0x04, 0x63, 0x6f, 0x70, 0x79, 0x00, 0x00, // export "copy"
  0x0a, 0x0e, 0x01, 0x0c, 0x00, 0x20, 0x00, 0x20, 0x01, 0x20, 0x02, 0xfc, 0x0a, 0x00, 0x00, 0x0b,
] as const;

/**
 * Backing of `sizeBytes` (rounded up to 64 KiB) in a WebAssembly memory: copies run at memcpy speed. Reserves address
 * space for the engine's guard pages, so a process should hold tens of these, not thousands.
 */
export function createWasmBacking(sizeBytes: number): PayloadBacking {
  if (!(sizeBytes > 0 && sizeBytes <= 2 ** 31)) throw new UsageError("mm", "backing bytes", sizeBytes, "give 1 byte to 2 GiB");
  const { Module, Instance, Memory } = (globalThis as unknown as { WebAssembly: WebAssemblyApi }).WebAssembly;
  const pages = Math.ceil(sizeBytes / WASM_PAGE);
  const memory = new Memory({ initial: pages, maximum: pages });
  const instance = new Instance(new Module(new Uint8Array(COPY_MODULE)), { m: { m: memory } });
  return { buffer: memory.buffer, copyWithin: instance.exports["copy"] as NonNullable<PayloadBacking["copyWithin"]> };
}
