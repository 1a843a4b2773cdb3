export { createPagePools } from "./page-pools.ts";
export type { PagePoolDeps } from "./pool.ts";
export type { PagePoolRules } from "./rules.ts";
