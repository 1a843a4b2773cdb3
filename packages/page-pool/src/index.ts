export { createPagePools, type PagePoolDeps } from "./page-pools.ts";
export { NAPI_LOCALS, PAGE_POOL_DATES_6_18, type NapiLocal, type PagePoolDates, type PagePoolRules } from "./rules.ts";
export { createSystemPools } from "./system-pools.ts";
