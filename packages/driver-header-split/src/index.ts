export { headerSplit } from "./header-split.ts";
