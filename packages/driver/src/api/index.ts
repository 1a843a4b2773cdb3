export * from "./driver.ts";
export * from "./link.ts";
export * from "./nic.ts";
export * from "./ringparam.ts";
export * from "./tx-ring.ts";
export * from "./xdp.ts";
export * from "./queues.ts";
