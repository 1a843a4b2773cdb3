export { splitPage } from "./split-page.ts";
