export * from "./memory-model.ts";
export * from "./provided-area.ts";
export * from "./skb-pieces.ts";
