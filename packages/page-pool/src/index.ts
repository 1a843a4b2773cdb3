export { createPagePools, type PagePoolDeps } from "./page-pools.ts";
export { PAGE_POOL_DATES_6_18, type PagePoolDates, type PagePoolRules } from "./rules.ts";
export { createSystemPools } from "./system-pools.ts";
