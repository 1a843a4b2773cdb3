import type { PayloadBacking } from "./api/index.ts";
import { createWasmBacking } from "./wasm/wasm-backing.ts";

/**
 * Memory for machines that follow one another: each takes the last one's where that is enough. Copies and sums are WebAssembly functions that belong to their memory: the
 * engine compiles what calls them for these very functions, and starts anew, some hundred thousand packets long, when a machine brings others; and memory that is new each
 * time costs a page fault each 4 KiB, and a collection.
 */
export class SpareBacking {
  #spare: PayloadBacking | null = null;

  /** At least so many bytes, those zeroed; the caller's, until it puts it back. */
  take(sizeBytes: number): PayloadBacking {
    const taken = this.#spare;
    this.#spare = null;
    if (taken === null || taken.buffer.byteLength < sizeBytes) return { ...createWasmBacking(sizeBytes), zeroed: true };
    new Uint8Array(taken.buffer, 0, sizeBytes).fill(0);
    return taken;
  }

  /** Its machine is shut down, and nobody will look at its memory again. Of several the largest is kept. */
  put(backing: PayloadBacking): void {
    if (this.#spare === null || this.#spare.buffer.byteLength < backing.buffer.byteLength) this.#spare = backing;
  }
}
