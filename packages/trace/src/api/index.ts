export * from "./event.ts";
export * from "./explanation.ts";
