export { createNetCore, type NetCoreDeps } from "./net-core.ts";
export { CLONED_COALESCES, DEFER_LISTS, GRO_BIG_TCPS, NET_CORE_RULES_6_18, NET_CORE_DATES_6_18, type ClonedCoalesce, type DeferLists, type GroBigTcp, type NetCoreRules, type NetCoreDates } from "./rules.ts";
