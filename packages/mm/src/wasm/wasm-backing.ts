import { UsageError } from "@netmem/kernel/api";
import type { PayloadBacking } from "../api/index.ts";
import { copyModule } from "./copy-module.ts";
import { sumModule } from "./sum-module.ts";

/** Only what is used here; the ES library of TypeScript does not declare WebAssembly. */
interface WebAssemblyApi {
  readonly validate: (bytes: Uint8Array) => boolean;
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object, imports: object) => { readonly exports: Record<string, unknown> };
  readonly Memory: new (descriptor: { initial: number; maximum: number }) => { readonly buffer: ArrayBuffer };
}

const WASM_PAGE = 65_536;

/**
 * Backing of `sizeBytes` (rounded up to 64 KiB) in a WebAssembly memory: copies run at memcpy speed, checksums by vectors. Reserves address
 * space for the engine's guard pages, so a process should hold tens of these, not thousands.
 */
export function createWasmBacking(sizeBytes: number): PayloadBacking {
  if (!(sizeBytes > 0 && sizeBytes <= 2 ** 31)) throw new UsageError("mm", "backing bytes", sizeBytes, "give 1 byte to 2 GiB");
  const { Module, Instance, Memory, validate } = (globalThis as unknown as { WebAssembly: WebAssemblyApi }).WebAssembly;
  const pages = Math.ceil(sizeBytes / WASM_PAGE);
  const memory = new Memory({ initial: pages, maximum: pages });
  const link = (module: Uint8Array): Record<string, unknown> => new Instance(new Module(module), { m: { m: memory } }).exports;
  // Some old processors have no vector instructions that are good enough.
  const hasVectors = validate(copyModule(true));
  return {
    buffer: memory.buffer,
    copyWithin: link(copyModule(hasVectors))["copy"] as NonNullable<PayloadBacking["copyWithin"]>,
    ...(hasVectors ? { sum16: link(sumModule())["sum"] as NonNullable<PayloadBacking["sum16"]> } : {}),
  };
}
