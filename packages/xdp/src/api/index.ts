export * from "./buff.ts";
export * from "./mem-info.ts";
export * from "./mem-model.ts";
export * from "./net-device.ts";
export * from "./return.ts";
export * from "./rxq.ts";
export * from "./structs.ts";
export * from "./xdp.ts";
