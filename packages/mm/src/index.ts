export { createMm, type MmKernel } from "./mm.ts";
export { DMA_DEBUG_MODES, SWIOTLB_MOST_SLOTS, backingBytes, type DmaDebugMode, type MmOptions, type SwiotlbOptions } from "./options.ts";
export { MM_RULES_6_18, type MmRules } from "./rules.ts";
export { SpareBacking } from "./spare-backing.ts";
export { createWasmBacking } from "./wasm/wasm-backing.ts";
