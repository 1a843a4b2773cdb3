export { VETH_RING_SIZE } from "./constants.ts";
export type { VethQueueStats } from "./queue.ts";
export { VethEnd, veth, veth414, veth518, veth67, type VethDriver, type VethLink, type VethStats } from "./veth.ts";
