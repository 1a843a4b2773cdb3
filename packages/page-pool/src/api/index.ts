export * from "./frag.ts";
export * from "./memory-provider.ts";
export * from "./netlink.ts";
export * from "./page-pool.ts";
export * from "./params.ts";
export * from "./stats.ts";
