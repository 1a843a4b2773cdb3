import { createWasmBacking } from "@netmem/mm";
import type { PayloadBacking } from "@netmem/mm/api";

let spare: PayloadBacking | null = null;

/**
 * Zeroed memory of at least so many bytes for a machine, the last machine's where that is enough. Copies and sums are
 * WebAssembly functions that belong to their memory: the engine compiles what calls them for these very functions, and
 * starts anew, some hundred thousand packets long, when a machine brings others.
 */
export function takeBacking(sizeBytes: number): PayloadBacking {
  const taken = spare;
  spare = null;
  if (taken === null || taken.buffer.byteLength < sizeBytes) return createWasmBacking(sizeBytes);
  new Uint8Array(taken.buffer, 0, sizeBytes).fill(0);
  return taken;
}

/** So that all machines to come have the same. */
export function reserveBacking(sizeBytes: number): void {
  putBacking(takeBacking(sizeBytes));
}

/** Its machine is shut down, and nobody will look at its memory again. */
export function putBacking(backing: PayloadBacking): void {
  if (spare === null || spare.buffer.byteLength < backing.buffer.byteLength) spare = backing;
}
