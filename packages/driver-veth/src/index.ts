export { VETH_RING_SIZE } from "./constants.ts";
export type { VethCopies } from "./private-copy.ts";
export type { VethQueueStats } from "./queue.ts";
export { VethEnd, veth, veth414, veth518, type VethDriver, type VethLink, type VethStats } from "./veth.ts";
