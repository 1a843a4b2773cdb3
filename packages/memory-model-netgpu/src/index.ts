export { NetgpuContext, type NetgpuArea } from "./context.ts";
export { NetgpuIfq } from "./interface-queue.ts";
export { netgpu } from "./netgpu.ts";
export { SharedQueue } from "./shared-queue.ts";
export { NetgpuSkq } from "./socket-queue.ts";
