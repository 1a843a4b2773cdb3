export { createKernel, type KernelOptions } from "./kernel.ts";
export { createPtrRings } from "./ptr-ring.ts";
