export { createNetCore, type NetCoreDeps } from "./net-core.ts";
export type { NetCoreRules } from "./rules.ts";
