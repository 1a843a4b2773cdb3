export { createNetCore, type NetCoreDeps } from "./net-core.ts";
export { NET_CORE_RULES_6_18, type ClonedCoalesce, type NetCoreRules } from "./rules.ts";
