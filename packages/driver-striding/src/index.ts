export { striding } from "./striding.ts";
