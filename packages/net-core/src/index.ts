export { createNetCore, type NetCoreDeps } from "./net-core.ts";
export { CLONED_COALESCES, DEFER_LISTS, NET_CORE_RULES_6_18, NET_CORE_DATES_6_18, type ClonedCoalesce, type DeferLists, type NetCoreRules, type NetCoreDates } from "./rules.ts";
