export * from "./drop-reason.ts";
export * from "./edit.ts";
export * from "./lifetime.ts";
export * from "./napi.ts";
export * from "./net-core.ts";
export * from "./receive.ts";
export * from "./skbuff.ts";
